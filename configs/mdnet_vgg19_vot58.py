"""MDNet on VGG-19 instead of VGG-M, on 58 sequences of VOT: 100 cycles of multi-domain training.

python train.py --config configs/mdnet_vgg19_vot58.py

Needs the sequences in data/vot, as vot2013, vot2014 and vot2015, and the weights
`vgg19` (MatConvNet's imagenet-vgg-verydeep-19, imported). Hardware: made for a GPU; has not been run.
No paper has a number for it.
"""

from jaxtrack.training.domains import presets
from jaxtrack.training.domains.config import DomainConfig


def config() -> DomainConfig:
    """The configuration of the experiment."""
    return presets.vot58("mdnet_vgg19_vot58", presets.MDNET, "mdnet_vgg19")
