"""SiamPW on all datasets: the classification ranking loss and RankDetNet's IoU-guided one.

python train.py --config configs/siampw_full_cr_igr_ori.py

Hardware: made for four devices, as its reference; has not been run.
The paper has no number for it.
"""

from jaxtrack.training import presets
from jaxtrack.training.config import TrainConfig


def config() -> TrainConfig:
    """The configuration of the experiment."""
    return presets.siampw("siampw_full_cr_igr_ori", presets.CR_IGR_ORI, "full")
