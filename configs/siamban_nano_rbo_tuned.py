"""SiamBAN-nano with RBO, a second training from the weights of the first, which are the default tracker's in the end.

python train.py --config configs/siamban_nano_rbo_tuned.py

Hardware: two CPU cores, 55 min. The paper's number for the same ablation with SiamBAN is an AUC of 0.6224 (Table 4,
over 352 sequences).
"""

import dataclasses

from jaxtrack.training import presets
from jaxtrack.training.config import TrainConfig
from jaxtrack.training.sources import Procedural


def config() -> TrainConfig:
    """The configuration of the experiment: six epochs of new pairs, at half the rate."""
    first = presets.nano("siamban_nano_rbo_tuned", presets.CR_IGR)
    optimiser = dataclasses.replace(first.optimiser, rate=5e-4)
    start = "runs/siamban_nano_rbo/siamban_nano_rbo.safetensors"
    return dataclasses.replace(first, epochs=6, optimiser=optimiser, source=Procedural(seed=1), start=start)
