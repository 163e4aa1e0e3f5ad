"""Local response normalisation of the networks of 2013 and 2014, across channels (VGG-M) and within one (ZF).

    y = x (k + alpha S)^-beta,  S = the sum of x^2 over a window around each number, cut off at the borders.

The conventions of the programs that these networks come from differ in what alpha multiplies: MatConvNet the sum,
Caffe and PyTorch the sum divided by the window's size (the whole one, also where it is cut off). Here it is the sum
across channels and the mean within a channel, as the published constants of the two networks are stated.

The gradient is written out: XLA's own, made of many padded copies, takes several times as long on CPUs.
"""

import functools
import itertools

import jax
import jax.numpy as jnp

# Axis, and how far the window reaches below and above each number on it.
_Window = tuple[tuple[int, int, int], ...]


def cross_channel(x: jax.Array, size: int = 5, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75) -> jax.Array:
    """Normalisation over neighbouring channels, in MatConvNet's convention; the constants are VGG-M's.

    Args:
      x: `[..., C]`.
      size: channels in a window; of an even one, one more lies below than above, as in PyTorch.
      k: what is added to the sum.
      alpha: factor of the sum of squares, not of their mean.
      beta: exponent.

    Returns:
      The same shape and dtype; computed in float32.
    """
    return _normalise(x, ((x.ndim - 1, size // 2, (size - 1) // 2),), k, alpha, beta)


def py_mdnet(x: jax.Array) -> jax.Array:
    """The normalisation of the PyTorch MDNet of 2019, whose weights are trained with it: channels c - 1 and c, k = 1.

    It is PyTorch's `LocalResponseNorm(2)` and not that of the VGG-M weights which MDNet starts from.
    """
    return cross_channel(x, size=2, k=1.0, alpha=1e-4 / 2)


def within_channel(x: jax.Array, size: int = 3, alpha: float = 5e-5, beta: float = 0.75) -> jax.Array:
    """Normalisation over a channel's neighbouring cells, in Caffe's convention; the constants are ZF's.

    Args:
      x: `[B, H, W, C]`.
      size: side of the window in cells, odd.
      alpha: factor of the mean of squares, whose divisor is `size`^2 also at the borders; k is 1.
      beta: exponent.

    Returns:
      The same shape and dtype; computed in float32.
    """
    if size % 2 == 0:
        raise ValueError(f"a window of {size} x {size} cells has no centre")
    reach = size // 2
    return _normalise(x, ((1, reach, reach), (2, reach, reach)), 1.0, alpha / size**2, beta)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def _normalise(x: jax.Array, window: _Window, k: float, alpha: float, beta: float) -> jax.Array:
    wide = x.astype(jnp.float32)
    return (wide * _power(k + alpha * _window_sum(wide * wide, window), beta)).astype(x.dtype)


def _forward(x: jax.Array, window: _Window, k: float, alpha: float, beta: float) -> tuple[jax.Array, jax.Array]:
    return _normalise(x, window, k, alpha, beta), x


def _backward(
    window: _Window, k: float, alpha: float, beta: float, x: jax.Array, gradient: jax.Array
) -> tuple[jax.Array]:
    """The gradient, g s^-beta - 2 alpha beta x sum(g x s^(-beta - 1)) over the windows that a number is part of."""
    wide, gradient = x.astype(jnp.float32), gradient.astype(jnp.float32)
    s = k + alpha * _window_sum(wide * wide, window)
    direct = gradient * _power(s, beta)
    mirrored = tuple((axis, above, below) for axis, below, above in window)
    through = 2 * alpha * beta * wide * _window_sum(direct * wide / s, mirrored)
    return ((direct - through).astype(x.dtype),)


_normalise.defvjp(_forward, _backward)


def _window_sum(x: jax.Array, window: _Window) -> jax.Array:
    """The sum over a window around each number, as shifted maps: XLA makes one pass of it, the fastest way on CPUs."""
    widths = [(0, 0)] * x.ndim
    for axis, below, above in window:
        widths[axis] = (below, above)
    padded = jnp.pad(x, widths)
    steps = itertools.product(*(range(below + above + 1) for below, above in widths))
    shifted = (
        jax.lax.slice(padded, step, [start + side for start, side in zip(step, x.shape, strict=True)]) for step in steps
    )
    return functools.reduce(jnp.add, shifted)


def _power(s: jax.Array, beta: float) -> jax.Array:
    """s^-beta; for the usual 0.75 by square roots, which cost far less than a power."""
    if beta != 0.75:
        return s**-beta
    root = jax.lax.rsqrt(s)
    return root * jnp.sqrt(root)
