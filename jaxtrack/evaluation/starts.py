"""Where and from which box the runs of a sequence start: OPE, and OTB's tests of robustness TRE and SRE.

    ope  one run from the first frame to the last
    tre  20 runs from different frames to the last one, each from the annotation of its start
    sre  12 runs over all frames from a first box that is shifted or scaled

Source: the OTB toolkits (Wu, Lim and Yang, CVPR 2013). Runs of TRE and SRE are stored like others, as sequences of a
benchmark `<name>-tre`, `<name>-sre`: `Deer@39` starts in frame 39 of Deer, counted from 1, `Deer@left` in the first
one from a box shifted to the left. `Deer` itself is TRE's first run, and the same as in OPE.
"""

import dataclasses
from collections.abc import Sequence as SequenceABC

import numpy as np

from jaxtrack.boxes import as_in_files, zero_based
from jaxtrack.data.sequences import Benchmark, Frames, Sequence, image_size

OPE, TRE, SRE = "ope", "tre", "sre"
KINDS = (OPE, TRE, SRE)
TRE_RUNS = 20
_SHORTEST = 20  # frames of a run of TRE
_SHIFT = 0.1
_SCALES = (0.8, 0.9, 1.1, 1.2)
_CORNERS = {"top-left": (1, 1), "top-right": (0, 1), "bottom-left": (1, 0), "bottom-right": (0, 0)}


@dataclasses.dataclass(frozen=True)
class Start:
    """Where a run starts.

    Attributes:
      name: what the run is stored under.
      frame: 0-based.
      box: (x, y, w, h), 0-based pixels.
    """

    name: str
    frame: int
    box: tuple[float, float, float, float]


def stored_name(benchmark: str, kind: str) -> str:
    """The benchmark that runs of a kind are stored under."""
    return benchmark if kind == OPE else f"{benchmark}-{kind}"


def starts(sequence: Sequence, kind: str) -> list[Start]:
    """Every run of a sequence; in short ones several runs of TRE are the same."""
    if kind == SRE:
        origin = sequence.origin
        boxes = sre_boxes(as_in_files(sequence.boxes[0], origin), image_size(sequence))
        return [Start(f"{sequence.name}@{name}", 0, _as_box(zero_based(box, origin))) for name, box in boxes.items()]
    omitted = np.zeros(len(sequence), np.bool_) if sequence.omitted is None else sequence.omitted
    frames = [0] if kind == OPE else tre_frames(sequence.valid & ~omitted)
    return [
        Start(f"{sequence.name}@{frame + 1}" if frame else sequence.name, frame, _as_box(sequence.boxes[frame]))
        for frame in frames
    ]


def tre_frames(allowed: np.ndarray) -> list[int]:
    """The 0-based frames in which TRE's runs start.

    Args:
      allowed: `bool [N]`, frames with an annotation in which a run may start.

    Returns:
      20 frames in rising order; the first allowed one 20 times where none is followed by 19 others.
    """
    candidates = np.flatnonzero(allowed)
    late_enough = np.flatnonzero(len(allowed) - candidates >= _SHORTEST)
    if not len(late_enough):
        return [int(candidates[0]) if len(candidates) else 0] * TRE_RUNS
    last = int(late_enough[-1]) + 1  # 1-based position in the list
    positions = [int(1 + k * last / (TRE_RUNS - 1)) for k in range(TRE_RUNS - 1)]
    return [int(candidates[position - 1]) for position in [*positions, last]]


def sre_boxes(box: np.ndarray, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """SRE's twelve first boxes by name, cut to the image.

    Args:
      box: `[4]`, (x, y, w, h), 1-based as in OTB's files.
      size: (width, height) of the image in pixels.

    Returns:
      name -> `float64 [4]`, the same coordinates; halves are rounded up, as MATLAB does with positive numbers.
    """
    x, y, w, h = np.asarray(box, np.float64).tolist()
    across, down = _round(_SHIFT * w + 0.5), _round(_SHIFT * h + 0.5)
    boxes = {
        "left": (x - across, y, w, h),
        "right": (x + across, y, w, h),
        "up": (x, y - down, w, h),
        "down": (x, y + down, w, h),
    }
    for name, (left, top) in _CORNERS.items():
        x1, x2 = (_round(x - _SHIFT * w), x + w - 1) if left else (x, _round(x + w - 1 + _SHIFT * w))
        y1, y2 = (_round(y - _SHIFT * h), y + h - 1) if top else (y, _round(y + h - 1 + _SHIFT * h))
        boxes[name] = (x1, y1, x2 - x1 + 1, y2 - y1 + 1)
    for scale in _SCALES:
        corner = (x + w / 2 - scale * w / 2, y + h / 2 - scale * h / 2)
        boxes[f"scale-{scale}"] = _as_box([_round(value) for value in (*corner, scale * w, scale * h)])
    return {name: _inside(np.array(each, np.float64), size) for name, each in boxes.items()}


def benchmark_of(benchmark: Benchmark, kind: str) -> Benchmark:
    """What is to be tracked for runs of a kind: a sequence for each different run."""
    if kind == OPE:
        return benchmark
    runs: dict[str, Sequence] = {}
    for sequence in benchmark.sequences:
        for start in starts(sequence, kind):
            part = from_frame(sequence, start.frame)
            boxes = part.boxes.copy()
            boxes[0] = start.box
            runs.setdefault(start.name, dataclasses.replace(part, name=start.name, boxes=boxes))
    return dataclasses.replace(benchmark, name=stored_name(benchmark.name, kind), sequences=list(runs.values()))


def from_frame(sequence: Sequence, frame: int) -> Sequence:
    """A sequence from a frame on."""
    if not frame:
        return sequence
    flags = {
        name: values[frame:]
        for name in ("absent", "cover", "omitted")
        if (values := getattr(sequence, name)) is not None
    }
    return dataclasses.replace(
        sequence,
        frames=_Later(sequence.frames, frame),
        boxes=sequence.boxes[frame:],
        valid=sequence.valid[frame:],
        **flags,
    )


class _Later:
    """The frames of a video from one on."""

    def __init__(self, frames: Frames, first: int):
        self._frames, self._first = frames, first

    def __len__(self) -> int:
        return len(self._frames) - self._first

    def __getitem__(self, index: int) -> np.ndarray:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._frames[index % len(self) + self._first]


def _inside(box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A 1-based box with its corner at 1 at least, and its last column and row within the image."""
    low = np.maximum(box[:2], 1.0)
    high = np.minimum(box[:2] + box[2:] - 1, size)
    return np.concatenate([low, np.maximum(high - low + 1, 1.0)])


def _round(value: float) -> float:
    # 0.1 * 35 is a little more than 3.5: what is meant is a half.
    return float(np.floor(np.round(value, 9) + 0.5))


def _as_box(values: SequenceABC[float] | np.ndarray) -> tuple[float, float, float, float]:
    x, y, w, h = (float(value) for value in values)
    return x, y, w, h
