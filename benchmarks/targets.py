"""The 13 real targets: six on which options, checkpoints and seeds are chosen, and seven that are reported apart."""

import dataclasses

import numpy as np

from jaxtrack.data.sequences import Frames, Sequence

CHOICE = ("Skiing", "Couple", "Crossing", "David", "Jumping", "Freeman1")
APART = ("Football1", "Deer", "MotorRolling", "Jogging-1", "Jogging-2", "Human7", "Bolt2")


@dataclasses.dataclass(frozen=True)
class First:
    """The first images of a video."""

    frames: Frames
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> np.ndarray:
        return self.frames[index]


def beginning(sequence: Sequence, frames: int | None) -> Sequence:
    """The first frames of a sequence, all of them for None."""
    count = len(sequence) if frames is None else min(frames, len(sequence))
    rows = {}
    for name in ("boxes", "valid", "absent", "cover", "omitted"):
        array = getattr(sequence, name)
        rows[name] = None if array is None else array[:count]
    return dataclasses.replace(sequence, frames=First(sequence.frames, count), **rows)
