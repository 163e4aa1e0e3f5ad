"""The references' square crops of template and search region, which follow OpenCV's arithmetic."""

import jax
import jax.numpy as jnp

from jaxtrack import images
from jaxtrack.images import Frame


def crop_square(frame: Frame, centre: jax.Array, side: jax.Array, out: int, fill: jax.Array) -> jax.Array:
    """The references' crop: a square of whole pixels, padded with `fill`, resized, rounded, as BGR.

    Args:
      frame: the frame.
      centre: `float32 [2]`, (x, y).
      side: `float32 []`, a whole number of pixels.
      out: side of the crop.
      fill: `float32 [3]`, RGB.

    Returns:
      `float32 [1, out, out, 3]`, whole grey levels in [0, 255].
    """
    corner = crop_corner(centre, side).astype(jnp.int32)
    rgb = images.crop_fixed_point(frame.pixels, frame.size, corner, side.astype(jnp.int32), out, fill)
    return rgb[None, :, :, ::-1]


def crop_corner(centre: jax.Array, side: jax.Array) -> jax.Array:
    """The first pixel (x, y) of `crop_square`'s square, `float32 [2]`."""
    return jnp.floor(centre - (side + 1) / 2 + 0.5)


def mean_colour(frame: Frame) -> jax.Array:
    """The frame's mean colour cut to whole grey levels, `float32 [3]` RGB."""
    height, width = frame.size[0], frame.size[1]
    rows = jnp.sum(frame.pixels.astype(jnp.int32), axis=1)  # [H, 3]; the canvas is 0 beyond the image
    # The sum over a large image does not fit into 32 bits: quotients and remainders are summed apart.
    quotients, remainders = jnp.sum(rows // width, axis=0), jnp.sum(rows % width, axis=0)
    rest = (quotients % height) * width + remainders
    return (quotients // height + rest // (height * width)).astype(jnp.float32)
