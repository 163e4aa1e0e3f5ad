"""Accuracy and robustness ranks with tests of equivalence: how VOT2013 and VOT2014 order trackers.

Source: Kristan et al., "The Visual Object Tracking VOT2013 challenge results", section 3. On every sequence trackers
are ranked by their mean overlap and by their number of failures. Two trackers are equivalent in accuracy where a
Wilcoxon signed-rank test on their overlaps, frame by frame, finds no difference, and in robustness where a rank-sum
test on their failures, repetition by repetition, finds none. A tracker's rank becomes the mean of the ranks of those
that it is equivalent to, itself included; ranks are then averaged over the sequences.

The tests use the normal approximation with the correction for ties. Where no tracker's failures vary, a rank-sum test
on one or three numbers could tell nothing: failures that never vary differ where they are not equal.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from jaxtrack.evaluation.vot.measures import SequenceScore

SIGNIFICANCE = 0.05


@dataclasses.dataclass(frozen=True)
class Ranks:
    """A tracker's ranks, averaged over sequences; lower is better."""

    accuracy: float
    robustness: float

    @property
    def mean(self) -> float:
        """Mean of both."""
        return (self.accuracy + self.robustness) / 2


def rank(trackers: Sequence[Sequence[SequenceScore]], *, practical: float = 0.0) -> list[Ranks]:
    """Ranks of trackers that were run on the same sequences.

    Args:
      trackers: for each tracker its scores, sequence by sequence.
      practical: mean overlaps that differ by no more than this are equivalent, whatever the test says.
    """
    accuracy, robustness = [], []
    for scores in zip(*trackers, strict=True):
        overlaps = [score.frame_accuracy for score in scores]
        means = np.array([np.mean(o[np.isfinite(o)]) if np.isfinite(o).any() else -1.0 for o in overlaps])
        accuracy.append(_adjusted(-means, _accuracy_test(overlaps, means, practical)))
        failures = [np.array([len(frames) for frames in score.failures], np.float64) for score in scores]
        robustness.append(_adjusted(np.array([f.mean() for f in failures]), _robustness_test(failures)))
    means = zip(np.mean(accuracy, axis=0), np.mean(robustness, axis=0), strict=True)
    return [Ranks(float(a), float(r)) for a, r in means]


def signed_rank_test(a: np.ndarray, b: np.ndarray) -> float:
    """The two-sided p-value of Wilcoxon's signed-rank test on pairs, `float [N]` each; equal pairs do not count."""
    difference = (a - b)[a != b]
    n = len(difference)
    if n == 0:
        return 1.0
    ranks, ties = mean_ranks(np.abs(difference))
    variance = n * (n + 1) * (2 * n + 1) / 24 - ties / 48
    return _p_value(float(ranks[difference > 0].sum()) - n * (n + 1) / 4, variance)


def rank_sum_test(a: np.ndarray, b: np.ndarray) -> float:
    """The two-sided p-value of the Wilcoxon-Mann-Whitney test on two samples, `float [N]` and `float [M]`."""
    n, m = len(a), len(b)
    ranks, ties = mean_ranks(np.concatenate([a, b]))
    variance = n * m / 12 * (n + m + 1 - ties / ((n + m) * (n + m - 1)))
    return _p_value(float(ranks[:n].sum()) - n * (n + m + 1) / 2, variance)


def mean_ranks(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Ranks from 1 up, equal values sharing their mean rank, and the sum of t^3 - t over groups of t equal values.

    >>> mean_ranks(np.array([5.0, 1.0, 5.0]))[0].tolist()
    [2.5, 1.0, 2.5]
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse], float(np.sum(counts**3 - counts))


def _adjusted(values: np.ndarray, equivalent: Callable[[int, int], bool]) -> np.ndarray:
    """Ranks of `values` (the lowest is 1), each the mean over those that are equivalent to it."""
    ranks, _ = mean_ranks(values)
    everyone = range(len(values))
    return np.array([np.mean([ranks[j] for j in everyone if i == j or equivalent(i, j)]) for i in everyone])


def _accuracy_test(overlaps: Sequence[np.ndarray], means: np.ndarray, practical: float) -> Callable[[int, int], bool]:
    def equivalent(i: int, j: int) -> bool:
        both = np.isfinite(overlaps[i]) & np.isfinite(overlaps[j])
        if not both.any():
            return bool(means[i] == means[j])
        if abs(means[i] - means[j]) <= practical:
            return True
        return signed_rank_test(overlaps[i][both], overlaps[j][both]) >= SIGNIFICANCE

    return equivalent


def _robustness_test(failures: Sequence[np.ndarray]) -> Callable[[int, int], bool]:
    def equivalent(i: int, j: int) -> bool:
        if np.ptp(failures[i]) == 0 and np.ptp(failures[j]) == 0:
            return bool(failures[i][0] == failures[j][0])
        return rank_sum_test(failures[i], failures[j]) >= SIGNIFICANCE

    return equivalent


def _p_value(deviation: float, variance: float) -> float:
    return math.erfc(abs(deviation) / math.sqrt(2 * variance)) if variance > 0 else 1.0
