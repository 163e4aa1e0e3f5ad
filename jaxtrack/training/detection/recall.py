"""How many objects of images that were not trained on are among the network's 50 best proposals."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxtrack.training.detection.config import DetectionConfig
from jaxtrack.training.detection.proposals import found, proposals
from jaxtrack.training.detection.recipe import Recipe
from jaxtrack.training.stills import held_out
from jaxtrack.training.task import TrainState

PROPOSED = 50


def validator(
    config: DetectionConfig,
    recipe: Recipe,
    devices: Sequence[Any] | None = None,
    notice: Callable[[], None] | None = None,
) -> Callable[[TrainState], dict[str, float]]:
    """The function that gives a state's `recall`: the share of objects that a proposal overlaps by an IoU of 0.5.

    Args:
      config: the training's.
      recipe: what it is made of.
      devices: by default all; those of this process share the images. Each process measures all of them.
      notice: called while compiling takes long.
    """

    def measure(params: Any, items: Any, numbers: jax.Array) -> dict[str, jax.Array]:
        del numbers  # nothing is drawn
        outputs = recipe.outputs(params, items["pixels"], items["size"])
        anchors = jnp.asarray(outputs.anchors)

        def one(scores: jax.Array, offsets: jax.Array, item: Any) -> dict[str, jax.Array]:
            best, there = proposals(anchors, scores, offsets, item["size"], item["scale"], PROPOSED)
            objects = jnp.all(item["boxes"][:, 2:] > 0, axis=1)
            return {"found": jnp.sum(found(item["boxes"], best, there) & objects), "objects": jnp.sum(objects)}

        return jax.vmap(one)(outputs.scores, outputs.offsets, items)

    on_all = held_out.on_all(measure, config.held_out, config.batch, devices, notice)

    def run(state: TrainState) -> dict[str, float]:
        measured = on_all(state.params)
        return {"recall": float(measured["found"].sum() / max(measured["objects"].sum(), 1))}

    return run
