"""The Transformer layers of TransT: attention between and within the tokens of template and search region.

Chen et al., "Transformer Tracking", CVPR 2021, section 3.2. Tokens are the cells of a map, `[B, N, C]`, row by row.
Normalisation comes after the residual sum; positions are added to queries and keys, never to values.
"""

import functools
import warnings

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack.models.layers import TORCH_DEFAULT, torch_bias

_EPSILON = 1e-5  # PyTorch's; Flax has 1e-6
_TEMPERATURE = 10_000.0
# Glorot's, as the authors draw every matrix of the fusion. PyTorch has those of queries, keys and values in one of
# three times the height.
_GLOROT = nn.initializers.xavier_uniform()
_GLOROT_OF_THREE = nn.initializers.variance_scaling(0.5, "fan_avg", "uniform")


@functools.cache
def sine_positions(side: int, features: int) -> np.ndarray:
    """What tells the cells of a square map from one another, `float32 [side * side, features]`, in [-1, 1].

    The first half of the features is of the row, the second of the column: sines and cosines of growing wavelength, in
    turn, of a position that runs from 1 / side to 1 of a circle.

    Args:
      side: cells in a row.
      features: a multiple of 4.
    """
    half = features // 2
    positions = 2 * np.pi * np.arange(1, side + 1) / (side + 1e-6)
    wavelengths = _TEMPERATURE ** (2 * (np.arange(half) // 2) / half)
    angles = positions[:, None] / wavelengths
    line = np.where(np.arange(half) % 2 == 0, np.sin(angles), np.cos(angles))  # [side, half]
    rows, columns = np.repeat(line, side, axis=0), np.tile(line, (side, 1))
    return np.concatenate([rows, columns], axis=1).astype(np.float32)


def attend(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    *,
    deterministic: bool,
    dropout_rate: float,
    broadcast_dropout: bool = True,
    dropout_rng: jax.Array | None = None,
) -> jax.Array:
    """`flax.linen.dot_product_attention`; on CPUs, where nothing is dropped, one head after the other.

    The weights of a head are read from memory that is near, and their sums are one more column of the product with the
    values. `benchmarks/transt_parts.py` times both ways.

    Args:
      queries: `[B, N, heads, C / heads]`.
      keys: `[B, M, heads, C / heads]`.
      values: `[B, M, heads, C / heads]`.
      deterministic: whether nothing is dropped.
      dropout_rate: the share of weights that is dropped otherwise.
      broadcast_dropout: whether the same ones are dropped for all samples.
      dropout_rng: a random key for it.

    Returns:
      `[B, N, heads, C / heads]`.
    """
    if jax.default_backend() != "cpu" or (dropout_rate and not deterministic):
        return nn.dot_product_attention(
            queries,
            keys,
            values,
            deterministic=deterministic,
            dropout_rate=dropout_rate,
            broadcast_dropout=broadcast_dropout,
            dropout_rng=dropout_rng,
        )
    queries = queries / jnp.sqrt(queries.shape[-1]).astype(queries.dtype)
    values_and_one = jnp.concatenate([values, jnp.ones_like(values[..., :1])], axis=-1)
    heads = []
    for head in range(queries.shape[2]):
        q, k, v = (part[:, :, head] for part in (queries, keys, values_and_one))
        likeness = q @ jnp.swapaxes(k, 1, 2)  # [B, N, M]
        greatest = jax.lax.stop_gradient(jnp.max(likeness, axis=-1, keepdims=True))
        sums = jnp.exp(likeness - greatest) @ v  # [B, N, C / heads + 1]
        heads.append(sums[..., :-1] / sums[..., -1:])
    return jnp.concatenate([head[:, :, None] for head in heads], axis=2)


class _Attend(nn.Module):
    """Attention, residual sum, layer normalisation; attributes as those of `CrossFeature`."""

    heads: int
    dropout: float

    @nn.compact
    def __call__(
        self, x: jax.Array, queries: jax.Array, keys: jax.Array, values: jax.Array, *, train: bool
    ) -> jax.Array:
        """`x` and `queries [B, N, C]`, `keys` and `values [B, M, C]` to `[B, N, C]`."""
        attention = nn.MultiHeadDotProductAttention(
            self.heads,
            dtype=x.dtype,
            dropout_rate=self.dropout,
            broadcast_dropout=False,
            kernel_init=_GLOROT_OF_THREE,
            out_kernel_init=_GLOROT,
            attention_fn=attend,
            name="attention",
        )
        with warnings.catch_warnings():
            # Flax takes as many values as they have features for a mask, and says so; they are none.
            warnings.filterwarnings("ignore", "You are passing an array of shape", DeprecationWarning)
            found = attention(queries, keys, values, deterministic=not train)
        found = nn.Dropout(self.dropout)(found, deterministic=not train)
        return layer_norm(x + found, "norm")


class EgoContext(nn.Module):
    """ECA: a map's tokens attend to one another; attributes as those of `CrossFeature`."""

    heads: int = 8
    dropout: float = 0.1

    @nn.compact
    def __call__(self, x: jax.Array, positions: jax.Array, *, train: bool) -> jax.Array:
        """`[B, N, C]` to the same shape; `positions [1, N, C]`."""
        placed = x + positions
        return _Attend(self.heads, self.dropout, name="attend")(x, placed, placed, x, train=train)


class CrossFeature(nn.Module):
    """CFA: a map's tokens attend to those of another, and then pass through two dense layers.

    Attributes:
      heads: of the attention; the tokens' width is a multiple of theirs.
      hidden: width between the dense layers.
      dropout: share of attention weights, hidden and residual entries that are dropped in training.
    """

    heads: int = 8
    hidden: int = 2048
    dropout: float = 0.1

    @nn.compact
    def __call__(
        self, x: jax.Array, positions: jax.Array, other: jax.Array, other_positions: jax.Array, *, train: bool
    ) -> jax.Array:
        """`[B, N, C]` to the same shape.

        Args:
          x: the tokens that ask.
          positions: `[1, N, C]`, theirs.
          other: `[B, M, C]`, the tokens that answer.
          other_positions: `[1, M, C]`, theirs.
          train: whether entries are dropped.
        """
        attend = _Attend(self.heads, self.dropout, name="attend")
        x = attend(x, x + positions, other + other_positions, other, train=train)
        inner = nn.relu(_dense(x, self.hidden, _GLOROT, "expand"))
        inner = nn.Dropout(self.dropout)(inner, deterministic=not train)
        inner = _dense(inner, x.shape[-1], _GLOROT, "reduce")
        inner = nn.Dropout(self.dropout)(inner, deterministic=not train)
        return layer_norm(x + inner, "norm")


class FusionLayer(nn.Module):
    """ECA of template and search region, then a CFA of each with what the other was before it.

    Attributes are those of `CrossFeature`.
    """

    heads: int = 8
    hidden: int = 2048
    dropout: float = 0.1

    @nn.compact
    def __call__(
        self, z: jax.Array, x: jax.Array, z_positions: jax.Array, x_positions: jax.Array, *, train: bool
    ) -> tuple[jax.Array, jax.Array]:
        """Tokens of the template `[B, M, C]` and of the search region `[B, N, C]`, and positions, to such tokens."""
        within = functools.partial(EgoContext, self.heads, self.dropout)
        between = functools.partial(CrossFeature, self.heads, self.hidden, self.dropout)
        z = within(name="eca_template")(z, z_positions, train=train)
        x = within(name="eca_search")(x, x_positions, train=train)
        fused_z = between(name="cfa_template")(z, z_positions, x, x_positions, train=train)
        fused_x = between(name="cfa_search")(x, x_positions, z, z_positions, train=train)
        return fused_z, fused_x


class MLP(nn.Module):
    """Three dense layers, ReLU between them.

    Attributes:
      features: width of the first two.
      outputs: width of the last.
    """

    features: int
    outputs: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[..., C]` to `[..., outputs]`."""
        for i in range(2):
            x = nn.relu(_dense(x, self.features, TORCH_DEFAULT, f"layer_{i}"))
        return _dense(x, self.outputs, TORCH_DEFAULT, "layer_2")


def layer_norm(x: jax.Array, name: str) -> jax.Array:
    """Layer normalisation, in float32, of the module that is being called; to the same dtype."""
    # Strict promotion: Flax promotes bfloat16 by itself.
    wide = x.astype(jnp.float32)
    return nn.LayerNorm(_EPSILON, use_fast_variance=False, name=name)(wide).astype(x.dtype)


def _dense(x: jax.Array, features: int, kernel_init: nn.initializers.Initializer, name: str) -> jax.Array:
    """A dense layer of the module that is being called, PyTorch's default for its bias; `[..., C]` to `[..., F]`."""
    bias_init = torch_bias((x.shape[-1], features))
    return nn.Dense(features, dtype=x.dtype, kernel_init=kernel_init, bias_init=bias_init, name=name)(x)


def tokens(maps: jax.Array) -> jax.Array:
    """The cells of maps `[B, H, W, C]`, row by row, `[B, H * W, C]`."""
    return maps.reshape(len(maps), -1, maps.shape[-1])


def positions_of(maps: jax.Array) -> jax.Array:
    """The positions of the tokens of square maps `[B, S, S, C]`, `[1, S * S, C]`."""
    chex.assert_shape(maps, (None, maps.shape[1], maps.shape[1], None))
    return jnp.asarray(sine_positions(maps.shape[1], maps.shape[-1]), maps.dtype)[None]
