"""Multi-domain trainings that config files choose from."""

import dataclasses
from pathlib import Path

from jaxtrack.models import mdnet
from jaxtrack.trackers.mdnet import CONFIGS, Ranking
from jaxtrack.training.domains.config import FROM_IMAGENET, DomainConfig, Sampling
from jaxtrack.training.domains.videos import Dataset

# MDNet: 32 positives and 96 negatives, cross entropy, 100 cycles (specification 2.6).
MDNET = DomainConfig()
# RankLoc: 32 and 32, a margin between positives, the location feature, 200 cycles (R5, R7, R10).
RANKLOC = DomainConfig(sampling=Sampling(negatives=4), loss=Ranking(ranking=0.5), location="normalised", epochs=200)


def procedural(name: str, method: DomainConfig) -> DomainConfig:
    """A narrow network from random numbers, on rendered videos, in 30 cycles.

    Its negatives are as near as a tracker's candidates: with MDNet's own, which are easier to tell from the target,
    features that are learnt from nothing tell near ones apart worse than random features do (docs/mdnet.md).
    """
    near = dataclasses.replace(method.sampling, negative_translation=0.6, negative_scale=1.2)
    return dataclasses.replace(method, name=name, sampling=near, epochs=30)


def vot58(name: str, method: DomainConfig, tracker: str = "") -> DomainConfig:
    """A published network from ImageNet's weights, on the 58 sequences of VOT that are not in OTB.

    RankLoc learns at one rate, 2e-4, in all layers (R11).

    Args:
      name: of the training.
      method: what is trained.
      tracker: whose network and weights it begins with; by default VGG-M and its own.
    """
    same = {"warmup_rate": 2e-4, "rate": 2e-4, "last_rate": 2e-4, "backbone_factor": 1.0}
    ranked = method.loss.ranking > 0
    optimiser = dataclasses.replace(FROM_IMAGENET, **same) if ranked else FROM_IMAGENET
    network, weights = "mdnet_vggm", "vgg_m"
    if tracker:
        network, weights = CONFIGS[tracker].architecture, CONFIGS[tracker].weights
    return dataclasses.replace(
        method,
        name=name,
        architecture=network,
        source=Dataset("vot58", Path("data/vot")),
        optimiser=dataclasses.replace(optimiser, trained_backbone=convolutions(network)),
        steps_per_epoch=58,
        start=weights,
    )


def convolutions(architecture: str) -> tuple[str, ...]:
    """The layers of a network's backbone: what a multi-domain training trains of it."""
    return tuple(mdnet.shapes(mdnet.ARCHITECTURES[architecture])["params"]["backbone"])
