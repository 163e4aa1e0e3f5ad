"""Multi-domain trainings that config files choose from."""

import dataclasses
from pathlib import Path

from jaxtrack.trackers.mdnet import Ranking
from jaxtrack.training.domains.config import FROM_IMAGENET, DomainConfig, Sampling
from jaxtrack.training.domains.videos import Dataset

# MDNet: 32 positives and 96 negatives, cross entropy, 100 cycles (specification 2.6).
MDNET = DomainConfig()
# RankLoc: 32 and 32, a margin between positives, the location feature, 200 cycles (R5, R7, R10).
RANKLOC = DomainConfig(sampling=Sampling(negatives=4), loss=Ranking(ranking=0.5), location="normalised", epochs=200)


def procedural(name: str, method: DomainConfig) -> DomainConfig:
    """A narrow network from random numbers, on rendered videos."""
    return dataclasses.replace(method, name=name)


def vot58(name: str, method: DomainConfig) -> DomainConfig:
    """The published network from ImageNet's weights, on the 58 sequences of VOT that are not in OTB.

    RankLoc learns at one rate, 2e-4, in all layers (R11).
    """
    same = {"warmup_rate": 2e-4, "rate": 2e-4, "last_rate": 2e-4, "backbone_factor": 1.0}
    ranked = method.loss.ranking > 0
    return dataclasses.replace(
        method,
        name=name,
        architecture="mdnet_vggm",
        source=Dataset("vot58", Path("data/vot")),
        optimiser=dataclasses.replace(FROM_IMAGENET, **same) if ranked else FROM_IMAGENET,
        steps_per_epoch=58,
        start="vgg_m",
    )
