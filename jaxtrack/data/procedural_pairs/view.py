"""One image of a pair: the background, the objects placed in it one over the other, and the border of the video.

Source coordinates are those of the 511-pixel crop that training from disk would start from: pixel centres at integers,
the target's middle at (255, 255), and the target's size such that its template has 127 pixels. What is drawn is the
window of it that the augmentation has chosen, directly at the window's resolution.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from jaxtrack.data.augmentation import SOURCE_PX
from jaxtrack.data.procedural_pairs import camera as cameras
from jaxtrack.data.procedural_pairs import ground as grounds
from jaxtrack.data.procedural_pairs.camera import Camera
from jaxtrack.data.procedural_pairs.ground import Ground
from jaxtrack.data.procedural_pairs.objects import EXTENT, SPRITE
from jaxtrack.data.procedural_pairs.paints import pack, unpack_byte

MIDDLE = float(SOURCE_PX // 2)


@struct.dataclass
class Instances:
    """Objects from the hindmost to the foremost.

    Attributes:
      sprite: `int32 [N]`, which of the pair's sprites.
      matrix: `float32 [N, 2, 2]`, sprite coordinates to source pixels.
      centre: `float32 [N, 2]`, source position (x, y) of the sprite's middle.
      present: `bool [N]`.
    """

    sprite: Array
    matrix: Array
    centre: Array
    present: Array


@struct.dataclass
class View:
    """What one image shows.

    Attributes:
      window: `float32 [4]`, (left, top, right, bottom) source positions of the first and last pixel centres.
      world: `float32 [2, 3]`, source position relative to `MIDDLE`, and 1, to world pixels.
      ground: the background.
      instances: the objects.
      border: `float32 [4]`, (left, top, right, bottom) of the video's image, source pixels.
      camera: how the image is taken.
    """

    window: Array
    world: Array
    ground: Ground
    instances: Instances
    border: Array
    camera: Camera


def _patches(view: View, side: int, patch: int) -> Array:
    """Where and how each instance is drawn, `float32 [N, 9]`: sprite, corner (x, y), and (u, v) by column and row.

    Columns and rows are those of the patch: u = row[3] column + row[4] row + row[5], v likewise with the last three.
    """
    instances = view.instances
    step = (view.window[2:] - view.window[:2]) / (side - 1)
    middle = (instances.centre - view.window[None, :2]) / step[None]
    corner = jnp.clip(jnp.round(middle - 0.5 * patch), 0.0, float(side - patch))  # [N, 2]
    origin = corner * step[None] + view.window[None, :2] - instances.centre
    a, b, c, d = instances.matrix.reshape(-1, 4).T
    scale = 1.0 / (a * d - b * c)
    rows = [instances.sprite.astype(jnp.float32), *corner.T]
    for p, q in ((d * scale, -b * scale), (-c * scale, a * scale)):
        rows += [p * step[0], q * step[1], p * origin[:, 0] + q * origin[:, 1]]
    return jnp.stack(rows, axis=1)


def sample_sprite(sprites: Array, which: Array, u: Array, v: Array) -> list[Array]:
    """Reads a sprite bilinearly at sprite coordinates: planes B, G, R times opacity in [0, 255], opacity in [0, 1]."""
    column, row = ((axis * (0.5 / EXTENT) + 0.5) * SPRITE - 0.5 for axis in (u, v))
    # The outermost texels are transparent, and so is all beyond them.
    column, row = (jnp.clip(axis, 0.0, SPRITE - 1.001) for axis in (column, row))
    left, top = jnp.floor(column), jnp.floor(row)
    fx, fy = column - left, row - top
    start = (which * SPRITE + top.astype(jnp.int32)) * SPRITE + left.astype(jnp.int32)
    words = sprites.reshape(-1)
    taps = [words[start + jump] for jump in (0, 1, SPRITE, SPRITE + 1)]

    def blend(place: int) -> Array:
        a, b, c, d = (unpack_byte(tap, place) for tap in taps)
        upper, lower = a + (b - a) * fx, c + (d - c) * fx
        return upper + (lower - upper) * fy

    return [blend(0), blend(1), blend(2), blend(3) * (1 / 255)]


def _with_instances(ground: Array, view: View, sprites: Array, patch: int) -> Array:
    """Draws the objects over a background; `uint32 [side, side]` words of B, G and R."""
    rows = _patches(view, ground.shape[-1], patch)[jnp.argsort(~view.instances.present, stable=True)]
    line = jnp.arange(patch, dtype=jnp.float32)
    x, y = line[None, :], line[:, None]

    def draw(number: Array, image: Array) -> Array:
        row = jax.lax.dynamic_slice(rows, (number, jnp.zeros_like(number)), (1, rows.shape[1]))[0]
        u, v = row[3] * x + row[4] * y + row[5], row[6] * x + row[7] * y + row[8]
        *colour, cover = sample_sprite(sprites, row[0].astype(jnp.int32), u, v)
        start = (row[2].astype(jnp.int32), row[1].astype(jnp.int32))
        below = jax.lax.dynamic_slice(image, start, (patch, patch))
        mixed = [plane + unpack_byte(below, k) * (1.0 - cover) for k, plane in enumerate(colour)]
        return jax.lax.dynamic_update_slice(image, pack(mixed), start)

    return jax.lax.fori_loop(0, jnp.sum(view.instances.present.astype(jnp.int32)), draw, ground)


def render_view(view: View, sprites: Array, bank: Array, photograph: Array | None, side: int, patch: int) -> Array:
    """Renders an image, `float32 [side, side, 3]`, BGR, whole grey levels in [0, 255].

    Args:
      view: what it shows.
      sprites: `uint32 [N, SPRITE, SPRITE]`.
      bank: the pair's patterns.
      photograph: `float32 [S, S, 3]`, BGR; None without textures.
      side: of the image, pixels.
      patch: side of the square in which an object is drawn, at most `side`.
    """
    step = (view.window[2:] - view.window[:2]) / (side - 1)
    line = jnp.arange(side, dtype=jnp.float32)
    source_x, source_y = line * step[0] + view.window[0], line * step[1] + view.window[1]
    x, y = source_x[None, :] - MIDDLE, source_y[:, None] - MIDDLE
    world = view.world
    image = grounds.render_ground(
        view.ground,
        world[0, 0] * x + world[0, 1] * y + world[0, 2],
        world[1, 0] * x + world[1, 1] * y + world[1, 2],
        jnp.sqrt(jnp.abs(world[0, 0] * world[1, 1] - world[0, 1] * world[1, 0]) * step[0] * step[1]),
        bank,
        photograph,
    )
    image = _with_instances(image, view, sprites, patch)
    image = cameras.develop(cameras.light(image, view.camera), view.camera)
    left, top, right, bottom = view.border
    inside = ((source_x >= left) & (source_x < right))[None, :] & ((source_y >= top) & (source_y < bottom))[:, None]
    share = jnp.mean(inside.astype(jnp.float32))
    mean = jnp.mean(jnp.where(inside[None], image, 0.0), axis=(1, 2)) / jnp.maximum(share, 1e-3)
    return jnp.transpose(jnp.where(inside[None], image, mean[:, None, None]), (1, 2, 0))
