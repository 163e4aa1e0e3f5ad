"""What objects are made of: rows of parts, drawn from one of six families of shapes.

Object coordinates are about [-1, 1] in both directions, x right and y down. A part is a row of numbers; the
families are tables of such rows, most of them random.
"""

import jax.numpy as jnp
from jax import Array

from jaxtrack.data.procedural import bodies
from jaxtrack.data.procedural_pairs.numbers import Numbers

PARTS = 10
SLOTS = 5  # Texture, skin, dark, light, accent, as `procedural.bodies` numbers them.
CX, CY, HX, HY, ANGLE, SQUARE, DECAL, PRESENT, SLOT, SWING, COLUMNS, ROWS = range(12)
FAMILIES = ("blob", "creature", "stack", "face", "plate", "body")
# Families whose proportions are their own; the others are stretched to any aspect ratio.
OWN_PROPORTIONS = (False, False, False, True, False, True)
TAPE = 400
_PI = 3.14159265


def _rows(
    centre: Array,
    half: Array,
    angle: Array,
    square: Array,
    decal: Array,
    present: Array,
    slot: Array,
    swing: Array,
    copies: Array,
) -> Array:
    """Stacks the columns of `[n]` parts to `float32 [n, 12]`."""
    columns = (angle, square, decal, present, slot, swing)
    return jnp.concatenate(
        [centre, half, *(column.astype(jnp.float32)[:, None] for column in columns), copies.astype(jnp.float32)], axis=1
    )


def _decals(numbers: Numbers, count: int, reach: float) -> Array:
    """Marks upon an object, some of them in mirrored pairs, some repeated: `[count, 12]`."""
    x, y = numbers.uniform(-reach, reach, (count,)), numbers.uniform(-reach, reach, (count,))
    half = numbers.log_uniform(0.07, 0.6, (count, 2))
    angle = numbers.uniform(-_PI, _PI, (count,))
    angle = jnp.where(numbers.chance(0.5, (count,)), jnp.round(angle * 2 / _PI) * _PI / 2, angle)
    # Every second mark may be the mirror image of the one before it.
    before = jnp.maximum(jnp.arange(count) - 1, 0)
    mirrored = (jnp.arange(count) % 2 == 1) & numbers.chance(0.5)
    x, y = jnp.where(mirrored, -x[before], x), jnp.where(mirrored, y[before], y)
    half = jnp.where(mirrored[:, None], half[before], half)
    angle = jnp.where(mirrored, -angle[before], angle)
    slot = 1 + numbers.integer(SLOTS - 1, (count,))
    copies = jnp.where(numbers.chance(0.25, (count, 1)), numbers.integer(3, (count, 2)), 0)
    half = jnp.where((copies > 0).any(axis=1, keepdims=True), 0.4 * half, half)
    return _rows(
        jnp.stack([x, y], axis=1),
        half,
        angle,
        numbers.uniform(shape=(count,)),
        jnp.ones(count),
        numbers.chance(0.6, (count,)),
        jnp.where(mirrored, slot[before], slot),
        numbers.uniform(0.0, 0.2, (count,)),
        copies,
    )


def _solid(
    numbers: Numbers, centre: Array, half: Array, angle: Array, slot: Array, swing: float, present: Array
) -> Array:
    """Parts that make up the silhouette, of random squareness: `[n, 12]`."""
    count = angle.shape[0]
    nothing = jnp.zeros(count)
    square = numbers.uniform(shape=(count,)) ** 1.5
    return _rows(centre, half, angle, square, nothing, present, slot, jnp.full(count, swing), jnp.zeros((count, 2)))


def _blob(numbers: Numbers) -> Array:
    """One contour with marks on it."""
    one = jnp.ones(1)
    whole = _solid(numbers, jnp.zeros((1, 2)), jnp.ones((1, 2)), 0 * one, 0 * one, 0.0, one)
    return jnp.concatenate([whole, _decals(numbers, PARTS - 1, 0.8)])


def _creature(numbers: Numbers) -> Array:
    """A trunk with up to five limbs, a head being one of them, and marks."""
    trunk_half = numbers.uniform(0.3, 0.75, (1, 2))
    one = jnp.ones(1)
    trunk = _solid(numbers, jnp.zeros((1, 2)), trunk_half, 0 * one, 0 * one, 0.0, one)
    direction = numbers.uniform(-_PI, _PI, (5,))
    symmetric = numbers.chance(0.5)
    mirrored = _PI - direction
    direction = jnp.where(symmetric & (jnp.arange(5) % 2 == 1), mirrored[jnp.array([0, 0, 2, 2, 4])], direction)
    length, width = numbers.uniform(0.25, 0.5, (5,)), numbers.uniform(0.08, 0.3, (5,))
    ray = jnp.stack([jnp.cos(direction), jnp.sin(direction)], axis=1)
    centre = ray * (trunk_half * 0.85 + 0.7 * length[:, None])
    limbs = _solid(
        numbers, centre, jnp.stack([length, width], axis=1), direction, numbers.integer(SLOTS, (5,)), 0.6,
        numbers.chance(0.8, (5,)),
    )  # fmt: skip
    behind = numbers.chance(0.5)
    solid = jnp.where(behind, jnp.concatenate([limbs, trunk]), jnp.concatenate([trunk, limbs]))
    return jnp.concatenate([solid, _decals(numbers, PARTS - 6, 0.5)])


def _stack(numbers: Numbers) -> Array:
    """Three to five pieces one upon the other, upright or lying: people from afar, vehicles, bottles."""
    count = 3.0 + jnp.floor(numbers.uniform(0.0, 3.0))
    index = jnp.arange(5, dtype=jnp.float32)
    share = jnp.where(index < count, numbers.uniform(0.5, 1.5, (5,)), 0.0)
    ends = jnp.cumsum(share) / jnp.sum(share)
    thickness = share / jnp.sum(share)
    along = 2.0 * ends - thickness - 1.0
    half = jnp.stack([numbers.uniform(0.3, 1.0, (5,)), 1.2 * thickness + 0.02], axis=1)
    centre = jnp.stack([numbers.normal(0.12, (5,)), along], axis=1)
    lying = numbers.chance(0.35)
    centre, half = (jnp.where(lying, pair[:, ::-1], pair) for pair in (centre, half))
    solid = _solid(numbers, centre, half, numbers.normal(0.06, (5,)), numbers.integer(SLOTS, (5,)), 0.15, index < count)
    return jnp.concatenate([solid, _decals(numbers, PARTS - 5, 0.7)])


def _face(numbers: Numbers) -> Array:
    """An oval with hair, eyes, brows or glasses, nose and mouth, the places of which vary."""
    wide, apart, eye_y = numbers.uniform(0.6, 0.85), numbers.uniform(0.22, 0.36), numbers.uniform(-0.2, 0.02)
    u = numbers.uniform(0.7, 1.4, (12,))
    zero, glasses, brim = jnp.float32(0), numbers.chance(0.3), numbers.uniform(-0.75, -0.45)
    table = [
        (zero, zero, wide, 0.95 + zero, 1, 0),
        (zero, brim, wide * 0.95 * u[0], 0.33 * u[1], 2, 0),
        (-apart, eye_y, 0.13 * u[2], 0.07 * u[3], 2, 1),
        (apart, eye_y, 0.13 * u[2], 0.07 * u[3], 2, 1),
        (-apart, eye_y - 0.16, 0.17 * u[4], 0.035 * u[5], 2, 1),
        (apart, eye_y - 0.16, 0.17 * u[4], 0.035 * u[5], 2, 1),
        (zero, eye_y + 0.05, 0.6 + zero, 0.03 * u[6], 3, 1),
        (zero, eye_y + 0.3, 0.09 * u[7], 0.15 * u[8], 1, 1),
        (zero, 0.5 * u[9] ** 0.3, 0.25 * u[10], 0.07 * u[11], 4, 1),
        (zero, 0.75 + zero, wide * 0.8, 0.3 * u[11], 2, 1),
    ]
    values = jnp.array([[slot, decal] for *_, slot, decal in table], jnp.float32)
    place = jnp.stack([jnp.stack(row[:4]) for row in table])
    present = numbers.chance(0.85, (PARTS,)).at[0].set(True).at[6].set(glasses).at[9].set(numbers.chance(0.25))
    square = numbers.uniform(0.1, 0.7, (PARTS,))
    return _rows(
        place[:, :2], place[:, 2:], numbers.normal(0.04, (PARTS,)), square, values[:, 1], present, values[:, 0],
        jnp.full(PARTS, 0.03), jnp.zeros((PARTS, 2)),
    )  # fmt: skip


def _plate(numbers: Numbers) -> Array:
    """A board with panels and rows of repeated marks: signs, boxes, screens, buildings, shirts with numbers."""
    one = jnp.ones(1)
    board = _solid(numbers, jnp.zeros((1, 2)), jnp.ones((1, 2)), 0 * one, 0 * one, 0.0, one).at[0, SQUARE].set(0.97)
    centre, half = numbers.uniform(-0.45, 0.45, (5, 2)), numbers.log_uniform(0.05, 0.35, (5, 2))
    copies = numbers.integer(4, (5, 2))
    marks = _rows(
        centre, half, numbers.normal(0.02, (5,)), numbers.uniform(0.6, 1.0, (5,)), jnp.ones(5),
        numbers.chance(0.75, (5,)), 1 + numbers.integer(SLOTS - 1, (5,)), jnp.zeros(5), copies,
    )  # fmt: skip
    return jnp.concatenate([board, marks, _decals(numbers, PARTS - 6, 0.8)])


def _body(numbers: Numbers) -> Array:
    """One of the articulated bodies of `procedural.bodies` with other proportions and, sometimes, marks."""
    body = bodies.body(numbers.integer(len(bodies.BODY_NAMES)))
    cos, sin = jnp.cos(body.angle), jnp.sin(body.angle)
    x, y = body.offset[:, 0], body.offset[:, 1]
    centre = body.pivot + jnp.stack([cos * x - sin * y, sin * x + cos * y], axis=1)
    centre = centre * jnp.exp(numbers.normal(0.1, (1, 2))) + numbers.normal(0.03, (bodies.PARTS, 2))
    half = body.half * jnp.exp(numbers.normal(0.15, (bodies.PARTS, 2)))
    nothing = jnp.zeros(bodies.PARTS)
    parts = _rows(
        centre, half, body.angle, body.square**2, nothing, body.active, body.colour, body.swing,
        jnp.zeros((bodies.PARTS, 2)),
    )  # fmt: skip
    return jnp.concatenate([parts, _decals(numbers, PARTS - bodies.PARTS, 0.4)])


def build(family: Array, tape: Array) -> Array:
    """The parts of an object, `float32 [PARTS, 12]`, from the index of its family and `TAPE` numbers."""
    tables = [make(Numbers(tape)) for make in (_blob, _creature, _stack, _face, _plate, _body)]
    return jnp.stack(tables)[family]
