"""Overlap of regions as VOT's toolkits compute it: polygons are drawn as pixels, and the pixels are counted.

No image is drawn: a polygon of four corners covers at most two runs of pixels in a row, so that all rows of all frames
are intervals in flat arrays, and 20,000 frames take seconds. Two rules of drawing:

* `rounded` (VOT2016 and later): corners are rounded to pixels, halves away from zero; a row belongs to an edge from its
  one end to its other, both included; the crossings are cut to whole numbers and sorted, equal neighbours are passed
  over one at a time, and what lies from one crossing to the next is filled, both included.
* `legacy` (VOT2013 to VOT2015): corners stay as they are; a row belongs to an edge if it is above the edge's lower end
  and not above its upper one; filled is from every odd crossing up to the even one after it, that one not included.
"""

import itertools
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

Drawing = Literal["rounded", "legacy"]

_ROWS_AT_ONCE = 1 << 16
_FARTHEST_PX = float(1 << 15)  # what "not bounded" means, so that no file can ask for all of the memory


class _Frames(NamedTuple):
    """Two polygons a frame, and the window of pixels in which they are drawn.

    Attributes:
      a: `float64 [N, 4, 2]`, corners relative to the window.
      b: the same.
      width: `int [N]`, pixels.
      height: `int [N]`, pixels.
    """

    a: np.ndarray
    b: np.ndarray
    width: np.ndarray
    height: np.ndarray


def overlaps(
    a: np.ndarray, b: np.ndarray, bounds: tuple[float, float] | None = None, drawing: Drawing = "rounded"
) -> np.ndarray:
    """Pixels that two regions share over pixels that either has, frame by frame.

    Args:
      a: `[N, 4, 2]`, (x, y) of four corners in order.
      b: the same.
      bounds: (W', H'): only columns 0 to W' and rows 0 to H' count, both included; None: all pixels do.
      drawing: see the module's docstring.

    Returns:
      `float64 [N]` in [0, 1]; NaN where a corner is NaN.
    """
    a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
    known = np.isfinite(a).all(axis=(1, 2)) & np.isfinite(b).all(axis=(1, 2))
    result = np.where(known, 0.0, np.nan)
    low_a, high_a = _hull(a, bounds)
    low_b, high_b = _hull(b, bounds)
    shared = np.minimum(high_a, high_b) - np.maximum(low_a, low_b)
    # The toolkits also give 0 where one area is less than 1e-10 of the other: no two windows of pixels here are.
    with np.errstate(invalid="ignore"):
        at = np.flatnonzero(known & (shared > 0).all(axis=1))
    origin = np.minimum(low_a, low_b)[at]
    extent = (np.maximum(high_a, high_b)[at] - origin).astype(np.int64) + 1
    moved = [(corners[at] - origin[:, None].astype(np.float32)).astype(np.float64) for corners in (a, b)]
    if drawing == "rounded":
        moved = [np.trunc(corners + np.copysign(0.5, corners)) for corners in moved]
    frames = _Frames(*moved, width=extent[:, 0], height=extent[:, 1])
    for part in _in_parts(frames.height):
        result[at[part]] = _ratios(_Frames(*(field[part] for field in frames)), drawing)
    return result


def _hull(corners: np.ndarray, bounds: tuple[float, float] | None) -> tuple[np.ndarray, np.ndarray]:
    """First and last column and row of each region, `float64 [N, 2]` (x, y) twice, cut at the bounds."""
    limits = ((-_FARTHEST_PX,) * 2, (_FARTHEST_PX,) * 2) if bounds is None else ((0.0, 0.0), bounds)
    low, high = np.floor(corners.min(axis=1)), np.ceil(corners.max(axis=1))
    return np.maximum(low.astype(np.float64), limits[0]), np.minimum(high.astype(np.float64), limits[1])


def _in_parts(height: np.ndarray) -> Iterator[slice]:
    """Slices of the frames, in order, with not many more than `_ROWS_AT_ONCE` rows together."""
    part = np.cumsum(height) // _ROWS_AT_ONCE
    starts = np.flatnonzero(np.diff(part, prepend=-1))
    for start, stop in itertools.pairwise([*starts, len(height)]):
        yield slice(start, stop)


def _ratios(frames: _Frames, drawing: Drawing) -> np.ndarray:
    """Intersection over union of each frame, `float64 [N]`; 0 where nothing is filled."""
    first_row = np.cumsum(frames.height) - frames.height
    of_row = np.repeat(np.arange(len(frames.height)), frames.height)  # [R]
    row = np.arange(len(of_row)) - first_row[of_row]
    last = (frames.width - 1)[of_row].astype(np.float64)
    runs_a, runs_b = (_runs(corners, of_row, row.astype(np.float64), last, drawing) for corners in (frames.a, frames.b))
    shared = sum(_length(np.maximum(s, t), np.minimum(e, f)) for s, e in runs_a for t, f in runs_b)
    either = sum(_length(*run) for run in (*runs_a, *runs_b)) - shared
    shared, either = (np.add.reduceat(count, first_row) for count in (shared, either))
    return np.divide(shared, either, out=np.zeros(len(shared)), where=either > 0)


def _length(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    return np.maximum(end - start + 1, 0.0)


def _runs(
    corners: np.ndarray, of_row: np.ndarray, row: np.ndarray, last: np.ndarray, drawing: Drawing
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The two runs of pixels that a polygon fills in each row: (first, last) column, `float64 [R]`, disjoint.

    Args:
      corners: `float64 [N, 4, 2]`.
      of_row: `int [R]`, the frame of each row.
      row: `float64 [R]`, its number in the frame's window.
      last: `float64 [R]`, number of the window's last column.
      drawing: see the module's docstring.
    """
    crossings, count = _crossings(corners, of_row, row, drawing)
    if drawing == "legacy":
        pairs = [(crossings[0], crossings[1] - 1, count >= 2), (crossings[2], crossings[3] - 1, count >= 4)]
    else:
        pairs = _walk(crossings, count)
    runs = [
        (np.where(filled, np.maximum(start, 0.0), 0.0), np.where(filled, np.minimum(end, last), -1.0))
        for start, end, filled in pairs
    ]
    # Two runs may meet in one pixel, which counts once.
    (start, end), (later, stop) = runs
    return [(start, end), (np.maximum(later, end + 1), stop)]


def _crossings(
    corners: np.ndarray, of_row: np.ndarray, row: np.ndarray, drawing: Drawing
) -> tuple[list[np.ndarray], np.ndarray]:
    """Columns in which edges cross each row: four sorted arrays [R], infinity where there is none, and their number."""
    previous = np.roll(corners, 1, axis=1)
    columns = []
    for edge in range(4):
        x, y = corners[of_row, edge].T
        dx, dy = (previous - corners)[of_row, edge].T
        if drawing == "legacy":
            crossed = ((y < row) & (y + dy >= row)) | ((y + dy < row) & (y >= row))
        else:
            crossed = (dy != 0) & (np.minimum(y, y + dy) <= row) & (row <= np.maximum(y, y + dy))
        column = np.trunc(x + (row - y) / np.where(crossed, dy, 1.0) * dx)
        columns.append(np.where(crossed, column, np.inf))
    for i, j in ((0, 1), (2, 3), (0, 2), (1, 3), (1, 2)):
        columns[i], columns[j] = np.minimum(columns[i], columns[j]), np.maximum(columns[i], columns[j])
    return columns, np.sum(np.isfinite(columns), axis=0)


def _walk(crossings: list[np.ndarray], count: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The walk along each row's crossings: (start, end, whether filled) of the one or two runs."""
    at = np.zeros(len(count), np.int8)
    filled = []
    for i in range(3):
        here = (at == i) & (i + 1 < count)
        equal = crossings[i] == crossings[i + 1]
        filled.append(here & ~equal)
        at += here * np.where(equal, 1, 2).astype(np.int8)
    # A run that begins at the second crossing leaves none for another one.
    start = np.where(filled[1], crossings[1], crossings[0])
    end = np.where(filled[1], crossings[2], crossings[1])
    return [(start, end, filled[0] | filled[1]), (crossings[2], crossings[3], filled[2])]
