"""TransT on all its datasets: both ranking losses of RBO as well.

python train.py --config configs/transt_full_rbo.py

Hardware: made for several GPUs; has not been run.
The paper's number: AUC 65.6 on LaSOT (Table 5); nothing else of that training is published.
"""

from jaxtrack.training import presets
from jaxtrack.training.config import TrainConfig


def config() -> TrainConfig:
    """The configuration of the experiment."""
    return presets.transt("transt_full_rbo", presets.CR_IGR, "full")
