"""SiamRPN++ on GOT-10k alone: cross entropy, box loss and the classification ranking loss.

python train.py --config configs/siamrpn_got10k_cr.py

Hardware: made for four devices, as its reference; has not been run.
The paper has no number for it.
"""

from jaxtrack.training import presets
from jaxtrack.training.config import TrainConfig


def config() -> TrainConfig:
    """The configuration of the experiment."""
    return presets.siamrpn("siamrpn_got10k_cr", presets.CR, "got10k")
