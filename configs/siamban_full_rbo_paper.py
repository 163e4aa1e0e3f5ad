"""SiamBAN on all datasets: both ranking losses of RBO as printed.

python train.py --config configs/siamban_full_rbo_paper.py

Hardware: made for three devices, as its reference; has not been run.
The paper has no number for it.
"""

from jaxtrack.training import presets
from jaxtrack.training.config import TrainConfig


def config() -> TrainConfig:
    """The configuration of the experiment."""
    return presets.as_printed(presets.siamban("siamban_full_rbo_paper", presets.CR_IGR, "full"))
