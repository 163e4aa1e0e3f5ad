"""Labels of a training pair: which anchors, points or tokens are target, which background, and the box to give.

One image at a time, in the order of `jaxtrack.models.grids.candidates` (anchor-major, then row, then column). Boxes and
positions are in pixels of the search region. Everything is a function of the key; subsets are drawn uniformly.
"""

import dataclasses
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack import boxes
from jaxtrack.errors import UserError, check_numbers
from jaxtrack.losses.classification import random_subset
from jaxtrack.models import grids

_REACH_CELLS = 3  # negatives of a negative pair of anchors lie that close to the other object


class Labels(NamedTuple):
    """What the N anchors, points or tokens of an image should say.

    Attributes:
      label: `int32 [N]`: 1 target, 0 background, -1 not counted.
      target: `float32 [N, 4]`, the box for every anchor or point, counted or not; zeros in a negative pair. Anchors:
        (dx, dy) in anchor sides and (dw, dh) as logarithms; points: distances (left, top, right, bottom), pixels;
        tokens: (cx, cy, w, h) in sides of the search region.
      weight: `float32 [N]`, weight of the box's error, 0 for all but positives. Anchors: 1 / (number of positives);
        points and tokens: 1.
    """

    label: jax.Array
    target: jax.Array
    weight: jax.Array


@dataclasses.dataclass(frozen=True)
class AnchorLabels:
    """How anchors are labelled, by default as SiamRPN++ does."""

    positives: int = 16
    """Most positives an image."""
    total: int = 64
    """Most samples an image; those that are not for positives are the most negatives, few positives or not."""
    upper: float = 0.6
    """IoU with the target above which an anchor is positive."""
    lower: float = 0.3
    """IoU below which it is negative."""
    negatives_in_negative_pair: int = 16
    """Most negatives of a pair whose target is not in the search region, all of them close to the other object."""
    keep_all_negatives: bool = False
    """Keep every negative of an ordinary pair (SiamRPN++-RBO ranks against all)."""

    def __post_init__(self) -> None:
        """Refuses numbers that label nothing."""
        check_numbers(self, positive=("positives", "total", "negatives_in_negative_pair"), not_negative=("lower",))
        _check_total(self)
        if not self.lower <= self.upper < 1:
            raise UserError(f"AnchorLabels needs lower <= upper < 1, not {self.lower:g} and {self.upper:g}")


@dataclasses.dataclass(frozen=True)
class EllipseLabels:
    """How points are labelled, by default as SiamBAN does."""

    positives: int = 16
    """Most positives an image."""
    total: int = 64
    """Most samples an image; those that are not for positives are the most negatives."""
    negative_pair_cap: int | None = 16
    """Most negatives of a pair whose target is not in the search region; None keeps all (SiamPW-RBO)."""

    def __post_init__(self) -> None:
        """Refuses numbers that label nothing."""
        cap = () if self.negative_pair_cap is None else ("negative_pair_cap",)
        check_numbers(self, positive=("positives", "total", *cap))
        _check_total(self)


@dataclasses.dataclass(frozen=True)
class TokenLabels:
    """How tokens are labelled, by default as TransT does: all are counted, those in the box positive."""

    positives: int = 256
    """Most positives of an image that are ranked, evenly spread; the other losses take all."""
    cut: bool = False
    """Whether a box that begins left of or above the search region is cut to it. The reference, by the way its language
    counts from the end, leaves such a box without any positive."""

    def __post_init__(self) -> None:
        """Refuses to rank nothing."""
        check_numbers(self, positive=("positives",))


def anchor_labels(
    key: jax.Array,
    target_xyxy: jax.Array,
    negative: jax.Array | bool,
    config: AnchorLabels,
    *,
    side: int = 25,
    stride: int = 8,
    centre_px: float = 127.0,
) -> Labels:
    """Labels by the anchors' IoU with the target (SiamRPN++).

    In a negative pair the negatives are drawn from the anchors of the 7 x 7 cells around the one down and right of the
    other object's centre; nothing else counts.

    Args:
      key: a typed random key.
      target_xyxy: `float32 [4]`, corners of the box in the search region: the target's, or the other object's.
      negative: `bool []`, whether the pair is a negative one.
      config: the constants.
      side: cells of the score map in a row.
      stride: distance of neighbouring cells, pixels.
      centre_px: position of the crop's centre in x and y: half its side, rounded down.
    """
    chex.assert_shape(target_xyxy, (4,))
    anchors = grids.anchors("anchors", side, stride, centre_px)
    target = boxes.box_from_xyxy(target_xyxy)
    overlap = boxes.iou(jnp.asarray(boxes.box_from_cxcywh(anchors)), jnp.broadcast_to(target, anchors.shape))  # [N]
    centre = boxes.cxcywh_from_box(target)
    deltas = boxes.encode_cxcywh(jnp.asarray(anchors), centre[None])

    positive_key, negative_key, pair_key = jax.random.split(key, 3)
    positive = random_subset(positive_key, overlap > config.upper, config.positives)
    background = overlap < config.lower
    if not config.keep_all_negatives:
        background = random_subset(negative_key, background, config.total - config.positives)
    near = _near(centre[:2], side, stride, centre_px)
    near = random_subset(pair_key, jnp.tile(near, len(grids.ANCHOR_RATIOS)), config.negatives_in_negative_pair)
    labels = _labels(positive, background, near, deltas, negative)
    return labels._replace(weight=labels.weight / (jnp.sum(labels.weight) + 1e-6))


def ellipse_labels(
    key: jax.Array,
    target_xyxy: jax.Array,
    negative: jax.Array | bool,
    config: EllipseLabels,
    *,
    side: int = 25,
    stride: int = 8,
    centre_px: float = 127.0,
) -> Labels:
    """Labels by two ellipses around the target's centre (SiamBAN).

    Points inside the one with semi-axes (w / 4, h / 4) are positive, those outside the one with (w / 2, h / 2)
    negative. In a negative pair those inside the smaller one are negative and nothing else counts.

    Args:
      key: a typed random key.
      target_xyxy: `float32 [4]`, corners of the box in the search region: the target's, or the other object's.
      negative: `bool []`, whether the pair is a negative one.
      config: the constants.
      side: cells of the score map in a row.
      stride: distance of neighbouring cells, pixels.
      centre_px: position of the crop's centre in x and y: half its side, rounded down.
    """
    chex.assert_shape(target_xyxy, (4,))
    points = grids.anchors("points", side, stride, centre_px)[:, :2]
    centre = boxes.cxcywh_from_box(boxes.box_from_xyxy(target_xyxy))
    in_halves = (points - centre[None, :2]) / (centre[None, 2:] / 2)
    radius = jnp.sum(in_halves * in_halves, axis=-1)  # 1 on the larger ellipse, 1/4 on the smaller
    distances = jnp.concatenate([points - target_xyxy[None, :2], target_xyxy[None, 2:] - points], axis=-1)

    positive_key, negative_key, pair_key = jax.random.split(key, 3)
    inner = 4 * radius < 1
    positive = random_subset(positive_key, inner, config.positives)
    background = random_subset(negative_key, radius > 1, config.total - config.positives)
    cap = config.negative_pair_cap
    near = inner if cap is None else random_subset(pair_key, inner, cap)
    return _labels(positive, background, near, distances, negative)


def token_labels(
    target_xyxy: jax.Array,
    negative: jax.Array | bool,
    config: TokenLabels,
    *,
    side: int,
    stride: int,
    search_px: int,
    first_px: float = 0.0,
) -> Labels:
    """Labels by the tokens in the target's box (TransT); all others are background.

    In each direction those are positive that lie at the box's start or after it and before its end, and at least one.
    Where a token lies is where its receptive field has its centre: of TransT's network, token k at pixel 8 k, so that
    these are the authors' cells from ceil(start) to ceil(end) - 1, the box being in cells.

    Args:
      target_xyxy: `float32 [4]`, corners of the box in the search region, pixels: the target's, or the other object's.
      negative: `bool []`, whether the pair is a negative one.
      config: the constants.
      side: tokens in a row.
      stride: distance of neighbouring tokens, pixels.
      search_px: side of the search region.
      first_px: where the first pixel's centre lies, in pixels from the region's edge, from which the boxes to give
        count: 0 in the reference, half a pixel too far left; 0.5 is right.
    """
    chex.assert_shape(target_xyxy, (4,))
    first_token_px = grids.anchors("tokens", side, stride, search_px // 2)[0, 0]
    ends = (target_xyxy - first_token_px) / stride  # in tokens
    row, column = (_covered(ends[i::2], side, cut=config.cut) for i in (1, 0))
    positive = (row[:, None] & column[None]).ravel()
    box = boxes.cxcywh_from_box(boxes.box_from_xyxy((target_xyxy + first_px) / search_px))
    target = jnp.broadcast_to(box, (side * side, 4))
    return _labels(positive, ~positive, jnp.ones_like(positive), target, negative)


def _covered(ends: jax.Array, side: int, *, cut: bool) -> jax.Array:
    """The tokens of a line that a box covers; its two ends in tokens from the first, `[2]`, to `bool [side]`."""
    start, stop = jnp.ceil(ends)
    stop = jnp.where(stop == start, start + 1, stop)
    cells = jnp.arange(side, dtype=start.dtype)
    inside = (cells >= start) & (cells < stop)
    return inside if cut else inside & (start >= 0)


def _check_total(config: AnchorLabels | EllipseLabels) -> None:
    if config.total <= config.positives:
        name = type(config).__name__
        raise UserError(f"total of {name} must be greater than positives, not {config.total} and {config.positives}")


def _near(position: jax.Array, side: int, stride: int, centre_px: float) -> jax.Array:
    """Cells around the one that the references take for a position's: `[2]` to `bool [side * side]`, row by row."""
    cell = side // 2 + jnp.ceil((position - centre_px) / stride + 0.5)  # half a cell further than the nearest
    column, row = (jnp.abs(np.arange(side, dtype=np.float32) - at) <= _REACH_CELLS for at in cell)
    return (row[:, None] & column[None]).ravel()


def _labels(
    positive: jax.Array, background: jax.Array, near: jax.Array, target: jax.Array, negative: jax.Array | bool
) -> Labels:
    """Labels of an ordinary pair, or of a negative one; the weight is 1 for each positive."""
    positive = positive & ~jnp.asarray(negative)
    background = jnp.where(negative, near, background)
    label = jnp.where(positive, 1, jnp.where(background, 0, -1)).astype(jnp.int32)
    return Labels(label, jnp.where(negative, 0.0, target), positive.astype(jnp.float32))
