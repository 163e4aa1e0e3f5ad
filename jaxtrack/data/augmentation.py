"""Augmentation of training pairs on the device: pure functions of one image, for the caller to `vmap`.

Order and distributions are those of SiamRPN++'s training (Li et al., CVPR 2019, and its released code): grey, shift and
scale, colour, blur, flip. Images are BGR in [0, 255]; boxes (left, top, right, bottom) have pixel centres at integers,
so that the middle of 255 pixels is 127.

A crop can be made in two ways: `crop` cuts a window out of a stored 511-pixel image, and a renderer may draw what the
window shows. Both take the window from `sample_window`.
"""

import dataclasses

import chex
import jax
import jax.numpy as jnp
from jax import Array

from jaxtrack import images
from jaxtrack.errors import UserError, check_numbers

SOURCE_PX = 511
TEMPLATE_PX, SEARCH_PX = 127, 255

# Principal components of the colours of natural images, scaled: three independent numbers give an offset (R, G, B).
_COLOUR_AXES = (
    (-0.55919361, 0.98062831, -0.41940627),
    (1.72091413, 0.19879334, -1.82968581),
    (4.64467907, 4.73710203, 4.88324118),
)
_SMALLEST_BLUR_PX, _BLURS = 5, 21
GREY_WEIGHTS = (0.114, 0.587, 0.299)  # of B, G and R, as in OpenCV


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How far the crop of one branch may deviate. Whether a pair is grey is decided for both branches together."""

    shift_px: float = 4.0
    """Largest shift of the window in each direction, source pixels."""
    scale: float = 0.05
    """Largest relative change of the window's width and height, which are drawn apart."""
    colour: float = 1.0
    """Probability of a colour offset."""
    blur: float = 0.0
    """Probability of a blur along rows and columns."""
    flip: float = 0.0
    """Probability of a mirrored image."""

    def __post_init__(self) -> None:
        """Refuses what is no probability and windows that might vanish."""
        check_numbers(self, not_negative=("shift_px", "scale", "colour", "blur", "flip"))
        for name in ("scale", "colour", "blur", "flip"):
            if getattr(self, name) > 1 or (name == "scale" and self.scale == 1):
                bound = "below 1" if name == "scale" else "at most 1"
                raise UserError(f"{name} of Augmentation must be {bound}, not {getattr(self, name):g}")


TEMPLATE = Augmentation()
SEARCH = Augmentation(shift_px=64.0, scale=0.18, blur=0.2)


def sample_window(key: Array, config: Augmentation, size: int, source_px: int = SOURCE_PX) -> Array:
    """Draws the window of a `source_px`-sided square that becomes a crop of `size` pixels.

    Without augmentation it is the middle `size` pixels. Width and height are scaled by independent factors of at most
    `source_px / (size - 1)`; then the window is shifted, but not out of the source where it fits.

    Returns:
      `float32 [4]`, (left, top, right, bottom): the source positions of the crop's first and last pixel centres.
    """
    numbers = jax.random.uniform(key, (4,), minval=-1.0, maxval=1.0)
    side, middle, last = float(size - 1), float(source_px // 2), float(source_px - 1)
    extent = side * jnp.minimum(1.0 + numbers[:2] * config.scale, source_px / side)  # (width, height)
    low = middle - 0.5 * extent
    # The lower bound wins where a window is larger than the source.
    shift = jnp.maximum(-low, jnp.minimum(last - (low + extent), numbers[2:] * config.shift_px))
    return jnp.concatenate([low + shift, low + extent + shift])


def crop(image: Array, window: Array, out_size: int) -> Array:
    """Cuts a window out of an image and resizes it bilinearly, as `cv2.warpAffine` with a border of 0.

    Args:
      image: `[H, W, 3]`, uint8 or float32.
      window: `float32 [4]` from `sample_window`.
      out_size: side of the crop in pixels.

    Returns:
      `float32 [out_size, out_size, 3]`.
    """
    chex.assert_rank([image, window], [3, 1])
    step = (window[2:] - window[:2]) / (out_size - 1)
    # `images.crop` has pixel centres at half-integers, and an outer edge half a step before the first of them.
    box = jnp.concatenate([window[:2] + 0.5 - 0.5 * step, step * out_size])
    size = jnp.array(image.shape[:2], jnp.int32)
    return images.crop(image, size, box, (out_size, out_size), fill=jnp.zeros(3))


def box_in_crop(box_xyxy: Array, window: Array, out_size: int) -> Array:
    """Carries a box (left, top, right, bottom) of the source into a crop, unclipped; `float32 [4]` to `[4]`."""
    step = (window[2:] - window[:2]) / (out_size - 1)
    return (box_xyxy - jnp.tile(window[:2], 2)) / jnp.tile(step, 2)


def grey(image: Array) -> Array:
    """Replaces BGR by its luma in all three channels, with OpenCV's weights; `float32 [H, W, 3]`."""
    luma = image @ jnp.array(GREY_WEIGHTS, jnp.float32)
    return jnp.broadcast_to(luma[..., None], image.shape)


def colour_offset(key: Array) -> Array:
    """Draws what is to be subtracted from B, G and R, `float32 [3]`; about 0.6 to 8 grey levels."""
    offset = jnp.array(_COLOUR_AXES, jnp.float32) @ jax.random.normal(key, (3,))
    return offset[::-1]


def blur_matrix(width_px: Array, side: int) -> Array:
    """The mean over `width_px` neighbours (odd) with the border mirrored about its last pixel; `[side, side]`.

    A product with a dense matrix takes any width in one program, and in less time than running sums.
    """
    half = (width_px - 1) // 2
    row, column = jnp.arange(side)[:, None], jnp.arange(side)[None, :]
    taps = (jnp.abs(row - column) <= half).astype(jnp.float32)
    # Neighbours beyond the border are counted where they are mirrored to.
    taps += ((column > 0) & (row + column <= half)).astype(jnp.float32)
    taps += ((column < side - 1) & (2 * (side - 1) - row - column <= half)).astype(jnp.float32)
    return taps / width_px.astype(jnp.float32)


def cross_blur(image: Array, width_px: Array, vertical: Array) -> Array:
    """Blurs along columns with weight `vertical` and along rows with the rest, as camera shake in a cross would.

    Args:
      image: `float32 [S, S, 3]`.
      width_px: `int32 []`, odd.
      vertical: `float32 []` in [0, 1].

    Returns:
      `float32 [S, S, 3]`.
    """
    side = image.shape[0]
    mean = blur_matrix(width_px, side)
    exact = jax.lax.Precision.HIGHEST
    down = jnp.matmul(mean, image.reshape(side, -1), precision=exact).reshape(image.shape)
    across = jnp.einsum("jk,ikc->ijc", mean, image, precision=exact)
    return vertical * down + (1.0 - vertical) * across


def photometric(key: Array, config: Augmentation, image: Array) -> Array:
    """Colour offset and blur of a crop, `float32 [S, S, 3]`; the result is not clipped to [0, 255]."""
    colour_key, blur_key = jax.random.split(key)
    numbers = jax.random.uniform(blur_key, (4,))
    recoloured = numbers[0] < config.colour
    image = image - jnp.where(recoloured, colour_offset(colour_key), 0.0)[None, None]
    if not config.blur:
        return image
    width = _SMALLEST_BLUR_PX + 2 * jnp.floor(numbers[1] * _BLURS).astype(jnp.int32)
    return jax.lax.cond(
        numbers[2] < config.blur, lambda sharp: cross_blur(sharp, width, numbers[3]), lambda sharp: sharp, image
    )


def flip(key: Array, config: Augmentation, image: Array, box_xyxy: Array) -> tuple[Array, Array]:
    """Mirrors an image `[S, S, 3]` and its box `float32 [4]` left to right with the configured probability."""
    last = float(image.shape[1] - 1)
    mirrored = jnp.stack([last - box_xyxy[2], box_xyxy[1], last - box_xyxy[0], box_xyxy[3]])
    chosen = jax.random.uniform(key) < config.flip
    return jnp.where(chosen, image[:, ::-1], image), jnp.where(chosen, mirrored, box_xyxy)
