"""SiamPW on all datasets: both ranking losses of RBO as released.

python train.py --config configs/siampw_full_rbo.py

Hardware: made for four devices, as its reference; has not been run.
The paper has no number for it.
"""

from jaxtrack.training import presets
from jaxtrack.training.config import TrainConfig


def config() -> TrainConfig:
    """The configuration of the experiment."""
    return presets.siampw("siampw_full_rbo", presets.CR_IGR, "full")
