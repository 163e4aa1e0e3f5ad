"""The configuration of the training of a region proposal network."""

import dataclasses
from typing import Any, ClassVar

from jaxtrack.errors import UserError, check_numbers
from jaxtrack.training import optimiser as optimisers
from jaxtrack.training.config import Training
from jaxtrack.training.detection.anchors import Labels
from jaxtrack.training.optimiser import Optimiser
from jaxtrack.training.stills.sources import Annotated, Rendered

CONVOLUTIONS = ("conv1", "conv2", "conv3", "conv4", "conv5")

# py-faster-rcnn's, for a backbone that has learnt to classify: three quarters at 0.001, the last one at a tenth of it.
PUBLISHED = Optimiser(
    method="sgd",
    schedule="step",
    warmup_rate=1e-3,
    rate=1e-3,
    last_rate=1e-4,
    warmup_epochs=0,
    momentum=0.9,
    weight_decay=5e-4,
    clip=1e9,  # none
    backbone_factor=1.0,
    frozen_epochs=0,
    trained_backbone=CONVOLUTIONS,
)
# At the Siamese trainings' 1e-3 a short training finds .21 of the objects, at 3e-4 .57 (docs/mdnet.md).
FROM_NOTHING = dataclasses.replace(optimisers.FROM_NOTHING, rate=3e-4, trained_backbone=CONVOLUTIONS)


@dataclasses.dataclass(frozen=True)
class DetectionConfig(Training):
    """The training of a region proposal network with ZF's layers, whose features RPN2T tracks by."""

    counted: ClassVar[str] = "images"
    measure: ClassVar[str] = "recall"

    name: str = "rpn"
    """What results and weights are called."""
    architecture: str = "rpn2t_small_teacher"
    """The network: a teacher of `jaxtrack.models.rpn2t.ARCHITECTURES`, whose file is without the scores and offsets of
    anchors, or `zf_rpn`, the published one with all."""
    source: Rendered | Annotated = dataclasses.field(default_factory=Rendered)
    """The images."""
    labels: Labels = Labels()
    """What of an image is learnt."""
    box_weight: float = 1.0
    """Of the loss of boxes; that of classes has 1."""
    bias_factor: float = 2.0
    """Factor of the rate for biases."""
    optimiser: Optimiser = FROM_NOTHING
    """How parameters follow gradients."""
    batch: int = 1
    """Images in a step, over all devices and processes."""
    epochs: int = 4
    """Epochs; of py-faster-rcnn's 80,000 steps the last quarter has a tenth of the rate."""
    steps_per_epoch: int = 20_000
    """Steps in an epoch, whatever the batch."""
    checkpoint_steps: int = 1000
    """Steps between checkpoints."""
    validation: Rendered | Annotated | None = dataclasses.field(
        default_factory=lambda: Rendered(48, frames=2, spacing=30.0, split="validation")
    )
    """Other images, for the validation; None for none."""

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be."""
        super().__post_init__()
        check_numbers(self, positive=("bias_factor",), not_negative=("box_weight",))
        if self.validation == self.source:
            raise UserError("validation of a training of proposals needs other images than its source, or none")

    @property
    def held_out(self) -> Any:
        """The images of the validation."""
        return self.validation
