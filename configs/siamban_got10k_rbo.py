"""SiamBAN on GOT-10k alone: both ranking losses of RBO as released.

python train.py --config configs/siamban_got10k_rbo.py

Hardware: made for three devices, as its reference; has not been run.
The paper's number: AO 60.8 on GOT-10k's test videos (Table 2).
"""

from jaxtrack.training import presets
from jaxtrack.training.config import TrainConfig


def config() -> TrainConfig:
    """The configuration of the experiment."""
    return presets.siamban("siamban_got10k_rbo", presets.CR_IGR, "got10k")
