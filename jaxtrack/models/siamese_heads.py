"""Heads of SiamRPN++, SiamBAN and SiamPW: one pair of branches for each feature level, outputs fused.

Every head has two methods. `template` computes all that depends on the template alone and is kept for a whole video;
`search` makes the score and box maps of a search region from it.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtrack.models import correlation
from jaxtrack.models.layers import EPSILON, Conv, ConvNorm, level_names
from jaxtrack.models.necks import per_level

Maps = tuple[jax.Array, ...]

# SiamPW starts from a foreground probability of 1 % (as for a focal loss), on both channels.
_PRIOR = -math.log(99)


def fuse(maps: list[jax.Array], weight: jax.Array | None) -> jax.Array:
    """One map from those of all levels, `[B, S, S, K]` each: weighted by the softmax of `weight [L]`, or the mean."""
    if weight is None:
        return sum(maps[1:], maps[0]) * (1 / len(maps))
    shares = jax.nn.softmax(weight)
    return sum((shares[i] * level for i, level in enumerate(maps[1:], 1)), shares[0] * maps[0])


class DepthwiseBranch(nn.Module):
    """Template and search region through a 3 x 3 convolution each, correlated channel by channel, and 1 x 1 layers."""

    features: int
    outputs: int

    def setup(self) -> None:
        """Declares the four convolutions."""
        self.conv_kernel = ConvNorm(self.features, 3)
        self.conv_search = ConvNorm(self.features, 3)
        self.hidden = ConvNorm(self.features)
        self.output = Conv(self.outputs)

    def template(self, z: jax.Array, *, train: bool = False) -> jax.Array:
        """`[B, 7, 7, C]` to the kernels `[B, 5, 5, features]`."""
        return nn.relu(self.conv_kernel(z, train=train))

    def search(self, kernel: jax.Array, x: jax.Array, *, train: bool = False) -> jax.Array:
        """`[B, 31, 31, C]` to `[B, 25, 25, outputs]`."""
        x = correlation.depthwise(nn.relu(self.conv_search(x, train=train)), kernel)
        return self.output(nn.relu(self.hidden(x, train=train)))


class DepthwiseLevel(nn.Module):
    """The two branches of one level."""

    features: int
    cls_outputs: int
    loc_outputs: int

    def setup(self) -> None:
        """Declares both branches."""
        self.cls = DepthwiseBranch(self.features, self.cls_outputs)
        self.loc = DepthwiseBranch(self.features, self.loc_outputs)

    def template(self, z: jax.Array, *, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Kernels for classification and for boxes, `[B, 5, 5, features]` each."""
        return self.cls.template(z, train=train), self.loc.template(z, train=train)

    def search(
        self, kept: tuple[jax.Array, jax.Array], x: jax.Array, *, train: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        """Class and raw box maps."""
        return self.cls.search(kept[0], x, train=train), self.loc.search(kept[1], x, train=train)


class _TowerBlock(nn.Module):
    """A 3 x 3 convolution without padding, group normalisation, ReLU."""

    features: int
    groups: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = _small_conv(self.features, "conv", padding=0)(x)
        norm = nn.GroupNorm(self.groups, epsilon=EPSILON, use_fast_variance=False, name="norm")
        return nn.relu(norm(x.astype(jnp.float32)).astype(x.dtype))


def _small_conv(features: int, name: str | None = None, padding: int = 1, bias: float = 0.0) -> Conv:
    normal = nn.initializers.normal(0.01)
    return Conv(features, 3, padding=padding, kernel_init=normal, bias_init=nn.initializers.constant(bias), name=name)


class PixelwiseLevel(nn.Module):
    """Attention to the template's pixels, shared by a tower of three convolutions for classes and one for boxes."""

    features: int
    groups: int

    def setup(self) -> None:
        """Declares the mixing layer, the towers and the outputs."""
        self.mix = ConvNorm(self.features, use_bias=True)
        self.cls_tower = [_TowerBlock(self.features, self.groups) for _ in range(3)]
        self.reg_tower = [_TowerBlock(self.features, self.groups) for _ in range(3)]
        self.cls_logits = _small_conv(2, bias=_PRIOR)
        self.bbox_pred = _small_conv(4)

    def template(self, z: jax.Array, *, train: bool = False) -> jax.Array:
        """The template itself: nothing else depends on it alone."""
        del train
        return z

    def search(self, z: jax.Array, x: jax.Array, *, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """`[B, 31, 31, C]` to class and raw box maps `[B, 25, 25, 2]` and `[B, 25, 25, 4]`."""
        cls = loc = nn.relu(self.mix(correlation.pixelwise_attention(z, x), train=train))
        for cls_block, reg_block in zip(self.cls_tower, self.reg_tower, strict=True):
            cls, loc = cls_block(cls), reg_block(loc)
        return self.cls_logits(cls), self.bbox_pred(loc)


class MultiLevelHead(nn.Module):
    """What the heads share: levels, and the fusion of their outputs by learned weights or as a mean.

    Attributes:
      levels: number of feature levels.
      features: channels inside the branches, of every level or of each.
      weighted: whether fusion has weights (a softmax over levels, of its own for classes and for boxes).
    """

    levels: int = 3
    features: int | tuple[int, ...] = 256
    weighted: bool = True

    def setup(self) -> None:
        """Declares the levels and the fusion weights."""
        widths = zip(level_names(self.levels), per_level(self.features, self.levels), strict=True)
        self.level = {name: self.make_level(features) for name, features in widths}
        self.cls_weight = self._vector("cls_weight") if self.weighted else None
        self.loc_weight = self._vector("loc_weight") if self.weighted else None

    def _vector(self, name: str) -> jax.Array:
        return self.param(name, nn.initializers.ones, (self.levels,))

    def make_level(self, features: int) -> nn.Module:
        """The branches of one level, `features` wide."""
        raise NotImplementedError

    def boxes(self, level: int, raw: jax.Array) -> jax.Array:
        """The box map of a level from its branch's raw output."""
        del level
        return raw

    def template(self, zf: Maps, *, train: bool = False) -> tuple[Any, ...]:
        """What to keep of the template's levels `[B, 7, 7, C]`: a pytree for each."""
        return tuple(level.template(z, train=train) for level, z in zip(self.level.values(), zf, strict=True))

    def search(self, kept: tuple[Any, ...], xf: Maps, *, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Fused class and box maps `float32 [B, S, S, K]` from the search region's levels `[B, 31, 31, C]`."""
        outputs = [level.search(z, x, train=train) for level, z, x in zip(self.level.values(), kept, xf, strict=True)]
        # Sides of boxes are exponentials: the 8 digits of bfloat16 would be steps of half a percent.
        outputs = [(cls.astype(jnp.float32), loc.astype(jnp.float32)) for cls, loc in outputs]
        cls = fuse([cls for cls, _ in outputs], self.cls_weight)
        loc = fuse([self.boxes(i, raw) for i, (_, raw) in enumerate(outputs)], self.loc_weight)
        return cls, loc


class RPNHead(MultiLevelHead):
    """SiamRPN++: cls `[B, S, S, 2 A]` and loc `[B, S, S, 4 A]`.

    Channel k A + a belongs to anchor a: k = 0 background, 1 foreground; k = dx, dy, dw, dh, undecoded.
    """

    anchors: int = 5

    def make_level(self, features: int) -> nn.Module:
        """Two depth-wise branches."""
        return DepthwiseLevel(features, 2 * self.anchors, 4 * self.anchors)


class _PointHead(MultiLevelHead):
    """cls `[B, S, S, 2]`: background, foreground; loc `[B, S, S, 4]`: l, t, r, b > 0 in pixels of the search region."""

    def setup(self) -> None:
        """Declares one scale of the raw boxes for each level besides."""
        super().setup()
        self.loc_scale = self._vector("loc_scale")

    def boxes(self, level: int, raw: jax.Array) -> jax.Array:
        """Exponentiated before fusion; the scale is no softmax."""
        return jnp.exp(raw * self.loc_scale[level])


class BANHead(_PointHead):
    """SiamBAN: cls `[B, S, S, 2]` background, foreground; loc `[B, S, S, 4]` l, t, r, b in search pixels."""

    def make_level(self, features: int) -> nn.Module:
        """Two depth-wise branches."""
        return DepthwiseLevel(features, 2, 4)


class PWHead(_PointHead):
    """SiamPW: cls `[B, S, S, 2]` background, foreground; loc `[B, S, S, 4]` l, t, r, b in search pixels."""

    groups: int = 32

    def make_level(self, features: int) -> nn.Module:
        """Pixel-wise attention and two towers."""
        return PixelwiseLevel(features, self.groups)
