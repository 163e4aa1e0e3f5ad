"""Accuracy, robustness and expected average overlap (EAO), by the rules of PySOT's toolkit.

Sources: Kristan et al., "The Visual Object Tracking VOT2015 challenge results", section 4 (EAO); "A Novel Performance
Evaluation Methodology for Single-Target Trackers", PAMI 2016; and where they leave a choice, what PySOT's toolkit does:

  * Accuracy: regions are bounded by (W, H); of each (re-)initialisation that frame and the 9 after it do not count;
    repetitions are averaged frame by frame, then all frames of all sequences at once.
  * Robustness: failures per 100 frames. Many papers print failures, or failures per sequence: both are here.
  * EAO: regions are bounded by (W - 1, H - 1), and there is no burn-in.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from jaxtrack.data.regionfiles import FAILED, STARTED, Regions
from jaxtrack.evaluation.vot.regions import Drawing, overlaps

SKIP = 5
"""Frames from a failure to the next initialisation."""
BURN_IN = 10
"""Frames from an initialisation, it included, that accuracy leaves out."""
RELIABILITY_FRAMES = 30
"""S of reliability, exp(-S failures / frames): what the axes of A-R plots show."""


@dataclasses.dataclass(frozen=True)
class Rules:
    """What editions differ in: how the overlap of two regions is computed."""

    bounded: bool = True
    """Whether regions end at the image's border."""
    drawing: Drawing = "rounded"
    """How regions become pixels."""


def rules_of(edition: int) -> Rules:
    """The rules of an edition's official stack: until VOT2015 regions are not bounded and drawn by the old rule."""
    return Rules(bounded=False, drawing="legacy") if edition <= 2015 else Rules()


@dataclasses.dataclass(frozen=True, eq=False)
class SequenceScore:
    """What the measures need to know of one tracker's runs on one sequence of N frames.

    Attributes:
      accuracy: `float64 [runs, N]`, overlaps that count for accuracy, NaN elsewhere.
      overlaps: `float64 [runs, N]`, overlaps as EAO takes them, NaN where there is no region.
      failures: for each run the frames in which the target was lost, ascending.
    """

    accuracy: np.ndarray
    overlaps: np.ndarray
    failures: tuple[np.ndarray, ...]

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.accuracy.shape[1]

    @property
    def runs(self) -> int:
        """Number of repetitions."""
        return len(self.failures)

    @property
    def lost(self) -> float:
        """Failures, averaged over the repetitions."""
        return sum(map(len, self.failures)) / self.runs

    @property
    def frame_accuracy(self) -> np.ndarray:
        """`float64 [N]`: each frame's overlap, averaged over the repetitions in which it counts; NaN in none."""
        return _nan_mean(self.accuracy, axis=0)


def score(
    trajectories: Sequence[Regions], truth: Regions, size: tuple[int, int], rules: Rules | None = None
) -> SequenceScore:
    """The repetitions of a tracker on one sequence.

    Args:
      trajectories: the results, all as long as the annotation.
      truth: the annotation.
      size: (width, height) of the images in pixels.
      rules: of the overlap; VOT2016's and later by default.
    """
    rules = rules or Rules()
    both = [_both_overlaps(run.corners, truth.corners, size, rules) for run in trajectories]
    for (counted, _), run in zip(both, trajectories, strict=True):
        for start in run.frames_with(STARTED):
            counted[start : start + BURN_IN] = np.nan
    counted, plain = (np.stack(values) for values in zip(*both, strict=True))
    return SequenceScore(counted, plain, tuple(run.frames_with(FAILED) for run in trajectories))


def accuracy(scores: Sequence[SequenceScore]) -> float:
    """A: the mean overlap over all frames that count, of all sequences at once; NaN if there is none."""
    return _mean(np.concatenate([score.frame_accuracy for score in scores]))


def weighted_accuracy(scores: Sequence[SequenceScore]) -> float:
    """A as VOT's own toolkit averages it: of each sequence, then over sequences weighted by length."""
    values = np.array([_mean(score.frame_accuracy) for score in scores])
    frames = np.array([score.frames for score in scores])
    known = np.isfinite(values)
    return float(np.average(values[known], weights=frames[known])) if known.any() else float("nan")


def lost(scores: Sequence[SequenceScore]) -> float:
    """Failures on all sequences, averaged over the repetitions."""
    return float(sum(score.lost for score in scores))


def lost_by_length(scores: Sequence[SequenceScore]) -> float:
    """Failures per sequence as VOT's own toolkit averages them: over sequences weighted by length."""
    return float(np.average([score.lost for score in scores], weights=[score.frames for score in scores]))


def robustness(scores: Sequence[SequenceScore]) -> float:
    """R: failures per 100 frames; lower is better."""
    return 100 * lost(scores) / sum(score.frames for score in scores)


def reliability(scores: Sequence[SequenceScore]) -> float:
    """The chance to track 30 frames without a failure, exp(-30 failures / frames)."""
    return float(np.exp(-RELIABILITY_FRAMES * robustness(scores) / 100))


def expected_overlaps(scores: Sequence[SequenceScore], tagged: Sequence[np.ndarray] | None = None) -> np.ndarray:
    """The expected overlap of sequences of each length.

    Runs are cut into segments, from an initialisation to the next one, both included. One that ends in a failure goes
    on with zeros for ever, the last one of a run is known up to its end only. At length L the expected overlap is the
    weighted mean, over the segments that are known at index L, of their mean overlaps over the indices 1 to L.

    Args:
      scores: the sequences.
      tagged: for each sequence `bool [N]`; a segment weighs as much as its share of frames where that is true. None:
        all segments weigh the same.

    Returns:
      `float64 [M]`, M the number of frames of the longest sequence; 1 at length 0, 0 where nothing is known, and NaN
      where no segment that is known has any weight.
    """
    longest = max(score.frames for score in scores)
    means, weights = [], []
    for i, score_of in enumerate(scores):
        for overlaps_of, failures in zip(score_of.overlaps, score_of.failures, strict=True):
            for start, stop, ended in _segments(score_of.frames, failures):
                means.append(_running_means(overlaps_of[start:stop], longest, ended=ended))
                share = 1.0 if tagged is None else _mean(tagged[i][start:stop].astype(np.float64))
                weights.append(share / score_of.runs)
    table, weight = np.stack(means), np.array(weights)[:, None]  # [segments, M]
    known = np.isfinite(table) & np.isfinite(weight)
    total = np.sum(np.where(known, weight, 0.0), axis=0)
    summed = np.sum(np.where(known, weight * table, 0.0), axis=0)
    nothing = np.where(known.any(axis=0), np.nan, 0.0)
    curve = np.divide(summed, total, out=nothing, where=total > 0)
    curve[0] = 1.0
    return curve


def average_overlap(curve: np.ndarray, interval: tuple[int, int]) -> float:
    """EAO: the mean of the expected overlaps of an interval of lengths; NaN if the curve ends before it.

    Args:
      curve: see `expected_overlaps`.
      interval: (low, high), both included, counted from 1 as in the challenge's reports: entries low - 1 to high - 1.
    """
    low, high = interval
    return _mean(curve[low - 1 : high])


def _both_overlaps(
    found: np.ndarray, truth: np.ndarray, size: tuple[int, int], rules: Rules
) -> tuple[np.ndarray, np.ndarray]:
    """Overlaps bounded by (W, H) and by (W - 1, H - 1), `float64 [N]` each; without bounds they are the same."""
    inner = (size[0] - 1, size[1] - 1)
    plain = overlaps(found, truth, inner if rules.bounded else None, rules.drawing)
    counted = plain.copy()
    # The bounds only matter to regions that reach the last column or row.
    beyond = (np.maximum(found, truth) > np.array(inner, np.float32)).any(axis=(1, 2))
    if rules.bounded and beyond.any():
        counted[beyond] = overlaps(found[beyond], truth[beyond], size, rules.drawing)
    return counted, plain


def _segments(frames: int, failures: np.ndarray) -> list[tuple[int, int, bool]]:
    """(first frame, frame after the last, whether a failure ends it) of a run's segments.

    A segment contains the next one's first frame, and a failure that no initialisation follows ends nothing: so PySOT.
    """
    starts = [0, *(int(failure) + SKIP for failure in failures if failure + SKIP <= frames)]
    inner = [(start, following + 1, True) for start, following in itertools.pairwise(starts)]
    return [*inner, (starts[-1], frames, False)]


def _running_means(values: np.ndarray, length: int, *, ended: bool) -> np.ndarray:
    """Means over the indices 1 to L, for L = 0 ... length - 1; NaN where the segment is not known, and at 0."""
    padded = np.full(length, 0.0 if ended else np.nan)
    padded[: len(values)] = np.nan_to_num(values, nan=0.0)[:length]
    padded[:1] = 0.0 if len(values) else np.nan
    return np.cumsum(padded) / np.maximum(np.arange(length), 1)


def _mean(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    return float(np.mean(values)) if len(values) else float("nan")


def _nan_mean(values: np.ndarray, axis: int) -> np.ndarray:
    """`np.nanmean` without its warning where everything is NaN."""
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    return np.divide(
        np.where(known, values, 0.0).sum(axis=axis), count, out=np.full(count.shape, np.nan), where=count > 0
    )
