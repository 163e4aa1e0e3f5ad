"""The interval of lengths over which the expected overlap is averaged.

The challenges print one per edition. VOT's MATLAB toolkit finds it from the lengths of the sequences, and so does
`estimate`: from those of VOT2015 and VOT2018 it finds the printed ones. VOT2019's lengths are not all known here.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from jaxtrack.errors import UserError

PRINTED: Mapping[int, tuple[int, int]] = {
    2015: (108, 371),
    2016: (108, 371),
    2017: (100, 356),
    2018: (100, 356),
    2019: (46, 291),
}
"""By edition; VOT2013 and VOT2014 have none: there is no EAO in them."""

_MASS = 0.5


def choose(text: str, edition: int, lengths: Sequence[int], *, complete: bool) -> tuple[int, int] | None:
    """The interval that a user asks for.

    Args:
      text: `LOW-HIGH`, `auto`, or empty: the edition's own where all of it is scored, else `auto`.
      edition: the year.
      lengths: number of frames of each sequence.
      complete: whether they are all of the edition's.

    Returns:
      (low, high), or None: the edition has no EAO and none was asked for.

    Raises:
      UserError: the text is none of these.
    """
    if text == "" and (complete or edition not in PRINTED):
        return PRINTED.get(edition)
    if text in ("", "auto"):
        return estimate(lengths)
    low, _, high = text.partition("-")
    if not (low.strip().isdigit() and high.strip().isdigit() and 2 <= int(low) <= int(high)):
        raise UserError(f"the EAO interval must be LOW-HIGH with 2 <= LOW <= HIGH, or auto, not {text!r}")
    return int(low), int(high)


def estimate(lengths: Sequence[int]) -> tuple[int, int]:
    """The lengths around the most frequent one that hold half of the mass of their density.

    The density is a sum of Gaussians over 1, 2, ... longest; the interval begins as its highest point and grows by one
    length at a time, to the side where the density is higher.

    Args:
      lengths: number of frames of each sequence; of equal lengths only that one is in the interval.

    Returns:
      (low, high), both included.
    """
    x = np.asarray(lengths, np.float64)
    spread = float(x.std())
    if spread == 0.0:
        return int(x[0]), int(x[0])
    at = np.arange(1, int(x.max()) + 1)
    density = np.exp(-0.5 * ((at[:, None] - x) / bandwidth(x)) ** 2).sum(axis=1)
    density /= density.sum()
    low = high = int(np.argmax(density))
    mass = density[low]
    while mass < _MASS:
        left = density[low - 1] if low > 0 else -1.0
        right = density[high + 1] if high + 1 < len(density) else -1.0
        low, high = (low - 1, high) if left > right else (low, high + 1)
        mass += max(left, right)
    return int(at[low]), int(at[high])


def bandwidth(lengths: np.ndarray) -> float:
    """Width of the density's Gaussians, in frames: the rule of VOT's MATLAB toolkit."""
    n, spread = len(lengths), float(lengths.std())
    z = (lengths - lengths.mean()) / spread
    a = 1 / (4 / (3 * n)) ** (2 / 5)
    m = a * (z[:, None] - z) ** 2
    terms = math.sqrt(a / (2 * math.pi)) * np.exp(-m / 2) * (2 * a**2 * (1 - 2 * m) + a**2 * (1 - m) ** 2)
    return spread * (1 / (n * math.sqrt(4 * math.pi) * float(terms.mean()))) ** (1 / 5)
