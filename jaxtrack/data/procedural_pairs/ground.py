"""Backgrounds: a base and up to eighteen shapes on it, from bare walls to clutter, the same world for both images."""

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from jaxtrack.data.procedural_pairs import paints as _paints
from jaxtrack.data.procedural_pairs.numbers import Numbers
from jaxtrack.data.procedural_pairs.paints import Paints, Surfaces
from jaxtrack.data.procedural_pairs.shapes import Shapes, culled, paint_stack, placed, unpack

LARGE, SMALL = 4, 14
SHAPES = LARGE + SMALL
_REACH_PX = 200.0  # World positions lie within this distance of the origin in x and y.
TAPE = SHAPES * 22 + (SHAPES + 1) * _paints.NUMBERS_PER_PAINT + 24
_QUARTER = 1.5707963


@struct.dataclass
class Ground:
    """The background of a pair: shapes in world pixels, and surfaces of which the first row is the base's.

    `detail` is the strength of the fine shading.
    """

    shapes: Shapes
    surfaces: Surfaces
    detail: Array


def _sizes(numbers: Numbers) -> Array:
    """Half sizes in pixels `[SHAPES, 2]`: a few large areas, and many small or thin things."""
    large = numbers.log_uniform(50.0, 260.0, (LARGE, 2))
    size, ratio = numbers.log_uniform(3.0, 55.0, (SMALL,)), numbers.log_uniform(0.35, 2.8, (SMALL,))
    small = jnp.stack([size * jnp.sqrt(ratio), size / jnp.sqrt(ratio)], axis=1)
    thin = jnp.stack([numbers.log_uniform(30.0, 200.0, (SMALL,)), numbers.log_uniform(0.7, 3.5, (SMALL,))], axis=1)
    return jnp.concatenate([large, jnp.where(numbers.chance(0.25, (SMALL, 1)), thin, small)])


def sample_ground(tape: Array, clutter: float) -> tuple[Shapes, Paints, Array]:
    """Draws a background's shapes, paints and detail from `TAPE` numbers; a share `clutter` of them are crowded."""
    numbers = Numbers(tape)
    half = _sizes(numbers)
    centre = numbers.uniform(-_REACH_PX, _REACH_PX, (SHAPES, 2))
    angle = numbers.uniform(-2 * _QUARTER, 2 * _QUARTER, (SHAPES,))
    upright = jnp.round(angle / _QUARTER) * _QUARTER + numbers.normal(0.05, (SHAPES,))
    angle = jnp.where(numbers.chance(0.65, (SHAPES,)), upright, angle)
    crowded = numbers.chance(clutter)
    small = jnp.where(crowded, numbers.uniform(0.4, 1.0), numbers.uniform(0.0, 0.3))
    large = numbers.uniform(0.2, 1.0)
    likely = jnp.where(jnp.arange(SHAPES) < LARGE, large, small)
    repeated = numbers.chance(0.35, (SHAPES, 1)) & (half < 30.0).all(axis=1, keepdims=True)
    cut_angle = numbers.uniform(-2 * _QUARTER, 2 * _QUARTER, (SHAPES,))
    cut = jnp.stack([jnp.cos(cut_angle), jnp.sin(cut_angle), -numbers.uniform(0.0, 0.7, (SHAPES,))], axis=1)
    square = numbers.uniform(shape=(SHAPES,))
    shapes = Shapes(
        place=placed(centre, half, angle),
        square=jnp.where(square > 0.5, 0.97, 2.0 * square),
        cut=jnp.where(numbers.chance(0.2, (SHAPES, 1)), cut, jnp.array([[0.0, 0.0, -99.0]])),
        wobble=jnp.zeros((SHAPES, 3, 2)).at[:LARGE].set(numbers.normal(0.1, (LARGE, 3, 2))),
        copies=jnp.where(repeated, numbers.integer(5, (SHAPES, 2)).astype(jnp.float32), 0.0),
        period=numbers.uniform(2.15, 4.5, (SHAPES, 2)),
        decal=jnp.zeros(SHAPES, bool),
        present=numbers.uniform(shape=(SHAPES,)) < likely,
    )
    return shapes, _palette(numbers), 0.9 * numbers.uniform()


def _palette(numbers: Numbers) -> Paints:
    """Surfaces whose colours are drawn together, as one place's are, with strong or weak patterns."""
    drawn = _paints.random_paints(numbers, SHAPES + 1, 1.0)
    together, pattern = 0.7 * numbers.uniform(), numbers.uniform(0.3, 1.0)
    base = drawn.first[:1]
    first = drawn.first + (base - drawn.first) * together
    second = drawn.second + (base - drawn.second) * together
    return drawn.replace(first=first, second=first + (second - first) * pattern)  # type: ignore[attr-defined]


def elsewhere(paints: Paints, other: Array) -> Paints:
    """Where `other`, the same surfaces in exchanged places: with another view of the shapes, another background."""
    return jax.tree.map(lambda leaf: jnp.where(other, leaf[::-1], leaf), paints)


def render_ground(ground: Ground, x: Array, y: Array, pixel: Array, bank: Array, photograph: Array | None) -> Array:
    """Renders the background at world positions.

    Args:
      ground: the background.
      x: `float32 [H, W]`, world pixels, an affine function of column and row.
      y: `float32`.
      pixel: distance between neighbouring positions.
      bank: the pair's patterns.
      photograph: `float32 [S, S, 3]`, BGR; None without textures.

    Returns:
      `uint32` words of B, G and R.
    """
    corners = [jnp.stack([axis[0, 0], axis[0, -1], axis[-1, 0], axis[-1, -1]]) for axis in (x, y)]
    layers = unpack(paint_stack(culled(ground.shapes, *corners), x, y, LARGE, pixel))
    return _paints.colours(layers, x, y, ground.surfaces, ground.detail, bank, photograph)
