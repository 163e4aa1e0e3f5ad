"""What lies between backbone and head: the same number of channels for every level, and a cropped template."""

import flax.linen as nn
import jax

from jaxtrack.models.layers import ConvNorm, level_names

# Maps narrower than this are templates; of these the centre is kept.
_TEMPLATE_BELOW_CELLS = 20
_KEPT_CELLS = 7


def per_level(features: int | tuple[int, ...], levels: int) -> tuple[int, ...]:
    """Channels of each level, from one number for all or from theirs.

    >>> per_level(256, 2), per_level((128, 256), 2)
    ((256, 256), (128, 256))
    """
    widths = (features,) * levels if isinstance(features, int) else features
    if len(widths) != levels:
        raise ValueError(f"{len(widths)} widths for {levels} levels")
    return widths


def centre_crop(x: jax.Array, cells: int) -> jax.Array:
    """The central `cells` x `cells` of square maps `[B, H, W, C]`."""
    start = (x.shape[2] - cells) // 2
    return x[:, start : start + cells, start : start + cells]


class AdjustLayers(nn.Module):
    """A 1 x 1 convolution with batch normalisation for each level, then the template's centre.

    The crop comes last: in training the statistics are those of the whole template.

    Attributes:
      features: channels of every level, or those of each.
    """

    features: int | tuple[int, ...] = 256

    @nn.compact
    def __call__(self, maps: tuple[jax.Array, ...], *, train: bool = False) -> tuple[jax.Array, ...]:
        """Maps `[B, H, W, C_i]` to `[B, H, W, features]`, or to `[B, 7, 7, features]` for a template."""
        adjusted = []
        widths = per_level(self.features, len(maps))
        for name, width, level in zip(level_names(len(maps)), widths, maps, strict=True):
            x = ConvNorm(width, name=f"level_{name}")(level, train=train)
            adjusted.append(centre_crop(x, _KEPT_CELLS) if x.shape[2] < _TEMPLATE_BELOW_CELLS else x)
        return tuple(adjusted)
