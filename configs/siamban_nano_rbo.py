"""SiamBAN-nano on rendered pairs: both ranking losses of RBO.

python train.py --config configs/siamban_nano_rbo.py

Hardware: two CPU cores. The paper's number for the same ablation with SiamBAN is an AUC of
0.6224 (Table 4, over 352 sequences).
"""

from jaxtrack.training import presets
from jaxtrack.training.config import TrainConfig


def config() -> TrainConfig:
    """The configuration of the experiment."""
    return presets.nano("siamban_nano_rbo", presets.CR_IGR)
