"""A short training of the smallest TransT with the ranking losses, to see that everything works: 20 steps.

python train.py --config configs/transt_smoke.py

Hardware: two CPU cores. It learns nothing worth a number.
"""

import dataclasses

from jaxtrack.training import presets
from jaxtrack.training.config import TrainConfig


def config() -> TrainConfig:
    """The configuration of the experiment."""
    return dataclasses.replace(
        presets.transt_nano("transt_smoke", presets.CR_IGR),
        architecture="transt_pico",
        batch=8,
        epochs=2,
        steps_per_epoch=10,
        checkpoint_steps=10,
        validation_pairs=16,
    )
