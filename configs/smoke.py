"""A short training, to see that everything works: 20 steps of the smallest network.

python train.py --config configs/smoke.py

Hardware: two CPU cores. The first time, which compiles its programs, takes about a minute and a half (104 s of the
cores' time); once they are in the cache (README.md, "Compiled programs"), seconds (18 s of the cores' time). It learns
nothing worth a number.
"""

import dataclasses

from jaxtrack.training import presets
from jaxtrack.training.config import TrainConfig


def config() -> TrainConfig:
    """The configuration of the experiment."""
    return dataclasses.replace(
        presets.NANO,
        name="smoke",
        architecture="siamban_pico",
        objective=presets.CR_IGR,
        batch=8,
        epochs=2,
        steps_per_epoch=10,
        checkpoint_steps=10,
        validation_pairs=16,
    )
