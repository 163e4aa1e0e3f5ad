"""Resizing of square maps as products with matrices, one for each axis: any scale, traced or not, no new program.

A matrix `[M, N]` has a row of weights for each of M positions on a line of N cells, cell k being at k.
"""

import chex
import jax
import jax.numpy as jnp

_CUBIC = -0.5  # Keys' parameter, as Matlab and PIL have it.


def bilinear(positions: jax.Array, ratio: jax.Array, cells: int) -> jax.Array:
    """Weights of bilinear interpolation, which averages where maps are shrunk.

    Args:
      positions: `float32 [M]`; the rows of those beyond the outer edges of the cells are 0.
      ratio: `float32 []`, the new size over the old one; below 1 the triangle gets wider.
      cells: N.

    Returns:
      `float32 [M, N]`; rows sum to 1, or are 0.
    """
    chex.assert_rank([positions, ratio], [1, 0])
    narrow = jnp.minimum(ratio, 1.0)
    weights = jax.nn.relu(1 - narrow * _distances(positions, cells))
    # A little slack: the edges themselves are computed.
    inside = (positions > -0.51) & (positions < cells - 0.49)
    return jnp.where(inside[:, None], weights / jnp.maximum(jnp.sum(weights, axis=1, keepdims=True), 1e-6), 0.0)


def cubic(positions: jax.Array, cells: int) -> jax.Array:
    """Weights of cubic interpolation of lines that go on with their last cells; `[M]` to `float32 [M, N]`."""
    chex.assert_rank(positions, 1)
    beyond = 2  # cells that a position within the line reaches at most on either side
    whole = _distances(jnp.clip(positions, -0.5, cells - 0.5) + beyond, cells + 2 * beyond)
    near = (_CUBIC + 2) * whole**3 - (_CUBIC + 3) * whole**2 + 1
    far = _CUBIC * (whole**3 - 5 * whole**2 + 8 * whole - 4)
    weights = jnp.where(whole <= 1, near, jnp.where(whole < 2, far, 0.0))
    inner = weights[:, beyond:-beyond]
    first = jnp.sum(weights[:, :beyond], axis=1)
    last = jnp.sum(weights[:, -beyond:], axis=1)
    return inner.at[:, 0].add(first).at[:, -1].add(last)


def _distances(positions: jax.Array, cells: int) -> jax.Array:
    """Distances of M positions from N cells, `[M, N]`."""
    return jnp.abs(positions[:, None] - jnp.arange(cells, dtype=jnp.float32)[None])


def resize(maps: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """Maps `[..., H, W]` by matrices `[M, H]` and `[L, W]` to `[..., M, L]`."""
    # What GPUs make of it by default, 11 bits, could move the greatest of responses that differ by thousandths.
    return jnp.einsum("mh,...hw,lw->...ml", rows, maps, columns, precision=jax.lax.Precision.HIGHEST)
