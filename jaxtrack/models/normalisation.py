"""Batch normalisation whose sums over a batch are fast on CPUs too, and which can span devices.

XLA on CPU computes the sum of a map over all but its channels in one thread, and fuses it with whatever made the map,
which then is computed once more for each of the sums of forward and backward pass. Products with a vector of ones are
neither in one thread nor fused.

Running variances are the means of the batches' biased ones, as in Flax; PyTorch takes n / (n - 1) of each.

Maps may be float32 or bfloat16; sums, statistics and parameters are float32 in any case.
"""

import contextlib
import contextvars
import functools
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

# Of all normalisation layers; PyTorch's momentum 0.1 is 0.9 here.
EPSILON = 1e-5
MOMENTUM = 0.9

_AXIS: contextvars.ContextVar[str | None] = contextvars.ContextVar("statistics_axis", default=None)


@contextlib.contextmanager
def statistics_over(axis_name: str | None) -> Iterator[None]:
    """While a network is traced inside, training statistics are those of all devices of a mapped axis."""
    token = _AXIS.set(axis_name)
    try:
        yield
    finally:
        _AXIS.reset(token)


def channel_sums(x: jax.Array) -> jax.Array:
    """Sums over all but the last axis; `[..., C]` to `[C]`. On CPUs as a product, which nothing is fused with."""
    rows = x.reshape(-1, x.shape[-1])
    if jax.default_backend() != "cpu":
        return jnp.sum(rows, axis=0)
    return (jnp.ones((1, len(rows)), x.dtype) @ rows)[0]


def _channel_means(x: jax.Array, axis_name: str | None) -> jax.Array:
    means = channel_sums(x) / (x.size // x.shape[-1])
    return means if axis_name is None else jax.lax.pmean(means, axis_name)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalise(
    x: jax.Array, scale: jax.Array, bias: jax.Array, axis_name: str | None = None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Maps normalised by the statistics of their batch (Ioffe and Szegedy, ICML 2015), and these statistics.

    Args:
      x: `[B, H, W, C]`, float32 or bfloat16.
      scale: `float32 [C]`.
      bias: `float32 [C]`.
      axis_name: a mapped axis over whose devices the statistics extend; None for each device's own. All devices hold
        equally many samples.

    Returns:
      The maps in the dtype of `x`, and mean and (biased) variance `float32 [C]`, through which no gradient flows.
    """
    return _forward(x, scale, bias, axis_name)[0]


def _forward(x: jax.Array, scale: jax.Array, bias: jax.Array, axis_name: str | None):
    wide = x.astype(jnp.float32)
    mean = _channel_means(wide, axis_name)
    # Not E[x^2] - E[x]^2, which loses digits where a channel's mean is far from 0.
    centred = wide - mean[None, None, None]
    variance = _channel_means(centred * centred, axis_name)
    inverse = jax.lax.rsqrt(variance + EPSILON)
    out = centred * (inverse * scale)[None, None, None] + bias[None, None, None]
    # The maps are kept as they came: half the memory where they are bfloat16.
    return (out.astype(x.dtype), mean, variance), (x, mean, inverse, scale)


def _backward(axis_name: str | None, kept, gradients):
    x, mean, inverse, scale = kept
    gradient = gradients[0].astype(jnp.float32)
    normal = (x.astype(jnp.float32) - mean[None, None, None]) * inverse[None, None, None]
    to_scale, to_bias = channel_sums(gradient * normal), channel_sums(gradient)
    of_scale, of_bias = to_scale, to_bias
    count = x.size // x.shape[-1]
    if axis_name is not None:
        # Every device's loss depends on this one's samples through the common statistics.
        of_scale, of_bias = jax.lax.pmean((to_scale, to_bias), axis_name)
    from_statistics = (of_bias / count)[None, None, None] + normal * (of_scale / count)[None, None, None]
    to_x = (scale * inverse)[None, None, None] * (gradient - from_statistics)
    return to_x.astype(x.dtype), to_scale, to_bias


normalise.defvjp(_forward, _backward)


class BatchNorm(nn.Module):
    """Batch normalisation with running statistics; variables as in `flax.linen.BatchNorm`."""

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """`[B, H, W, C]` to the same shape and dtype.

        Args:
          x: maps, float32 or bfloat16.
          train: normalise by the statistics of the batch and update the running ones, which are used otherwise.
        """
        shape = (x.shape[-1],)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        variance = self.variable("batch_stats", "var", jnp.ones, shape)
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        if not train:
            factor = scale * jax.lax.rsqrt(variance.value + EPSILON)
            out = x.astype(jnp.float32) * factor[None, None, None] + (bias - mean.value * factor)[None, None, None]
            return out.astype(x.dtype)
        normalised: Any = normalise(x, scale, bias, _AXIS.get())
        out, batch_mean, batch_variance = normalised
        if not self.is_initializing():
            for running, seen in ((mean, batch_mean), (variance, batch_variance)):
                running.value = MOMENTUM * running.value + (1 - MOMENTUM) * seen
        return out
