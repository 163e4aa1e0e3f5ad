"""NanoTrack's heads: pixel-wise correlation with channel attention, and light towers.

As in `siamese_heads`, `template` computes what is kept for a whole video and `search` the maps of a region:
cls `[B, S, S, 2]` background, foreground; loc `[B, S, S, 4]` l, t, r, b > 0 in pixels of the search region.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtrack.models import correlation
from jaxtrack.models.layers import HE_FAN_OUT, Conv, ConvNorm
from jaxtrack.models.necks import centre_crop

Map = tuple[jax.Array]

# Template cells that the third version's depth-wise branch correlates with.
_CENTRE_CELLS = 4


def _zero_bias_conv(features: int, name: str | None = None) -> Conv:
    return Conv(features, kernel_init=HE_FAN_OUT, bias_init=nn.initializers.zeros, name=name)


class ChannelAttention(nn.Module):
    """Channels scaled by a small network on their means, which keeps their number inside.

    Its initial weights are PyTorch's defaults in the first and third version, those of all other layers in the second.
    """

    torch_default: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[B, H, W, C]` to the same shape."""
        conv = Conv if self.torch_default else _zero_bias_conv
        mean = jnp.mean(x, axis=(1, 2), keepdims=True)
        scale = conv(x.shape[-1], name="fc2")(nn.relu(conv(x.shape[-1], name="fc1")(mean)))
        return x * nn.sigmoid(scale)


class SeparableBlock(nn.Module):
    """Depth-wise and 1 x 1 convolution, batch normalisation, ReLU6; nothing in between."""

    features: int
    kernel: int = 3

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """`[B, H, W, C]` to `[B, H, W, features]`."""
        channels = x.shape[-1]
        x = Conv(
            channels,
            self.kernel,
            padding=self.kernel // 2,
            groups=channels,
            use_bias=False,
            kernel_init=HE_FAN_OUT,
            name="depthwise",
        )(x)
        return nn.relu6(ConvNorm(self.features, kernel_init=HE_FAN_OUT, name="pointwise")(x, train=train))


class NormalisedBlock(nn.Module):
    """Depth-wise 3 x 3 and 1 x 1 convolution, both normalised, with ReLU6 between them and none after."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """`[B, H, W, C]` to `[B, H, W, features]`."""
        channels = x.shape[-1]
        depthwise = ConvNorm(channels, 3, padding=1, groups=channels, kernel_init=HE_FAN_OUT, name="depthwise")
        x = nn.relu6(depthwise(x, train=train))
        return ConvNorm(self.features, kernel_init=HE_FAN_OUT, name="pointwise")(x, train=train)


class Paths(nn.Module):
    """A 1 x 1 convolution with bias and batch normalisation for the template, another for the search region."""

    features: int

    def setup(self) -> None:
        """Declares both."""
        self.conv_kernel = ConvNorm(self.features, use_bias=True, kernel_init=HE_FAN_OUT)
        self.conv_search = ConvNorm(self.features, use_bias=True, kernel_init=HE_FAN_OUT)


class PixelwiseBranch(Paths):
    """Pixel-wise correlation and channel attention."""

    torch_default: bool = False

    def setup(self) -> None:
        """Declares the paths and the attention."""
        super().setup()
        self.attention = ChannelAttention(self.torch_default)

    def template(self, z: jax.Array, *, train: bool = False) -> jax.Array:
        """`[B, 8, 8, C]` to `[B, 8, 8, features]`."""
        return self.conv_kernel(z, train=train)

    def search(self, kept: jax.Array, x: jax.Array, *, train: bool = False) -> jax.Array:
        """`[B, 16, 16, C]` to `[B, 16, 16, 64]`."""
        return self.attention(correlation.pixelwise(kept, self.conv_search(x, train=train)))


class ReducedPixelwiseBranch(PixelwiseBranch):
    """A pixel-wise branch whose map is brought to the size of the depth-wise branch's by a 2 x 2 convolution."""

    torch_default: bool = True
    positions: int = 64

    def setup(self) -> None:
        """Declares two more convolutions."""
        super().setup()
        self.reduce = ConvNorm(self.positions, 2, groups=self.positions, kernel_init=HE_FAN_OUT)
        self.pointwise = ConvNorm(self.positions, use_bias=True, kernel_init=HE_FAN_OUT)

    def search(self, kept: jax.Array, x: jax.Array, *, train: bool = False) -> jax.Array:
        """`[B, 16, 16, C]` to `[B, 15, 15, 64]`."""
        x = nn.relu6(self.reduce(super().search(kept, x, train=train), train=train))
        return self.pointwise(x, train=train)


class DepthwiseBranch(Paths):
    """Depth-wise correlation with the template's central 4 x 4 cells."""

    def template(self, z: jax.Array, *, train: bool = False) -> jax.Array:
        """`[B, 8, 8, C]` to `[B, 4, 4, features]`."""
        return self.conv_kernel(centre_crop(z, _CENTRE_CELLS), train=train)

    def search(self, kept: jax.Array, x: jax.Array, *, train: bool = False) -> jax.Array:
        """`[B, 16, 16, C]` to `[B, 15, 15, features]`."""
        return correlation.depthwise(self.conv_search(x, train=train), kept, padding=1)


def _maps(cls: jax.Array, raw: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Class and box maps, float32: sides are exponentials, which bfloat16 would have in steps of half a percent."""
    return cls.astype(jnp.float32), jnp.exp(raw.astype(jnp.float32))


def _through(blocks, x: jax.Array, train: bool) -> jax.Array:
    for block in blocks:
        x = block(x, train=train)
    return x


class NanoHeadV1(nn.Module):
    """The backbone's maps correlated as they are; one map for both towers; S = 16."""

    cls_features: int = 128
    loc_features: int = 96
    cls_kernels: tuple[int, ...] = (5, 5, 3)
    loc_kernels: tuple[int, ...] = (3, 3, 5, 5)

    def setup(self) -> None:
        """Declares attention, towers and outputs."""
        self.attention = ChannelAttention()
        self.cls_tower = [SeparableBlock(self.cls_features, kernel) for kernel in self.cls_kernels]
        self.bbox_tower = [SeparableBlock(self.loc_features, kernel) for kernel in self.loc_kernels]
        self.cls_logits = _zero_bias_conv(2)
        self.bbox_pred = _zero_bias_conv(4)

    def template(self, zf: Map, *, train: bool = False) -> jax.Array:
        """The template's map `[B, 8, 8, C]` itself."""
        del train
        return zf[0]

    def search(self, kept: jax.Array, xf: Map, *, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Class and box maps of a search map `[B, 16, 16, C]`."""
        x = self.attention(correlation.pixelwise(kept, xf[0]))  # [B, 16, 16, 64]
        cls = self.cls_logits(_through(self.cls_tower, x, train))
        return _maps(cls, self.bbox_pred(_through(self.bbox_tower, x, train)))


class NanoHeadV2(nn.Module):
    """A pixel-wise branch and a tower of six blocks each for classes and for boxes; S = 16."""

    path_features: int = 48
    features: int = 96
    blocks: int = 6

    def setup(self) -> None:
        """Declares branches, towers and outputs."""
        self.corr_cls = PixelwiseBranch(self.path_features)
        self.corr_reg = PixelwiseBranch(self.path_features)
        self.cls_tower = [SeparableBlock(self.features) for _ in range(self.blocks)]
        self.bbox_tower = [SeparableBlock(self.features) for _ in range(self.blocks)]
        self.cls_logits = _zero_bias_conv(2)
        self.bbox_pred = _zero_bias_conv(4)

    def template(self, zf: Map, *, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """The template's map `[B, 8, 8, C]` through both kernel paths."""
        return self.corr_cls.template(zf[0], train=train), self.corr_reg.template(zf[0], train=train)

    def search(self, kept: tuple[jax.Array, jax.Array], xf: Map, *, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Class and box maps of a search map `[B, 16, 16, C]`."""
        cls = _through(self.cls_tower, self.corr_cls.search(kept[0], xf[0], train=train), train)
        loc = _through(self.bbox_tower, self.corr_reg.search(kept[1], xf[0], train=train), train)
        return _maps(self.cls_logits(cls), self.bbox_pred(loc))


class _JointBranch(nn.Module):
    """A pixel-wise and a depth-wise branch side by side, mixed by a 1 x 1 convolution, and a tower."""

    path_features: int
    features: int
    blocks: int

    def setup(self) -> None:
        self.pixelwise = ReducedPixelwiseBranch(self.path_features)
        self.depthwise = DepthwiseBranch(self.path_features)
        self.down = _zero_bias_conv(self.features)
        self.tower = [NormalisedBlock(self.features) for _ in range(self.blocks)]

    def template(self, z: jax.Array, *, train: bool = False) -> tuple[jax.Array, jax.Array]:
        return self.pixelwise.template(z, train=train), self.depthwise.template(z, train=train)

    def search(self, kept: tuple[jax.Array, jax.Array], x: jax.Array, *, train: bool = False) -> jax.Array:
        pixels = self.pixelwise.search(kept[0], x, train=train)  # [B, 15, 15, 64]
        channels = self.depthwise.search(kept[1], x, train=train)  # [B, 15, 15, path_features]
        return _through(self.tower, self.down(jnp.concatenate([pixels, channels], axis=-1)), train)


class NanoHeadV3(nn.Module):
    """Pixel-wise and depth-wise correlation and a tower of six blocks each for classes and for boxes; S = 15."""

    path_features: int = 96
    features: int = 96
    blocks: int = 6

    def setup(self) -> None:
        """Declares branches and outputs."""
        self.cls = _JointBranch(self.path_features, self.features, self.blocks)
        self.reg = _JointBranch(self.path_features, self.features, self.blocks)
        self.cls_logits = _zero_bias_conv(2)
        self.bbox_pred = _zero_bias_conv(4)

    def template(self, zf: Map, *, train: bool = False) -> tuple:
        """The template's map `[B, 8, 8, C]` through all four kernel paths."""
        return self.cls.template(zf[0], train=train), self.reg.template(zf[0], train=train)

    def search(self, kept: tuple, xf: Map, *, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Class and box maps of a search map `[B, 16, 16, C]`."""
        cls = self.cls_logits(self.cls.search(kept[0], xf[0], train=train))
        return _maps(cls, self.bbox_pred(self.reg.search(kept[1], xf[0], train=train)))
