"""The configuration of a multi-domain training (Nam and Han, CVPR 2016, section 3)."""

import dataclasses
from typing import Any, ClassVar, Literal

from jaxtrack.errors import UserError, check_numbers
from jaxtrack.trackers.mdnet import Ranking
from jaxtrack.training import optimiser as optimisers
from jaxtrack.training.config import Training
from jaxtrack.training.domains.videos import Benchmark, Dataset, Scenes
from jaxtrack.training.optimiser import Optimiser

CONVOLUTIONS = ("conv1", "conv2", "conv3")

# From the weights of an image classifier, as MDNet's authors do: constant rates, a tenth of it for convolutions.
FROM_IMAGENET = Optimiser(
    method="sgd",
    schedule="log",
    warmup_rate=1e-3,
    rate=1e-3,
    last_rate=1e-3,
    warmup_epochs=0,
    momentum=0.9,
    weight_decay=5e-4,
    clip=10.0,
    backbone_factor=0.1,
    frozen_epochs=0,
    trained_backbone=CONVOLUTIONS,
)
# At the Siamese trackers' 1e-3 nearly all channels of conv3 were 0 for every image after 2,000 steps.
FROM_NOTHING = dataclasses.replace(
    optimisers.FROM_NOTHING,
    warmup_rate=3e-5,
    rate=3e-4,
    backbone_factor=0.3,
    trained_backbone=CONVOLUTIONS,
)


@dataclasses.dataclass(frozen=True)
class Sampling:
    """The boxes of a frame that are learnt from; the defaults are MDNet's, 32 and 96 of 8 frames."""

    positives: int = 4
    """Boxes of the target."""
    negatives: int = 12
    """Boxes of the background; 4 in RankLoc."""
    positive_iou: float = 0.7
    """Least overlap of the former with the target's box."""
    negative_iou: float = 0.5
    """Greatest overlap of the latter."""
    positive_translation: float = 0.1
    """Farthest shift of the former in mean sides of the target."""
    positive_scale: float = 1.3
    """Their greatest factor of size."""
    negative_translation: float = 2.0
    """Farthest shift of the latter in mean sides of the target."""
    negative_scale: float = 1.6
    """Their greatest factor of size."""
    per_axis: bool = False
    """Shifts are in widths of the target along x and in heights along y, as in the Matlab code; else in mean sides."""

    def __post_init__(self) -> None:
        """Refuses numbers that give no boxes."""
        names = tuple(field.name for field in dataclasses.fields(self) if field.name != "per_axis")
        check_numbers(self, positive=names)
        for name in ("positive_iou", "negative_iou"):
            if getattr(self, name) >= 1:
                raise UserError(f"{name} of Sampling must be less than 1, not {getattr(self, name):g}")


@dataclasses.dataclass(frozen=True)
class DomainConfig(Training):
    """A training of MDNet's or RankLoc's network on many videos, each with a last layer of its own.

    A step trains on some frames of one video; as many steps as there are videos visit each of them once.
    """

    counted: ClassVar[str] = "frames"
    measure: ClassVar[str] = "auc"

    name: str = "mdnet"
    """What results and weights are called."""
    architecture: str = "mdnet_small"
    """The network (`jaxtrack.models.mdnet.ARCHITECTURES`)."""
    source: Scenes | Benchmark | Dataset = dataclasses.field(default_factory=Scenes)
    """The videos."""
    sampling: Sampling = Sampling()
    """Boxes of each frame."""
    loss: Ranking = Ranking()
    """What is minimised."""
    location: Literal["none", "normalised", "printed"] = "none"
    """The location feature, as for the tracker (`jaxtrack.trackers.mdnet.Config`)."""
    location_of: Literal["box", "crop"] = "box"
    """Whether it is that of the box or of the region that the network sees."""
    optimiser: Optimiser = FROM_NOTHING
    """How parameters follow gradients; the backbone's are the convolutions."""
    batch: int = 8
    """Frames in a step, all of one video, over all devices and processes."""
    epochs: int = 100
    """Epochs; with as many steps as there are videos they are MDNet's cycles."""
    steps_per_epoch: int = 64
    """Steps in an epoch."""
    validation: Scenes | Benchmark | Dataset | None = dataclasses.field(
        default_factory=lambda: Scenes(8, frames=8, split="validation")
    )
    """Other videos, for the validation; None for none."""

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be."""
        super().__post_init__()
        if self.validation == self.source:
            raise UserError("validation of a multi-domain training needs other videos than its source, or none")
        if self.optimiser.accumulate != 1:
            raise UserError(
                "accumulate of a multi-domain training must be 1: a step updates the last layer of one video alone"
            )

    @property
    def held_out(self) -> Any:
        """The videos of the validation."""
        return self.validation
