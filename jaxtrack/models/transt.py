"""TransT's parts: a ResNet-50 that ends after layer3, a projection, and a head of Transformer layers.

Chen et al., "Transformer Tracking", CVPR 2021. Unlike those of the other Siamese trackers, this backbone is that of the
classification network: padded everywhere, with 1 x 1 shortcuts, its input scaled and centred. Its stride of 8 comes
from a layer3 without stride, of which the first block alone is dilated: the authors' program does not hand the dilation
on to the others.
"""

from collections.abc import Collection

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtrack.models.layers import HE_FAN_OUT, Conv, ConvNorm, max_pool
from jaxtrack.models.resnet import Bottleneck
from jaxtrack.models.transformer import MLP, CrossFeature, FusionLayer, layer_norm, positions_of, tokens

# Of RGB in [0, 1], as torchvision's networks have it.
MEAN_RGB = (0.485, 0.456, 0.406)
STD_RGB = (0.229, 0.224, 0.225)

_STRIDES = (1, 2, 1)  # of layer1 to layer3
_FIRST_DILATIONS = (1, 1, 2)  # of the first block alone


class TruncatedResNet(nn.Module):
    """The backbone; one map.

    Attributes:
      width: channels of the stem and of layer1's 3 x 3 convolutions; doubled with each further layer.
      blocks: of layer1 to layer3.
    """

    width: int = 64
    blocks: tuple[int, int, int] = (3, 4, 6)

    @nn.compact
    def __call__(self, x: jax.Array, *, train: Collection[str] = ()) -> tuple[jax.Array, ...]:
        """The map of layer3; 16 x 16 cells for a 128-pixel image, 32 x 32 for 256.

        Args:
          x: `float32 [B, H, W, 3]`, BGR in 0..255.
          train: names among "stem", "layer1", ... of the parts that normalise by the statistics of the batch.
        """
        stem = ConvNorm(self.width, 7, 2, 3, kernel_init=HE_FAN_OUT, name="stem")
        x = nn.relu(stem(normalised(x), train="stem" in train))
        x = max_pool(x, 3, 2, 1)
        for i, (stride, dilation) in enumerate(zip(_STRIDES, _FIRST_DILATIONS, strict=True)):
            name = f"layer{i + 1}"
            stage = _Stage(self.width << i, self.blocks[i], stride, dilation, name=name)
            x = stage(x, train=name in train)
        return (x,)


def normalised(x: jax.Array) -> jax.Array:
    """BGR in 0..255 as the classification network takes it: RGB, scaled and centred; `[B, H, W, 3]`."""
    mean, std = (jnp.asarray(numbers, x.dtype)[None, None, None] for numbers in (MEAN_RGB, STD_RGB))
    return (x[..., ::-1] / 255 - mean) / std


class _Stage(nn.Module):
    """A layer of the network; its first block strides, widens and may be dilated, the others do neither."""

    width: int
    blocks: int
    stride: int
    dilation: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """`[B, H, W, C]` to `[B, H', W', 4 width]`."""
        # Padded so, a dilated kernel leaves as many cells as a plain one.
        first = Bottleneck(
            self.width, self.stride, padding=self.dilation, dilation=self.dilation, shortcut=1, name="block_0"
        )
        x = first(x, train=train)
        for i in range(1, self.blocks):
            x = Bottleneck(self.width, name=f"block_{i}")(x, train=train)
        return x


class Projection(nn.Module):
    """The neck: a convolution of one cell to the head's width, the same for template and search region.

    Attributes:
      features: the head's width.
    """

    features: int = 256

    @nn.compact
    def __call__(self, maps: tuple[jax.Array, ...], *, train: bool = False) -> tuple[jax.Array, ...]:
        """One map `[B, S, S, C]` to one `[B, S, S, features]`."""
        del train  # nothing is normalised
        [only] = maps
        return (Conv(self.features, name="conv")(only),)


class TransTHead(nn.Module):
    """Feature fusion and the two heads; scores and boxes of the search region's tokens.

    Attributes:
      layers: of the fusion (N in the paper).
      heads: of every attention; the width, which is the neck's, is a multiple of theirs and of 4.
      hidden: width between the two dense layers of a CFA.
      dropout: share of attention weights, hidden and residual entries that are dropped in training.
    """

    layers: int = 4
    heads: int = 8
    hidden: int = 2048
    dropout: float = 0.1

    def template(self, maps: tuple[jax.Array, ...], *, train: bool = False) -> jax.Array:
        """What is kept of the template: its map, `[B, S, S, C]`; what it is fused to depends on the search region."""
        del train
        [only] = maps
        return only

    @nn.compact
    def search(self, kept: jax.Array, maps: tuple[jax.Array, ...], *, train: bool = False) -> tuple[jax.Array, ...]:
        """What the search region's cells say.

        Args:
          kept: `[B, T, T, C]`, what `template` has kept.
          maps: one map `[B, S, S, C]` of the search region.
          train: whether entries are dropped.

        Returns:
          `[B, S, S, 2]`, logits of background and of target (the published network has them the other way round), and
          `[B, S, S, 4]`, the box (cx, cy, w, h) in sides of the search region, in (0, 1). Float32.
        """
        [x_map] = maps
        z, x, z_positions, x_positions = tokens(kept), tokens(x_map), positions_of(kept), positions_of(x_map)
        for i in range(self.layers):
            fuse = FusionLayer(self.heads, self.hidden, self.dropout, name=f"layer_{i}")
            z, x = fuse(z, x, z_positions, x_positions, train=train)
        decoder = CrossFeature(self.heads, self.hidden, self.dropout, name="decoder")
        x = decoder(x, x_positions, z, z_positions, train=train)
        x = layer_norm(x.astype(jnp.float32), "norm")
        width = x_map.shape[-1]
        logits, boxes = MLP(width, 2, name="cls")(x)[..., ::-1], nn.sigmoid(MLP(width, 4, name="box")(x))
        grid = x_map.shape[:3]
        return logits.reshape(*grid, 2), boxes.reshape(*grid, 4)
