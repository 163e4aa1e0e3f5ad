"""Template and search region whose sides are multiples of the target's, as TransT is trained with.

Chen et al., "Transformer Tracking", CVPR 2021, and its released program. Pure functions of one pair. The host's crops
are those of `jaxtrack.data.pairs`: 511 pixels, of which twice a square target's side takes 127; what lies beyond them
has their mean colour. Images are BGR in [0, 255]; boxes (left, top, right, bottom) have pixel centres at integers.
"""

import dataclasses

import jax
import jax.numpy as jnp

from jaxtrack import images
from jaxtrack.data import augmentation
from jaxtrack.errors import UserError, check_numbers
from jaxtrack.models.decision import context_side

TEMPLATE_PX, SEARCH_PX = 128, 256


@dataclasses.dataclass(frozen=True)
class FactorCrops:
    """What is cut out, and how far the search region may deviate; the template never does."""

    template_factor: float = 2.0
    """Side of the template over that of a square target."""
    search_factor: float = 4.0
    """Side of the search region over that of a square target."""
    size_jitter: float = 0.25
    """Deviation of the logarithms of width and height that the search region is cut out for."""
    shift_jitter: float = 3.0
    """Widest range of its centre in each direction, in mean sides."""
    brightness: float = 0.2
    """Largest relative change of an image's brightness."""

    def __post_init__(self) -> None:
        """Refuses crops that are smaller than their target, and what would turn images black."""
        not_negative = ("size_jitter", "shift_jitter", "brightness")
        check_numbers(self, positive=("template_factor", "search_factor"), not_negative=not_negative)
        for name in ("template_factor", "search_factor"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} of FactorCrops must be at least 1, not {getattr(self, name):g}")
        if self.brightness >= 1:
            raise UserError(f"brightness of FactorCrops must be below 1, not {self.brightness:g}")


def cut(
    config: FactorCrops,
    key: jax.Array,
    template: jax.Array,
    template_box: jax.Array,
    search: jax.Array,
    search_box: jax.Array,
    grey: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The crops of a pair, and the box in the search region.

    Args:
      config: what is cut out.
      key: a typed random key.
      template: `[H, W, 3]`, the stored crop.
      template_box: `float32 [4]` in it.
      search: `[H, W, 3]`.
      search_box: `float32 [4]`.
      grey: `bool []`, whether the pair is without colour.

    Returns:
      `float32 [128, 128, 3]`, `float32 [256, 256, 3]` and `float32 [4]`, unclipped.
    """
    size_key, shift_key, *light_keys = jax.random.split(key, 4)
    centre, size = _centre(template_box), template_box[2:] - template_box[:2]
    window = _window(centre, size, config.template_factor)
    z = _light(light_keys[0], config, _crop(template, window, TEMPLATE_PX, grey))

    size = search_box[2:] - search_box[:2]
    size = size * jnp.exp(config.size_jitter * jax.random.normal(size_key, (2,)))
    reach = config.shift_jitter * jnp.mean(size)
    centre = _centre(search_box) + reach * jax.random.uniform(shift_key, (2,), minval=-0.5, maxval=0.5)
    window = _window(centre, size, config.search_factor)
    x = _light(light_keys[1], config, _crop(search, window, SEARCH_PX, grey))
    box = (search_box + 0.5 - jnp.tile(window[:2], 2)) * (SEARCH_PX / window[2]) - 0.5
    return z, x, box


def _centre(box: jax.Array) -> jax.Array:
    """Of a box (left, top, right, bottom); `[4]` to `[2]`."""
    return (box[:2] + box[2:]) / 2


def _window(centre: jax.Array, size: jax.Array, factor: float) -> jax.Array:
    """A square (x, y, side, side), its edges in pixels whose centres are at half-integers; `[2]`, `[2]` to `[4]`."""
    side = jnp.full(2, context_side(size, (factor - 1) / 2))
    return jnp.concatenate([centre + 0.5 - side / 2, side])


def _crop(image: jax.Array, window: jax.Array, out: int, grey: jax.Array) -> jax.Array:
    """The window `[4]` of an image `[H, W, 3]`, its mean colour around it, `float32 [out, out, 3]`."""
    mean = jnp.mean(image.astype(jnp.float32), axis=(0, 1))
    crop = images.crop(image, jnp.array(image.shape[:2], jnp.int32), window, (out, out), fill=mean)
    return jnp.where(grey, augmentation.grey(crop), crop)


def _light(key: jax.Array, config: FactorCrops, image: jax.Array) -> jax.Array:
    """An image `[H, W, 3]` brighter or darker, cut to [0, 255]."""
    factor = jax.random.uniform(key, minval=1 - config.brightness, maxval=1 + config.brightness)
    return jnp.clip(image * factor, 0.0, 255.0)
