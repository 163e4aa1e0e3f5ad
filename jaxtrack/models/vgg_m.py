"""MDNet's network: conv1 to conv3 of VGG-M without any padding, and the fully connected layers that learn online.

Nam and Han, "Learning Multi-Domain Convolutional Neural Networks for Visual Tracking", CVPR 2016; the location
feature is Choi et al.'s ("RankLoc", the 4-vector of their section on the spatial location feature).
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtrack.models import lrn
from jaxtrack.models.layers import Conv
from jaxtrack.models.pooling import max_pool

INPUT_PX = 107
FEATURE_CELLS = 3  # Side of the last map of such an input.
MEAN = 128.0  # What is subtracted from every channel of an image.
LOCATION = 4  # Numbers of the location feature.
EMBEDDINGS = ("fc4", "fc5", "fc5b")
"""Names of the hidden fully connected layers, of which a network has the first two or all three."""

_HE = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
_GAUSSIAN = nn.initializers.normal(0.01)

Normalisation = Literal["vgg_m", "py_mdnet", "zf", "none"]
_NORMALISE: dict[str, Callable[[jax.Array], jax.Array]] = {
    "vgg_m": lrn.cross_channel,
    "py_mdnet": lrn.py_mdnet,
    "zf": lrn.within_channel,
    "none": lambda x: x,
}


class VGGM(nn.Module):
    """The backbone; 107 pixels give 51, 25, 11, 5 and at last 3 x 3 cells, 16 pixels apart, each seeing 75.

    Its attributes make it any network of three convolutions of which two are normalised and pooled (AlexNet, ZF).

    Attributes:
      widths: channels of the three convolutions; the published ones unless it is trained from nothing.
      normalisation: "vgg_m" as the ImageNet weights were trained; "py_mdnet" as the PyTorch MDNet of 2019 was, which
        its weights need; "zf" as ZF in Caffe was; or "none".
      kernels: sides of the convolutions, in cells.
      strides: of the convolutions, in cells.
    """

    widths: tuple[int, int, int] = (96, 256, 512)
    normalisation: Normalisation = "vgg_m"
    kernels: tuple[int, int, int] = (7, 5, 3)
    strides: tuple[int, int, int] = (2, 2, 1)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """The map of conv3 after ReLU, `[B, 3, 3, widths[2]]`.

        Args:
          x: `float32 [B, 107, 107, 3]`, RGB in 0..255 minus 128; larger images give larger maps.
        """
        chex.assert_shape(x, (None, None, None, 3))
        normalise = _NORMALISE[self.normalisation]
        for i, (width, kernel, stride) in enumerate(zip(self.widths, self.kernels, self.strides, strict=True), 1):
            conv = Conv(width, kernel, stride, kernel_init=_HE, bias_init=nn.initializers.zeros, name=f"conv{i}")
            x = nn.relu(conv(x))
            if i < len(self.widths):
                x = max_pool(normalise(x), 3, 2)
        return x


class MDNetHead(nn.Module):
    """fc4, fc5 and fc6, the last one with a branch for each training sequence; or one more layer, fc5b, before fc6.

    Whether a location feature is read is a property of the variables: they are initialised with one or without.

    Attributes:
      width: of the hidden layers.
      branches: of fc6: K in training, one for a tracker.
      dropout: share of the hidden layers' outputs that is dropped in training.
      hidden: how many layers there are before fc6, 2 or 3; with 3, RankLoc's "three fully connected layers" are an
        embedding beside which fc6 is a classifier of its own.
    """

    width: int = 512
    branches: int = 1
    dropout: float = 0.5
    hidden: Literal[2, 3] = 2

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of all layers, the last one with branches; without its training sequences a network has the others."""
        return (*EMBEDDINGS[: self.hidden], "fc6")

    @nn.compact
    def __call__(
        self,
        features: jax.Array,
        location: jax.Array | None = None,
        *,
        branch: int | jax.Array = 0,
        train: bool = False,
    ) -> jax.Array:
        """Scores `[B, 2]` of background and target, before any softmax.

        Args:
          features: `float32 [B, D]`, the backbone's map flattened in its own order (row, column, channel).
          location: `float32 [B, 4]`, (x / W, y / H, w / W, h / H) of each sample's box in its frame, or None; it joins
            the last hidden layer's output after the dropout, so that it is never dropped.
          branch: of fc6, may be traced.
          train: drop; asks for the random key "dropout" (`rngs={"dropout": key}`).
        """
        chex.assert_rank(features, 2)
        x = features
        for name in EMBEDDINGS[: self.hidden]:
            dense = nn.Dense(self.width, kernel_init=_GAUSSIAN, bias_init=nn.initializers.constant(0.1), name=name)
            x = nn.Dropout(self.dropout, deterministic=not train)(nn.relu(dense(x)))
        if location is not None:
            chex.assert_shape(location, (features.shape[0], LOCATION))
            x = jnp.concatenate([x, location], axis=1)
        return _Branches(self.branches, name="fc6")(x, branch)


class _Branches(nn.Module):
    """One of several linear layers with two outputs."""

    branches: int

    @nn.compact
    def __call__(self, x: jax.Array, branch: int | jax.Array) -> jax.Array:
        """`[B, D]` to `[B, 2]`."""
        kernel = self.param("kernel", _GAUSSIAN, (self.branches, x.shape[1], 2))
        bias = self.param("bias", nn.initializers.zeros, (self.branches, 2))
        kernel, bias = (jax.lax.dynamic_index_in_dim(all_, branch, keepdims=False) for all_ in (kernel, bias))
        return x @ kernel + bias[None]


def with_new_branch(params: Mapping[str, Any], key: jax.Array, *, location: bool) -> dict[str, Any]:
    """A head's parameters with a single, new branch of fc6, as a tracker starts with; the trained ones are discarded.

    Args:
      params: of a `MDNetHead`, `{"fc4", "fc5", ...}`; stored weights have no fc6.
      key: random key of the branch's weights, normal with standard deviation 0.01; its bias is 0.
      location: whether the branch reads a location feature.
    """
    width = params["fc5"]["bias"].shape[0] + (LOCATION if location else 0)
    fc6 = {"kernel": _GAUSSIAN(key, (1, width, 2), jnp.float32), "bias": jnp.zeros((1, 2), jnp.float32)}
    return {**embedding(params), "fc6": fc6}


def location_norm(params: Mapping[str, Any], branch: int | jax.Array = 0) -> jax.Array:
    """Of a head's parameters, the norm of the weights that a branch gives the location feature, `float32 []`.

    It tells how much is learnt by where targets lie, which holds no longer where they move.
    """
    weights = params["fc6"]["kernel"][branch, -LOCATION:]  # [4, 2]
    return jnp.sqrt(jnp.sum(weights * weights))


def embedding(params: Mapping[str, Any]) -> dict[str, Any]:
    """The hidden layers of a head's parameters: what videos share."""
    return {name: params[name] for name in EMBEDDINGS if name in params}
