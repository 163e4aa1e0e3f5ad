"""SiamRPN++ on GOT-10k alone: both ranking losses of RBO as released.

python train.py --config configs/siamrpn_got10k_rbo.py

Hardware: made for four devices, as its reference; has not been run.
The paper's number: AO 60.2 on GOT-10k's test videos (Table 2).
"""

from jaxtrack.training import presets
from jaxtrack.training.config import TrainConfig


def config() -> TrainConfig:
    """The configuration of the experiment."""
    return presets.siamrpn("siamrpn_got10k_rbo", presets.CR_IGR, "got10k")
