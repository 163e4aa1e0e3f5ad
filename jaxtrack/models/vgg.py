"""The convolutions of VGG-16 and VGG-19, up to any of them, with all or some of their poolings."""

from typing import Literal

import chex
import flax.linen as nn
import jax

from jaxtrack.errors import UserError
from jaxtrack.models.layers import Conv
from jaxtrack.models.pooling import max_pool

# Convolutions of the five blocks.
_DEPTHS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_HE = nn.initializers.variance_scaling(2.0, "fan_in", "normal")


class VGG(nn.Module):
    """3 x 3 convolutions in blocks of one width, each block but the last pooled.

    Attributes:
      used: names of the maps returned, such as "conv4_3", in this order; the network ends with the last of them, and
        what lies behind it has no parameters.
      depth: 16 or 19.
      pools: the blocks that are followed by a pooling of 2 x 2 cells; without that of block 3 the network runs on with
        the same weights on a grid twice as fine.
      widths: channels of the five blocks.
      padding: zeros on every side of a convolution's maps, in cells: 1 as published, or 0.
    """

    used: tuple[str, ...] = ("conv5_3",)
    depth: Literal[16, 19] = 16
    pools: tuple[int, ...] = (1, 2, 3, 4)
    widths: tuple[int, int, int, int, int] = (64, 128, 256, 512, 512)
    padding: int = 1

    def __post_init__(self) -> None:
        """Refuses maps that the network does not have."""
        super().__post_init__()
        names = layer_names(self.depth)
        unknown = [name for name in self.used if name not in names]
        if unknown or not self.used:
            raise UserError(f"VGG-{self.depth} has the maps {', '.join(names)}, not {', '.join(unknown) or 'none'}")

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, ...]:
        """The maps used, after ReLU.

        Args:
          x: `float32 [B, H, W, 3]`; RGB in 0..255 minus the mean of the weights in use for those of the authors.
        """
        chex.assert_shape(x, (None, None, None, 3))
        names = layer_names(self.depth)
        maps = {}
        for name in names[: max(map(names.index, self.used)) + 1]:
            block, place = map(int, name.removeprefix("conv").split("_"))
            if place == 1 and block - 1 in self.pools:
                x = max_pool(x, 2, 2)
            width = self.widths[block - 1]
            zeros = nn.initializers.zeros
            x = nn.relu(Conv(width, 3, 1, self.padding, kernel_init=_HE, bias_init=zeros, name=name)(x))
            maps[name] = x
        return tuple(maps[name] for name in self.used)


def layer_names(depth: Literal[16, 19] = 16) -> tuple[str, ...]:
    """The names of the convolutions, as published: "conv1_1" to "conv5_3" or "conv5_4"."""
    return tuple(
        f"conv{block}_{place}" for block, count in enumerate(_DEPTHS[depth], 1) for place in range(1, count + 1)
    )
