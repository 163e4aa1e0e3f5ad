"""From a scene's colours to a video's image: light, blur, low resolution, noise and compression."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from jaxtrack.data.augmentation import GREY_WEIGHTS
from jaxtrack.data.procedural.textures import hash_u32, smoothstep
from jaxtrack.data.procedural_pairs.numbers import Numbers
from jaxtrack.data.procedural_pairs.paints import unpack_byte

_EXACT = jax.lax.Precision.HIGHEST
_BLOCK = 8
_SHAKES = 7


@struct.dataclass
class Camera:
    """How one image is taken; `float32`.

    Attributes:
      gain: `[3]`, factor on B, G, R.
      lift: scalar added to all channels, grey levels.
      curve: scalar in (-1, 1), bends the middle tones down or up.
      shadow: `[4]`, normal (x, y) of the edge per pixel, its distance, and depth 0 to 1 of a shadow.
      tilt: `[2]`, gradient of the light over the image's half width.
      sharp: `bool`, whether even the slight blur of every lens is missing.
      blur_px: standard deviation of a Gaussian blur; 0 for none.
      coarse: factor at least 1 by which the resolution is lower than the crop's.
      motion_px: `[2]`, travel (x, y) while the shutter is open.
      noise: standard deviation in grey levels.
      quantum: step of the compression's coefficients in grey levels; 0 for none.
      gray: `bool`, whether colour is lost.
      seed: `uint32` of the noise.
    """

    gain: Array
    lift: Array
    curve: Array
    shadow: Array
    tilt: Array
    sharp: Array
    blur_px: Array
    coarse: Array
    motion_px: Array
    noise: Array
    quantum: Array
    gray: Array
    seed: Array


TAPE = 40


def sample_camera(tape: Array, shared: Array, gray: Array, seed: Array, degradation: Array, change: Array) -> Camera:
    """Draws a camera from its own and from the pair's numbers, `TAPE` each."""
    own, both = Numbers(tape), Numbers(shared)
    strong = jnp.where(own.chance(0.2), 3.0, 1.0) * change
    bright = both.normal(0.12) + both.normal(0.04, (3,)) + strong * (own.normal(0.1) + own.normal(0.03, (3,)))
    gain = jnp.exp(jnp.clip(bright, -0.7, 0.6))
    curve = jnp.clip(both.normal(0.3) + strong * own.normal(0.12), -0.7, 0.7)
    angle = own.uniform(-math.pi, math.pi)
    width = own.log_uniform(2.0, 40.0)
    normal = jnp.stack([jnp.cos(angle), jnp.sin(angle)]) / width
    depth = jnp.where(own.chance(0.25 * jnp.minimum(change, 1.0)), own.uniform(0.15, 0.65), 0.0)
    soft, coarse = own.chance(degradation), own.chance(0.5)
    direction, travel = own.uniform(-math.pi, math.pi), own.log_uniform(3.0, 18.0)
    moves, packed = own.chance(0.6 * degradation), own.chance(degradation)
    return Camera(
        gain=gain,
        lift=both.normal(8.0) + strong * own.normal(6.0),
        curve=curve,
        shadow=jnp.concatenate([normal, own.uniform(-100.0, 100.0, (1,)) / width, depth[None]]),
        tilt=strong * own.normal(0.06, (2,)) + both.normal(0.06, (2,)),
        sharp=both.chance(0.35),
        blur_px=jnp.where(soft & ~coarse, own.log_uniform(0.8, 2.4), 0.0),
        coarse=jnp.where(soft & coarse, own.log_uniform(1.5, 4.0), 1.0),
        motion_px=jnp.where(moves, travel, 0.0) * jnp.stack([jnp.cos(direction), jnp.sin(direction)]),
        noise=jnp.where(both.chance(0.6), both.log_uniform(0.7, 9.0), 0.0),
        quantum=jnp.where(packed, own.log_uniform(12.0, 70.0), 0.0),
        gray=gray,
        seed=seed,
    )


def sharpness_matrix(blur_px: Array, coarse: Array, side: int) -> Array:
    """A blur followed by a sampling `coarse` times as wide and back by linear interpolation; `[side, side]`."""
    coarse_blur = jnp.sqrt(jnp.maximum(blur_px, 0.3) ** 2 + (0.4 * (coarse - 1.0)) ** 2)
    pixel = jnp.arange(side, dtype=jnp.float32)
    knot = pixel * coarse
    distance = (knot[:, None] - pixel[None, :]) / coarse_blur
    weight = jnp.exp(-0.5 * distance * distance)
    sample = weight / jnp.maximum(jnp.sum(weight, axis=1, keepdims=True), 1e-6)
    hat = jnp.maximum(1.0 - jnp.abs(pixel[:, None] / coarse - pixel[None, :]), 0.0)
    return jax.lax.cond(coarse > 1.0, lambda: jnp.matmul(hat, sample, precision=_EXACT), lambda: sample)


def _soften(planes: Array, camera: Camera) -> Array:
    side = planes.shape[-1]
    matrix = sharpness_matrix(camera.blur_px, camera.coarse, side)
    down = jnp.matmul(jnp.broadcast_to(matrix, planes.shape), planes, precision=_EXACT)
    return jnp.matmul(down.reshape(3 * side, side), matrix.T, precision=_EXACT).reshape(planes.shape)


def _smear(planes: Array, camera: Camera) -> Array:
    """The mean of shifted copies along the motion."""
    margin = 12
    side = planes.shape[-1]
    wide = jnp.pad(planes, ((0, 0), (margin, margin), (margin, margin)), mode="edge")
    total = jnp.zeros_like(planes)
    for k in range(_SHAKES):
        shift = margin + jnp.round(camera.motion_px * (k / (_SHAKES - 1) - 0.5)).astype(jnp.int32)
        total = total + jax.lax.dynamic_slice(wide, (jnp.int32(0), shift[1], shift[0]), (3, side, side))
    return total * (1.0 / _SHAKES)


def _cosines() -> np.ndarray:
    k, n = np.arange(_BLOCK)[:, None], np.arange(_BLOCK)[None, :]
    basis = np.cos(np.pi * k * (2 * n + 1) / (2 * _BLOCK)) * math.sqrt(2 / _BLOCK)
    basis[0] *= math.sqrt(0.5)
    return basis.astype(np.float32)


def _compress(planes: Array, camera: Camera) -> Array:
    """Rounds the cosine transform of 8 x 8 blocks, high frequencies more coarsely, as JPEG does; `[3, S, S]`."""
    side = planes.shape[-1]
    blocks = -(-side // _BLOCK)
    fill = blocks * _BLOCK - side
    padded = jnp.pad(planes, ((0, 0), (0, fill), (0, fill)), mode="edge")
    tiles = padded.reshape(3, blocks, _BLOCK, blocks, _BLOCK)
    basis = jnp.asarray(_cosines())
    order = jnp.arange(_BLOCK, dtype=jnp.float32)
    step = camera.quantum * (0.4 + 0.25 * (order[:, None] + order[None, :]))
    step = step[None, None, :, None, :]
    found = jnp.einsum("ui,caibj,vj->caubv", basis, tiles, basis, precision=_EXACT)
    kept = jnp.round(found / step) * step
    back = jnp.einsum("ui,caubv,vj->caibj", basis, kept, basis, precision=_EXACT)
    return back.reshape(3, blocks * _BLOCK, blocks * _BLOCK)[:, :side, :side]


def light(image: Array, camera: Camera) -> Array:
    """Light, shadow, loss of colour and tone curve: `uint32 [S, S]` words of B, G and R to `[3, S, S]` in [0, 255]."""
    side = image.shape[-1]
    # No lens and no video is sharp to the pixel, the less so as crops are mostly enlarged.
    image = jax.lax.cond(camera.sharp, lambda image: image, slight_blur, image)
    line = jnp.arange(side, dtype=jnp.float32) - 0.5 * (side - 1)
    x, y = line[None, :], line[:, None]
    edge = camera.shadow[0] * x + camera.shadow[1] * y + camera.shadow[2]
    shade = 1.0 - camera.shadow[3] * smoothstep(-1.0, 1.0, edge)
    shade = shade * (1.0 + (camera.tilt[0] * x + camera.tilt[1] * y) * (2.0 / side)) * (1 / 255)
    luma = jnp.array(GREY_WEIGHTS, jnp.float32)[None, :] * camera.gain[None, :]
    weights = jnp.where(camera.gray, jnp.broadcast_to(luma, (3, 3)), jnp.diag(camera.gain))[:, :, None, None]
    planes = [unpack_byte(image, channel)[None] for channel in range(3)]
    lit = weights[:, 0] * planes[0] + weights[:, 1] * planes[1] + weights[:, 2] * planes[2]  # [3, S, S]
    value = jnp.clip(lit * shade[None], 0.0, 1.0)
    return jnp.clip(255.0 * (value + camera.curve * value * (1.0 - value)) + camera.lift, 0.0, 255.0)


def slight_blur(image: Array) -> Array:
    """Weights 1, 2, 1 along rows and columns of `uint32 [S, S]` words, on all their bytes at once."""
    for axis in (0, 1):
        before, after = (
            jnp.concatenate(
                [jnp.take(image, jnp.array([0]), axis), jax.lax.slice_in_dim(image, 0, -1, axis=axis)], axis
            ),
            jnp.concatenate(
                [jax.lax.slice_in_dim(image, 1, None, axis=axis), jnp.take(image, jnp.array([-1]), axis)], axis
            ),
        )
        image = _mean(_mean(before, image), _mean(image, after))
    return image


def _mean(a: Array, b: Array) -> Array:
    """The mean of each byte of two words."""
    return (a & b) + (((a ^ b) & jnp.uint32(0xFEFEFEFE)) >> 1)


def develop(planes: Array, camera: Camera) -> Array:
    """Blur, noise and compression of `float32 [3, S, S]`; the same shape, whole grey levels in [0, 255]."""
    side = planes.shape[-1]
    soft = (camera.blur_px > 0.0) | (camera.coarse > 1.0)
    planes = jax.lax.cond(soft, lambda image: _soften(image, camera), lambda image: image, planes)
    moving = jnp.max(jnp.abs(camera.motion_px)) > 0.0
    planes = jax.lax.cond(moving, lambda image: _smear(image, camera), lambda image: image, planes)
    planes = planes + camera.noise * _noise(side, camera)
    planes = jax.lax.cond(camera.quantum > 0.0, lambda image: _compress(image, camera), lambda image: image, planes)
    return jnp.clip(jnp.round(planes), 0.0, 255.0)


def _noise(side: int, camera: Camera) -> Array:
    """Roughly normal numbers, the same in all channels of a gray image; `[3, side, side]`, unit variance."""
    place = jnp.arange(side * side, dtype=jnp.uint32).reshape(1, side, side)
    word = hash_u32(place, jnp.broadcast_to(camera.seed, place.shape))
    # One word serves three channels, each with its own pairing of the bytes.
    channel = jnp.arange(3, dtype=jnp.uint32)[:, None, None]
    jump = jnp.where(camera.gray, jnp.uint32(8), 8 * (channel + 1))
    a = (word & 255).astype(jnp.int32) + ((word >> jump) & 255).astype(jnp.int32) - 255
    return a.astype(jnp.float32) * (1 / 104.5)
