"""The numbers of one-pass evaluation: overlaps, curves, headline numbers, and their averages.

Source: the official OTB toolkit (`calcSeqErrRobust.m`, `genPerfMat.m`; Wu, Lim and Yang, "Online Object Tracking: A
Benchmark", CVPR 2013, and PAMI 2015). Everything is numpy float64 and pure; boxes are (x, y, w, h). How boxes become a
score, by the rules of OTB's toolkit or of others, is said in `jaxtrack.evaluation.protocols`.

A threshold comparison of two computed numbers is sensitive to rounding: score the boxes as they were stored (four
decimals), so that a table made tomorrow from the files equals the one printed today. Conventions that move numbers:
  * success: strictly above the threshold; precision: at or below the threshold.
  * The success thresholds are those of MATLAB's `0:0.05:1` in float64, spelled in `SUCCESS_THRESHOLDS`.
  * AUC is the plain mean of the 21 success values, so a perfect tracker reaches 20/21.
  * Curves are computed per sequence, then averaged over sequences with equal weight.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from jaxtrack.boxes import iou, zero_based

_STEPS = np.arange(21)
# MATLAB builds 0:0.05:1 from both ends. An overlap of 13/20 exceeds this 0.65, but neither 13 * 0.05 nor 13 / 20.
SUCCESS_THRESHOLDS = np.where(_STEPS <= 10, _STEPS * 0.05, 1 - (20 - _STEPS) * 0.05)
PRECISION_THRESHOLDS_PX = np.arange(51, dtype=np.float64)
NORM_PRECISION_THRESHOLDS = np.arange(51) / 100

# A row that a result file lacks is zero in the 1-based coordinates of the files.
_MISSING_ROW = zero_based(np.zeros(4))


@dataclasses.dataclass(frozen=True, eq=False)
class Score:
    """Curves of one sequence or of a set of sequences, and the headline numbers read off them.

    Attributes:
      success: `float64 [21]`, fraction of frames whose overlap exceeds each of `SUCCESS_THRESHOLDS`.
      precision: `float64 [51]`, fraction of frames whose centre error is at most 0, 1, ..., 50 pixels.
      mean_overlap: mean overlap of the frames with a valid annotation; NaN if there is none.
      frames: number of frames scored.
      norm_precision: `float64 [51]`, fraction of frames whose centre error, measured in widths and heights of the
        annotation, is at most 0, 0.01, ..., 0.5; None if nobody measured it.
    """

    success: np.ndarray
    precision: np.ndarray
    mean_overlap: float
    frames: int
    norm_precision: np.ndarray | None = dataclasses.field(default=None, kw_only=True)

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

    @property
    def success_75(self) -> float:
        """Fraction of frames with an overlap above 0.75."""
        return float(self.success[15])

    @property
    def norm_precision_20(self) -> float:
        """Fraction of frames with a normalised centre error of at most 0.2; NaN if nobody measured it."""
        return float("nan") if self.norm_precision is None else float(self.norm_precision[20])

    @property
    def class_overlap(self) -> float:
        """Mean overlap with equal weight for each class of objects; of one sequence its mean overlap."""
        return self.mean_overlap


@dataclasses.dataclass(frozen=True, eq=False)
class SequenceScore(Score):
    """The score of one sequence.

    Attributes:
      valid_frames: number of frames with a valid annotation, over which `mean_overlap` is taken.
      object_class: what kind of object the target is; "" where nobody says.
    """

    valid_frames: int
    object_class: str = dataclasses.field(default="", kw_only=True)


@dataclasses.dataclass(frozen=True, eq=False)
class BenchmarkScore(Score):
    """Scores averaged over sequences.

    Attributes:
      sequences: number of sequences averaged.
      mean_of_classes: see `class_overlap`; NaN if a sequence's class is not known.
    """

    sequences: int
    mean_of_classes: float = dataclasses.field(default=float("nan"), kw_only=True)

    @property
    def class_overlap(self) -> float:
        """Mean over the classes of the mean over each one's sequences of their mean overlaps."""
        return self.mean_of_classes


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
# Shown beside the others where it was measured.
NORM_METRICS: Mapping[str, Metric] = MappingProxyType(
    {"norm_precision_20": Metric("P norm", lambda score: score.norm_precision_20)}
)
GOT10K_METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "ao": Metric("AO", lambda score: score.mean_overlap),
        "sr_50": Metric("SR@0.5", lambda score: score.success_50),
        "sr_75": Metric("SR@0.75", lambda score: score.success_75),
        "mao": Metric("mAO", lambda score: score.class_overlap),
    }
)


def metric_named(name: str) -> Metric:
    """The metric with this key, of whichever registry."""
    return {**GOT10K_METRICS, **NORM_METRICS, **METRICS}[name]


def overlap(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Intersection over union of each pair of rows (`calcRectInt.m`).

    Args:
      boxes: `[N, 4]`, (x, y, w, h), pixels.
      truth: `[N, 4]`, the same.

    Returns:
      `float64 [N]` in [0, 1]; 0 where the union is empty.
    """
    return iou(_as_boxes(boxes, "boxes"), _as_boxes(truth, "truth"))


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


def success_curve(overlaps: np.ndarray, thresholds: np.ndarray = SUCCESS_THRESHOLDS) -> np.ndarray:
    """`float64 [21]`: the fraction of `overlaps` `[N]` strictly above each of the thresholds; 0 without frames."""
    below = np.searchsorted(np.sort(overlaps), thresholds, side="right")  # at most the threshold
    return (len(overlaps) - below) / max(len(overlaps), 1)


def precision_curve(errors: np.ndarray, thresholds: np.ndarray = PRECISION_THRESHOLDS_PX) -> np.ndarray:
    """`float64 [51]`: the fraction of `errors` `[N]` (pixels) at or below each of the thresholds; 0 without frames."""
    return np.searchsorted(np.sort(errors), thresholds, side="right") / max(len(errors), 1)


def average(scores: Iterable[SequenceScore], *, pooled: bool = False) -> BenchmarkScore:
    """Scores of sequences averaged: with equal weight whatever their lengths, or pooled, with that of their frames.

    A sequence without any valid annotation has no mean overlap and is left out of that one average.
    """
    scores = list(scores)
    if not scores:
        raise ValueError("no sequence to average")
    frames = np.array([s.frames if pooled else 1 for s in scores], np.float64)
    if not frames.any():
        frames[:] = 1
    valid = [s for s in scores if s.valid_frames]
    weights = [s.valid_frames if pooled else 1 for s in valid]
    norms = [s.norm_precision for s in scores if s.norm_precision is not None]
    return BenchmarkScore(
        success=np.average([s.success for s in scores], axis=0, weights=frames),
        precision=np.average([s.precision for s in scores], axis=0, weights=frames),
        mean_overlap=float(np.average([s.mean_overlap for s in valid], weights=weights)) if valid else float("nan"),
        frames=sum(s.frames for s in scores),
        sequences=len(scores),
        norm_precision=np.average(norms, axis=0, weights=frames) if len(norms) == len(scores) else None,
        mean_of_classes=_mean_of_classes(valid),
    )


def pool(runs: Iterable[SequenceScore]) -> SequenceScore:
    """Several runs on one sequence as one score: counts are summed and divided by all their frames, so that long runs
    weigh more (TRE, SRE, repetitions of GOT-10k).
    """
    runs = list(runs)
    mean = average(runs, pooled=True)
    return SequenceScore(
        success=mean.success,
        precision=mean.precision,
        mean_overlap=mean.mean_overlap,
        frames=mean.frames,
        norm_precision=mean.norm_precision,
        valid_frames=sum(run.valid_frames for run in runs),
        object_class=runs[0].object_class,
    )


def _mean_of_classes(scores: Sequence[SequenceScore]) -> float:
    classes: dict[str, list[float]] = {}
    for score in scores:
        classes.setdefault(score.object_class, []).append(score.mean_overlap)
    return (
        float(np.mean([np.mean(values) for values in classes.values()])) if classes and "" not in classes else math.nan
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
