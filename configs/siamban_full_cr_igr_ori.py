"""SiamBAN on all datasets: the classification ranking loss and RankDetNet's IoU-guided one.

python train.py --config configs/siamban_full_cr_igr_ori.py

Hardware: made for three devices, as its reference; has not been run.
The paper's number: an AUC of 60.92 over TC128, NFS30 and UAV123 (Table 4).
"""

from jaxtrack.training import presets
from jaxtrack.training.config import TrainConfig


def config() -> TrainConfig:
    """The configuration of the experiment."""
    return presets.siamban("siamban_full_cr_igr_ori", presets.CR_IGR_ORI, "full")
