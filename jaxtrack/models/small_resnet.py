"""A small residual backbone of dense convolutions, for networks that a few CPU cores can train and run.

By default its geometry is that of `jaxtrack.models.resnet`: three strided convolutions without padding (255 pixels to
31 x 31 cells, 127 to 15 x 15, cell k centred on pixel 8 k + 7), then residual blocks that keep the size. There are no
depth-wise layers: what they save in multiplications they lose in time where a network is trained.
"""

from collections.abc import Collection

import flax.linen as nn
import jax

from jaxtrack.models.layers import HE_FAN_OUT, ConvNorm


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions around the identity, then ReLU."""

    dilation: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """`[B, H, W, C]` to the same shape."""
        conv = {"kernel": 3, "padding": self.dilation, "dilation": self.dilation, "kernel_init": HE_FAN_OUT}
        out = nn.relu(ConvNorm(x.shape[-1], name="conv1", **conv)(x, train=train))
        return nn.relu(ConvNorm(x.shape[-1], name="conv2", **conv)(out, train=train) + x)


class SmallResNet(nn.Module):
    """The backbone; one map.

    Attributes:
      widths: channels at strides 2, 4, 8, and so on.
      dilations: of the residual blocks at each of the strides, a tuple for each.
    """

    widths: tuple[int, ...] = (16, 32, 64)
    dilations: tuple[tuple[int, ...], ...] = ((), (1,), (1, 2, 2))

    @nn.compact
    def __call__(self, x: jax.Array, *, train: Collection[str] = ()) -> tuple[jax.Array, ...]:
        """The last block's map; with three strides 15 x 15 cells for a 127-pixel image, 31 x 31 for 255.

        Args:
          x: `float32 [B, H, W, 3]`, BGR in 0..255.
          train: names among "stage1", "stage2", ... of the parts that normalise by the statistics of the batch.
        """
        for i, (width, dilations) in enumerate(zip(self.widths, self.dilations, strict=True), 1):
            x = _Stage(width, dilations, name=f"stage{i}")(x, train=f"stage{i}" in train)
        return (x,)


class _Stage(nn.Module):
    """A strided convolution and its blocks."""

    width: int
    dilations: tuple[int, ...]

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = nn.relu(ConvNorm(self.width, 3, 2, kernel_init=HE_FAN_OUT, name="down")(x, train=train))
        for i, dilation in enumerate(self.dilations):
            x = BasicBlock(dilation, name=f"block_{i}")(x, train=train)
        return x
