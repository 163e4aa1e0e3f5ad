"""SiamBAN-nano on rendered pairs: both ranking losses of RBO.

python train.py --config configs/siamban_nano_rbo.py

Hardware: two CPU cores, 33 pairs/s (docs/training.md). The state after 4,512 of the 10,000 steps is shipped as
`siamban_nano`: AUC 0.548, P@20 0.833 on 13 real targets (docs/siamese.md). The paper's number for the same ablation
with SiamBAN is an AUC of 0.6224 (Table 4, over 352 sequences).

The shipped state was saved because the training was stopped there. On two CPU devices, by the code of the commit that
the weights' record names, these make it again:

python train.py --config configs/siamban_nano_rbo.py --set.checkpoint-steps 4512 --set.keep 3
python train.py --config configs/siamban_nano_rbo.py --set.checkpoint-steps 4512 --set.keep 3 --export 4512
"""

from jaxtrack.training import presets
from jaxtrack.training.config import TrainConfig


def config() -> TrainConfig:
    """The configuration of the experiment."""
    return presets.nano("siamban_nano_rbo", presets.CR_IGR)
