"""The configuration of a training: what `configs/*.py` return for `python train.py`."""

import dataclasses
from typing import Literal

from jaxtrack.errors import UserError, check_numbers
from jaxtrack.training.labels import AnchorLabels, EllipseLabels
from jaxtrack.training.objective import Objective
from jaxtrack.training.optimiser import FROM_NOTHING, Optimiser
from jaxtrack.training.sources import Disk, Procedural


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A training of a Siamese network."""

    name: str = "siamban_nano"
    """What results and weights are called."""
    architecture: str = "siamban_nano"
    """The network (`jaxtrack.models.siamese.ARCHITECTURES`)."""
    source: Procedural | Disk = dataclasses.field(default_factory=Procedural)
    """Where pairs come from."""
    labels: AnchorLabels | EllipseLabels = dataclasses.field(default_factory=EllipseLabels)
    """How candidates are labelled."""
    objective: Objective = dataclasses.field(default_factory=Objective)
    """What is minimised."""
    optimiser: Optimiser = FROM_NOTHING
    """How."""
    batch: int = 32
    """Pairs in a step, over all devices and processes."""
    epochs: int = 20
    """Epochs; the rate may change from one to the next."""
    steps_per_epoch: int = 500
    """Steps in an epoch."""
    seed: int = 0
    """Of initial parameters and labels; pairs have their source's."""
    normalisation: Literal["mean", "per_device"] = "mean"
    """Losses as means over the whole batch, or over each device's share with gradients summed (the references')."""
    reference_devices: int = 0
    """With `per_device`, the number of devices that the rates were made for; 0 takes any."""
    scale_to_reference: bool = False
    """On another number of devices, multiply the sum of the gradients by `reference_devices` over that number, so that
    the rates stay right; without, that is refused."""
    sync_norm: bool = False
    """Whether batch statistics are those of all devices."""
    compute: Literal["float32", "bfloat16"] = "float32"
    """Of convolutions and of the maps between them, forward and backward; all else is float32."""
    checkpoint_steps: int = 500
    """Steps between checkpoints."""
    keep: int = dataclasses.field(default=2, metadata={"compared": False})
    """Newest checkpoints that are kept, besides the one with the best validation."""
    keep_from_epoch: int = dataclasses.field(default=0, metadata={"compared": False})
    """The checkpoints after so many epochs and after each further one are made and never deleted; 0 for none."""
    validation_pairs: int = 256
    """Pairs of the validation split; 0 for no validation."""
    start: str = dataclasses.field(default="", metadata={"compared": False})
    """Weights to start from: a safetensors file of the same architecture, or of its backbone alone; empty for random
    ones."""

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be."""
        positive = ("batch", "epochs", "steps_per_epoch", "checkpoint_steps", "keep")
        check_numbers(
            self, positive=positive, not_negative=("validation_pairs", "reference_devices", "keep_from_epoch")
        )
        if self.scale_to_reference and not (self.reference_devices and self.normalisation == "per_device"):
            raise UserError('scale_to_reference needs reference_devices and the normalisation "per_device"')
        if not self.name.isidentifier():
            raise UserError(f"name of TrainConfig must be letters, digits and underscores, not {self.name!r}")

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.epochs * self.steps_per_epoch

    @property
    def kept_steps(self) -> frozenset[int]:
        """Steps whose checkpoints are never deleted (see `keep_from_epoch`)."""
        epochs = range(self.keep_from_epoch, self.epochs + 1) if self.keep_from_epoch else ()
        return frozenset(epoch * self.steps_per_epoch for epoch in epochs)
