"""Objects: parts and paint drawn from numbers, their likenesses, their poses, and their sprites.

A sprite is what is seen of an object before it is placed: `uint32 [SPRITE, SPRITE]` of four bytes B, G, R, opacity,
colours times opacity. A pose bends, swings and shifts the parts, so an object has a sprite per view; size, turn and
proportions come when the sprite is placed in an image.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from jaxtrack.data.procedural_pairs import families, fields, paints
from jaxtrack.data.procedural_pairs.families import CX, CY, DECAL, HX, HY, PARTS, SLOT, SLOTS, SWING
from jaxtrack.data.procedural_pairs.numbers import Numbers
from jaxtrack.data.procedural_pairs.paints import Paints, Surfaces
from jaxtrack.data.procedural_pairs.shapes import Shapes, paint_stack, placed, unpack

SPRITE = 84
EXTENT = 1.35  # A sprite shows object coordinates from -EXTENT to EXTENT.
_FITTED = 1.0  # How far parts reach before their contours wobble and bend.
_LARGEST_WOBBLE = 0.35
_TEXELS = 34.0  # Texels of a pattern per object unit.
_WOBBLY = 2
TAPE = families.TAPE + SLOTS * paints.NUMBERS_PER_PAINT + 32
_PAINT = slice(families.TAPE, families.TAPE + SLOTS * paints.NUMBERS_PER_PAINT)
POSE_TAPE = 24
_WAVES = 0.41  # Waves of a bend per sprite unit.


@struct.dataclass
class Object:
    """What an object is, whatever its pose; `float32`.

    Attributes:
      parts: `[PARTS, 12]` rows of `families`.
      paints: `SLOTS` surfaces.
      wobble: `[2, 3, 2]` of the first parts' contours.
      cut: `[3]` of the first part.
      aspect: width to height; a factor on the family's own where `own`.
      own: `bool`, whether the family has proportions of its own.
      light: `[2]`, direction times strength of the shading over the whole object.
      rim: how much darker contours are.
      detail: strength of the fine shading.
    """

    parts: Array
    paints: Paints
    wobble: Array
    cut: Array
    aspect: Array
    own: Array
    light: Array
    rim: Array
    detail: Array


@struct.dataclass
class Pose:
    """How an object is seen; `float32`.

    Attributes:
      swing: `[PARTS]`, radians times the parts' own swing.
      bend: `[2]`, amplitudes of wavy shears along x and y, sprite units.
      phase: `[2]`, their phases in turns.
      slide: `[2]`, how far marks and patterns move over the surface, as when it turns away.
    """

    swing: Array
    bend: Array
    phase: Array
    slide: Array


def relative(key: Array, tape: Array, like: Array) -> Array:
    """The numbers of a look-alike: the same family, its shape and paint each nearly the same or drawn anew.

    Args:
      key: a random key.
      tape: `float32 [TAPE]`, the numbers of an object.
      like: `bool []`; where false all numbers are new.
    """
    keys = jax.random.split(key, 3)
    fresh = jax.random.uniform(keys[0], tape.shape)
    near = jnp.clip(tape + 0.05 * jax.random.normal(keys[1], tape.shape), 0.0, 0.9999)
    choice = jax.random.uniform(keys[2], (3,))
    # A few of the numbers change for good even in the near copy, or it could not be told apart.
    near = jnp.where(fresh < 0.12, jnp.mod(fresh * 9973.0, 1.0), near)
    index = jnp.arange(tape.shape[0])
    in_paint = (index >= _PAINT.start) & (index < _PAINT.stop)
    keep_shape, keep_paint = choice[0] < 0.75, choice[1] < 0.65
    copied = jnp.where(in_paint, keep_paint, keep_shape)
    mixed = jnp.where(copied, near, fresh).at[0].set(tape[0])
    return jnp.where(like, mixed, fresh)


def make(tape: Array, body_share: float) -> Object:
    """The object of `TAPE` numbers; `body_share` of all come from the family `body`."""
    parts_tape, paint_tape, rest = tape[: families.TAPE], tape[_PAINT], Numbers(tape[_PAINT.stop :])
    others = len(families.FAMILIES) - 1
    drawn = jnp.floor((tape[0] - body_share) / (1.0 - min(body_share, 0.999)) * others)
    family = jnp.where(tape[0] < body_share, others, jnp.clip(drawn, 0, others - 1)).astype(jnp.int32)
    parts = families.build(family, parts_tape[1:])
    own = jnp.array(families.OWN_PROPORTIONS)[family]
    wobbly = rest.chance(0.6) & (family == families.FAMILIES.index("blob"))
    wobble = rest.normal(0.12, (_WOBBLY, 3, 2)) * jnp.where(wobbly, 1.0, 0.12)
    wobble = wobble * jnp.minimum(1.0, _LARGEST_WOBBLE / jnp.sum(jnp.abs(wobble), axis=(1, 2), keepdims=True))
    angle, depth = rest.uniform(-3.14, 3.14), rest.uniform(0.1, 0.7)
    is_cut = rest.chance(0.3) & (family == families.FAMILIES.index("blob"))
    cut = jnp.where(is_cut, jnp.stack([jnp.cos(angle), jnp.sin(angle), -depth]), jnp.array([0.0, 0.0, -9.0]))
    upright = jnp.where(family == families.FAMILIES.index("stack"), -0.45, 0.0)
    spread = jnp.where(own, 0.12, 0.55)
    light = rest.uniform(-3.14, 3.14)
    strength = 0.35 * rest.uniform()
    return Object(
        parts=parts,
        paints=paints.random_paints(Numbers(paint_tape), SLOTS, _TEXELS),
        wobble=wobble,
        cut=cut,
        aspect=jnp.exp(jnp.clip(jnp.where(own, 0.0, upright) + spread * rest.normal(), -1.38, 1.38)),
        own=own,
        light=strength * jnp.stack([jnp.cos(light), jnp.sin(light)]),
        rim=0.45 * rest.uniform() ** 2,
        detail=0.8 * rest.uniform() ** 2,
    )


def sample_pose(tape: Array, strength: Array | float) -> Pose:
    """A pose from `POSE_TAPE` numbers, about rest and farther from it the larger `strength` is."""
    numbers = Numbers(tape)
    return Pose(
        swing=strength * numbers.normal(0.6, (PARTS,)),
        bend=strength * numbers.normal(0.05, (2,)),
        phase=numbers.uniform(shape=(2,)),
        slide=strength * numbers.normal(0.05, (2,)),
    )


def _posed(item: Object, pose: Pose) -> tuple[Array, Array, Array]:
    """Centres `[P, 2]`, half sizes `[P, 2]` and angles `[P]` of the parts in a pose."""
    parts = item.parts
    turn = pose.swing * parts[:, SWING]
    cos, sin = jnp.cos(turn), jnp.sin(turn)
    # Limbs hang half way between their middle and the object's.
    x, y = 0.5 * parts[:, CX], 0.5 * parts[:, CY]
    centre = jnp.stack([x + cos * x - sin * y, y + sin * x + cos * y], axis=1)
    centre = centre + jnp.where(parts[:, DECAL : DECAL + 1] > 0, pose.slide[None], 0.0)
    return centre, parts[:, HX : HY + 1], parts[:, families.ANGLE] + turn


def bounds(item: Object, pose: Pose) -> tuple[Array, Array]:
    """The lowest and the highest position `[2]` that parts reach."""
    centre, half, angle = _posed(item, pose)
    cos, sin = jnp.cos(angle)[:, None], jnp.sin(angle)[:, None]
    round_x = jnp.sqrt((cos[:, 0] * half[:, 0]) ** 2 + (sin[:, 0] * half[:, 1]) ** 2)
    round_y = jnp.sqrt((sin[:, 0] * half[:, 0]) ** 2 + (cos[:, 0] * half[:, 1]) ** 2)
    square_x = jnp.abs(cos[:, 0] * half[:, 0]) + jnp.abs(sin[:, 0] * half[:, 1])
    square_y = jnp.abs(sin[:, 0] * half[:, 0]) + jnp.abs(cos[:, 0] * half[:, 1])
    ellipse, box = jnp.stack([round_x, round_y], axis=1), jnp.stack([square_x, square_y], axis=1)
    reach = ellipse + (box - ellipse) * item.parts[:, families.SQUARE : families.SQUARE + 1]
    solid = ((item.parts[:, families.PRESENT] > 0) & (item.parts[:, DECAL] == 0))[:, None]
    low = jnp.min(jnp.where(solid, centre - reach, jnp.inf), axis=0)
    return low, jnp.max(jnp.where(solid, centre + reach, -jnp.inf), axis=0)


@struct.dataclass
class Figure:
    """An object in a pose, ready to be rendered; `float32` unless said otherwise.

    Attributes:
      shapes: the parts in sprite coordinates.
      surfaces: theirs, one row per part.
      bend: `[2]`, see `Pose`.
      phase: `[2]`.
      slide: `[2]`.
      wide: factor from sprite units to those of the patterns along x; along y its inverse.
      light: `[2]`, see `Object`.
      rim: scalar.
      detail: scalar.
    """

    shapes: Shapes
    surfaces: Surfaces
    bend: Array
    phase: Array
    slide: Array
    wide: Array
    light: Array
    rim: Array
    detail: Array


def proportions(item: Object, reach: Array) -> Array:
    """Width to height of the object, between 1:4 and 4:1, from its `reach`."""
    return jnp.clip(item.aspect * jnp.where(item.own, reach[0] / reach[1], 1.0), 0.25, 4.0)


def figure(item: Object, pose: Pose, middle: Array, reach: Array) -> Figure:
    """An object in a pose, moved and stretched so that the middle and
    half extent of its `bounds` become 0 and `_FITTED`.
    """
    centre, half, angle = _posed(item, pose)
    stretch = reach / _FITTED  # Object units per sprite unit.
    a, b, c, d, e, f = placed(centre, half, angle).T
    c, f = c + a * middle[0] + b * middle[1], f + d * middle[0] + e * middle[1]
    parts = item.parts
    shapes = Shapes(
        place=jnp.stack([a * stretch[0], b * stretch[1], c, d * stretch[0], e * stretch[1], f], axis=1),
        square=parts[:, families.SQUARE],
        cut=jnp.zeros((PARTS, 3)).at[:, 2].set(-9.0).at[0].set(item.cut),
        wobble=jnp.zeros((PARTS, 3, 2)).at[:_WOBBLY].set(item.wobble),
        copies=parts[:, families.COLUMNS : families.ROWS + 1],
        period=jnp.full((PARTS, 2), 3.0),
        decal=parts[:, DECAL] > 0,
        present=parts[:, families.PRESENT] > 0,
    )
    # Parts wear the surface of their slot.
    worn = jax.tree.map(lambda leaf: leaf[parts[:, SLOT].astype(jnp.int32)], item.paints)
    wide = jnp.sqrt(proportions(item, reach))
    surfaces = paints.packed(worn)
    return Figure(shapes, surfaces, pose.bend, pose.phase, pose.slide, wide, item.light, item.rim, item.detail)


def render_sprite(figure: Figure, bank: Array, photograph: Array | None) -> Array:
    """Renders an object, `uint32 [SPRITE, SPRITE]`.

    Args:
      figure: the object in its pose.
      bank: the pair's patterns.
      photograph: `float32 [S, S, 3]`, BGR, for the surfaces that want one; None without textures.
    """
    line = ((jnp.arange(SPRITE, dtype=jnp.float32) + 0.5) * (2.0 / SPRITE) - 1.0) * EXTENT
    x, y = jnp.broadcast_to(line[None, :], (SPRITE, SPRITE)), jnp.broadcast_to(line[:, None], (SPRITE, SPRITE))
    x = x - figure.bend[0] * fields.wave(_WAVES * y + figure.phase[0])
    y = y - figure.bend[1] * fields.wave(_WAVES * x + figure.phase[1])
    layers = unpack(paint_stack(figure.shapes, x, y, _WOBBLY, 2.0 * EXTENT / SPRITE))
    on_parts = layers._replace(top=jnp.maximum(layers.top - 1, 0), below=jnp.maximum(layers.below - 1, 0))
    across, down = (x - figure.slide[0]) * figure.wide, (y - figure.slide[1]) / figure.wide
    colour = paints.colours(on_parts, across, down, figure.surfaces, figure.detail, bank, photograph)
    # Nothing may touch the border, beyond which the outermost texels are repeated.
    edge = jnp.maximum(jnp.abs(line[None, :]), jnp.abs(line[:, None])) > EXTENT * (1.0 - 1.5 / SPRITE)
    layers = layers._replace(cover=jnp.where(edge, 0.0, layers.cover))
    shade = (1.0 + figure.light[0] * x + figure.light[1] * y - figure.rim * layers.level**3) * layers.cover
    planes = [jnp.minimum(paints.unpack_byte(colour, k) * shade, 255.0 * layers.cover) for k in range(3)]
    return paints.pack([*planes, 255.0 * layers.cover])


def hull(sprite: Array, matrix: Array) -> tuple[Array, Array]:
    """The tight box of a placed sprite: lowest and highest position `[2]` about the sprite's middle.

    Args:
      sprite: `uint32 [SPRITE, SPRITE]`.
      matrix: `float32 [2, 2]`, sprite coordinates to image directions.
    """
    opacity = (sprite >> 24).astype(jnp.float32) * (1 / 255)
    step = 2.0 * EXTENT / SPRITE
    line = ((jnp.arange(SPRITE, dtype=jnp.float32) + 0.5) * (2.0 / SPRITE) - 1.0) * EXTENT
    # Half opacity lies between the last texel above one half and the next one.
    ends = []
    for row in matrix:
        position = row[0] * line[None, :] + row[1] * line[:, None]
        beyond = (opacity - 0.5) * (step * jnp.maximum(jnp.abs(row[0]), jnp.abs(row[1])))
        inside = opacity > 0.5
        ends.append(
            (
                jnp.min(jnp.where(inside, position - beyond, jnp.inf)),
                jnp.max(jnp.where(inside, position + beyond, -jnp.inf)),
            )
        )
    return jnp.stack([ends[0][0], ends[1][0]]), jnp.stack([ends[0][1], ends[1][1]])
