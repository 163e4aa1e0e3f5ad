"""Siamese networks ready for tracking: their two functions, and their parameters from files of weights.

Trackers differ in what they make of a network's maps (`jaxtrack.models.grids.Kind`). What is the same for all of them
is here.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from jaxtrack.data.naming import match_name
from jaxtrack.errors import UserError
from jaxtrack.models import siamese
from jaxtrack.models.grids import Kind
from jaxtrack.weights import places, store


class Network(NamedTuple):
    """The two functions that a tracker asks of a network; crops are `float32 [1, side, side, 3]`, BGR in [0, 255].

    Attributes:
      template: (params, crop) -> what is kept of the template.
      search: (params, kept, crop) -> class and box maps `[1, S, S, 2 A]`, `[1, S, S, 4 A]`, background before target;
        A is 1 but for anchors. What a box is made of depends on the architecture's kind.
    """

    template: Callable[[Any, jax.Array], Any]
    search: Callable[[Any, Any, jax.Array], tuple[jax.Array, jax.Array]]


def network_of(architecture: siamese.Architecture) -> Network:
    """The functions of an architecture's network."""
    module = siamese.build(architecture)
    return Network(
        template=functools.partial(module.apply, method="template"),
        search=functools.partial(module.apply, method="search"),  # type: ignore[arg-type]
    )


def zeros(architecture: siamese.Architecture) -> dict[str, Any]:
    """Parameters of a network's shapes, as trackers take them, that know nothing."""
    variables = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), siamese.shapes(architecture))
    return siamese.for_inference(architecture, variables)


class Weighted(Protocol):
    """The part of a tracker's configuration that names its network."""

    @property
    def architecture(self) -> str:
        """The network, however it is spelt."""
        ...

    @property
    def weights(self) -> str:
        """Name or path of a file; empty for one of the architecture's name."""
        ...


@dataclasses.dataclass(frozen=True)
class Family:
    """The networks that a tracker can be made around.

    Attributes:
      kinds: what their cells stand for.
      title: what one of them is called in a message.
    """

    kinds: tuple[Kind, ...]
    title: str

    @property
    def names(self) -> list[str]:
        """Their names, sorted."""
        return sorted(name for name, each in siamese.ARCHITECTURES.items() if each.kind in self.kinds)

    def name(self, config: Weighted) -> str:
        """The name of a configuration's network; `UserError` with a suggestion if there is none."""
        return match_name(config.architecture, self.names, what=self.title)

    def architecture(self, config: Weighted) -> siamese.Architecture:
        """A configuration's network; `UserError` with a suggestion if there is none."""
        return siamese.ARCHITECTURES[self.name(config)]

    def weights_file(self, config: Weighted) -> Path:
        """Where the weights of a configuration lie; `UserError` if they are not there."""
        return places.locate(config.weights or self.name(config))

    def params(self, config: Weighted) -> dict[str, Any]:
        """The weights of a configuration, ready for tracking; `UserError` where there are none that fit."""
        name, path = self.name(config), self.weights_file(config)
        variables, meta = store.load(path)
        if meta.architecture != name:
            other = ", or its network by the option architecture" if meta.architecture in self.names else ""
            raise UserError(
                f"{path} holds weights of {meta.architecture}, not of {name}: give another file by the "
                f"option weights{other}"
            )
        return siamese.for_inference(self.architecture(config), variables)

    def sha256(self, config: Weighted) -> str:
        """What tells a configuration's weights from others; `UserError` if the file is not what its record says."""
        # Checked here, not only where they are loaded: a run whose results are all stored loads nothing.
        return store.checked_sha256(self.weights_file(config))


def described(config: Weighted) -> str:
    """A configuration's network, and its weights where they have another name."""
    other = config.weights not in ("", config.architecture)
    return config.architecture + (f" with weights {config.weights}" if other else "")
