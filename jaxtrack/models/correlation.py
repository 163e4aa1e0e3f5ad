"""How template and search region are compared: depth-wise, by pixels, by attention to pixels, and as a whole."""

import functools
from typing import Literal

import chex
import jax
import jax.numpy as jnp

from jaxtrack.models.layers import convolve, depthwise_method, pad, shifted_products


def depthwise(
    x: jax.Array, kernel: jax.Array, padding: int = 0, method: Literal["shifted", "grouped"] | None = None
) -> jax.Array:
    """Every channel of each sample correlated with that sample's own kernel (Li et al., SiamRPN++, section 3.3).

    Args:
      x: `[B, H, W, C]`, search region.
      kernel: `[B, h, w, C]`, template; not flipped.
      padding: zeros around `x`, in cells.
      method: a sum of shifted products or XLA's grouped convolution; None chooses by platform at trace time.

    Returns:
      `[B, H + 2 padding - h + 1, W + 2 padding - w + 1, C]`.
    """
    chex.assert_rank([x, kernel], 4)
    chex.assert_equal_shape([x, kernel], dims=(0, 3))
    if (method or depthwise_method()) == "shifted":
        return _shifted(pad(x, padding), kernel)
    # The batch becomes part of the groups: one convolution of a single sample with B C channels.
    batch, _, _, channels = x.shape
    x = jnp.moveaxis(x, 0, 2).reshape(1, *x.shape[1:3], batch * channels)
    kernel = jnp.moveaxis(kernel, 0, 2).reshape(*kernel.shape[1:3], 1, batch * channels)
    out = convolve(x, kernel, padding=padding, groups=batch * channels)[0]
    return jnp.moveaxis(out.reshape(*out.shape[:2], batch, channels), 2, 0)


@jax.custom_vjp
def _shifted(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`depthwise` as a sum of shifted products, whose gradients are so, too."""
    return shifted_products(x, kernel)


def _backward(kept: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = kept
    rows, columns = kernel.shape[1:3]
    around = ((0, 0), (rows - 1, rows - 1), (columns - 1, columns - 1), (0, 0))
    to_x = shifted_products(jnp.pad(gradient, around), kernel[:, ::-1, ::-1])
    return to_x, _to_kernel(x, gradient, rows, columns)


# Hundreds of operations: traced once for maps of the same shapes, as those of a head's two branches are.
@functools.partial(jax.jit, static_argnums=(2, 3))
def _to_kernel(x: jax.Array, gradient: jax.Array, rows: int, columns: int) -> jax.Array:
    """The gradient of the kernel `[B, rows, columns, C]`, from that of the output `[B, H, W, C]`."""
    batch, height, width, _ = gradient.shape
    ones = jnp.ones((batch, 1, width), x.dtype)

    def of_tap(row: int, column: int) -> jax.Array:
        # Rows are added up by additions of whole lines, columns by a product: XLA's sum over both is four times slower.
        lines = [x[:, row + i, column : column + width] * gradient[:, i] for i in range(height)]
        return (ones @ sum(lines[1:], lines[0]))[:, 0]  # [B, C]

    return jnp.stack([jnp.stack([of_tap(i, j) for j in range(columns)], axis=1) for i in range(rows)], axis=1)


_shifted.defvjp(lambda x, kernel: (shifted_products(x, kernel), (x, kernel)), _backward)


def pixelwise(z: jax.Array, x: jax.Array) -> jax.Array:
    """Dot products of every template pixel with every search pixel (NanoTrack): no scale, no softmax.

    Args:
      z: `[B, h, w, C]`.
      x: `[B, H, W, C]`.

    Returns:
      `[B, H, W, h w]`, template pixels row by row.
    """
    chex.assert_rank([z, x], 4)
    return jnp.einsum("bpc,bijc->bijp", _pixels(z), x)


def pixelwise_attention(z: jax.Array, x: jax.Array) -> jax.Array:
    """What each search pixel finds in the template, beside itself (SiamPW; RBO paper, eq. 2 and 3).

    The weights of the template's pixels sum to 1 for each search pixel. The paper writes the search features first;
    the released code, and so the published weights, have them last.

    Args:
      z: `[B, h, w, C]`.
      x: `[B, H, W, C]`.

    Returns:
      `[B, H, W, 2 C]`: the attended template, then `x`.
    """
    similarity = pixelwise(z, x) * x.shape[-1] ** -0.5
    shares = jax.nn.softmax(similarity.astype(jnp.float32), axis=-1).astype(x.dtype)
    found = jnp.einsum("bijp,bpc->bijc", shares, _pixels(z))
    return jnp.concatenate([found, x], axis=-1)


def spectrum(maps: jax.Array, side: int) -> jax.Array:
    """Fourier transform of maps `float32 [C, H, W]` with zeros up to `side` behind them; `complex64 [C, side, …]`."""
    chex.assert_rank(maps, 3)
    return jnp.fft.rfft2(maps, (side, side))


def spectral(x: jax.Array, kernel: jax.Array, side: int) -> jax.Array:
    """Sum over the channels of the circular correlation of maps with kernels, whatever the kernels' size.

    Args:
      x: `spectrum` of the maps, of this side.
      kernel: that of the kernels.
      side: S.

    Returns:
      `float32 [S, S]`; at (i, j) the sum of x[c, i + k, j + l] kernel[c, k, l], indices modulo S.
    """
    chex.assert_equal_shape([x, kernel])
    return jnp.fft.irfft2(jnp.sum(x * jnp.conj(kernel), axis=0), (side, side))


def _pixels(z: jax.Array) -> jax.Array:
    """`[B, h, w, C]` to `[B, h w, C]`, row by row."""
    return z.reshape(z.shape[0], -1, z.shape[-1])
