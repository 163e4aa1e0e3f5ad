"""Frames on a canvas, crop-and-resize, colour spaces and local image cues, all in JAX.

Pixel centres lie at half-integers: pixel (row i, column j) covers [j, j+1) x [i, i+1). A crop of the box
(x, y, w, h) to [H, W] samples at x + (j + 0.5) w / W, y + (i + 0.5) h / H, as `cv2.resize` does inside a crop.
"""

import os
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack.errors import UserError

# (height, width): four programs serve every video. They hold OTB's small videos, SD, HD / full HD and portrait
# HD, and everything up to 4K in either orientation.
CANVASES = ((360, 480), (640, 800), (1280, 1920), (3840, 3840))


class Frame(NamedTuple):
    """One image on a canvas that is padded at the bottom and at the right.

    Attributes:
      pixels: `uint8 [..., H, W, 3]` RGB, zero beyond the true size.
      size: `int32 [..., 2]`, the true (height, width); whatever lies beyond is outside the image.
      grey: `bool [...]`, whether the three channels are equal in the whole image.
    """

    pixels: jax.Array
    size: jax.Array
    grey: jax.Array


def canvas_size(height: int, width: int) -> tuple[int, int]:
    """The smallest canvas (height, width) that holds an image; `UserError` above the largest."""
    for canvas in CANVASES:
        if height <= canvas[0] and width <= canvas[1]:
            return canvas
    raise UserError(
        f"the image has {width} x {height} pixels; at most {CANVASES[-1][1]} x {CANVASES[-1][0]} are supported: "
        "shrink the video first"
    )


def as_rgb(image: Any, where: str = "an image") -> np.ndarray:
    """Checks an image and makes it `uint8 [H, W, 3]`: grey images are replicated, alpha is dropped.

    Args:
      image: `uint8 [H, W]`, or `[H, W, C]` with 1, 3 or 4 channels.
      where: beginning of the message, e.g. the video's name and the frame's number.

    Raises:
      UserError: anything else.
    """
    if image is None:
        raise UserError(f"{where} is None: OpenCV gives that at the end of a video and where it cannot read an image")
    if isinstance(image, str | os.PathLike):
        raise UserError(f"{where} must be an array, not the path {str(image)!r}: read the file first")
    try:
        array = np.asarray(image)
    except ValueError as error:  # lists of unequal lengths
        raise UserError(f"{where} must be uint8 [H, W, 3] or [H, W]: {error}") from None
    if array.dtype != np.uint8:
        advice = "scale it to 0..255, then take image.astype(numpy.uint8)"
        raise UserError(f"{where} must be uint8 [H, W, 3] or [H, W], not {array.dtype} {list(array.shape)}: {advice}")
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or 0 in array.shape or array.shape[-1] not in (1, 3, 4):
        raise UserError(
            f"{where} must be [H, W], or [H, W, C] with 1, 3 or 4 channels, which come last; not {list(array.shape)}"
        )
    return np.broadcast_to(array, (*array.shape[:2], 3)) if array.shape[-1] == 1 else array[..., :3]


def is_grey(image: np.ndarray) -> bool:
    """Whether the channels of `uint8 [H, W, 3]` are equal everywhere (grey JPEGs decode to equal channels)."""
    # A sparse look first: nearly every colour image is told apart by a few hundred pixels.
    for view in (image[::16, ::16], image):
        if (view[..., 0] != view[..., 1]).any() or (view[..., 1] != view[..., 2]).any():
            return False
    return True


def place(image: np.ndarray, canvas: np.ndarray) -> Frame:
    """Writes an RGB image `uint8 [h, w, 3]` into `canvas` (`uint8 [H, W, 3]`, zeroed here where unused)."""
    height, width = image.shape[:2]
    canvas[:height, :width] = image
    canvas[height:] = 0
    canvas[:height, width:] = 0
    return Frame(canvas, np.asarray([height, width], np.int32), np.asarray(is_grey(image)))  # type: ignore[arg-type]


def make_frame(image: np.ndarray) -> Frame:
    """A frame from `uint8 [H, W, 3]` RGB (or [H, W] grey), on the smallest canvas that holds it."""
    image = as_rgb(image)
    return place(image, np.empty((*canvas_size(*image.shape[:2]), 3), np.uint8))


def _taps(start: jax.Array, length: jax.Array, out: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Bilinear taps along one axis: indices `int32 [out]` of the lower and upper pixel, weight of the upper."""
    step = length / out
    position = start + (jnp.arange(out, dtype=jnp.float32) + 0.5) * step - 0.5
    low = jnp.floor(position)
    weight = position - low
    low = low.astype(jnp.int32)
    return low, low + 1, weight


def crop(
    pixels: jax.Array,
    size: jax.Array,
    box: jax.Array,
    out: tuple[int, int],
    fill: jax.Array | None = None,
) -> jax.Array:
    """Crops a box out of an image and resizes it bilinearly.

    Args:
      pixels: `[H, W, C]`, uint8 or float32, on a canvas.
      size: `int32 [2]`, true (height, width); pixels beyond it are never read.
      box: `float32 [4]`, (x, y, w, h) in pixels, wherever it lies.
      out: (height, width) of the crop.
      fill: `float32 [C]`, the colour outside the image; None replicates the border.

    Returns:
      `float32 [out[0], out[1], C]`.
    """
    chex.assert_rank([pixels, size, box], [3, 1, 1])
    pixels = jnp.asarray(pixels)  # A numpy array could not be indexed by traced positions.
    top, bottom, weight_y = _taps(box[1], box[3], out[0])
    left, right, weight_x = _taps(box[0], box[2], out[1])
    height, width = size[0], size[1]

    def tap(rows: jax.Array, columns: jax.Array) -> jax.Array:
        inside_rows = jnp.clip(rows, 0, height - 1)
        inside_columns = jnp.clip(columns, 0, width - 1)
        values = pixels[inside_rows[:, None], inside_columns[None, :]].astype(jnp.float32)  # [h, w, C]
        if fill is None:
            return values
        outside = (rows != inside_rows)[:, None] | (columns != inside_columns)[None, :]
        return jnp.where(outside[..., None], fill[None, None, :], values)

    def blend(a: jax.Array, b: jax.Array, weight: jax.Array) -> jax.Array:
        return a + weight * (b - a)

    weight_x, weight_y = weight_x[None, :, None], weight_y[:, None, None]
    upper = blend(tap(top, left), tap(top, right), weight_x)
    lower = blend(tap(bottom, left), tap(bottom, right), weight_x)
    return blend(upper, lower, weight_y)


def _fixed_point_taps(side: jax.Array, out: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """OpenCV's taps along one axis: the lower index and both pixels' weights, 2048 being 1; `int32 [out]` each."""
    # (i + 1/2) side / out - 1/2 as a fraction: floor and remainder are exact.
    numerator = (2 * jnp.arange(out, dtype=jnp.int32) + 1) * side - out
    low = numerator // (2 * out)
    share = (numerator - low * (2 * out)).astype(jnp.float32) / (2 * out)
    # OpenCV holds the whole position in 32 bits before it takes the floor away.
    share = (low.astype(jnp.float32) + share) - low.astype(jnp.float32)
    upper = jnp.round(2048 * share).astype(jnp.int32)
    return low, jnp.round(2048 * (1 - share)).astype(jnp.int32), upper


def crop_fixed_point(
    pixels: jax.Array, size: jax.Array, corner: jax.Array, side: jax.Array, out: int, fill: jax.Array
) -> jax.Array:
    """Cuts a square of whole pixels out and resizes it to the grey level as `cv2.resize` does (bilinear, uint8).

    OpenCV's vectorised code multiplies weights of 11 bits and drops digits on the way, which darkens crops by an
    eighth of a grey level on average; trackers were trained and tuned on that.

    Args:
      pixels: `uint8 [H, W, C]`, on a canvas.
      size: `int32 [2]`, true (height, width); pixels beyond it are never read.
      corner: `int32 [2]`, (x, y) of the square's first pixel, wherever it lies.
      side: `int32 []`, at least 1.
      out: side of the crop.
      fill: `float32 [C]`, whole grey levels outside the image.

    Returns:
      `float32 [out, out, C]`, whole grey levels.
    """
    chex.assert_rank([pixels, size, corner, side], [3, 1, 1, 0])
    pixels = jnp.asarray(pixels)
    low, lower_weight, upper_weight = _fixed_point_taps(side, out)
    last = side - 1

    def tap(rows: jax.Array, columns: jax.Array) -> jax.Array:
        rows, columns = corner[1] + jnp.clip(rows, 0, last), corner[0] + jnp.clip(columns, 0, last)
        inside_rows, inside_columns = jnp.clip(rows, 0, size[0] - 1), jnp.clip(columns, 0, size[1] - 1)
        outside = (rows != inside_rows)[:, None] | (columns != inside_columns)[None, :]
        values = pixels[inside_rows[:, None], inside_columns[None, :]].astype(jnp.int32)
        return jnp.where(outside[..., None], fill.astype(jnp.int32)[None, None], values)

    # Columns beyond the square have the nearest one's value alone; rows mix it with itself, which rounds otherwise.
    edge = (low < 0) | (low >= last)
    left = jnp.where(edge, 2048, lower_weight)[None, :, None]
    right = jnp.where(edge, 0, upper_weight)[None, :, None]

    def row(rows: jax.Array) -> jax.Array:
        return (tap(rows, low) * left + tap(rows, low + 1) * right) >> 4

    upper = (row(low) * lower_weight[:, None, None]) >> 16
    lower = (row(low + 1) * upper_weight[:, None, None]) >> 16
    return ((upper + lower + 2) >> 2).astype(jnp.float32)


def crop_area(
    pixels: jax.Array, size: jax.Array, box: jax.Array, out: tuple[int, int], max_samples: int = 8
) -> jax.Array:
    """`crop` with a replicated border that antialiases: where it shrinks more than twice, samples are averaged.

    Each output pixel is the mean of n x n bilinear samples spread evenly over its cell, with n = ceil(shrink / 2)
    at most `max_samples`. The number is traced: small targets, which are the rule, cost a single sample.

    Args:
      pixels: `[H, W, C]`, uint8 or float32, on a canvas.
      size: `int32 [2]`, true (height, width).
      box: `float32 [4]`, (x, y, w, h) in pixels.
      out: (height, width) of the crop.
      max_samples: the largest n.

    Returns:
      `float32 [out[0], out[1], C]`.
    """
    shrink = jnp.maximum(box[2] / out[1], box[3] / out[0])
    samples = jnp.clip(jnp.ceil(shrink / 2).astype(jnp.int32), 1, max_samples)
    cell = jnp.stack([box[2] / out[1], box[3] / out[0]])

    def add(k: jax.Array, total: jax.Array) -> jax.Array:
        column_row = jnp.stack([k % samples, k // samples]).astype(jnp.float32)
        shift = cell * ((column_row + 0.5) / samples.astype(jnp.float32) - 0.5)
        return total + crop(pixels, size, jnp.concatenate([box[:2] + shift, box[2:]]), out)

    total = jax.lax.fori_loop(0, samples * samples, add, jnp.zeros((*out, pixels.shape[-1]), jnp.float32))
    return total / (samples * samples).astype(jnp.float32)


def grey_from_rgb(rgb: jax.Array) -> jax.Array:
    """Luma of ITU-R BT.601; `float32 [..., 3]` in [0, 255] to `[...]` in [0, 255]."""
    weights = jnp.asarray([0.299, 0.587, 0.114], jnp.float32)
    return rgb @ weights


def hue_from_rgb(rgb: jax.Array) -> jax.Array:
    """The H channel of HSV in [0, 1), 0 for grey; `float32 [..., 3]` to `[...]`."""
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    value = jnp.max(rgb, axis=-1)
    chroma = value - jnp.min(rgb, axis=-1)
    safe = jnp.where(chroma > 0, chroma, 1.0)
    sixths = jnp.where(
        value == red,
        (green - blue) / safe,
        jnp.where(value == green, 2.0 + (blue - red) / safe, 4.0 + (red - green) / safe),
    )
    return jnp.where(chroma > 0, (sixths / 6.0) % 1.0, 0.0)


def value_from_rgb(rgb: jax.Array) -> jax.Array:
    """The V channel of HSV in [0, 1]; `float32 [..., 3]` in [0, 255] to `[...]`."""
    return jnp.max(rgb, axis=-1) / 255.0


def gradient_magnitude(grey: jax.Array) -> jax.Array:
    """Magnitude of the Sobel gradient divided by 8, border replicated; `[H, W]` to `[H, W]`, units per pixel."""
    padded = jnp.pad(grey, 1, mode="edge")
    smooth_y = padded[:-2] + 2.0 * padded[1:-1] + padded[2:]  # [H, W + 2]
    smooth_x = padded[:, :-2] + 2.0 * padded[:, 1:-1] + padded[:, 2:]  # [H + 2, W]
    dx = (smooth_y[:, 2:] - smooth_y[:, :-2]) / 8.0
    dy = (smooth_x[2:] - smooth_x[:-2]) / 8.0
    return jnp.sqrt(dx * dx + dy * dy)


def gaussian_blur(image: jax.Array, sigma_y: jax.Array, sigma_x: jax.Array) -> jax.Array:
    """Gaussian blur with traced widths, weights renormalised at the border.

    Each axis is one product with a dense matrix of weights, so that widths may change from video to video without a
    new program.

    Args:
      image: `float32 [H, W]`.
      sigma_y: `float32 []`, standard deviation along the rows' axis in pixels of the map, above 0.
      sigma_x: the same along the columns' axis.

    Returns:
      `float32 [H, W]`.
    """

    def weights(n: int, sigma: jax.Array) -> jax.Array:
        position = jnp.arange(n, dtype=jnp.float32) / sigma
        difference = position[:, None] - position[None, :]
        kernel = jnp.exp(-0.5 * difference * difference)
        return kernel / jnp.sum(kernel, axis=1, keepdims=True)

    return weights(image.shape[0], sigma_y) @ image @ weights(image.shape[1], sigma_x).T


def local_contrast(grey: jax.Array, sigma_y: jax.Array, sigma_x: jax.Array) -> jax.Array:
    """Local contrast normalisation: (I - mu) / max(v, mean v), mu and v^2 Gaussian means of I and (I - mu)^2.

    Args:
      grey: `float32 [H, W]`.
      sigma_y: `float32 []`, standard deviation of both Gaussians along y, in pixels of the map.
      sigma_x: the same along x.

    Returns:
      `float32 [H, W]`, of the order of 1; 0 on a constant image.
    """
    centred = grey - gaussian_blur(grey, sigma_y, sigma_x)
    deviation = jnp.sqrt(jnp.maximum(gaussian_blur(centred * centred, sigma_y, sigma_x), 0.0))
    # A hundredth of a grey level: on a flat image rounding errors must not be taken for contrast.
    floor = jnp.maximum(jnp.mean(deviation), 0.01)
    return centred / jnp.maximum(deviation, floor)
