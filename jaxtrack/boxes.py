"""Boxes: formats, overlap, offsets, clipping; the same functions on numpy and on jax arrays.

A box is `[..., 4]` = (x, y, w, h): top-left corner and size in continuous pixel coordinates, 0-based, so that
pixel (0, 0) covers [0, 1) x [0, 1). Corner form (`xyxy`) and centre form (`cxcywh`) are named where they occur.
Files of most benchmarks count pixels from 1: `zero_based` at reading and `as_in_files` at writing are numpy alone.
"""

from types import ModuleType
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

Array = TypeVar("Array", np.ndarray, jax.Array)


def _namespace(*arrays: object) -> ModuleType:
    """`jax.numpy` as soon as one argument is a jax array (or traced), `numpy` otherwise."""
    return jnp if any(isinstance(array, jax.Array) for array in arrays) else np


def xyxy_from_box(box: Array) -> Array:
    """(x, y, w, h) to (left, top, right, bottom); `[..., 4]` to `[..., 4]`."""
    return _namespace(box).concatenate([box[..., :2], box[..., :2] + box[..., 2:]], axis=-1)


def box_from_xyxy(box_xyxy: Array) -> Array:
    """(left, top, right, bottom) to (x, y, w, h); `[..., 4]` to `[..., 4]`."""
    return _namespace(box_xyxy).concatenate([box_xyxy[..., :2], box_xyxy[..., 2:] - box_xyxy[..., :2]], axis=-1)


def cxcywh_from_box(box: Array) -> Array:
    """(x, y, w, h) to (centre x, centre y, w, h), centre = x + w/2; `[..., 4]` to `[..., 4]`."""
    half = np.asarray(0.5, box.dtype)
    return _namespace(box).concatenate([box[..., :2] + half * box[..., 2:], box[..., 2:]], axis=-1)


def box_from_cxcywh(box_cxcywh: Array) -> Array:
    """(centre x, centre y, w, h) to (x, y, w, h); `[..., 4]` to `[..., 4]`."""
    half = np.asarray(0.5, box_cxcywh.dtype)
    return _namespace(box_cxcywh).concatenate(
        [box_cxcywh[..., :2] - half * box_cxcywh[..., 2:], box_cxcywh[..., 2:]], axis=-1
    )


def zero_based(rows: np.ndarray, origin: float = 1.0) -> np.ndarray:
    """Boxes or points of a file in our coordinates. This and `as_in_files` are all that knows how files count pixels.

    Args:
      rows: `[..., K]`, K >= 2, whose first two numbers are x and y; sizes and what else follows stay as they are.
      origin: what the file calls the first pixel: 1 as MATLAB does, or 0.

    Returns:
      `float64 [..., K]`.
    """
    rows = np.asarray(rows, np.float64)
    return rows - _shift(rows, origin)


def as_in_files(boxes: np.ndarray, origin: float = 1.0) -> np.ndarray:
    """Our boxes or points as a file has them that calls the first pixel `origin`; the inverse of `zero_based`."""
    boxes = np.asarray(boxes, np.float64)
    return boxes + _shift(boxes, origin)


def _shift(rows: np.ndarray, origin: float) -> np.ndarray:
    return np.where(np.arange(rows.shape[-1]) < 2, origin, 0.0)


def area(box: Array) -> Array:
    """Area in square pixels, 0 where a side is negative; `[..., 4]` to `[...]`."""
    xp = _namespace(box)
    zero = np.zeros((), box.dtype)
    return xp.maximum(box[..., 2], zero) * xp.maximum(box[..., 3], zero)


def intersection(a: Array, b: Array) -> Array:
    """Area that two boxes share, in square pixels; `[..., 4]`, `[..., 4]` (equal shapes) to `[...]`."""
    xp = _namespace(a, b)
    zero = np.zeros((), a.dtype)
    left_top = xp.maximum(a[..., :2], b[..., :2])
    right_bottom = xp.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    side = xp.maximum(right_bottom - left_top, zero)
    return side[..., 0] * side[..., 1]


def iou(a: Array, b: Array) -> Array:
    """Intersection over union in [0, 1], 0 for two empty boxes; `[..., 4]`, `[..., 4]` to `[...]`.

    Leading shapes must be equal: broadcast by hand (`jnp.broadcast_to`), so that a forgotten axis is an error.
    """
    if a.shape != b.shape:
        raise ValueError(f"iou takes boxes of equal shape, got {a.shape} and {b.shape}")
    xp = _namespace(a, b)
    shared = intersection(a, b)
    union = area(a) + area(b) - shared
    tiny = np.finfo(np.dtype(union.dtype)).tiny
    return shared / xp.maximum(union, tiny)


def encode(box: Array, target: Array) -> Array:
    """Offsets that lead from boxes of positive size to others (R-CNN's); `[..., 4]`, `[..., 4]` to `[..., 4]`.

    (dx, dy, dw, dh): how far the target's centre is from the box's, in the box's sides, and the logarithms of the
    target's sides over the box's. Shapes are broadcast against each other from equal ranks.
    """
    return encode_cxcywh(cxcywh_from_box(box), cxcywh_from_box(target))


def encode_cxcywh(box_cxcywh: Array, target_cxcywh: Array) -> Array:
    """`encode` of boxes in centre form."""
    xp, sides = _namespace(box_cxcywh, target_cxcywh), box_cxcywh[..., 2:]
    shift = (target_cxcywh[..., :2] - box_cxcywh[..., :2]) / sides
    return xp.concatenate([shift, xp.log(target_cxcywh[..., 2:] / sides)], axis=-1)


def decode(box: Array, offsets: Array) -> Array:
    """The boxes to which the offsets of `encode` lead; `[..., 4]`, `[..., 4]` to `[..., 4]`."""
    return box_from_cxcywh(decode_cxcywh(cxcywh_from_box(box), offsets))


def decode_cxcywh(box_cxcywh: Array, offsets: Array) -> Array:
    """`decode` of and to boxes in centre form."""
    xp, sides = _namespace(box_cxcywh, offsets), box_cxcywh[..., 2:]
    centre = box_cxcywh[..., :2] + offsets[..., :2] * sides
    return xp.concatenate([centre, sides * xp.exp(offsets[..., 2:])], axis=-1)


def enlarged(box: Array, factor: float) -> Array:
    """The box about the same centre whose sides are `factor` times as long; `[..., 4]` to `[..., 4]`."""
    xp, sides = _namespace(box), factor * box[..., 2:]
    return xp.concatenate([box[..., :2] + (box[..., 2:] - sides) / 2, sides], axis=-1)


def clip(box: Array, size: Array) -> Array:
    """The part of a box inside an image; a box wholly outside becomes one of zero size on the border.

    Args:
      box: `[..., 4]`.
      size: `[2]`, (height, width) of the image in pixels, of the box's dtype.
    """
    xp = _namespace(box, size)
    low = np.zeros((), box.dtype)
    width_height = xp.broadcast_to(size[::-1], box[..., :2].shape)
    left_top = xp.clip(box[..., :2], low, width_height)
    right_bottom = xp.clip(box[..., :2] + box[..., 2:], low, width_height)
    return xp.concatenate([left_top, right_bottom - left_top], axis=-1)
