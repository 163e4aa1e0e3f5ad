"""Losses of box regression, the overlaps that ranking losses order by, and the ridge regression of maps.

Boxes are (centre x, centre y, width, height) in any unit, as `jaxtrack.models.grids.Candidates` has them, or the four
distances (left, top, right, bottom) > 0 from a point to the box's sides, in pixels of the search region.
"""

import chex
import jax
import jax.numpy as jnp

from jaxtrack.losses.reduction import Term, term


def l1(predicted: jax.Array, target: jax.Array, weight: jax.Array) -> Term:
    """Sum over images of sum_i weight_i sum_k |d_ik - d*_ik|, and the number of images.

    With a weight of 1 / (number of positives) on an image's positives it is what SiamRPN++ trains its offsets with;
    the paper's text says smooth L1, the code does this.

    Args:
      predicted: `float32 [B, N, 4]`.
      target: `float32 [B, N, 4]`.
      weight: `float32 [B, N]`, 0 where nothing counts.
    """
    return _weighted(jnp.abs(_difference(predicted, target, weight)), weight)


def box_l1(predicted: jax.Array, target: jax.Array, where: jax.Array) -> Term:
    """sum_k |b_k - b*_k| over the samples that count, and their number (TransT, with boxes in sides of the region).

    Args:
      predicted: `float32 [B, N, 4]`.
      target: `float32 [B, N, 4]`.
      where: `bool [B, N]`, the positives.
    """
    return term(jnp.sum(jnp.abs(_difference(predicted, target, where.astype(predicted.dtype))), axis=-1), where)


def smooth_l1(predicted: jax.Array, target: jax.Array, weight: jax.Array, *, beta: float = 1.0) -> Term:
    """`l1` with |d| replaced by d^2 / (2 beta) below `beta`, |d| - beta / 2 above (Girshick, Fast R-CNN, eq. 3).

    Args:
      predicted: `float32 [B, N, 4]`.
      target: `float32 [B, N, 4]`.
      weight: `float32 [B, N]`, 0 where nothing counts.
      beta: where the parabola ends, in the predictions' unit.
    """
    difference = _difference(predicted, target, weight)
    size = jnp.abs(difference)
    return _weighted(jnp.where(size < beta, difference * difference / (2 * beta), size - beta / 2), weight)


def ltrb_iou_loss(predicted: jax.Array, target: jax.Array, where: jax.Array) -> Term:
    """1 - (I + 1) / (U + 1) over the samples that count, and their number (SiamBAN).

    I and U are intersection and union in square pixels of two boxes around the same point.

    Args:
      predicted: `float32 [B, N, 4]`, distances (left, top, right, bottom).
      target: `float32 [B, N, 4]`, the same of the target's box.
      where: `bool [B, N]`, the positives.
    """
    chex.assert_rank([predicted, target, where], [3, 3, 2])
    # What does not count may be anything: equal boxes of area 4 in its place keep the derivative finite.
    predicted, target = (jnp.where(where[..., None], sides, 1.0) for sides in (predicted, target))
    shared = _ltrb_area(jnp.minimum(predicted, target))
    union = _ltrb_area(predicted) + _ltrb_area(target) - shared
    return term(1.0 - (shared + 1.0) / (union + 1.0), where)


def iou(boxes_cxcywh: jax.Array, targets_cxcywh: jax.Array) -> jax.Array:
    """Intersection over union in [0, 1]; 0, with gradient 0, for two boxes without area.

    Args:
      boxes_cxcywh: `[..., 4]`.
      targets_cxcywh: `[..., 4]` of the same rank; an axis may be 1 (`targets[:, None]` for `[B, N, 4]`).

    Returns:
      `[...]`.
    """
    shared, union, _ = _areas(boxes_cxcywh, targets_cxcywh)
    return _ratio(shared, union)


def giou(boxes_cxcywh: jax.Array, targets_cxcywh: jax.Array) -> jax.Array:
    """IoU - (C - U) / C in [-1, 1], C the area of the smallest box around both (Rezatofighi et al., CVPR 2019).

    Arguments and result are those of `iou`.
    """
    shared, union, hull = _areas(boxes_cxcywh, targets_cxcywh)
    return _ratio(shared, union) - _ratio(hull - union, hull)


def giou_loss(boxes_cxcywh: jax.Array, targets_cxcywh: jax.Array, where: jax.Array) -> Term:
    """1 - GIoU over the samples that count, and their number.

    Args:
      boxes_cxcywh: `float32 [B, N, 4]`.
      targets_cxcywh: `float32 [B, N, 4]` or `[B, 1, 4]`.
      where: `bool [B, N]`, the positives.
    """
    chex.assert_rank([boxes_cxcywh, targets_cxcywh, where], [3, 3, 2])
    boxes_cxcywh, targets_cxcywh = (jnp.where(where[..., None], b, 1.0) for b in (boxes_cxcywh, targets_cxcywh))
    return term(1.0 - giou(boxes_cxcywh, targets_cxcywh), where)


def ridge(predicted: jax.Array, target: jax.Array, weights: jax.Array, strength: jax.Array, where: jax.Array) -> Term:
    """|Y - W * X|^2 + lambda |W|^2 (Li et al., "Target-Aware Deep Tracking", CVPR 2019, eq. 3), and the cells.

    The loss is the sum, as it is printed. By the prediction it has the derivative 2 (W * X - Y), by which eq. 4 passes
    back to the maps; the paper prints it with the other sign, so that a channel that lowers the loss is important.

    Args:
      predicted: `float32 [H, W]`, W * X.
      target: `float32 [H, W]`, Y.
      weights: of the regressor, any shape.
      strength: `float32 []`, lambda.
      where: `bool [H, W]`, the cells that count; the others may hold anything.
    """
    chex.assert_rank([predicted, target, where], 2)
    chex.assert_equal_shape([predicted, target, where])
    difference = jnp.where(where, predicted - target, 0.0)
    squares = term(difference * difference, where)
    return Term(squares.sum + strength * jnp.sum(weights * weights), squares.count)


def _difference(predicted: jax.Array, target: jax.Array, weight: jax.Array) -> jax.Array:
    """Predicted minus target, `[B, N, 4]`; 0, without gradient, where the weight is 0."""
    chex.assert_equal_shape([predicted, target])
    chex.assert_shape(predicted, (*weight.shape, 4))
    chex.assert_rank(weight, 2)
    return jnp.where((weight > 0)[..., None], predicted - target, 0.0)


def _weighted(errors: jax.Array, weight: jax.Array) -> Term:
    return Term(jnp.sum(weight[..., None] * errors), jnp.asarray(len(weight), errors.dtype))


def _ltrb_area(sides: jax.Array) -> jax.Array:
    return (sides[..., 0] + sides[..., 2]) * (sides[..., 1] + sides[..., 3])


def _areas(a_cxcywh: jax.Array, b_cxcywh: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Areas of intersection, union and of the smallest box around both."""
    chex.assert_axis_dimension(a_cxcywh, -1, 4)
    a_low, b_low = (box[..., :2] - box[..., 2:] / 2 for box in (a_cxcywh, b_cxcywh))
    a_high, b_high = (box[..., :2] + box[..., 2:] / 2 for box in (a_cxcywh, b_cxcywh))
    shared = _area(jnp.minimum(a_high, b_high) - jnp.maximum(a_low, b_low))
    union = _area(a_cxcywh[..., 2:]) + _area(b_cxcywh[..., 2:]) - shared
    return shared, union, _area(jnp.maximum(a_high, b_high) - jnp.minimum(a_low, b_low))


def _area(sides: jax.Array) -> jax.Array:
    sides = jnp.maximum(sides, 0.0)
    return sides[..., 0] * sides[..., 1]


def _ratio(part: jax.Array, whole: jax.Array) -> jax.Array:
    """The quotient; 0, with gradient 0, where the whole is 0."""
    some = whole > 0
    return jnp.where(some, part / jnp.where(some, whole, 1.0), 0.0)
