"""Winograd's minimal filtering for 3 x 3 convolutions of many channels: 4/9 of the multiplications.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016: F(2 x 2, 3 x 3). Tiles of 2 x 2 outputs
are 16 matrix products over the channels, between transforms that only add. XLA's convolution on CPU does not do this
(a GPU's library does), and where channels are many the products are all that counts. A dilated convolution is one
without dilation on each of the map's phases.

Kernels are transformed once, when weights are loaded (`transform_kernels`); 16 / 9 of the memory.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Products = dict[str, Any]  # "0" ... "15": [C, O], a kernel's 16 transformed matrices

_TILE, _TAPS = 2, 4
_KERNEL = np.asarray([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
# Where channels in times channels out are fewer, the transforms cost about what they save.
FEWEST_CHANNELS = 256 * 512


def transform(kernel: np.ndarray) -> Products:
    """The 16 matrices `float32 [C, O]` of a kernel `[3, 3, C, O]`; computed in float64 on the host."""
    both = np.einsum("ai,ijco,bj->abco", _KERNEL, np.asarray(kernel, np.float64), _KERNEL)
    return {str(i): both[i // _TAPS, i % _TAPS].astype(np.float32) for i in range(_TAPS * _TAPS)}


def _to_products(line: list[jax.Array]) -> list[jax.Array]:
    """Four neighbouring cells to four factors."""
    a, b, c, d = line
    return [a - c, b + c, c - b, b - d]


def _from_products(line: list[jax.Array]) -> list[jax.Array]:
    """Four products to two neighbouring outputs."""
    a, b, c, d = line
    return [a + b + c, b - c - d]


def convolve(x: jax.Array, products: Products, padding: int, dilation: int) -> jax.Array:
    """A 3 x 3 convolution of stride 1; `[B, H, W, C]` to `[B, H', W', O]`.

    Args:
      x: maps.
      products: the transformed kernel.
      padding: zeros on every side, in cells.
      dilation: distance of the kernel's taps, in cells.
    """
    batch, height, width, channels = x.shape
    sizes = [side + 2 * padding - 2 * dilation for side in (height, width)]
    phases = [math.ceil(size / dilation) for size in sizes]
    tiles = [math.ceil(size / _TILE) for size in phases]  # in each phase
    spans = [(_TILE * count + 2) * dilation for count in tiles]
    after = [(padding, span - side - padding) for span, side in zip(spans, (height, width), strict=True)]
    x = jnp.pad(x, ((0, 0), *after, (0, 0)))
    x = x.reshape(batch, spans[0] // dilation, dilation, spans[1] // dilation, dilation, channels)

    def every_second(maps: jax.Array, start: int, axis: int, count: int) -> jax.Array:
        return jax.lax.slice_in_dim(maps, start, start + _TILE * (count - 1) + 1, _TILE, axis)

    rows = _to_products([every_second(x, i, 1, tiles[0]) for i in range(_TAPS)])
    out = []
    for i, row in enumerate(rows):
        columns = _to_products([every_second(row, j, 3, tiles[1]) for j in range(_TAPS)])
        # Products of their own: slices of one stacked array would be copied first.
        out.append([c.reshape(-1, channels) @ products[str(_TAPS * i + j)] for j, c in enumerate(columns)])
    return _assemble(out, (batch, tiles[0], dilation, tiles[1], dilation))[:, : sizes[0], : sizes[1]]


def _assemble(products: list[list[jax.Array]], shape: tuple[int, ...]) -> jax.Array:
    """The map `[B, H, W, O]` from products `[cells, O]` of taps (i, j); cells are [B, tile, phase, tile, phase]."""
    columns = [_from_products([products[i][j] for i in range(_TAPS)]) for j in range(_TAPS)]
    tiles = [_from_products([column[k] for column in columns]) for k in range(_TILE)]  # [row][column]
    outputs = products[0][0].shape[-1]
    tiles = [[tile.reshape(*shape, outputs) for tile in row] for row in tiles]
    whole = jnp.stack([jnp.stack(row, axis=4) for row in tiles], axis=2)  # [B, n, 2, d, n, 2, d, O]
    batch, rows, phases, columns_, _ = shape
    return whole.reshape(batch, rows * _TILE * phases, columns_ * _TILE * phases, outputs)


def transform_kernels(params: Mapping[str, Any], paths: Collection[tuple[str, ...]]) -> dict[str, Any]:
    """Parameters with the kernels of the modules at `paths` replaced by their transforms, under the name `winograd`."""

    def walk(tree: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        if path in paths:
            rest = {name: leaf for name, leaf in tree.items() if name != "kernel"}
            return {**rest, "winograd": transform(np.asarray(tree["kernel"]))}
        return {k: walk(v, (*path, k)) if isinstance(v, Mapping) else v for k, v in tree.items()}

    return walk(params, ())
