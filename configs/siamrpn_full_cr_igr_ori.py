"""SiamRPN++ on all datasets: the classification ranking loss and RankDetNet's IoU-guided one.

python train.py --config configs/siamrpn_full_cr_igr_ori.py

Hardware: made for four devices, as its reference; has not been run.
The paper's number: an AUC of 60.87 over TC128, NFS30 and UAV123 (Table 4).
"""

from jaxtrack.training import presets
from jaxtrack.training.config import TrainConfig


def config() -> TrainConfig:
    """The configuration of the experiment."""
    return presets.siamrpn("siamrpn_full_cr_igr_ori", presets.CR_IGR_ORI, "full")
