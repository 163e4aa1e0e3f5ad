"""Periodic procedural textures: natural 1/f fields, cells, bricks, stripes, and the stack that samples them.

A texture is synthesised once per scene as linear RGB and packed into 32-bit words (10 bits a channel, square root
encoded), so that a bilinear look-up gathers four words instead of twelve floats. Blurred copies form a *stack*:
interpolating between two of them gives both anti-aliased minification and defocus without a convolution per frame.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

# Spots, cobbles and domes share one cellular field and stay neighbours in this list.
KINDS = ("fractal", "stripes", "spots", "cobbles", "domes", "bricks")


class Pattern(NamedTuple):
    """What a texture is made of, all `float32` scalars unless said otherwise.

    Attributes:
      kind: `int32`, index into `KINDS`.
      repeats: number of stripes, cells or bricks over the texture's side; rounded, at least 2.
      roughness: weight of the fine 1/f detail in the albedo.
      relief: strength of the shading that the pattern's height field causes.
      colours: `float32 [3, 3]`, linear RGB of gaps, first and second material.
    """

    kind: Array
    repeats: Array
    roughness: Array
    relief: Array
    colours: Array


def hash_u32(*words: Array) -> Array:
    """Mixes `uint32` words of broadcastable, equal-rank shapes into one well-scrambled `uint32` array."""
    state = jnp.uint32(0x9E3779B9)
    for word in words:
        state = (state ^ word) * jnp.uint32(0x85EBCA6B)
        state = (state ^ (state >> 15)) * jnp.uint32(0xC2B2AE35)
        state = state ^ (state >> 13)
    return jnp.asarray(state)


def hash_uniform(*words: Array) -> Array:
    """Like `hash_u32`, as `float32` in [0, 1)."""
    return (hash_u32(*words) >> 8).astype(jnp.float32) * 2.0**-24


def hash_normal(*words: Array) -> Array:
    """Like `hash_u32`, as roughly normal `float32`, zero mean, unit variance: the sum of the word's four bytes."""
    word = hash_u32(*words)
    a, b, c, d = (((word >> shift) & 255).astype(jnp.float32) for shift in (0, 8, 16, 24))
    return (a + b + c + d - 510.0) * (1.0 / 147.8)


def fractals(key: Array, size: int, slopes: tuple[float, ...]) -> Array:
    """Periodic random fields with amplitude spectra 1/f^slope, `float32 [len(slopes), size, size]`, mean 0, variance 1.

    Natural images have slope 1; frequencies near Nyquist are damped so that the fields may be resampled.
    """
    frequency = jnp.hypot(jnp.fft.fftfreq(size)[:, None], jnp.fft.rfftfreq(size)[None, :])
    # Damped to nothing at frequency 0, which would be the mean.
    damping = jnp.where(frequency > 0, jnp.exp(-((frequency / 0.3) ** 2)), 0.0)
    gain = damping[None] / jnp.maximum(frequency, 1.0 / size)[None] ** jnp.array(slopes)[:, None, None]
    spectrum = jnp.fft.rfft2(jax.random.normal(key, (len(slopes), size, size)))
    fields = jnp.fft.irfft2(spectrum * gain.astype(jnp.complex64), (size, size))
    return fields / jnp.std(fields, axis=(1, 2), keepdims=True)


def _blur(image: Array, sigma: float) -> Array:
    """Periodic Gaussian blur of `[..., N, N]` by `sigma` pixels."""
    size = image.shape[-1]
    squared = jnp.fft.fftfreq(size)[:, None] ** 2 + jnp.fft.rfftfreq(size)[None, :] ** 2
    gain = jnp.exp(-2.0 * (jnp.pi * sigma) ** 2 * squared).astype(jnp.complex64)
    gain = gain.reshape((1,) * (image.ndim - 2) + gain.shape)
    return jnp.fft.irfft2(jnp.fft.rfft2(image) * gain, (size, size))


def smoothstep(low: Array | float, high: Array | float, x: Array) -> Array:
    """The cubic that rises from 0 at `low` to 1 at `high`."""
    u = jnp.clip((x - low) / (high - low), 0.0, 1.0)
    return u * u * (3.0 - 2.0 * u)


def _cells(u: Array, v: Array, repeats: Array, seed: Array) -> tuple[Array, Array, Array]:
    """Worley cells on the unit torus: distances to the nearest two sites (in cells), the nearest one's hash."""
    x, y = u * repeats, v * repeats

    def visit(neighbour, best):
        nearest, second, owner = best
        column = jnp.floor(x) + (neighbour % 3 - 1).astype(jnp.float32)
        row = jnp.floor(y) + (neighbour // 3 - 1).astype(jnp.float32)
        word = hash_u32(*(jnp.mod(k, repeats).astype(jnp.uint32) for k in (column, row)), seed)
        site_x = column + 0.15 + 0.7 * (word & 1023).astype(jnp.float32) / 1023
        site_y = row + 0.15 + 0.7 * ((word >> 10) & 1023).astype(jnp.float32) / 1023
        distance = jnp.hypot(x - site_x, y - site_y)
        closer = distance < nearest
        second = jnp.where(closer, nearest, jnp.minimum(second, distance))
        return jnp.minimum(nearest, distance), second, jnp.where(closer, word, owner)

    far = jnp.full(x.shape, 9.0)
    nearest, second, owner = jax.lax.fori_loop(0, 9, visit, (far, far, jnp.zeros(x.shape, jnp.uint32)))
    return nearest, second, hash_uniform(owner)


def _fields(pattern: Pattern, soft: Array, seed: Array) -> tuple[Array, Array]:
    """The pattern's `(mix, height)`, `float32 [N, N]` each: which of two materials, and the relief."""
    size = soft.shape[0]
    grid = jnp.arange(size, dtype=jnp.float32) / size
    warp = 0.012 * soft
    u, v = grid[None, :] + warp, grid[:, None] + jnp.roll(warp, size // 3, axis=0)
    repeats = jnp.maximum(jnp.round(pattern.repeats), 2.0)

    def plain():
        return smoothstep(-1.5, 1.5, soft), 0.5 + 0.2 * soft

    def stripes():
        wave = jnp.sin(2 * jnp.pi * (repeats * u + jnp.round(repeats / 3) * v))
        return smoothstep(-0.25, 0.25, wave), 0.5 + 0.1 * wave

    def cellular():
        nearest, second, tint = _cells(u, v, repeats, seed)
        spot = smoothstep(0.08, -0.08, nearest - 0.22 - 0.22 * tint)
        radius = jnp.where(tint < 0.35, 0.01, 0.2 + 0.3 * tint)
        dome = smoothstep(0.05, -0.05, nearest - radius)
        round_top = 0.45 + 0.55 * jnp.sqrt(jnp.maximum(0.0, 1 - (nearest / radius) ** 2))
        which = jnp.broadcast_to(pattern.kind - KINDS.index("spots"), tint.shape)
        mix = jax.lax.select_n(which, spot, tint, dome)
        return mix, jax.lax.select_n(which, 0.5 + 0.2 * spot, smoothstep(0.0, 0.35, second - nearest), round_top)

    def bricks():
        row = jnp.floor(v * 2 * jnp.ceil(repeats / 2))
        x = u * repeats + 0.5 * jnp.mod(row, 2.0)
        in_x, in_y = x - jnp.floor(x), v * 2 * jnp.ceil(repeats / 2) - row
        edge = jnp.minimum(jnp.minimum(in_x, 1 - in_x), jnp.minimum(in_y, 1 - in_y))
        column = jnp.mod(jnp.floor(x), repeats).astype(jnp.uint32)
        row = jnp.mod(row, 2 * jnp.ceil(repeats / 2)).astype(jnp.uint32)
        return hash_uniform(column, row, seed), smoothstep(0.02, 0.12, edge)

    branch = jnp.array([0, 1, 2, 2, 2, 3])[pattern.kind]
    return jax.lax.switch(branch, (plain, stripes, cellular, bricks))


def synthesise(keys: Array, size: int, patterns: Pattern) -> Array:
    """Renders stacked patterns, one after the other: linear RGB `float32 [n, 3, size, size]` in [0, 1]."""
    return jax.lax.map(lambda one: _synthesise(one[0], size, one[1]), (keys, patterns))


def _synthesise(key: Array, size: int, pattern: Pattern) -> Array:
    soft, fine, hue = fractals(key, size, (1.6, 0.9, 1.8))
    mix, height = _fields(pattern, soft, jax.random.key_data(key)[..., -1])
    gap, first, second = pattern.colours[:, :, None, None]  # [3, 1, 1] each
    albedo = first + (second - first) * mix[None]
    albedo = gap + (albedo - gap) * smoothstep(0.0, 0.5, height)[None]
    albedo = albedo * jnp.exp(pattern.roughness * fine)[None]
    # A slow drift between warm and cool keeps large areas from looking like one flat paint.
    drift = jnp.array([0.08, 0.01, -0.08])[:, None, None]
    albedo = albedo * (1.0 + drift * hue[None])
    return jnp.clip(albedo * emboss(height + 0.12 * pattern.roughness * fine, pattern.relief)[None], 0.0, 1.0)


def emboss(height: Array, strength: Array | float) -> Array:
    """Shading of a height field lit from the upper left, `float32 [N, N]` around 1."""
    slope = (height - jnp.roll(height, (1, 1), (0, 1))) + 0.5 * (height - jnp.roll(height, (3, 3), (0, 1)))
    return jnp.clip(1.0 + 2.0 * strength * slope, 0.35, 1.8)


def terrain(key: Array, size: int, ground: Pattern, path: Pattern, cover: Array) -> Array:
    """Two materials that meet along a 1/f coast line with a shaded rim, linear RGB `float32 [3, size, size]`.

    Args:
      key: a random key.
      size: side of the square texture in texels.
      ground: the material that fills most of the world.
      path: the other material.
      cover: scalar, how far the path is held back, in standard deviations of the coast line field.
    """
    keys = jax.random.split(key, 3)
    below, above = synthesise(keys[:2], size, jax.tree.map(lambda *pair: jnp.stack(pair), ground, path))
    coast = fractals(keys[2], size, (1.7,))[0] - cover
    mask = smoothstep(-0.05, 0.05, coast)
    rim = 1.0 - 0.35 * jnp.exp(-((coast / 0.12) ** 2))
    return jnp.clip((below + (above - below) * mask[None]) * (rim * emboss(mask, 0.25))[None], 0.0, 1.0)


def pack_stack(rgb: Array, levels: int) -> Array:
    """Packs linear RGB `[3, N, N]` and its blurred copies into `uint32 [levels, N, N]`.

    Level `l` suits a footprint of 2^l texels; its blur is 0.5 sqrt(4^l - 1) texels.
    """
    copies = [rgb] + [jnp.maximum(_blur(rgb, 0.5 * (4.0**level - 1.0) ** 0.5), 0.0) for level in range(1, levels)]
    words = jnp.round(jnp.sqrt(jnp.stack(copies)) * 1023.0).astype(jnp.uint32)  # [L, 3, N, N]
    return words[:, 0] | (words[:, 1] << 10) | (words[:, 2] << 20)


def _unpack(word: Array) -> Array:
    return jnp.stack([((word >> shift) & 1023).astype(jnp.float32) for shift in (0, 10, 20)])


def sample_stack(stack: Array, x: Array, y: Array, footprint: Array) -> Array:
    """Looks a packed texture up at texel coordinates, wrapping around: linear RGB `float32 [3, H, W]`.

    Args:
      stack: `uint32 [L, N, N]` from `pack_stack`, N a power of two.
      x: `float32 [H, W]` texel column; integers are texel centres.
      y: `float32 [H, W]` texel row.
      footprint: scalar, texels that one pixel should average over; below 1 means magnification.
    """
    levels, size, _ = stack.shape
    level = jnp.clip(jnp.log2(jnp.maximum(footprint, 1.0)), 0.0, levels - 1.0)
    lower = jnp.minimum(jnp.floor(level), levels - 2.0)
    left, top = jnp.floor(x), jnp.floor(y)
    fx, fy = (x - left)[None], (y - top)[None]
    columns = [(left.astype(jnp.int32) + k) & (size - 1) for k in (0, 1)]
    rows = [((top.astype(jnp.int32) + k) & (size - 1)) * size for k in (0, 1)]
    words = stack.reshape(-1)

    def bilinear(which):
        start = which.astype(jnp.int32) * size * size
        taps = [[_unpack(words[start + row + column]) for column in columns] for row in rows]
        (a, b), (c, d) = taps
        return (a + (b - a) * fx) * (1 - fy) + (c + (d - c) * fx) * fy

    def trilinear():
        fine, coarse = bilinear(lower), bilinear(lower + 1.0)
        return fine + (coarse - fine) * (level - lower)

    # Half the work where the sharpest level alone is asked for, which is often.
    encoded = jax.lax.cond(level > 0.0, trilinear, lambda: bilinear(lower)) * (1.0 / 1023.0)
    return encoded * encoded
