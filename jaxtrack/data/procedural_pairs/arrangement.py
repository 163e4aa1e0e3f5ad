"""Where everything is: sizes and turns of the objects, their places about the target, and what the camera sees."""

import math

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from jaxtrack.data.augmentation import SOURCE_PX, TEMPLATE_PX
from jaxtrack.data.procedural_pairs import objects
from jaxtrack.data.procedural_pairs.config import PairConfig
from jaxtrack.data.procedural_pairs.numbers import Numbers
from jaxtrack.data.procedural_pairs.view import MIDDLE, Instances

# Rows of a pair's sprites.
TARGET, TARGET_LATER, SIBLING, OTHER, STRANGER, BYSTANDER = range(6)
SPRITES = 6
DISTRACTORS, OCCLUDERS = 4, 2
TEMPLATE_DISTRACTORS = 2
ROW = 16  # Random numbers per object.
# No distractor is wider than this, so that it fits the patch in which it is drawn.
_WIDEST_PX = 112.0


@struct.dataclass
class Placed:
    """An object of known size: `matrix` `[2, 2]`, and `low`, `high` `[2]` of its hull about the sprite's middle."""

    matrix: Array
    low: Array
    high: Array

    @property
    def extent(self) -> Array:
        """Width and height `[2]`, source pixels."""
        return self.high - self.low

    @property
    def middle(self) -> Array:
        """The hull's middle relative to the sprite's `[2]`."""
        return 0.5 * (self.low + self.high)


def turn(angle: Array, aspect: Array) -> Array:
    """Sprite coordinates to image directions: stretched to width / height = `aspect`, then turned; `[2, 2]`."""
    wide = jnp.sqrt(aspect)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([jnp.stack([cos * wide, -sin / wide]), jnp.stack([sin * wide, cos / wide])])


def normalised(sprite: Array, matrix: Array) -> Placed:
    """Scales an object to the size of a target: with its context it makes a square of 127 pixels."""
    low, high = objects.hull(sprite, matrix)
    extent = high - low
    context = 0.5 * (extent[0] + extent[1])
    scale = TEMPLATE_PX / jnp.sqrt((extent[0] + context) * (extent[1] + context))
    return Placed(matrix * scale, low * scale, high * scale)


def resized(item: Placed, factor: Array) -> Placed:
    """The object `factor` times as large, but not wider than fits a patch."""
    factor = jnp.minimum(factor, _WIDEST_PX / jnp.max(item.extent))
    return Placed(item.matrix * factor, item.low * factor, item.high * factor)


def choose(items: Placed, which: Array) -> Placed:
    """Row `which` of several objects."""
    return jax.tree.map(lambda leaf: leaf[which], items)


def _at(item: Placed, sprite: Array, middle: Array, present: Array) -> Instances:
    """An object whose hull's middle is at `middle` `[2]`, source pixels relative to the target's."""
    return Instances(sprite.astype(jnp.int32), item.matrix, MIDDLE + middle - item.middle, present)


def _distractor(
    tape: Array, items: Placed, target: Placed, window: Array, config: PairConfig, least: float
) -> Instances:
    """One of the other objects, near the target or anywhere in the window, `least` target radii away."""
    numbers = Numbers(tape)
    stranger = jnp.where(numbers.chance(0.5), OTHER, BYSTANDER)
    chosen = jnp.where(numbers.chance(config.sibling), SIBLING, stranger)
    item = resized(choose(items, chosen), jnp.exp(numbers.uniform(-0.7, 0.25)))
    # Mirrored or not: the hull is mirrored with it.
    mirrored = numbers.chance(0.5)
    flip = jnp.where(mirrored, jnp.array([[-1.0], [1.0]]), 1.0)
    low, high = (jnp.where(mirrored, -end * jnp.array([1.0, -1.0]), end) for end in (item.low, item.high))
    item = Placed(item.matrix * flip, jnp.minimum(low, high), jnp.maximum(low, high))
    direction = numbers.uniform(-math.pi, math.pi)
    ray = jnp.stack([jnp.cos(direction), jnp.sin(direction)])
    both = 0.5 * (target.extent + item.extent)
    # The distance at which the two hulls just touch in this direction.
    touch = jnp.min(both / jnp.maximum(jnp.abs(ray), 1e-3))
    near = ray * touch * numbers.uniform(least, 1.7)
    place = window[:2] + (window[2:] - window[:2]) * numbers.uniform(shape=(2,)) - MIDDLE
    apart = jnp.max(jnp.abs(place) / both) > least
    middle = jnp.where(numbers.chance(0.45) | ~apart, near, place)
    return _at(item, chosen, middle, numbers.chance(config.distractor))


def _companion(tape: Array, items: Placed, target: Placed, present: Array) -> Instances:
    """What the target is joined to; the same numbers give it the same place in both images."""
    numbers = Numbers(tape)
    item = resized(choose(items, jnp.int32(STRANGER)), numbers.uniform(0.8, 1.7))
    side = numbers.uniform()
    beside = jnp.where(side < 0.875, -1.0, 1.0) * jnp.array([1.0, 0.0])
    above_or_below = jnp.where(side < 0.6, 1.0, -1.0) * jnp.array([0.0, 1.0])
    direction = jnp.where(side < 0.75, above_or_below, beside)
    overlap = numbers.uniform(0.0, 0.35)
    apart = 0.5 * (target.extent + item.extent) - overlap * jnp.minimum(target.extent, item.extent)
    aside = numbers.uniform(-0.25, 0.25) * target.extent
    middle = direction * apart + (1.0 - jnp.abs(direction)) * aside
    return _at(item, jnp.int32(STRANGER), middle, present)


def _occluder(tape: Array, items: Placed, target: Placed, config: PairConfig, present: Array) -> Instances:
    """Something in front that reaches over a share of the target's width or height."""
    numbers = Numbers(tape)
    which = jnp.where(numbers.chance(0.4), STRANGER, jnp.where(numbers.chance(0.5), BYSTANDER, OTHER))
    item = resized(choose(items, which), numbers.log_uniform(0.5, 1.6))
    axis = jnp.where(numbers.chance(0.7), jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0]))
    side = jnp.where(numbers.chance(0.5), 1.0, -1.0)
    covered = numbers.uniform(0.05, 1.0) * config.largest_occlusion
    middle = side * (0.5 * (target.extent + item.extent) - covered * target.extent)
    aside = numbers.uniform(-0.4, 0.4) * target.extent
    return _at(item, which, axis * middle + (1.0 - axis) * aside, present)


def arrange(
    key: Array, companion: Array, items: Placed, main: Array, window: Array, config: PairConfig, joined: Array,
    in_search: bool,
) -> Instances:  # fmt: skip
    """What stands in an image: distractors, the target's companion, the target, and what hides it.

    Args:
      key: a random key.
      companion: `float32 [ROW]`, equal in both images.
      items: the pair's objects, leading axis `SPRITES`.
      main: `int32 []`, the sprite in the target's place.
      window: `float32 [4]`, the image's window.
      config: what pairs are like.
      joined: `bool []`, whether there is a companion.
      in_search: whether it is the search region; in templates distractors keep away from the target's place, and
        nothing hides it.
    """
    count, least = (DISTRACTORS, 0.6) if in_search else (TEMPLATE_DISTRACTORS, 0.85)
    tape = jax.random.uniform(key, (count + OCCLUDERS + 1, ROW))
    target = choose(items, main)
    groups = [
        jax.vmap(lambda row: _distractor(row, items, target, window, config, least))(tape[:count]),
        jax.tree.map(lambda leaf: leaf[None], _companion(companion, items, target, joined)),
        jax.tree.map(lambda leaf: leaf[None], _at(target, main, jnp.zeros(2), jnp.bool_(True))),
    ]
    if in_search:
        # A second occluder is rarer.
        chance = tape[-1, :OCCLUDERS] < jnp.array([config.occlusion, 0.15 * config.occlusion])
        place = jax.vmap(lambda row, present: _occluder(row, items, target, config, present))
        groups.append(place(tape[count:-1], chance))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *groups)


def sample_border(key: Array, target: Placed, probability: float, cuts: Array | float) -> Array:
    """The video's border (left, top, right, bottom), source pixels, near on one or two sides or nowhere.

    It may cut off up to a share `cuts` of the target's extent.
    """
    numbers = Numbers(jax.random.uniform(key, (17,)))
    near = numbers.chance(probability)
    sides = numbers.chance(0.4, (4,)) & near
    away = numbers.log_uniform(2.0, 140.0, (4,))
    cut = numbers.chance(0.25, (4,))
    extent = jnp.tile(target.extent, 2)
    distance = 0.5 * extent + jnp.where(cut, -numbers.uniform(0.0, cuts, (4,)) * extent, away)
    # Opposite sides are never both near: a video is wider than that.
    one_side = sides & ~(jnp.roll(sides, 2) & jnp.array([False, False, True, True]))
    distance = jnp.where(one_side, distance, 4.0 * SOURCE_PX)
    return MIDDLE + jnp.array([-1.0, -1.0, 1.0, 1.0]) * distance
