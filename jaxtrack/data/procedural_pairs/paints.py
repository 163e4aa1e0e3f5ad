"""Colours: what a surface is painted with, random palettes, and the look-up of every pixel's colour."""

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from jaxtrack.data.procedural_pairs import fields
from jaxtrack.data.procedural_pairs.numbers import Numbers
from jaxtrack.data.procedural_pairs.shapes import Layers

# Colours that surfaces outdoors and indoors often have: skin, cloth, wood, foliage, asphalt, walls, sky, metal.
_COMMON = (
    "e0ac88 c68a66 8d5a3c f0d0b8 6b4530 2b2b30 3c4450 24344e 1c1c20 f0f0ec d8d4cc a8a49c 7c7a76 5a5a5c 8a6a48 6a4a30 "
    "b89468 4a6a2c 6a8a3c 2c4420 8c9a5a 9c5040 b87858 c8b090 a0b4c8 c8d8e4 7890a8 506070 c03028 2c5aa0 e0b030 3a7a4a"
)


def _bgr(text: str) -> np.ndarray:
    return np.array([[int(word[k : k + 2], 16) for k in (4, 2, 0)] for word in text.split()], np.float32)


_COMMON_BGR = _bgr(_COMMON)


@struct.dataclass
class Paints:
    """The surfaces of a stack of shapes, one row each; `float32` unless said otherwise.

    A surface is a mixture of two colours by one of the pair's patterns.

    Attributes:
      first: `[K, 3]`, BGR in [0, 255].
      second: `[K, 3]`, the colour where the pattern is 1.
      field: `int32 [K]`, which pattern.
      scale: `[K]`, texels of the pattern per unit of position.
      offset: `[K, 2]`, texels.
      turned: `bool [K]`, whether rows and columns of the pattern change places.
      photo: `bool [K]`, whether a photograph, where there is one, takes the pattern's place.
    """

    first: Array
    second: Array
    field: Array
    scale: Array
    offset: Array
    turned: Array
    photo: Array


def random_colours(numbers: Numbers, count: int) -> Array:
    """Most of them common, the others of any hue, mostly dull; BGR `[count, 3]`."""
    common = jnp.asarray(_COMMON_BGR)[numbers.integer(len(_COMMON_BGR), (count,))]
    common = common * jnp.exp(numbers.normal(0.2, (count, 1))) + numbers.normal(8.0, (count, 3))
    hue, chroma = numbers.uniform(shape=(count, 1)), numbers.uniform(shape=(count, 1)) ** 2
    ramp = jnp.abs(jnp.mod(hue * 6.0 + jnp.array([[2.0, 4.0, 0.0]]), 6.0) - 3.0) - 1.0
    vivid = 255.0 * numbers.uniform(0.08, 1.0, (count, 1)) * (1.0 - chroma + chroma * jnp.clip(ramp, 0.0, 1.0))
    return jnp.clip(jnp.where(numbers.chance(0.6, (count, 1)), common, vivid), 0.0, 255.0)


NUMBERS_PER_PAINT = 26


def _pick(numbers: Array, shares: tuple[float, ...]) -> Array:
    """Indices of which each is taken with its share, from uniform `numbers`."""
    ends = jnp.cumsum(jnp.array(shares[:-1], jnp.float32))
    return jnp.sum((numbers[:, None] >= ends[None, :]).astype(jnp.int32), axis=1)


def random_paints(numbers: Numbers, count: int, texels: float) -> Paints:
    """Draws `count` surfaces whose patterns have about `texels` texels per unit of position."""
    first = random_colours(numbers, count)
    # The second colour is mostly a brighter or darker first one: cloth, bricks and bark have one hue.
    gain = jnp.exp(numbers.normal(0.6, (count, 1)))
    kin = first * gain + numbers.normal(10.0, (count, 3)) + jnp.where(gain > 1.0, 12.0, 0.0)
    other = numbers.uniform(0.0, 255.0, (count, 3)) * jnp.array([[0.9, 1.0, 1.05]])
    second = jnp.where(numbers.chance(0.7, (count, 1)), kin, other)
    plain = numbers.uniform(shape=(count, 1))
    second = first + (second - first) * jnp.where(plain < 0.2, plain, 1.0)
    return Paints(
        first=first,
        second=jnp.clip(second, 0.0, 255.0),
        field=_pick(numbers.uniform(shape=(count,)), fields.SHARES),
        scale=texels * numbers.log_uniform(0.4, 1.6, (count,)),
        offset=numbers.uniform(0.0, float(fields.SIDE), (count, 2)),
        turned=numbers.chance(0.5, (count,)),
        photo=numbers.chance(0.5, (count,)),
    )


def pack(planes: list[Array]) -> Array:
    """Packs planes in [0, 255] to the bytes of `uint32` words, the first one lowest; clips and rounds.

    Images travel as words until light falls on them: XLA computes a value with one output once per pixel, one with
    three outputs three times.
    """
    word = jnp.zeros(planes[0].shape, jnp.uint32)
    for place, plane in enumerate(planes):
        word = word | ((jnp.clip(plane, 0.0, 255.0) + 0.5).astype(jnp.uint32) << (8 * place))
    return word


def unpack_byte(word: Array, place: int) -> Array:
    """Byte `place` of `uint32` words as `float32`."""
    return ((word >> (8 * place)) & 255).astype(jnp.float32)


@struct.dataclass
class Surfaces:
    """Paints packed for the look-up, `uint32 [K]` each.

    Attributes:
      pair: both colours, 5, 6 and 5 bits of B, G and R each.
      where: the pattern, the place in it, and what else the paint says.
    """

    pair: Array
    where: Array


def packed(paints: Paints) -> Surfaces:
    """Packs paints. This is best done outside a loop that paints, or it is done for every pixel."""
    levels = jnp.array([31.0, 63.0, 31.0])
    pair = jnp.zeros(paints.scale.shape, jnp.uint32)
    for colour in (paints.second, paints.first):
        scaled = jnp.clip(colour, 0.0, 255.0) * (levels / 255.0).reshape((1,) * (colour.ndim - 1) + (3,))
        blue, green, red = jnp.moveaxis(jnp.round(scaled).astype(jnp.uint32), -1, 0)
        pair = (pair << 16) | blue | (green << 5) | (red << 11)
    place = jnp.clip(jnp.round(paints.offset), 0.0, 127.0).astype(jnp.uint32)
    flags = paints.turned.astype(jnp.uint32) | (paints.photo.astype(jnp.uint32) << 1)
    step = jnp.clip(jnp.round(paints.scale * 128.0), 1.0, 8191.0).astype(jnp.uint32)
    where = place[..., 0] | (place[..., 1] << 7) | (paints.field.astype(jnp.uint32) << 14)
    return Surfaces(pair, where | (flags << 17) | (step << 19))


def _mixed(pair: Array, channel: int, mix: Array) -> Array:
    """Channel 0, 1 or 2 of the mixture of a packed pair of colours."""
    shift, top = ((0, 31), (5, 63), (11, 31))[channel]
    first, second = (((pair >> (shift + half)) & top).astype(jnp.float32) for half in (0, 16))
    return (first + (second - first) * mix) * (255.0 / top)


def colours(
    layers: Layers,
    x: Array,
    y: Array,
    surfaces: Surfaces,
    detail: Array,
    bank: Array,
    photograph: Array | None,
) -> Array:
    """The colour at each pixel of a stack, before light: `uint32` words of B, G and R.

    Args:
      layers: what is seen; `top` and `below` are rows of `surfaces`.
      x: `float32` positions in the units of `Paints.scale`, of the layers' shape.
      y: `float32`.
      surfaces: one row each.
      detail: strength of a fine shading over all surfaces, 0 for none.
      bank: the pair's patterns (`fields.render_fields`).
      photograph: `float32 [S, S, 3]`, BGR in [0, 255], for the surfaces that want one; None without textures.
    """
    word = surfaces.where[layers.top]
    scale = (word >> 19).astype(jnp.float32) * (1 / 128)
    turned = (word >> 17) & 1 == 1
    column = jnp.where(turned, y, x) * scale + (word & 127).astype(jnp.float32)
    row = jnp.where(turned, x, y) * scale + ((word >> 7) & 127).astype(jnp.float32)
    mix = fields.look_up(bank, ((word >> 14) & 7).astype(jnp.int32), column, row)
    upper, lower = surfaces.pair[layers.top], surfaces.pair[layers.below]

    def plane(channel: int) -> Array:
        under = _mixed(lower, channel, mix)
        return under + (_mixed(upper, channel, mix) - under) * layers.share

    planes = [plane(channel) for channel in range(3)]
    fine = fields.look_up(bank, jnp.zeros_like(layers.top), 1.7 * column + 31.0, 1.7 * row)
    planes = [plane * (1.0 + detail * (fine - 0.5)) for plane in planes]
    if photograph is not None:
        planes = _with_photograph(planes, (word >> 18) & 1 == 1, column, row, photograph)
    return pack(planes)


def _with_photograph(planes: list[Array], wants: Array, column: Array, row: Array, photograph: Array) -> list[Array]:
    """Replaces the colours where `wants` is true by a photograph's, mirrored over and over, nearest texel."""
    side = photograph.shape[0]
    place = [jnp.mod(jnp.floor(axis).astype(jnp.int32), 2 * side) for axis in (column, row)]
    across, down = (jnp.minimum(axis, 2 * side - 1 - axis) for axis in place)
    seen = photograph[down, across]
    return [jnp.where(wants, seen[..., channel], plane) for channel, plane in enumerate(planes)]
