"""The configuration of a distillation (RPN2T's second contribution)."""

import dataclasses
from typing import Any, ClassVar

from jaxtrack.errors import UserError, check_numbers
from jaxtrack.training.config import Training
from jaxtrack.training.detection.config import CONVOLUTIONS
from jaxtrack.training.optimiser import Optimiser
from jaxtrack.training.stills.batches import Fit
from jaxtrack.training.stills.sources import Annotated, Folder, Rendered

# The paper does not say; Adam without decay, as the student begins near its teacher.
ADAM = Optimiser(
    method="adamw",
    schedule="cosine",
    warmup_rate=1e-4,
    rate=1e-4,
    last_rate=1e-5,
    warmup_epochs=0,
    weight_decay=0.0,
    clip=1e9,  # none
    backbone_factor=1.0,
    frozen_epochs=0,
    trained_backbone=CONVOLUTIONS,
)
_FRAME = Fit(shorter_px=0, canvas=(240, 320))


@dataclasses.dataclass(frozen=True)
class Regions:
    """The parts of an image that teacher and student look at."""

    least_side_px: float = 32.0
    """Side of the smallest region: the root of its area. The greatest one of its shape just fits the image."""
    aspect: float = 2.0
    """Greatest ratio of width and height, and of height and width."""
    whole: float = 0.125
    """Share of regions that are the whole image."""

    def __post_init__(self) -> None:
        """Refuses numbers that no region has."""
        check_numbers(self, positive=("least_side_px", "aspect"), not_negative=("whole",))
        if self.aspect < 1 or self.whole > 1:
            raise UserError("aspect of Regions must be at least 1, and whole at most 1")


@dataclasses.dataclass(frozen=True)
class DistillationConfig(Training):
    """The training of a student whose maps of conv5 are to be its teacher's.

    `start` is the teacher's file, and must be given; the student begins with its weights.
    """

    counted: ClassVar[str] = "regions"
    measure: ClassVar[str] = "explained"

    name: str = "student"
    """What results and weights are called."""
    architecture: str = "rpn2t_small_student"
    """The student (`jaxtrack.models.rpn2t.ARCHITECTURES`); its teacher has the same widths."""
    source: Rendered | Folder | Annotated = dataclasses.field(default_factory=lambda: Rendered(fit=_FRAME))
    """The images."""
    regions: Regions = Regions()
    """What of an image is looked at."""
    optimiser: Optimiser = ADAM
    """How parameters follow gradients."""
    batch: int = 64
    """Regions in a step, each of another image, over all devices and processes."""
    epochs: int = 20
    """Epochs; with `steps_per_epoch` 40,000 steps."""
    steps_per_epoch: int = 2000
    """Steps in an epoch, whatever the batch."""
    checkpoint_steps: int = 1000
    """Steps between checkpoints."""
    validation: Rendered | Folder | Annotated | None = dataclasses.field(
        default_factory=lambda: Rendered(48, frames=2, spacing=30.0, fit=_FRAME, split="validation")
    )
    """Other images, for the validation; None for none."""

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be."""
        super().__post_init__()
        if self.validation == self.source:
            raise UserError("validation of a distillation needs other images than its source, or none")

    @property
    def held_out(self) -> Any:
        """The images of the validation."""
        return self.validation
