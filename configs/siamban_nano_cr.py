"""SiamBAN-nano on rendered pairs: cross entropy, box loss and the classification ranking loss.

python train.py --config configs/siamban_nano_cr.py

Hardware: two CPU cores, 33 pairs/s (docs/training.md), about 2.7 hours. It has not been run to its end; what the losses
change is measured with a smaller network (docs/rbo.md). The paper's number for the same ablation with SiamBAN is an AUC
of 0.6115 (Table 4, over 352 sequences).
"""

from jaxtrack.training import presets
from jaxtrack.training.config import TrainConfig


def config() -> TrainConfig:
    """The configuration of the experiment."""
    return presets.nano("siamban_nano_cr", presets.CR)
