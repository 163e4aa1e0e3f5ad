"""The dilated ("atrous") ResNet-50 of SiamRPN++, SiamBAN and SiamPW: total stride 8 from layer2 on.

Unlike the classification network, the stem has no padding, layer3 and layer4 are dilated instead of strided, and the
shortcuts of layer2 to layer4 are 3 x 3: published classification weights do not fit.
"""

import functools
from collections.abc import Collection

import flax.linen as nn
import jax

from jaxtrack.models.layers import HE_FAN_OUT, ConvNorm, max_pool

EXPANSION = 4
# Of layer1 to layer4.
_STRIDES = (1, 2, 1, 1)
_DILATIONS = (1, 1, 2, 4)
_SHORTCUT_KERNELS = (1, 3, 3, 3)


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 (stride and dilation), 1 x 1 to four times the width, plus the shortcut, then ReLU.

    `shortcut` is the kernel size of the shortcut's convolution, 0 for the identity.
    """

    width: int
    stride: int = 1
    padding: int = 1
    dilation: int = 1
    shortcut: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """`[B, H, W, C]` to `[B, H', W', 4 width]`."""
        conv = functools.partial(ConvNorm, kernel_init=HE_FAN_OUT)
        spatial = (self.stride, self.padding, self.dilation)
        out = nn.relu(conv(self.width, name="conv1")(x, train=train))
        out = nn.relu(conv(self.width, 3, *spatial, name="conv2")(out, train=train))
        out = conv(EXPANSION * self.width, name="conv3")(out, train=train)
        if self.shortcut:
            padding, dilation = spatial[1:] if self.shortcut == 3 else (0, 1)
            shortcut = conv(EXPANSION * self.width, self.shortcut, self.stride, padding, dilation, name="shortcut")
            x = shortcut(x, train=train)
        return nn.relu(out + x)


class Stage(nn.Module):
    """A layer of the network: its first block strides and widens, and has half the dilation of the others."""

    width: int
    blocks: int
    stride: int
    dilation: int
    shortcut: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """`[B, H, W, C]` to `[B, H', W', 4 width]`."""
        first = max(self.dilation // 2, 1)
        padding = 0 if self.stride == 2 else first
        x = Bottleneck(self.width, self.stride, padding, first, self.shortcut, name="block_0")(x, train=train)
        for i in range(1, self.blocks):
            block = Bottleneck(self.width, 1, self.dilation, self.dilation, name=f"block_{i}")
            x = block(x, train=train)
        return x


class ResNet(nn.Module):
    """The backbone.

    Attributes:
      used: the maps returned, in this order: 0 is the stem's before pooling, 1 to 4 are layer1 to layer4. Layers
        beyond the last one used have no parameters.
      width: channels of the stem and of layer1's 3 x 3 convolutions; doubled with each further layer.
      blocks: of layer1 to layer4.
    """

    used: tuple[int, ...] = (2, 3, 4)
    width: int = 64
    blocks: tuple[int, ...] = (3, 4, 6, 3)

    @nn.compact
    def __call__(self, x: jax.Array, *, train: Collection[str] = ()) -> tuple[jax.Array, ...]:
        """Maps of the used layers; 15 x 15 cells from layer2 on for a 127-pixel image, 31 x 31 for 255.

        Args:
          x: `float32 [B, H, W, 3]`, BGR in 0..255.
          train: names among "stem", "layer1", ... of the parts that normalise by the statistics of the batch.
        """
        stem = ConvNorm(self.width, 7, 2, kernel_init=HE_FAN_OUT, name="stem")
        x = nn.relu(stem(x, train="stem" in train))
        maps = [x]
        x = max_pool(x, 3, 2, 1)
        for i in range(max(self.used)):
            name = f"layer{i + 1}"
            stage = Stage(self.width << i, self.blocks[i], _STRIDES[i], _DILATIONS[i], _SHORTCUT_KERNELS[i], name=name)
            x = stage(x, train=name in train)
            maps.append(x)
        return tuple(maps[i] for i in self.used)
