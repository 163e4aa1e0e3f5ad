"""SiamRPN++ on all datasets: cross entropy, box loss and the classification ranking loss.

python train.py --config configs/siamrpn_full_cr.py

Hardware: made for four devices, as its reference; has not been run.
The paper's number: an AUC of 60.63 over TC128, NFS30 and UAV123 (Table 4).
"""

from jaxtrack.training import presets
from jaxtrack.training.config import TrainConfig


def config() -> TrainConfig:
    """The configuration of the experiment."""
    return presets.siamrpn("siamrpn_full_cr", presets.CR, "full")
