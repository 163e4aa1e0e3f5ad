"""TransT on GOT-10k alone: cross entropy, L1 and GIoU.

python train.py --config configs/transt_got10k.py

Hardware: made for several GPUs; has not been run.
The paper's number: AO 72.3 on GOT-10k's test videos (RBO, Table 5).
"""

from jaxtrack.training import presets
from jaxtrack.training.config import TrainConfig


def config() -> TrainConfig:
    """The configuration of the experiment."""
    return presets.transt("transt_got10k", presets.BASELINE, "got10k")
