"""The configuration of a training: what `configs/*.py` return for `python train.py`."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Literal

from jaxtrack.data.naming import match_name
from jaxtrack.errors import UserError, check_numbers, check_whole
from jaxtrack.training.labels import AnchorLabels, EllipseLabels, TokenLabels
from jaxtrack.training.objective import Objective
from jaxtrack.training.optimiser import FROM_NOTHING, Optimiser, stages
from jaxtrack.training.sources import Disk, FactorDisk, Procedural

_LAST_SEED = 2**31 - 1  # as of a run of a tracker
_SAMPLES = 2**32  # their numbers are words of 32 bits


@dataclasses.dataclass(frozen=True)
class Training:
    """What every training has; the loop knows no more of it than this (see `jaxtrack.training.kinds`)."""

    counted: ClassVar[str] = "samples"
    """What a batch is counted in."""
    measure: ClassVar[str] = ""
    """The measure of a validation by which a checkpoint is the best."""

    name: str = "training"
    """What results and weights are called."""
    architecture: str = ""
    """The network."""
    source: Any = None
    """Where batches come from."""
    optimiser: Optimiser = FROM_NOTHING
    """How parameters follow gradients."""
    batch: int = 32
    """Samples in a step, over all devices and processes."""
    epochs: int = 20
    """Epochs; the rate may change from one to the next."""
    steps_per_epoch: int = 500
    """Steps in an epoch, whatever the batch: with another batch, set this too for epochs of as many samples."""
    seed: int = 0
    """Of initial parameters and of what a step draws."""
    checkpoint_steps: int = 500
    """Steps between checkpoints."""
    keep: int = dataclasses.field(default=2, metadata={"compared": False})
    """Newest checkpoints that are kept, besides the one with the best validation."""
    keep_from_epoch: int = dataclasses.field(default=0, metadata={"compared": False})
    """The checkpoints after so many epochs and after each further one are made and never deleted; 0 for none."""
    start: str = dataclasses.field(default="", metadata={"compared": False})
    """Weights to start from: a safetensors file of the same architecture, or of its backbone alone; empty for random
    ones."""

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be, and a source of what is held out."""
        positive = ("batch", "epochs", "steps_per_epoch", "checkpoint_steps", "keep")
        check_whole(self, *positive, "keep_from_epoch", "seed")
        check_numbers(self, positive=positive, not_negative=("keep_from_epoch",))
        if not self.name.isidentifier():
            raise UserError(f"name of {type(self).__name__} must be letters, digits and underscores, not {self.name!r}")
        if getattr(self.source, "split", "train") != "train":
            raise UserError(f"a training is on the split train of its source, not on {self.source.split}: leave it out")
        for owner in (self, self.source):
            seed = getattr(owner, "seed", 0)  # a source of somebody's own need have none
            if not 0 <= seed <= _LAST_SEED:
                raise UserError(f"seed of {type(owner).__name__} must be between 0 and {_LAST_SEED}, not {seed}")
        if self.batch * self.steps > _SAMPLES:
            raise UserError(
                f"{self.batch * self.steps} samples are more than there are numbers for, {_SAMPLES}: take fewer epochs"
            )
        self._check_accumulation()

    def _check_accumulation(self) -> None:
        """`UserError` where a stage would end, and its optimiser with it, between the batches of an update."""
        count, begun = self.optimiser.accumulate, stages(self.optimiser, self.epochs, self.steps_per_epoch)
        ends = [*(stage.first_step for stage in begun[1:]), self.steps]
        for stage, end in zip(begun, ends, strict=True):
            steps = end - stage.first_step
            if steps % count:
                raise UserError(
                    f"accumulate of Optimiser makes an update of {count} steps, and the stage {stage.name!r} has "
                    f"{steps}: the last {steps % count} would change nothing; take --set.steps-per-epoch "
                    f"{self.steps_per_epoch // count * count or count}"
                )

    def check_devices(self, count: int) -> None:
        """`UserError` where the training cannot run on so many devices."""
        if self.batch % count:
            sizes = sorted({max(self.batch // count, 1) * count, (self.batch // count + 1) * count})
            near = " or ".join(map(str, sizes))
            raise UserError(f"a batch of {self.batch} does not divide over {count} devices: take {near}")

    def check_architecture(self, known: Collection[str], what: str = "architecture") -> None:
        """`UserError` unless the network is called by its very name: files of weights are told by it.

        Args:
          known: the names of the networks that can be trained so.
          what: what they are names of, for the message.
        """
        if self.architecture not in known:
            meant = match_name(self.architecture, sorted(known), what=what)
            raise UserError(f"There is no {what} called {self.architecture!r}: did you mean {meant}?")

    @property
    def held_out(self) -> Any:
        """The source of the validation; None for no validation."""
        return None

    @property
    def sources(self) -> Mapping[str, Any]:
        """The sources by their use, `train` and, if there is one, `validation`."""
        uses = {"train": self.source, "validation": self.held_out}
        return {use: source for use, source in uses.items() if source is not None}

    @property
    def best(self) -> str | None:
        """The measure that the best checkpoint is found by; None without validation."""
        return None if self.held_out is None else self.measure

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.epochs * self.steps_per_epoch

    @property
    def kept_steps(self) -> frozenset[int]:
        """Steps whose checkpoints are never deleted (see `keep_from_epoch`)."""
        epochs = range(self.keep_from_epoch, self.epochs + 1) if self.keep_from_epoch else ()
        return frozenset(epoch * self.steps_per_epoch for epoch in epochs)


@dataclasses.dataclass(frozen=True)
class TrainConfig(Training):
    """A training of a Siamese network."""

    counted: ClassVar[str] = "pairs"
    measure: ClassVar[str] = "iou"

    name: str = "siamban_nano"
    """What results and weights are called."""
    architecture: str = "siamban_nano"
    """The network (`jaxtrack.models.siamese.ARCHITECTURES`)."""
    source: Procedural | Disk | FactorDisk = dataclasses.field(default_factory=Procedural)
    """Where pairs come from."""
    labels: AnchorLabels | EllipseLabels | TokenLabels = dataclasses.field(default_factory=EllipseLabels)
    """How candidates are labelled."""
    objective: Objective = dataclasses.field(default_factory=Objective)
    """What is minimised."""
    batch: int = 32
    """Pairs in a step, over all devices and processes."""
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
    validation_pairs: int = 256
    """Pairs of the validation split; 0 for no validation."""

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be."""
        super().__post_init__()
        check_numbers(self, not_negative=("validation_pairs", "reference_devices"))
        if self.scale_to_reference and not (self.reference_devices and self.normalisation == "per_device"):
            raise UserError("--set.scale-to-reference needs --set.reference-devices and --set.normalisation per_device")

    def check_devices(self, count: int) -> None:
        """As for all trainings; sums of gradients are right for one number of devices alone."""
        super().check_devices(count)
        wanted = self.reference_devices
        if self.normalisation == "per_device" and wanted not in (0, count) and not self.scale_to_reference:
            raise UserError(
                f"{self.name} sums the gradients of {wanted} devices, as its reference does, and there are {count}: "
                f"--set.scale-to-reference multiplies their sum by {wanted}/{count}, for which its rates are right, "
                "--set.reference-devices 0 sums those that there are, with rates of your own"
            )

    @property
    def held_out(self) -> Any:
        """The pairs of the validation."""
        return dataclasses.replace(self.source, split="validation") if self.validation_pairs else None
