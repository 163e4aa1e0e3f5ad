"""MDNet from VGG-M on 58 sequences of VOT: 100 cycles of multi-domain training.

python train.py --config configs/mdnet_vot58.py

Needs the sequences in data/vot, as vot2013, vot2014 and vot2015, and the weights `vgg_m` (MatConvNet's
imagenet-vgg-m, imported). Hardware: made for a GPU; has not been run.
The paper's number: an AUC of 0.678 on OTB-100.
"""

from jaxtrack.training.domains import presets
from jaxtrack.training.domains.config import DomainConfig


def config() -> DomainConfig:
    """The configuration of the experiment."""
    return presets.vot58("mdnet_vot58", presets.MDNET)
