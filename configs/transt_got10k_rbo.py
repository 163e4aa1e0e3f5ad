"""TransT on GOT-10k alone: both ranking losses of RBO as well.

python train.py --config configs/transt_got10k_rbo.py

Hardware: made for several GPUs; has not been run.
The paper's number: AO 72.7 on GOT-10k's test videos (Table 5).
"""

from jaxtrack.training import presets
from jaxtrack.training.config import TrainConfig


def config() -> TrainConfig:
    """The configuration of the experiment."""
    return presets.transt("transt_got10k_rbo", presets.CR_IGR, "got10k")
