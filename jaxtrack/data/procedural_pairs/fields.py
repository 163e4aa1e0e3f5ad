"""The few scalar patterns of a pair: noise, waves, bricks and strokes, periodic, of which all its surfaces are made."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxtrack.data.procedural.textures import hash_normal, hash_uniform
from jaxtrack.data.procedural_pairs.numbers import Numbers

SIDE = 128
NOISES, REGULAR = 3, 3
FIELDS = NOISES + REGULAR
_OCTAVES = (4, 8, 16, 32, 64)
TAPE = NOISES * 3 + 24
# Exponents of 1/f in a noise's octaves: fine, natural and smooth. Natural images have as much in each octave.
_SLOPES = ((-0.4, 0.3), (0.1, 0.9), (0.6, 1.6))
# How often a surface takes each pattern.
SHARES = (0.2, 0.25, 0.2, 0.15, 0.13, 0.07)


def _spline_basis() -> np.ndarray:
    """Periodic cubic B-splines on grids of 4 to 64 knots, `float32 [SIDE, 124]`."""
    position = np.arange(SIDE)[:, None] / SIDE
    columns = []
    for knots in _OCTAVES:
        distance = np.abs((position * knots - np.arange(knots) + knots / 2) % knots - knots / 2)
        near, far = 2 / 3 - distance**2 + distance**3 / 2, np.maximum(2 - distance, 0) ** 3 / 6
        columns.append(np.where(distance < 1, near, far))
    return np.concatenate(columns, axis=1).astype(np.float32)


_BASIS = _spline_basis()
_FREQUENCY = np.concatenate([np.full(knots, knots) for knots in _OCTAVES]).astype(np.float32)


def _noise(numbers: Numbers, seed: Array, index: int) -> Array:
    """A random field with amplitudes 1/f^slope, stretched along an axis, of soft or sharp contrast; `[SIDE, SIDE]`."""
    slope, stretch = numbers.uniform(*_SLOPES[index]), jnp.round(numbers.normal(0.55))
    sharp = jnp.exp(2.3 * numbers.uniform() ** 3 - 1.0)
    # Products of equal octaves only, or of neighbouring ones in a stretched field: all of them would look woven.
    octave = jnp.log2(_FREQUENCY)
    matched = jnp.abs(octave[:, None] - octave[None, :] - stretch) < 0.5
    gain = jnp.where(matched, jnp.exp2(-0.5 * slope * (octave[:, None] + octave[None, :])), 0.0)
    knots = jnp.arange(_FREQUENCY.size, dtype=jnp.uint32)
    word = (knots[:, None] * jnp.uint32(128) + knots[None, :]) ^ jnp.uint32(index << 20)
    weights = hash_normal(word, jnp.broadcast_to(seed, word.shape)) * gain
    basis = jnp.asarray(_BASIS)
    field = basis @ weights @ basis.T
    field = (field - jnp.mean(field)) * jax.lax.rsqrt(jnp.mean(field * field) + 1e-9)
    return 0.5 + 0.5 * jnp.tanh(sharp * field)


def wave(turns: Array) -> Array:
    """A wave of period 1 made of parabolas, much like a sine and much cheaper; in [-1, 1], 0 at 0."""
    part = turns - jnp.round(turns)
    return 8.0 * part * (1.0 - 2.0 * jnp.abs(part))


def _waves(numbers: Numbers, x: Array, y: Array) -> Array:
    """Stripes, plaids or dots."""
    n = jnp.round(numbers.log_uniform(1.5, 14.0, (4,)) * jnp.where(numbers.chance(0.5, (4,)), 1.0, -1.0))
    straight = numbers.chance(0.5)
    first = wave(n[0] * x + jnp.where(straight, 0.0, n[1]) * y)
    second = wave(jnp.where(straight, 0.0, n[2]) * x + n[3] * y)
    kind = numbers.uniform()
    both = jnp.where(kind < 0.5, first, jnp.where(kind < 0.75, 0.5 * (first + second), first * second))
    return 0.5 + 0.5 * jnp.tanh(numbers.log_uniform(0.7, 8.0) * (both - numbers.uniform(-0.5, 0.5)))


def _bricks(numbers: Numbers, x: Array, y: Array, seed: Array) -> Array:
    """Bricks, tiles or boards, each of its own tone, with dark joints."""
    columns, rows = jnp.round(numbers.log_uniform(2.0, 14.0)), 2.0 * jnp.round(numbers.log_uniform(1.5, 11.0))
    row = jnp.floor(y * rows)
    along = x * columns + jnp.where(numbers.chance(0.6), 0.5, 0.0) * jnp.mod(row, 2.0)
    column = jnp.mod(jnp.floor(along), columns)
    inner_x, inner_y = along - jnp.floor(along), y * rows - row
    edge = jnp.minimum(
        jnp.minimum(inner_x, 1.0 - inner_x) * SIDE / columns, jnp.minimum(inner_y, 1.0 - inner_y) * SIDE / rows
    )
    tone = hash_uniform(
        column.astype(jnp.uint32), row.astype(jnp.uint32), jnp.broadcast_to(seed, row.shape).astype(jnp.uint32)
    )
    tone = 0.5 + numbers.uniform(0.2, 1.0) * (tone - 0.5)
    return jnp.where(edge < numbers.uniform(0.3, 1.8), numbers.uniform(), tone)


def _strokes(numbers: Numbers, x: Array, y: Array, seed: Array) -> Array:
    """Rows of irregular strokes, like writing or a crowd seen from afar."""
    fine, rows = jnp.round(numbers.log_uniform(16.0, 64.0)), jnp.round(numbers.log_uniform(3.0, 12.0))
    height = jnp.round(numbers.uniform(2.6, 5.4))
    line = y * rows
    inside = (line - jnp.floor(line)) / numbers.uniform(0.55, 1.0)
    row = jnp.floor(line) * 8.0 + jnp.floor(jnp.minimum(inside, 1.0) * height)
    word = hash_uniform(
        jnp.floor(x * fine).astype(jnp.uint32),
        row.astype(jnp.uint32),
        jnp.broadcast_to(seed ^ jnp.uint32(77), row.shape),
    )
    return jnp.where((inside < 1.0) & (word < numbers.uniform(0.35, 0.65)), 1.0, 0.0)


def render_fields(tape: Array, seed: Array) -> Array:
    """Renders a pair's patterns from `TAPE` numbers and a `uint32` seed, `float32 [FIELDS, SIDE, SIDE]` in [0, 1]."""
    numbers = Numbers(tape)
    grid = (jnp.arange(SIDE, dtype=jnp.float32) + 0.5) / SIDE
    x, y = jnp.broadcast_to(grid[None, :], (SIDE, SIDE)), jnp.broadcast_to(grid[:, None], (SIDE, SIDE))
    noises = [_noise(numbers, seed, index) for index in range(NOISES)]
    # A slight swing keeps the regular patterns from looking drawn with a ruler.
    swing = numbers.uniform(0.0, 0.03) * (noises[0] - 0.5)
    regular = (_waves(numbers, x + swing, y + swing), _bricks(numbers, x, y, seed), _strokes(numbers, x, y, seed))
    return jnp.stack([*noises, *regular])


def pack_fields(fields: Array) -> Array:
    """Prepares patterns for `look_up`, `uint32 [FIELDS * SIDE * SIDE]`.

    A word holds a texel and its neighbours to the right, below, and below to the right: interpolation reads it alone.
    The regular patterns are smoothed by a texel, so that their hard edges may be resampled.
    """
    words = (fields * 255.0 + 0.5).astype(jnp.uint32)
    hard = words[NOISES:]
    across = hard + jnp.roll(hard, 1, 2)
    words = jnp.concatenate([words[:NOISES], (across + jnp.roll(across, 1, 1)) >> 2])
    words = words | (jnp.roll(words, -1, 2) << 8)
    return (words | (jnp.roll(words, -1, 1) << 16)).reshape(-1)


def look_up(fields: Array, which: Array, x: Array, y: Array) -> Array:
    """Reads pattern `which` (`int32`) at texel positions, wrapping around; `float32` in [0, 1] of their shape."""
    left, top = jnp.floor(x), jnp.floor(y)
    fx, fy = x - left, y - top
    column, row = left.astype(jnp.int32) & (SIDE - 1), top.astype(jnp.int32) & (SIDE - 1)
    word = fields[which * (SIDE * SIDE) + row * SIDE + column]
    a, b, c, d = (((word >> shift) & 255).astype(jnp.float32) for shift in (0, 8, 16, 24))
    upper, lower = a + (b - a) * fx, c + (d - c) * fx
    return (upper + (lower - upper) * fy) * (1 / 255)
