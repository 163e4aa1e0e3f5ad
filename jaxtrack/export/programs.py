"""The two programs of a Siamese tracker as plain functions of arrays, with names for all that goes in and out.

What a network keeps of its template is a tree of arrays that differs from head to head; here it is a row of arrays
`kept_0, kept_1, …`, which the template's program returns and the search region's takes after its image.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxtrack.models import siamese
from jaxtrack.models.siamese import Architecture

KEPT = "kept_"


class Port(NamedTuple):
    """A float32 array that goes into a program or comes out of it: its name and shape."""

    name: str
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Program:
    """A function that holds its weights.

    Attributes:
      name: "template" or "search".
      function: arrays of the shapes of `inputs` to a tuple of arrays of those of `outputs`; traceable by JAX.
      inputs: names and shapes, in the order of the arguments.
      outputs: names and shapes, in the order of the results.
    """

    name: str
    function: Callable[..., tuple[jax.Array, ...]]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def specs(self) -> list[jax.ShapeDtypeStruct]:
        """The arguments' shapes and types, for tracing."""
        return [jax.ShapeDtypeStruct(port.shape, np.float32) for port in self.inputs]


class Pair(NamedTuple):
    """The programs of template `z -> kept` and of the search region `(x, *kept) -> (cls, loc)`."""

    template: Program
    search: Program


def programs(architecture: Architecture, params: Mapping[str, Any], batch: int) -> Pair:
    """The programs of a network.

    Args:
      architecture: the network.
      params: its variables, batch normalisation folded (`fold_batch_norm`); they become constants of the programs.
      batch: number of templates, and of search regions, at a time.
    """
    network = siamese.build(architecture)
    z, x = (
        Port(name, (batch, side, side, 3))
        for name, side in (("z", architecture.template_px), ("x", architecture.search_px))
    )
    shapes = jax.eval_shape(lambda image: network.apply(params, image, method="template"), _spec(z))
    leaves, tree = jax.tree.flatten(shapes)
    kept = tuple(Port(f"{KEPT}{i}", leaf.shape) for i, leaf in enumerate(leaves))

    def template(image: jax.Array) -> tuple[jax.Array, ...]:
        return tuple(jax.tree.leaves(network.apply(params, image, method="template")))

    def search(image: jax.Array, *arrays: jax.Array) -> tuple[jax.Array, ...]:
        maps: Any = network.apply(params, jax.tree.unflatten(tree, arrays), image, method="search")
        return tuple(maps)

    out = jax.eval_shape(search, _spec(x), *leaves)
    maps = tuple(Port(name, leaf.shape) for name, leaf in zip(("cls", "loc"), out, strict=True))
    return Pair(Program("template", template, (z,), kept), Program("search", search, (x, *kept), maps))


def reference(architecture: Architecture, params: Mapping[str, Any], z: np.ndarray, x: np.ndarray) -> list[np.ndarray]:
    """What the two programs are to return, one after the other, computed as the tracker does it."""
    network = siamese.build(architecture)

    @jax.jit
    def both(params: Any, z: jax.Array, x: jax.Array) -> list[jax.Array]:
        kept = network.apply(params, z, method="template")
        maps: Any = network.apply(params, kept, x, method="search")
        return [*jax.tree.leaves(kept), *maps]

    return [np.asarray(array) for array in both(params, z, x)]


def _spec(port: Port) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(port.shape, np.float32)
