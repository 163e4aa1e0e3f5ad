"""The dilated MobileNetV2 of the light SiamRPN++: total stride 8."""

from collections.abc import Collection
from typing import NamedTuple

import flax.linen as nn
import jax

from jaxtrack.models.layers import ConvNorm

_STEM = 32


class _Stage(NamedTuple):
    expansion: int
    channels: int
    blocks: int
    stride: int
    dilation: int


_STAGES = (
    _Stage(1, 16, 1, 1, 1),
    _Stage(6, 24, 2, 2, 1),
    _Stage(6, 32, 3, 2, 1),
    _Stage(6, 64, 4, 1, 2),
    _Stage(6, 96, 3, 1, 2),
    _Stage(6, 160, 3, 1, 4),
    _Stage(6, 320, 1, 1, 4),
)


class InvertedResidual(nn.Module):
    """1 x 1 expansion (also at ratio 1), depth-wise 3 x 3, linear 1 x 1; added to the input where shapes agree."""

    channels: int
    expansion: int
    stride: int
    dilation: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """`[B, H, W, C]` to `[B, H', W', channels]`."""
        hidden = x.shape[-1] * self.expansion
        padding = self.dilation if self.dilation > 1 else 2 - self.stride
        out = nn.relu6(ConvNorm(hidden, name="expand")(x, train=train))
        depthwise = ConvNorm(hidden, 3, self.stride, padding, self.dilation, hidden, name="depthwise")
        out = nn.relu6(depthwise(out, train=train))
        out = ConvNorm(self.channels, name="project")(out, train=train)
        return out + x if self.stride == 1 and x.shape[-1] == self.channels else out


class Stage(nn.Module):
    """A layer of the network: the first block has the stride, and half the dilation where the dilation grows."""

    channels: int
    expansion: int
    blocks: int
    stride: int
    dilation: int
    dilation_before: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """`[B, H, W, C]` to `[B, H', W', channels]`."""
        first = self.dilation if self.dilation == self.dilation_before else max(self.dilation // 2, 1)
        for i in range(self.blocks):
            stride, dilation = (1, self.dilation) if i else (self.stride, first)
            block = InvertedResidual(self.channels, self.expansion, stride, dilation, name=f"block_{i}")
            x = block(x, train=train)
        return x


class MobileNetV2(nn.Module):
    """The backbone; 127 pixels give 15 x 15 cells from layer3 on, 255 give 31 x 31.

    Attributes:
      used: the layers returned, in this order; layers beyond the last one used have no parameters.
      width: factor of all channels, which are truncated.
    """

    used: tuple[int, ...] = (3, 5, 7)
    width: float = 1.4

    @nn.compact
    def __call__(self, x: jax.Array, *, train: Collection[str] = ()) -> tuple[jax.Array, ...]:
        """Maps of the used layers.

        Args:
          x: `float32 [B, H, W, 3]`, BGR in 0..255.
          train: names among "layer0" to "layer7" of the parts that normalise by the statistics of the batch.
        """
        x = nn.relu6(ConvNorm(int(_STEM * self.width), 3, 2, name="layer0")(x, train="layer0" in train))
        maps, before = [x], 1
        for i, stage in enumerate(_STAGES[: max(self.used)]):
            name = f"layer{i + 1}"
            channels = int(stage.channels * self.width)
            x = Stage(channels, stage.expansion, stage.blocks, stage.stride, stage.dilation, before, name=name)(
                x, train=name in train
            )
            maps.append(x)
            before = stage.dilation
        return tuple(maps[i] for i in self.used)
