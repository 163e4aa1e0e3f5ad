"""Random boxes around a reference box, and the choice among them by overlap (MDNet's sample generators).

Boxes are `float32 [N, 4]` (x, y, w, h) in 0-based continuous pixels, an image's size is (height, width). A reference
box has the mean side r = (w + h) / 2. In what follows every U is uniform on [-1, 1] and every G is half a standard
normal number clipped to [-1, 1], drawn anew for each box, and for x and y where both are moved.

MDNet's generators (Nam and Han, CVPR 2016; 1.05^5 and 1.05^10 in its Matlab code, 1.3 and 1.6 in py-MDNet):

* candidates of a frame: `gaussian(0.6, 1.05)`; the centre's deviation is 0.3 r, cut at 0.6 r;
* positives: `gaussian(0.1, 1.3)` of IoU >= 0.7 with the target;
* negatives of the first frame: half `uniform(1, 1.6)`, half `whole(1)`, of IoU <= 0.5; later `uniform(2, 1.3)`;
* for box regression: `uniform(0.3, 1.6, aspect=1.1)` or `regression` of IoU >= 0.6.

Nothing is drawn again until it fits, as shapes are fixed: draw a surplus and `select` from it. Twice what is needed is
enough, ten times for box regression by `regression`. Of `uniform(0.3, 1.6, aspect=1.1)` with areas of 1 to 2 only 7 to
9 % fit: 14 times for all, while py-MDNet itself gives up with some 85 % of its samples.
"""

import dataclasses
import math
from typing import Literal

import chex
import jax
import jax.numpy as jnp

from jaxtrack import boxes as boxes_lib
from jaxtrack.errors import check_choices, check_numbers

Keep = Literal["centre", "box"]


@dataclasses.dataclass(frozen=True)
class Limits:
    """What every generator does to its boxes at the end; the defaults are py-MDNet's."""

    least_side_px: float = 10.0
    """Smallest width and height, unless the reference box's own is smaller; 5 in the Matlab code's offline training."""
    slack_px: float = 10.0
    """How much smaller than the image a box is at least, in width and in height."""
    keep: Keep = "centre"
    """Boxes are shifted until their centre is in the image, or all of them."""
    rounded: bool = False
    """Round corner, size and the mean side r to whole pixels, as the Matlab code does."""

    def __post_init__(self) -> None:
        """Refuses sides that no box can have."""
        check_numbers(self, positive=("least_side_px",), not_negative=("slack_px",))
        check_choices(self, keep=Keep)


PYTORCH = Limits()
MATLAB = Limits(rounded=True)


def gaussian(
    key: jax.Array,
    box: jax.Array,
    size: jax.Array,
    count: int,
    translation: jax.Array | float,
    scale: jax.Array | float,
    limits: Limits = PYTORCH,
) -> jax.Array:
    """Boxes near the reference box: centre += translation r G, size *= scale^G.

    Args:
      key: a typed random key.
      box: `float32 [4]`, the reference box.
      size: `[2]`, (height, width) of the image in pixels.
      count: how many boxes to draw.
      translation: farthest shift of the centre along x and along y, in mean sides r.
      scale: largest factor of the size, at least 1; width and height share it.
      limits: what boxes may be.

    Returns:
      `float32 [count, 4]`.
    """
    noise = jnp.clip(0.5 * jax.random.normal(key, (count, 3), jnp.float32), -1.0, 1.0)
    return _around(box, size, noise, translation, scale, limits)


def uniform(
    key: jax.Array,
    box: jax.Array,
    size: jax.Array,
    count: int,
    translation: jax.Array | float,
    scale: jax.Array | float,
    limits: Limits = PYTORCH,
    *,
    aspect: float | None = None,
    per_axis: bool = False,
) -> jax.Array:
    """Boxes spread evenly about the reference box: centre += translation r U, size *= scale^U.

    Args:
      key: a typed random key.
      box: `float32 [4]`, the reference box.
      size: `[2]`, (height, width) of the image in pixels.
      count: how many boxes to draw.
      translation: farthest shift of the centre along x and along y, in mean sides r.
      scale: largest factor of the size, at least 1; width and height share it.
      limits: what boxes may be.
      aspect: largest further factor of the width, and of the height, each with a U of its own.
      per_axis: translation is in widths along x and in heights along y (offline training of the Matlab code).

    Returns:
      `float32 [count, 4]`.
    """
    noise = jax.random.uniform(key, (count, 5), jnp.float32, -1.0, 1.0)
    stretch = jnp.ones((1, 2), jnp.float32) if aspect is None else aspect ** noise[:, 3:]
    return _around(box, size, noise[:, :3], translation, scale, limits, stretch=stretch, per_axis=per_axis)


def whole(
    key: jax.Array,
    box: jax.Array,
    size: jax.Array,
    count: int,
    scale: jax.Array | float = 1.0,
    limits: Limits = PYTORCH,
) -> jax.Array:
    """Boxes all over the image: centres on a grid, none of them twice; size *= scale^U.

    The grid has m x m points, m = floor(2 sqrt(count)), from (w / 2, h / 2) to (W - 1, H - 1) (py-MDNet).

    Args:
      key: a typed random key.
      box: `float32 [4]`, the reference box; only its size matters.
      size: `[2]`, (height, width) of the image in pixels.
      count: how many boxes to draw.
      scale: largest factor of the size, at least 1.
      limits: what boxes may be.

    Returns:
      `float32 [count, 4]`.
    """
    chex.assert_shape([box, size], [(4,), (2,)])
    point_key, scale_key = jax.random.split(key)
    points = math.isqrt(4 * count)  # floor(2 sqrt(count)), free of rounding
    chosen = jax.random.permutation(point_key, points * points)[:count]
    row, column = jnp.divmod(chosen, points)
    share = jnp.stack([column, row], axis=-1).astype(jnp.float32) / max(points - 1, 1)  # [count, 2]
    first = box[2:] / 2
    centre = first[None] + share * (_width_height(size) - 1 - first)[None]
    noise = jax.random.uniform(scale_key, (count, 1), jnp.float32, -1.0, 1.0)
    return _finish(centre, box[None, 2:] * scale**noise, box, size, limits)


def regression(key: jax.Array, box: jax.Array, size: jax.Array, count: int, limits: Limits = MATLAB) -> jax.Array:
    """Boxes to learn box regression from, as the Matlab code draws them; sizes mostly grow.

    centre += 0.3 (w, h) U; width and height *= 1.05^(2 U), each with a U of its own, and *= 1.05^(5 (U + 1)) together.

    Args:
      key: a typed random key.
      box: `float32 [4]`, the reference box.
      size: `[2]`, (height, width) of the image in pixels.
      count: how many boxes to draw.
      limits: what boxes may be.

    Returns:
      `float32 [count, 4]`.
    """
    noise = jax.random.uniform(key, (count, 5), jnp.float32, -1.0, 1.0)
    stretch = 1.05 ** (2 * noise[:, 3:] + 5)
    return _around(box, size, noise[:, :3], 0.3, 1.05**5, limits, stretch=stretch, per_axis=True)


def within(
    boxes: jax.Array,
    target: jax.Array,
    low: jax.Array | float,
    high: jax.Array | float,
    area: tuple[float, float] | None = None,
) -> jax.Array:
    """Which boxes have an IoU with the target in [low, high]; `bool [N]`.

    Args:
      boxes: `float32 [N, 4]`.
      target: `float32 [4]`.
      low: smallest IoU, itself allowed.
      high: largest IoU, itself allowed.
      area: smallest and largest area relative to the target's, themselves allowed; (1, 2) in py-MDNet's box regression.
    """
    chex.assert_shape([boxes, target], [(None, 4), (4,)])
    same = jnp.broadcast_to(target, boxes.shape)
    overlap = boxes_lib.iou(boxes, same)
    inside = (overlap >= low) & (overlap <= high)
    if area is not None:
        ratio = boxes_lib.area(boxes) / jnp.maximum(boxes_lib.area(same), 1e-6)
        inside &= (ratio >= area[0]) & (ratio <= area[1])
    return inside


def select(
    key: jax.Array,
    boxes: jax.Array,
    target: jax.Array,
    count: int,
    low: jax.Array | float,
    high: jax.Array | float,
    area: tuple[float, float] | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Chooses boxes within limits (see `within`), every subset being equally likely.

    Args:
      key: a typed random key.
      boxes: `float32 [N, 4]`, a surplus of boxes, at least `count`.
      target: `float32 [4]`.
      count: how many to choose; all that there are where there are fewer.
      low: smallest IoU with the target.
      high: largest IoU with the target.
      area: smallest and largest area relative to the target's.

    Returns:
      Indices `int32 [count]` into the boxes, without repetition, in random order; and `bool [count]`, whether the
      index is of a box within the limits. Those that are come first.
    """
    if count > len(boxes):
        raise ValueError(f"{count} boxes cannot be chosen out of {len(boxes)}")
    order = jax.random.uniform(key, (len(boxes),), jnp.float32)
    best, index = jax.lax.top_k(jnp.where(within(boxes, target, low, high, area), order, -1.0), count)
    return index.astype(jnp.int32), best >= 0


def _around(
    box: jax.Array,
    size: jax.Array,
    noise: jax.Array,
    translation: jax.Array | float,
    scale: jax.Array | float,
    limits: Limits,
    *,
    stretch: jax.Array | None = None,
    per_axis: bool = False,
) -> jax.Array:
    """Moves and resizes the reference box; `noise [N, 3]` of x, y and size, `stretch [N or 1, 2]` a further factor."""
    chex.assert_shape([box, size], [(4,), (2,)])
    mean_side = (box[2:3] + box[3:4]) / 2  # [1]
    unit = box[2:] if per_axis else jnp.broadcast_to(_round(mean_side) if limits.rounded else mean_side, (2,))
    centre = (box[:2] + box[2:] / 2)[None] + translation * unit[None] * noise[:, :2]
    extent = box[None, 2:] * scale ** noise[:, 2:]
    return _finish(centre, extent if stretch is None else extent * stretch, box, size, limits)


def _finish(centre: jax.Array, extent: jax.Array, box: jax.Array, size: jax.Array, limits: Limits) -> jax.Array:
    """Boxes of centres and sizes `[N, 2]` about the reference box, made to obey the limits."""
    image = _width_height(size)[None]  # [1, 2]
    # A target of 8 x 8 px overlaps no box of 10 x 10 px by 0.7: without positives nothing would be learnt of it.
    least = jnp.minimum(limits.least_side_px, box[None, 2:])
    # Of an image too small for its limits the whole is allowed, rather than a box of negative size.
    least = jnp.minimum(least, image)
    extent = jnp.clip(extent, least, jnp.maximum(image - limits.slack_px, least))
    edge = extent / 2 if limits.keep == "box" else jnp.zeros_like(image)
    corner = jnp.clip(centre, edge, image - edge) - extent / 2
    found = jnp.concatenate([corner, extent], axis=-1)
    return _round(found) if limits.rounded else found


def _round(values: jax.Array) -> jax.Array:
    """To the nearest whole number, halves upwards."""
    return jnp.floor(values + 0.5)


def _width_height(size: jax.Array) -> jax.Array:
    return jnp.asarray(size, jnp.float32)[::-1]
