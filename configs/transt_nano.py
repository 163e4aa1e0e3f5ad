"""A small TransT on rendered pairs: cross entropy, L1 and GIoU.

python train.py --config configs/transt_nano.py

Hardware: two CPU cores; has not been run to its end.
No paper has a number for it.
"""

from jaxtrack.training import presets
from jaxtrack.training.config import TrainConfig


def config() -> TrainConfig:
    """The configuration of the experiment."""
    return presets.transt_nano("transt_nano", presets.BASELINE)
