"""A small TransT on rendered pairs: both ranking losses of RBO as well.

python train.py --config configs/transt_nano_rbo.py

Hardware: two CPU cores; has not been run to its end.
No paper has a number for it.
"""

from jaxtrack.training import presets
from jaxtrack.training.config import TrainConfig


def config() -> TrainConfig:
    """The configuration of the experiment."""
    return presets.transt_nano("transt_nano_rbo", presets.CR_IGR)
