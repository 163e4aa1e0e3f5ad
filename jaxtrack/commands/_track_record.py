"""What the command `track` keeps of a video: boxes and scores frame by frame, their file, and a summary of them."""

import dataclasses
from typing import NamedTuple

import numpy as np

from jaxtrack.streaming import Piece

HEADER = "frame,target,x,y,w,h,score"

_LOWEST, _APART_FRAMES = 3, 10
_RECENT_FRAMES, _FEWEST = 30, 5
_FALL_SHARE, _FALL_DEVIATIONS = 0.25, 6.0
_FALLS_SHOWN = 5


class TrackedFrame(NamedTuple):
    """A frame's image, the boxes `[K, 4]` in it, the scores `[K]` (None in the first frame) and its number."""

    image: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray | None
    number: int


class Record:
    """Boxes and scores of all frames so far.

    Attributes:
      seconds: what tracking the frames after the first took; decoding, compiling, drawing are left out.
      start_seconds: what starting on the first one took.
      compile_seconds: what compiling took.
      kept: how many boxes were not finite and are the ones before them instead.
    """

    def __init__(self, first_frame: int):
        self._first = first_frame
        self._boxes: list[np.ndarray] = []
        self._scores: list[np.ndarray] = []
        self.seconds = self.start_seconds = self.compile_seconds = 0.0
        self.kept = 0

    def __len__(self) -> int:
        return len(self._boxes)

    def add(self, piece: Piece) -> list[TrackedFrame]:
        """Takes a piece in and returns its frames."""
        if self._boxes:
            self.seconds += piece.seconds
        else:
            self.start_seconds = piece.seconds
        self.compile_seconds += piece.compile_seconds
        frames = []
        for image, boxes, scores in zip(piece.images, piece.boxes, piece.scores, strict=True):
            finite = np.isfinite(boxes).all(axis=1)  # [K]
            self.kept += int(np.sum(~finite))
            boxes = boxes if finite.all() else np.where(finite[:, None], boxes, self._boxes[-1])
            frames.append(TrackedFrame(image, boxes, scores if self._boxes else None, self._first + len(self._boxes)))
            self._boxes.append(boxes)
            self._scores.append(scores)
        return frames

    def text(self) -> str:
        """The file of boxes: a row for each target in each frame; numbers read back as the same float32."""
        lines = [HEADER]
        for at, (boxes, scores) in enumerate(zip(self._boxes, self._scores, strict=True)):
            for k, (box, score) in enumerate(zip(boxes, scores, strict=True)):
                lines.append(",".join([str(self._first + at), str(k), *(str(v) for v in (*box, score))]))
        return "\n".join([*lines, ""])

    @property
    def fps(self) -> float | None:
        """Frames tracked in a second, None if there was but one frame."""
        return (len(self) - 1) / self.seconds if len(self) > 1 and self.seconds > 0 else None

    def summary(self) -> list[str]:
        """Lines on the scores of each target."""
        if len(self) < 2:
            return []
        scores = np.stack(self._scores[1:])  # [N - 1, K]
        return [line for k in range(scores.shape[1]) for line in self._lines_of(k, scores[:, k])]

    def _lines_of(self, k: int, scores: np.ndarray) -> list[str]:
        first, shown = self._first + 1, _form(scores).format
        if np.all(scores == scores[0]):
            return [f"target {k}: score {shown(scores[0])} in all frames"]
        low = ", ".join(f"{shown(scores[at])} in frame {first + at}" for at in lowest(scores))
        lines = [f"target {k}: median score {shown(np.median(scores))}; lowest {low}"]
        found = falls(scores)
        lines += [
            f"  the score fell strongly {fall.where(first)}: from {shown(fall.before)} to {shown(fall.lowest)}"
            for fall in found[:_FALLS_SHOWN]
        ]
        if len(found) > _FALLS_SHOWN:
            lines.append(f"  and {len(found) - _FALLS_SHOWN} times more")
        return lines


def _form(scores: np.ndarray) -> str:
    """How scores are written: what can be probabilities with four decimals, which tell 1 from what is nearly 1."""
    decimals = scores.min() >= 0 and scores.max() <= 1 and np.median(scores) >= 0.01
    return "{:.4f}" if decimals else "{:.4g}"


def lowest(scores: np.ndarray) -> list[int]:
    """Where the few lowest of the scores `[N]` are, the lowest first, those near a lower one passed over.

    >>> lowest(np.array([3.0, 1.0, 0.5, 1.0] + [3.0] * 20 + [2.0] + [3.0] * 10))[:2]
    [2, 24]
    """
    chosen: list[int] = []
    for at in np.argsort(scores, kind="stable").tolist():
        if all(abs(at - other) >= _APART_FRAMES for other in chosen):
            chosen.append(at)
        if len(chosen) == _LOWEST:
            break
    return chosen


@dataclasses.dataclass(frozen=True)
class Fall:
    """Frames `start`, ..., `end - 1` in which the score was far below that of the frames before them."""

    start: int
    end: int
    before: float
    lowest: float

    def where(self, first: int) -> str:
        """The frames' numbers in words, `first` being that of frame 0."""
        start, last = first + self.start, first + self.end - 1
        return f"in frame {start}" if start == last else f"in frames {start} to {last}"


def falls(scores: np.ndarray) -> list[Fall]:
    """Where a score fell strongly, and until when it stayed low; falls that follow one another closely are one.

    Strongly: by more than a quarter of the recent frames' median and more than six of their standard deviations (told
    from the median absolute deviation). So the scores' scale, which is each tracker's own, does not matter. Frames in
    which the score is low are not among the recent ones.

    Args:
      scores: `[N]`.
    """
    found: list[Fall] = []
    recent: list[float] = []
    for at, score in enumerate(scores.tolist()):
        level, limit = _limit(np.asarray(recent)) if len(recent) >= _FEWEST else (0.0, -np.inf)
        if score >= limit:
            recent = [*recent, score][-_RECENT_FRAMES:]
        elif found and at - found[-1].end < _APART_FRAMES:
            found[-1] = dataclasses.replace(found[-1], end=at + 1, lowest=min(found[-1].lowest, score))
        else:
            found.append(Fall(at, at + 1, level, score))
    return found


def _limit(recent: np.ndarray) -> tuple[float, float]:
    """The level of recent scores, and the score below which it has fallen strongly."""
    level = float(np.median(recent))
    deviation = 1.4826 * float(np.median(np.abs(recent - level)))
    return level, level - max(_FALL_SHARE * abs(level), _FALL_DEVIATIONS * deviation)
