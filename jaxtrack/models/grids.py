"""Grids of anchors and points: where the cells of a Siamese network's output lie, and what boxes they mean.

Positions are relative to the centre of the crop, in crop pixels; a grid of even side reaches further to the left. They
are those of the centres of the cells' receptive fields, for anchors, points and tokens alike.
"""

import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack import boxes

ANCHOR_RATIOS = (0.33, 0.5, 1.0, 2.0, 3.0)  # height / width
ANCHOR_SCALE = 8
Kind = Literal["anchors", "points", "tokens"]


class Candidates(NamedTuple):
    """What a network says of N anchors or points.

    Attributes:
      scores: `float32 [N]`, probability of the target, in [0, 1].
      boxes_cxcywh: `float32 [N, 4]` in crop pixels, the crop's centre at (0, 0).
    """

    scores: jax.Array
    boxes_cxcywh: jax.Array


def window(side: int, anchors: int) -> np.ndarray:
    """The cosine window over a grid, once for every anchor; `float32 [anchors * side * side]`."""
    hanning = np.hanning(side)
    return np.tile(np.outer(hanning, hanning).ravel(), anchors).astype(np.float32)


def grid(side: int, stride: int) -> np.ndarray:
    """Positions (x, y) of a score map's cells relative to the crop's centre, `float32 [side * side, 2]`."""
    line = stride * (np.arange(side) - side // 2)
    x, y = np.meshgrid(line, line)
    return np.stack([x.ravel(), y.ravel()], axis=-1).astype(np.float32)


def anchor_sizes(stride: int) -> np.ndarray:
    """(width, height) of a cell's five anchors in crop pixels, `float32 [5, 2]`; the roundings are the references'."""
    sizes = []
    for ratio in ANCHOR_RATIOS:
        width = int(math.sqrt(stride * stride / ratio))
        sizes.append((ANCHOR_SCALE * width, ANCHOR_SCALE * int(width * ratio)))
    return np.asarray(sizes, np.float32)


def anchors(kind: Kind, side: int, stride: int, centre_px: float = 0.0) -> np.ndarray:
    """Centres and sizes (x, y, width, height) of all anchors (anchor-major, then row, then column) or points.

    Args:
      kind: which of them; points and tokens have no size, 0.
      side: cells of the score map in a row.
      stride: distance of neighbouring cells, crop pixels.
      centre_px: position of the crop's centre in x and y.

    Returns:
      `float32 [N, 4]`.
    """
    centres = grid(side, stride) + np.float32(centre_px)
    sizes = anchor_sizes(stride) if kind == "anchors" else np.zeros((1, 2), np.float32)
    return np.concatenate([np.tile(centres, (len(sizes), 1)), np.repeat(sizes, len(centres), axis=0)], axis=-1)


def decode(kind: Kind, side: int, stride: int, parts: jax.Array, centre_px: float = 0.0) -> jax.Array:
    """Boxes (cx, cy, w, h) in crop pixels from what a network says of all anchors or points; `[..., N, 4]` to the same.

    Args:
      kind: anchors or points; the others as for `anchors`.
      side: cells of the score map in a row.
      stride: distance of neighbouring cells, crop pixels.
      parts: of anchors (dx, dy) in their sizes and (dw, dh) as logarithms; of points the distances (left, top, right,
        bottom) to the box's sides, pixels.
      centre_px: position of the crop's centre in x and y.
    """
    if kind == "tokens":
        raise ValueError("a token's box has nothing to do with where its cell lies")
    fixed = anchors(kind, side, stride, centre_px).reshape((1,) * (parts.ndim - 2) + (-1, 4))
    if kind == "points":
        middles = fixed[..., :2] + (parts[..., 2:] - parts[..., :2]) / 2
        return jnp.concatenate([middles, parts[..., :2] + parts[..., 2:]], axis=-1)
    return boxes.decode_cxcywh(jnp.asarray(fixed), jnp.asarray(parts))


def candidates(kind: Kind, stride: int, cls: jax.Array, loc: jax.Array) -> Candidates:
    """Scores and boxes of all anchors (anchor-major, then row, then column) or points.

    Args:
      kind: anchors or points.
      stride: distance of neighbouring cells, crop pixels.
      cls: `[S, S, 2 A]`, logits, the background's of all anchors first.
      loc: `[S, S, 4 A]`: offsets to the anchors, or distances to the box's sides in pixels.
    """
    side = cls.shape[0]
    count = cls.shape[-1] // 2
    logits = cls.reshape(side * side, 2, count)
    scores = jax.nn.softmax(logits, axis=1)[:, 1].T.reshape(-1)  # [A * S * S]
    parts = jnp.moveaxis(loc.reshape(side * side, 4, count), 2, 0).reshape(-1, 4)  # [A * S * S, 4]
    return Candidates(scores, decode(kind, side, stride, parts))


def candidate_windows(kind: Kind, count: int) -> np.ndarray:
    """The cosine window of `count` candidates, `float32 [count]`."""
    per_cell = len(ANCHOR_RATIOS) if kind == "anchors" else 1
    return window(math.isqrt(count // per_cell), per_cell)
