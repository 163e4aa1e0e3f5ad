"""Which video a step trains on, and which of its frames: functions of the seed and of the step.

A cycle visits every video once, in an order of its own. A visit takes the next frames of the video's own stream of
random permutations, so that none comes again before all have come (specification 2.6; py-MDNet).
"""

import numpy as np

# What tells the two kinds of permutations apart; the others are numbers of cycles, videos and laps.
_VIDEOS, _FRAMES = 1, 2


def video(seed: int, step: int, count: int) -> tuple[int, int]:
    """The video of a step, of `count` videos, and how many visits it had before."""
    cycle, place = divmod(step, count)
    return int(_permutation(count, seed, _VIDEOS, cycle)[place]), cycle


def frames(seed: int, video: int, visit: int, batch: int, length: int) -> np.ndarray:
    """The frames of a visit, `int64 [batch]`, indices below `length`.

    Args:
      seed: of the order.
      video: number of the video.
      visit: how many visits it had before.
      batch: frames of a visit.
      length: frames of the video.
    """
    lap, place = np.divmod(visit * batch + np.arange(batch), length)
    laps = {number: _permutation(length, seed, _FRAMES, video, number) for number in np.unique(lap).tolist()}
    return np.asarray([laps[number][at] for number, at in zip(lap.tolist(), place.tolist(), strict=True)])


def _permutation(count: int, *words: int) -> np.ndarray:
    """A random permutation that is a function of the words."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words))).permutation(count)
