"""NanoTrack's backbone: MobileNetV3-small cut after its eighth (v1, v2) or ninth (v3) block, total stride 16.

It differs from the common implementations: squeeze-and-excitation comes before the activation except in the first
block, and the ninth block keeps stride 1.
"""

from collections.abc import Collection
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtrack.models.layers import HE_FAN_OUT, ConvNorm
from jaxtrack.models.normalisation import channel_sums

_STEM = 16


class _Block(NamedTuple):
    kernel: int
    expansion: float
    channels: int
    squeeze: bool
    hard_swish: bool
    stride: int


_BLOCKS = (
    _Block(3, 1, 16, True, False, 2),
    _Block(3, 4.5, 24, False, False, 2),
    _Block(3, 3.67, 24, False, False, 1),
    _Block(5, 4, 40, True, True, 2),
    _Block(5, 6, 40, True, True, 1),
    _Block(5, 6, 40, True, True, 1),
    _Block(5, 3, 48, True, True, 1),
    _Block(5, 3, 48, True, True, 1),
    _Block(5, 6, 96, True, True, 1),
)


def make_divisible(value: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor`, at least `divisor` and not less than 0.9 of the value."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


class SqueezeExcite(nn.Module):
    """Channels scaled by a small network on their means."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[B, H, W, C]` to the same shape."""
        channels = x.shape[-1]
        mean = jax.vmap(channel_sums)(x.astype(jnp.float32)) / (x.shape[1] * x.shape[2])  # [B, C]
        squeezed = nn.relu(nn.Dense(make_divisible(channels // 4), name="fc1")(mean))
        scale = nn.hard_sigmoid(nn.Dense(channels, name="fc2")(squeezed))  # [B, C]
        return x * scale.astype(x.dtype)[:, None, None]


class Bottleneck(nn.Module):
    """1 x 1 expansion, depth-wise convolution, squeeze-and-excitation, linear 1 x 1; plus the input where it fits.

    Without expansion (the first block) the activation comes before squeeze-and-excitation.
    """

    kernel: int
    hidden: int
    channels: int
    squeeze: bool
    hard_swish: bool
    stride: int
    expand: bool

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """`[B, H, W, C]` to `[B, H', W', channels]`."""
        activation = nn.hard_swish if self.hard_swish else nn.relu
        squeeze = SqueezeExcite(name="squeeze") if self.squeeze else lambda maps: maps
        out = x
        if self.expand:
            out = activation(ConvNorm(self.hidden, kernel_init=HE_FAN_OUT, name="expand")(out, train=train))
        out = ConvNorm(
            self.hidden,
            self.kernel,
            self.stride,
            self.kernel // 2,
            groups=self.hidden,
            kernel_init=HE_FAN_OUT,
            name="depthwise",
        )(out, train=train)
        out = activation(squeeze(out)) if self.expand else squeeze(activation(out))
        out = ConvNorm(self.channels, kernel_init=HE_FAN_OUT, name="project")(out, train=train)
        return out + x if self.stride == 1 and x.shape[-1] == self.channels else out


class MobileNetV3(nn.Module):
    """The backbone; 127 pixels give 8 x 8 cells, 255 give 16 x 16.

    Attributes:
      blocks: how many of the nine blocks after the stem there are; the last one's map is returned.
      width: factor of all channels, which are rounded to multiples of 8.
    """

    blocks: int = 8
    width: float = 1.0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: Collection[str] = ()) -> tuple[jax.Array, ...]:
        """The last block's map, linear.

        Args:
          x: `float32 [B, H, W, 3]`, BGR in 0..255.
          train: names among "stem", "block_1", ... of the parts that normalise by the statistics of the batch.
        """
        stem = ConvNorm(make_divisible(_STEM * self.width), 3, 2, 1, kernel_init=HE_FAN_OUT, name="stem")
        x = nn.hard_swish(stem(x, train="stem" in train))
        for i, block in enumerate(_BLOCKS[: self.blocks]):
            name = f"block_{i + 1}"
            x = Bottleneck(
                kernel=block.kernel,
                hidden=make_divisible(x.shape[-1] * block.expansion),
                channels=make_divisible(block.channels * self.width),
                squeeze=block.squeeze,
                hard_swish=block.hard_swish,
                stride=block.stride,
                expand=block.expansion != 1,
                name=name,
            )(x, train=name in train)
        return (x,)
