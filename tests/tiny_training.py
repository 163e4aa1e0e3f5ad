"""A training small enough for tests: bright squares on noise, a network of a few channels."""

import dataclasses

import jax
import jax.numpy as jnp

from jaxtrack.data.procedural_pairs import Pair
from jaxtrack.models import siamese
from jaxtrack.models.necks import AdjustLayers
from jaxtrack.models.siamese_heads import BANHead
from jaxtrack.models.small_resnet import SmallResNet
from jaxtrack.training.config import TrainConfig
from jaxtrack.training.objective import Objective
from jaxtrack.training.optimiser import Optimiser
from jaxtrack.training.sources import sample_numbers

ARCHITECTURE = siamese.Architecture(
    SmallResNet((4, 4, 8), ((), (), (1,))), AdjustLayers(8), BANHead(levels=1, features=8, weighted=False), "points"
)
OPTIMISER = Optimiser(
    rate=0.02, warmup_rate=0.01, last_rate=0.01, warmup_epochs=1, frozen_epochs=1, trained_backbone=("stage2", "stage3")
)

# A config file for the command `train`.
FILE = '''
import dataclasses
import tiny_training


def config():
    """Four pairs a step, the whole network from the start."""
    return tiny_training.config(
        optimiser=dataclasses.replace(tiny_training.OPTIMISER, frozen_epochs=0),
        batch=4, epochs=1, steps_per_epoch=50, checkpoint_steps=2, validation_pairs=4,
    )
'''


@dataclasses.dataclass(frozen=True)
class Squares:
    """A bright square in the middle of the template and anywhere near the middle of the search region."""

    split: str = "train"

    def batches(self, first_step, batch, process, processes):
        step = first_step
        while True:
            yield sample_numbers(step, batch, process, processes)
            step += 1

    def pairs(self, items):
        return jax.vmap(_squares)(items)


def _squares(number):
    key = jax.random.fold_in(jax.random.key(7), number)
    keys = jax.random.split(key, 4)
    centre = 127.0 + jax.random.uniform(keys[0], (2,), minval=-40.0, maxval=40.0)
    half = jax.random.uniform(keys[1], (), minval=20.0, maxval=40.0)

    def image(noise_key, side, middle):
        x = jnp.arange(side, dtype=jnp.float32)
        inside = [jnp.abs(x - m) < half for m in middle]
        square = (inside[1][:, None] & inside[0][None, :]).astype(jnp.float32)
        return 60.0 * jax.random.uniform(noise_key, (side, side, 3)) + 150.0 * square[..., None]

    box = jnp.concatenate([centre - half, centre + half])
    return Pair(
        template=image(keys[2], 127, jnp.full(2, 63.0)),
        search=image(keys[3], 255, centre),
        box_xyxy=box,
        negative=number % 5 == 4,
    )


def perturbed(initial):
    """`loop.initial_variables` with no parameter at 0: relative errors of tiny ones would say nothing."""

    def variables(config, recipe):
        start = initial(config, recipe)
        flat, structure = jax.tree.flatten(start["params"])
        flat = [leaf + 0.3 * jax.random.normal(jax.random.key(i), leaf.shape) for i, leaf in enumerate(flat)]
        return {**start, "params": jax.tree.unflatten(structure, flat)}

    return variables


def config(**changes) -> TrainConfig:
    """Twelve steps of eight pairs, the backbone frozen for the first four."""
    defaults = {
        "name": "tiny",
        "architecture": "tiny",
        "source": Squares(),
        "optimiser": OPTIMISER,
        "objective": Objective(classification_ranking=0.5, iou_ranking=0.25),
        "batch": 8,
        "epochs": 3,
        "steps_per_epoch": 4,
        "checkpoint_steps": 3,
        "validation_pairs": 0,
        "sync_norm": True,
    }
    return TrainConfig(**{**defaults, **changes})  # type: ignore[arg-type]


def arguments(file, out, *more):
    """The options of `train` for four steps by a file such as `FILE`, into a folder."""
    return ["--config", str(file), "--out", str(out), "--set.steps-per-epoch", "4", *more]
