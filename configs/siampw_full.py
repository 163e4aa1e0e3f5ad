"""SiamPW on all datasets: cross entropy and box loss.

python train.py --config configs/siampw_full.py

Hardware: made for four devices, as its reference; has not been run.
The paper has no number for it.
"""

from jaxtrack.training import presets
from jaxtrack.training.config import TrainConfig


def config() -> TrainConfig:
    """The configuration of the experiment."""
    return presets.siampw("siampw_full", presets.BASELINE, "full")
