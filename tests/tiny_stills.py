"""Trainings on single images small enough for tests: a bright square on noise, networks of a few channels."""

import dataclasses
import functools

import numpy as np

from jaxtrack.models.rpn import AnchorHead
from jaxtrack.models.rpn2t import Architecture
from jaxtrack.models.zf import STUDENT_PX, ZF
from jaxtrack.training.detection.config import FROM_NOTHING, DetectionConfig
from jaxtrack.training.distillation.config import ADAM, DistillationConfig, Regions
from jaxtrack.training.stills.batches import Fit, Still, Stills

_WIDTHS = (4, 6, 6, 6, 8)
TEACHER = Architecture(ZF(_WIDTHS), AnchorHead(8))
STUDENT = Architecture(ZF(_WIDTHS, "student_a"), AnchorHead(8), STUDENT_PX)
ARCHITECTURES = {"tiny_teacher": TEACHER, "tiny_student": STUDENT}
SIDE = 192


@dataclasses.dataclass(frozen=True)
class Squares(Stills):
    """Images of one square each."""

    count: int = 12
    seed: int = 0
    fit: Fit = Fit(shorter_px=0, canvas=(SIDE, SIDE))

    def stills(self):
        return tuple(self._still(number) for number in range(self.count))

    def _still(self, number):
        random = np.random.default_rng([self.seed, number])
        pixels = random.integers(60, 130, (SIDE, SIDE, 3), np.uint8)
        side = int(random.integers(56, 72))
        x, y = random.integers(0, SIDE - side, 2).tolist()
        pixels[y : y + side, x : x + side] = random.integers(200, 255, 3)
        return Still(f"{number}", functools.partial(np.asarray, pixels), np.asarray([[x, y, side, side]], np.float32))


def detection(**changes) -> DetectionConfig:
    """Six steps of four images."""
    defaults = {
        "name": "tiny",
        "architecture": "tiny_teacher",
        "source": Squares(),
        "optimiser": dataclasses.replace(FROM_NOTHING, warmup_rate=1e-3, rate=1e-2, last_rate=1e-3),
        "batch": 4,
        "epochs": 2,
        "steps_per_epoch": 3,
        "checkpoint_steps": 3,
        "validation": None,
    }
    return DetectionConfig(**{**defaults, **changes})


def distillation(**changes) -> DistillationConfig:
    """Six steps of four regions; `start` must be given."""
    defaults = {
        "name": "tiny",
        "architecture": "tiny_student",
        "source": Squares(),
        "regions": Regions(),
        "optimiser": dataclasses.replace(ADAM, warmup_rate=3e-3, rate=3e-3, last_rate=3e-4),
        "batch": 4,
        "epochs": 2,
        "steps_per_epoch": 3,
        "checkpoint_steps": 3,
        "validation": None,
    }
    return DistillationConfig(**{**defaults, **changes})
