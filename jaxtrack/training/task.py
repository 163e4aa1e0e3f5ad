"""What a training is of: what the loop and the step ask of a network, its data and its loss.

The Siamese trackers' is `jaxtrack.training.siamese.Recipe`, that of MDNet and its relatives
`jaxtrack.training.domains.recipe.Recipe`.
"""

from collections.abc import Callable, Collection
from typing import Any, Protocol

import jax
from flax import struct

from jaxtrack.training.optimiser import Stage

AXIS = "devices"
"""The mapped axis of a step."""


@struct.dataclass
class TrainState:
    """All that a step changes.

    Attributes:
      step: `int32 []`, steps done.
      params: the network's parameters, float32.
      batch_stats: its running statistics, float32.
      optimiser: the optimiser's state, for the parameters that the present stage trains.
      key: the training's typed random key; it never changes: samples fold their number into it.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    optimiser: Any
    key: jax.Array


class Task(Protocol):
    """A network, and what it is trained for. Variables are `{"params": {"backbone", ...}, "batch_stats"}`."""

    @property
    def backbones(self) -> Collection[str]:
        """Architectures of weights that hold a backbone alone, which a training may start from."""
        ...

    def shapes(self) -> Any:
        """Shapes and dtypes of the variables."""
        ...

    def draw(self, key: jax.Array) -> Any:
        """Random variables."""
        ...

    def completed(self, loaded: Any, draw: Callable[[], Any]) -> Any:
        """Variables out of those of a file of the same architecture; `draw` draws what a file does not hold."""
        ...

    def stored(self, variables: Any) -> Any:
        """What is kept of trained variables in a file of weights."""
        ...

    def loss(self, stage: Stage, state: TrainState, items: Any, numbers: jax.Array) -> Callable[[Any], Any]:
        """A device's loss as a function of the trained parameters: `(share, (metrics, running statistics))`.

        The sum of the devices' shares is the loss whose gradient is taken. Metrics are equal on all devices and have
        the total as `loss`.

        Args:
          stage: which parameters are trained.
          state: all other parameters, and the key.
          items: the device's part of the source's batch.
          numbers: `uint32 [B]`, its samples' numbers.
        """
        ...

    def limited(self, before: Any, after: Any, items: Any) -> Any:
        """What of an update counts.

        Args:
          before: trained parameters and the optimiser's state.
          after: the same after the update.
          items: as for `loss`.
        """
        ...

    def gradient_scale(self, devices: int) -> float:
        """A factor of the gradient."""
        ...


def with_drawn_layers(loaded: Any, drawn: Any) -> Any:
    """Drawn variables of a network with a backbone and a head, in which all that a file holds is the file's."""
    params = loaded["params"]
    head = {**drawn["params"]["head"], **params["head"]}
    return {**drawn, "params": {"backbone": params["backbone"], "head": head}}
