"""Winograd's minimal filtering for 3 x 3 convolutions of many channels: a fraction of the multiplications.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016. Tiles of m x m outputs are (m + 2)^2
matrix products over the channels, between transforms that only add and scale: 4/9 of the multiplications for m = 2,
1/4 for m = 4. XLA's convolution on CPU does not do this (a GPU's library does), and where channels are many the
products are all that counts. A dilated convolution is one without dilation on each of the map's phases.

The transforms are those of Toom and Cook, from the points at which polynomials are multiplied. Rounding grows with m;
0, 1, -1, 1/2, -2 lose a third of what the usual 0, 1, -1, 2, -2 do (Barabasz et al., "Error Analysis and Improving the
Accuracy of Winograd Convolution for Deep Neural Networks", TOMS 2020): 3e-5 of an output's deviation at most, against
4e-6 for m = 2 and 1.5e-6 for the plain sum.

Kernels are transformed once, when weights are loaded (`transform_kernels`); 16/9 or 4 times the memory.
"""

import functools
import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Products = dict[str, Any]  # "0" ... "15" or "35": [C, O], a kernel's transformed matrices

_POINTS = {2: (0.0, 1.0, -1.0), 4: (0.0, 1.0, -1.0, 0.5, -2.0)}  # by tile; infinity is added to each
# Channels in times channels out. Fewer than the first: the transforms cost what they save. From the second on the
# larger tile is faster, by a quarter for the largest kernel of ResNet-50.
FEWEST_CHANNELS, LARGE_TILE_CHANNELS = 256 * 256, 512 * 1024


class _Transforms(NamedTuple):
    """Matrices of F(m, 3), float64: `kernel [m + 2, 3]`, `data [m + 2, m + 2]`, `output [m, m + 2]`."""

    kernel: np.ndarray
    data: np.ndarray
    output: np.ndarray


@functools.cache
def _transforms(tile: int) -> _Transforms:
    points = _POINTS[tile]
    others = [[q for q in points if q != p] for p in points]
    scale = np.asarray([math.prod(p - q for q in rest) for p, rest in zip(points, others, strict=True)])
    powers = np.vander(points, max(tile, 3), increasing=True)  # [tile + 1, ...]
    # The last row or column belongs to the point at infinity: the highest coefficients alone.
    kernel = np.vstack([powers[:, :3] / scale[:, None], [0, 0, 1]])
    data = np.zeros((tile + 2, tile + 2))
    for row, roots in enumerate([*others, points]):
        data[row, : len(roots) + 1] = np.poly(roots)[::-1]
    output = np.hstack([powers[:, :tile].T, np.eye(tile)[:, -1:]])
    return _Transforms(kernel, data, output)


def transform(kernel: np.ndarray) -> Products:
    """The matrices `float32 [C, O]` of a kernel `[3, 3, C, O]`; computed in float64 on the host.

    Their number tells the tile: 16 for 2 x 2, 36 for 4 x 4.
    """
    tile = 4 if math.prod(kernel.shape[2:]) >= LARGE_TILE_CHANNELS else 2
    side = _transforms(tile).kernel
    both = np.einsum("ai,ijco,bj->abco", side, np.asarray(kernel, np.float64), side, optimize=True)
    taps = len(side)
    return {str(i): both[i // taps, i % taps].astype(np.float32) for i in range(taps * taps)}


def _combine(matrix: np.ndarray, line: list[jax.Array]) -> list[jax.Array]:
    """A small constant matrix times a list of arrays, spelled out: zeros and ones cost nothing."""
    combined = []
    for row in matrix:
        terms = [(c, array) for c, array in zip(row, line, strict=True) if c != 0]
        parts = [array if c == 1 else jnp.asarray(c, array.dtype) * array for c, array in terms]
        combined.append(sum(parts[1:], parts[0]))
    return combined


def convolve(x: jax.Array, products: Products, padding: int, dilation: int) -> jax.Array:
    """A 3 x 3 convolution of stride 1; `[B, H, W, C]` to `[B, H', W', O]`.

    Args:
      x: maps.
      products: the transformed kernel.
      padding: zeros on every side, in cells.
      dilation: distance of the kernel's taps, in cells.
    """
    taps = math.isqrt(len(products))
    tile = taps - 2
    batch, height, width, channels = x.shape
    sizes = [side + 2 * padding - 2 * dilation for side in (height, width)]
    tiles = [math.ceil(math.ceil(size / dilation) / tile) for size in sizes]  # in each phase
    spans = [(tile * count + 2) * dilation for count in tiles]
    after = [(padding, span - side - padding) for span, side in zip(spans, (height, width), strict=True)]
    x = jnp.pad(x, ((0, 0), *after, (0, 0)))
    x = x.reshape(batch, spans[0] // dilation, dilation, spans[1] // dilation, dilation, channels)

    def one_of_each(maps: jax.Array, start: int, axis: int, count: int) -> jax.Array:
        return jax.lax.slice_in_dim(maps, start, start + tile * (count - 1) + 1, tile, axis)

    data = _transforms(tile).data
    rows = _combine(data, [one_of_each(x, i, 1, tiles[0]) for i in range(taps)])
    out = []
    for i, row in enumerate(rows):
        columns = _combine(data, [one_of_each(row, j, 3, tiles[1]) for j in range(taps)])
        # Products of their own: slices of one stacked array would be copied first.
        out.append([c.reshape(-1, channels) @ products[str(taps * i + j)] for j, c in enumerate(columns)])
    return _assemble(out, (batch, tiles[0], dilation, tiles[1], dilation))[:, : sizes[0], : sizes[1]]


def _assemble(products: list[list[jax.Array]], shape: tuple[int, ...]) -> jax.Array:
    """The map `[B, H, W, O]` from products `[cells, O]` of taps (i, j); cells are [B, tile, phase, tile, phase]."""
    taps = len(products)
    output = _transforms(taps - 2).output
    tile = len(output)
    columns = [_combine(output, [products[i][j] for i in range(taps)]) for j in range(taps)]
    tiles = [_combine(output, [column[k] for column in columns]) for k in range(tile)]  # [row][column]
    outputs = products[0][0].shape[-1]
    tiles = [[part.reshape(*shape, outputs) for part in row] for row in tiles]
    whole = jnp.stack([jnp.stack(row, axis=4) for row in tiles], axis=2)  # [B, n, m, d, n, m, d, O]
    batch, rows, phases, columns_, _ = shape
    return whole.reshape(batch, rows * tile * phases, columns_ * tile * phases, outputs)


def transform_kernels(params: Mapping[str, Any], paths: Collection[tuple[str, ...]]) -> dict[str, Any]:
    """Parameters with the kernels of the modules at `paths` replaced by their transforms, under the name `winograd`."""

    def walk(tree: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        if path in paths:
            rest = {name: leaf for name, leaf in tree.items() if name != "kernel"}
            return {**rest, "winograd": transform(np.asarray(tree["kernel"]))}
        return {k: walk(v, (*path, k)) if isinstance(v, Mapping) else v for k, v in tree.items()}

    return walk(params, ())
