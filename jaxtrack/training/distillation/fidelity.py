"""How much of the teacher's maps a student makes, of regions of images that were not trained on."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxtrack.training.distillation.config import DistillationConfig
from jaxtrack.training.distillation.recipe import Recipe
from jaxtrack.training.keys import seed_key
from jaxtrack.training.stills import held_out
from jaxtrack.training.task import TrainState


def validator(
    config: DistillationConfig,
    recipe: Recipe,
    devices: Sequence[Any] | None = None,
    notice: Callable[[], None] | None = None,
) -> Callable[[TrainState], dict[str, float]]:
    """The function that gives a state's `relative_error`, |t - s|^2 / |t|^2 over all maps, and `explained`, 1 less it.

    Args:
      config: the training's.
      recipe: what it is made of.
      devices: by default all; those of this process share the images. Each process measures all of them.
      notice: called while compiling takes long.
    """

    def measure(variables: Any, items: Any, numbers: jax.Array) -> dict[str, jax.Array]:
        keys = jax.vmap(lambda number: jax.random.fold_in(seed_key(0), number))(numbers)
        teacher, student = recipe.maps(variables, items, keys)
        cells = (1, 2, 3)
        difference = student - teacher
        return {
            "error": jnp.sum(difference * difference, axis=cells),
            "all": jnp.sum(teacher * teacher, axis=cells),
        }

    on_all = held_out.on_all(measure, config.held_out, config.batch, devices, notice)

    def run(state: TrainState) -> dict[str, float]:
        measured = on_all({"params": state.params, "batch_stats": state.batch_stats})
        relative = float(measured["error"].sum() / measured["all"].sum())
        return {"relative_error": relative, "explained": 1.0 - relative}

    return run
