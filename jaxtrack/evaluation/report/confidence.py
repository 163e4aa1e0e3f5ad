"""How far a benchmark's mean would move with other sequences: bootstrap confidence intervals.

A benchmark's sequences are a sample of all videos. The percentile bootstrap (Efron and Tibshirani, "An Introduction to
the Bootstrap", 1993, section 13.3) draws as many sequences again, with replacement, many times, and takes the ends of
the middle 95 % of the means. It does not tell how far a run would differ with another seed: that is the standard
deviation over runs. The draws of one number of sequences are always the same.
"""

import dataclasses
import functools

import numpy as np

LEVEL = 0.95
RESAMPLES = 10_000
SEED = 0


@dataclasses.dataclass(frozen=True)
class Interval:
    """A confidence interval; both ends are NaN where there is none."""

    low: float
    high: float

    def __str__(self) -> str:
        return "-" if np.isnan(self.low) else f"{self.low:.3f}–{self.high:.3f}"


def interval(values: np.ndarray, weights: np.ndarray | None = None) -> Interval:
    """The confidence interval of a mean over sequences.

    Args:
      values: `[S]`, a number for each sequence; those that are NaN have none and are left out.
      weights: `[S]`, positive, of a mean in which sequences differ in weight; each resample is weighed by its own.

    Returns:
      The ends; NaN with fewer than two numbers.
    """
    values = np.asarray(values, np.float64)
    known = ~np.isnan(values)
    values, weights = values[known], np.ones(known.sum()) if weights is None else np.asarray(weights)[known]
    if len(values) < 2:
        return Interval(float("nan"), float("nan"))
    draws = _draws(len(values))
    means = (draws @ (weights * values)) / (draws @ weights)  # [RESAMPLES]
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    return Interval(low, high)


@functools.lru_cache(maxsize=8)  # one number of sequences for most tables, and large for a large benchmark
def _draws(sequences: int) -> np.ndarray:
    """How often each sequence is drawn, `float64 [RESAMPLES, S]`."""
    random = np.random.default_rng(SEED)
    return random.multinomial(sequences, np.full(sequences, 1 / sequences), size=RESAMPLES).astype(np.float64)
