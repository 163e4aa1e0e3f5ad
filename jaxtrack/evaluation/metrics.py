"""The one-pass evaluation of the OTB benchmarks: per-frame quantities, curves, and their averages.

Source: the official OTB toolkit (`calcSeqErrRobust.m`, `genPerfMat.m`; Wu, Lim and Yang, "Online Object Tracking: A
Benchmark", CVPR 2013, and PAMI 2015). Everything is numpy float64 and pure. Boxes are (x, y, w, h), 0-based; overlaps
and centre errors do not change when boxes and annotations shift together, so the toolkit's 1-based files give the same
numbers up to rounding. A threshold comparison of two computed numbers is sensitive to that rounding: score the boxes as
they were stored (four decimals), so that a table made tomorrow from the files equals the one printed today.

Conventions that move numbers:
  * The first frame counts and is the annotation itself (overlap 1, error 0).
  * success: strictly above the threshold; precision: at or below the threshold.
  * The success thresholds are those of MATLAB's `0:0.05:1` in float64, spelled in `SUCCESS_THRESHOLDS`.
  * AUC is the plain mean of the 21 success values, so a perfect tracker reaches 20/21.
  * Invalid annotations stay in the denominator and count as failures of overlap; as centre errors they count as hits
    in the official toolkits (error -1) and as misses in others (error infinity): `invalid_error`.
  * Curves are computed per sequence, then averaged over sequences with equal weight.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from jaxtrack.boxes import iou

_STEPS = np.arange(21)
# MATLAB builds 0:0.05:1 from both ends. An overlap of 13/20 exceeds this 0.65, but neither 13 * 0.05 nor 13 / 20.
SUCCESS_THRESHOLDS = np.where(_STEPS <= 10, _STEPS * 0.05, 1 - (20 - _STEPS) * 0.05)
PRECISION_THRESHOLDS_PX = np.arange(51, dtype=np.float64)

OFFICIAL_INVALID_ERROR = -1.0
# A row that a result file lacks is zero in the 1-based coordinates of the files.
_MISSING_ROW = (-1.0, -1.0, 0.0, 0.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Score:
    """Curves of one sequence or of a set of sequences, and the headline numbers read off them.

    Attributes:
      success: `float64 [21]`, fraction of frames whose overlap exceeds each of `SUCCESS_THRESHOLDS`.
      precision: `float64 [51]`, fraction of frames whose centre error is at most 0, 1, ..., 50 pixels.
      mean_overlap: mean overlap of the frames with a valid annotation; NaN if there is none.
      frames: number of frames scored.
    """

    success: np.ndarray
    precision: np.ndarray
    mean_overlap: float
    frames: int

    @property
    def auc(self) -> float:
        """Mean of the 21 success values; at most 20/21."""
        return float(np.mean(self.success))

    @property
    def precision_20(self) -> float:
        """Fraction of frames with a centre error of at most 20 pixels."""
        return float(self.precision[20])

    @property
    def success_50(self) -> float:
        """Fraction of frames with an overlap above 0.5."""
        return float(self.success[10])

    @property
    def success_60(self) -> float:
        """Fraction of frames with an overlap above 0.6 (the tracking success rate of the DeepTrack paper)."""
        return float(self.success[12])


@dataclasses.dataclass(frozen=True, eq=False)
class SequenceScore(Score):
    """The score of one sequence.

    Attributes:
      valid_frames: number of frames with a valid annotation, over which `mean_overlap` is taken.
    """

    valid_frames: int


@dataclasses.dataclass(frozen=True, eq=False)
class BenchmarkScore(Score):
    """Scores averaged over sequences with equal weight.

    Attributes:
      sequences: number of sequences averaged.
    """

    sequences: int


@dataclasses.dataclass(frozen=True)
class Metric:
    """A headline number: how tables call it and how it is read off a score. Higher is better."""

    label: str
    of: Callable[[Score], float]


# A further headline number is one more line here; tables, plots and files follow.
METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "auc": Metric("AUC", lambda score: score.auc),
        "precision_20": Metric("P@20", lambda score: score.precision_20),
        "success_50": Metric("SR@0.5", lambda score: score.success_50),
        "success_60": Metric("SR@0.6", lambda score: score.success_60),
        "mean_overlap": Metric("mean IoU", lambda score: score.mean_overlap),
    }
)


def overlap(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Intersection over union of each pair of rows (`calcRectInt.m`).

    Args:
      boxes: `[N, 4]`, (x, y, w, h), pixels.
      truth: `[N, 4]`, the same.

    Returns:
      `float64 [N]` in [0, 1]; 0 where the union is empty.
    """
    return iou(_as_boxes(boxes, "boxes"), _as_boxes(truth, "truth"))


def centre_error(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Euclidean distance of the centres of each pair of rows, in pixels, not rounded.

    Args:
      boxes: `[N, 4]`, (x, y, w, h), pixels.
      truth: `[N, 4]`, the same.

    Returns:
      `float64 [N]`, at least 0.
    """
    boxes, truth = _as_boxes(boxes, "boxes"), _as_boxes(truth, "truth")
    offset = (boxes[:, :2] + boxes[:, 2:] / 2) - (truth[:, :2] + truth[:, 2:] / 2)  # [N, 2]
    return np.hypot(offset[:, 0], offset[:, 1])


def prepare(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Result rows made fit for scoring, one per annotated frame (`calcSeqErrRobust.m`, pytracking).

    The first row becomes the annotation; a row with a number that is not finite or a width or height that is not
    positive becomes the row before it; missing rows at the end become empty boxes, surplus rows are cut.

    Args:
      boxes: `[M, 4]`, predicted (x, y, w, h), pixels.
      truth: `[N, 4]`, annotations, N >= 1.

    Returns:
      `float64 [N, 4]`; the arguments stay as they were.
    """
    boxes, truth = _as_boxes(boxes, "boxes"), _as_boxes(truth, "truth")
    if len(truth) == 0:
        raise ValueError("a sequence to be scored needs at least one annotated frame")
    rows = np.concatenate([truth[:1], boxes[1 : len(truth)]])
    usable = np.isfinite(rows).all(axis=1) & (rows[:, 2:] > 0).all(axis=1)
    last_usable = np.maximum.accumulate(np.where(usable, np.arange(len(rows)), 0))
    missing = np.tile(_MISSING_ROW, (len(truth) - len(rows), 1))
    return np.concatenate([rows[last_usable], missing])


def frame_scores(
    boxes: np.ndarray,
    truth: np.ndarray,
    valid: np.ndarray,
    *,
    invalid_error: float = OFFICIAL_INVALID_ERROR,
) -> tuple[np.ndarray, np.ndarray]:
    """Overlap and centre error of every frame, after `prepare`.

    Args:
      boxes: `[M, 4]`, predicted (x, y, w, h), pixels.
      truth: `[N, 4]`, annotations.
      valid: `bool [N]`, which annotations count; in OTB those with four positive 1-based numbers.
      invalid_error: centre error of the other frames: -1 (official: within every threshold) or infinity (beyond all).

    Returns:
      overlaps `float64 [N]` (-1 where the annotation is invalid) and centre errors `float64 [N]`, pixels.
    """
    truth = _as_boxes(truth, "truth")
    valid = np.asarray(valid)
    if valid.dtype != np.bool_ or valid.shape != (len(truth),):
        raise ValueError(f"valid must be bool [{len(truth)}], got {valid.dtype} {list(valid.shape)}")
    if invalid_error not in (OFFICIAL_INVALID_ERROR, np.inf):
        raise ValueError(f"invalid_error must be -1 or infinity, got {invalid_error}")
    rows = prepare(boxes, truth)
    overlaps = np.where(valid, overlap(rows, truth), -1.0)
    errors = np.where(valid, centre_error(rows, truth), invalid_error)
    return overlaps, errors


def success_curve(overlaps: np.ndarray) -> np.ndarray:
    """`float64 [21]`: the fraction of `overlaps` `[N]` strictly above each of `SUCCESS_THRESHOLDS`."""
    return np.mean(np.asarray(overlaps)[:, None] > SUCCESS_THRESHOLDS, axis=0)


def precision_curve(errors: np.ndarray) -> np.ndarray:
    """`float64 [51]`: the fraction of `errors` `[N]` (pixels) at or below each of `PRECISION_THRESHOLDS_PX`."""
    return np.mean(np.asarray(errors)[:, None] <= PRECISION_THRESHOLDS_PX, axis=0)


def score(
    boxes: np.ndarray,
    truth: np.ndarray,
    valid: np.ndarray,
    *,
    invalid_error: float = OFFICIAL_INVALID_ERROR,
) -> SequenceScore:
    """The score of one run over one sequence; arguments as in `frame_scores`."""
    overlaps, errors = frame_scores(boxes, truth, valid, invalid_error=invalid_error)
    valid_frames = int(np.sum(valid))
    return SequenceScore(
        success=success_curve(overlaps),
        precision=precision_curve(errors),
        mean_overlap=float(np.mean(overlaps[valid])) if valid_frames else float("nan"),
        frames=len(overlaps),
        valid_frames=valid_frames,
    )


def average(scores: Iterable[SequenceScore]) -> BenchmarkScore:
    """Scores of sequences averaged with equal weight, whatever their lengths.

    A sequence without any valid annotation has no mean overlap and is left out of that one average.
    """
    scores = list(scores)
    if not scores:
        raise ValueError("no sequence to average")
    overlaps = [s.mean_overlap for s in scores if s.valid_frames]
    return BenchmarkScore(
        success=np.mean([s.success for s in scores], axis=0),
        precision=np.mean([s.precision for s in scores], axis=0),
        mean_overlap=float(np.mean(overlaps)) if overlaps else float("nan"),
        frames=sum(s.frames for s in scores),
        sequences=len(scores),
    )


def frames_per_second(seconds: np.ndarray) -> float:
    """Tracked frames per second of wall time: frames after the first, divided by the time that they took.

    A mean, not a median over frames: it must contain the occasional slow frame in which a tracker learns.

    Args:
      seconds: `[N]`, wall time of each frame; the first is the initialisation and does not count.

    Returns:
      Frames per second; NaN if there is no second frame or no time was measured.
    """
    tracked = np.asarray(seconds, dtype=np.float64)[1:]
    total = float(np.sum(tracked))
    return len(tracked) / total if total > 0 else float("nan")


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation, equal values sharing their mean rank; NaN if either side has one value only.

    >>> rank_correlation([1, 2, 3], [10, 30, 20])
    0.5
    """
    ranks = []
    for values in (a, b):
        _, inverse, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
        mean_rank = np.cumsum(counts) - (counts - 1) / 2
        ranks.append(mean_rank[inverse] - (len(values) + 1) / 2)
    spread = math.sqrt(float(ranks[0] @ ranks[0]) * float(ranks[1] @ ranks[1]))
    return float(ranks[0] @ ranks[1]) / spread if spread else float("nan")


def _as_boxes(boxes: np.ndarray, name: str) -> np.ndarray:
    boxes = np.asarray(boxes, dtype=np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{name} must be [N, 4], got {list(boxes.shape)}")
    return boxes
