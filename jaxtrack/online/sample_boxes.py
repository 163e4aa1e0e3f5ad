"""Which boxes of a frame become samples: of the target, of its background, and of box regression (MDNet's rules).

More boxes are drawn than are needed, and of those that overlap the target as they should so many are taken. There may
be too few: what takes their place does not count.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from jaxtrack.errors import check_numbers, check_shares
from jaxtrack.online import samplers
from jaxtrack.online.samplers import Limits

Reference = Literal["matlab", "pytorch"]


@dataclasses.dataclass(frozen=True)
class Sampling:
    """Which boxes become samples of target and background."""

    first_positives: int = 500
    """Positives of the first frame."""
    first_negatives: int = 5000
    """Negatives of the first frame, half of them near and half all over the image."""
    positives: int = 50
    """Positives of a later frame."""
    negatives: int = 200
    """Negatives of a later frame."""
    positive_translation: float = 0.1
    """Farthest shift of positives, in mean sides."""
    positive_scale: float = 1.05**5
    """Largest factor of their size."""
    first_negative_scale: float = 1.05**10
    """Largest factor of the size of the first frame's near negatives."""
    negative_translation: float = 2.0
    """Farthest shift of later negatives, in mean sides."""
    negative_scale: float = 1.05**5
    """Largest factor of their size."""
    positive_overlap: float = 0.7
    """Smallest IoU of a positive with the target."""
    first_negative_overlap: float = 0.5
    """Largest IoU of a negative of the first frame."""
    negative_overlap: float = 0.3
    """Largest IoU of a negative of a later frame."""
    limits: Limits = Limits()
    """What every box obeys."""

    def __post_init__(self) -> None:
        """Refuses samples of nothing."""
        counts = ("first_positives", "first_negatives", "positives", "negatives")
        scales = ("positive_scale", "first_negative_scale", "negative_scale")
        check_numbers(self, positive=counts + scales, not_negative=("positive_translation", "negative_translation"))
        check_shares(self, "positive_overlap", "first_negative_overlap", "negative_overlap")


def positives(
    config: Sampling, key: jax.Array, target: jax.Array, size: jax.Array, count: int
) -> tuple[jax.Array, jax.Array]:
    """Boxes that overlap the target much, `[count, 4]`, and which of them there are, `bool [count]`."""
    draw_key, choose_key = jax.random.split(key)
    shift, scale = config.positive_translation, config.positive_scale
    surplus = samplers.gaussian(draw_key, target, size, 2 * count, shift, scale, config.limits)
    return _chosen(choose_key, surplus, target, count, config.positive_overlap, 1.0)


def negatives(
    config: Sampling, key: jax.Array, target: jax.Array, size: jax.Array, *, overlap: float | None = None
) -> tuple[jax.Array, jax.Array]:
    """Boxes of a frame's background near the target, as `positives`."""
    draw_key, choose_key = jax.random.split(key)
    count, shift, scale = config.negatives, config.negative_translation, config.negative_scale
    surplus = samplers.uniform(draw_key, target, size, 2 * count, shift, scale, config.limits)
    return _chosen(choose_key, surplus, target, count, 0.0, config.negative_overlap if overlap is None else overlap)


def first_negatives(
    config: Sampling, key: jax.Array, target: jax.Array, size: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Boxes of the first frame's background, near and far."""
    near_key, far_key, choose_key = jax.random.split(key, 3)
    count = config.first_negatives
    near = samplers.uniform(near_key, target, size, count, 1.0, config.first_negative_scale, config.limits)
    far = samplers.whole(far_key, target, size, count, 1.0, config.limits)
    return _chosen(choose_key, jnp.concatenate([near, far]), target, count, 0.0, config.first_negative_overlap)


def regression(
    limits: Limits,
    key: jax.Array,
    target: jax.Array,
    size: jax.Array,
    count: int,
    overlap: float,
    reference: Reference,
) -> tuple[jax.Array, jax.Array]:
    """Boxes to learn box regression from, as `positives`.

    Args:
      limits: what every box obeys.
      key: random key.
      target: `float32 [4]`.
      size: `int32 [2]`, height and width of the image.
      count: number of boxes.
      overlap: their smallest IoU with the target.
      reference: the program whose boxes they are like.
    """
    draw_key, choose_key = jax.random.split(key)
    area = None
    if reference == "matlab":
        surplus = samplers.regression(draw_key, target, size, 10 * count, limits)
    else:
        surplus = samplers.uniform(draw_key, target, size, 14 * count, 0.3, 1.6, limits, aspect=1.1)
        area = (1.0, 2.0)
    return _chosen(choose_key, surplus, target, count, overlap, 1.0, area)


def _chosen(
    key: jax.Array,
    surplus: jax.Array,
    target: jax.Array,
    count: int,
    low: float,
    high: float,
    area: tuple[float, float] | None = None,
) -> tuple[jax.Array, jax.Array]:
    index, valid = samplers.select(key, surplus, target, count, low, high, area)
    # What takes the room of a missing box is the target: its features are numbers, and it never counts.
    return jnp.where(valid[:, None], surplus[index], target[None]), valid
