"""A narrow MDNet from random numbers on 64 rendered videos: 30 cycles of multi-domain training.

python train.py --config configs/mdnet_procedural.py

Hardware: two CPU cores, 29 minutes beside another training. The videos take 354 MB of memory. Its weights come with
jaxtrack, for the tracker `mdnet_small`; docs/mdnet.md has its numbers. The paper has none for it.
"""

from jaxtrack.training.domains import presets
from jaxtrack.training.domains.config import DomainConfig


def config() -> DomainConfig:
    """The configuration of the experiment."""
    return presets.procedural("mdnet_procedural", presets.MDNET)
