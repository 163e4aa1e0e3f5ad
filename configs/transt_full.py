"""TransT on all its datasets: cross entropy, L1 and GIoU.

python train.py --config configs/transt_full.py

Hardware: made for several GPUs; has not been run.
The paper's number: AUC 64.9 on LaSOT (RBO, Table 5).
"""

from jaxtrack.training import presets
from jaxtrack.training.config import TrainConfig


def config() -> TrainConfig:
    """The configuration of the experiment."""
    return presets.transt("transt_full", presets.BASELINE, "full")
