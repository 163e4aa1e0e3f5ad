"""SiamRPN++ on all datasets: both ranking losses of RBO as released.

python train.py --config configs/siamrpn_full_rbo.py

Hardware: made for four devices, as its reference; has not been run.
The paper's number: an AUC of 62.08 over TC128, NFS30 and UAV123 (Table 4).
"""

from jaxtrack.training import presets
from jaxtrack.training.config import TrainConfig


def config() -> TrainConfig:
    """The configuration of the experiment."""
    return presets.siamrpn("siamrpn_full_rbo", presets.CR_IGR, "full")
