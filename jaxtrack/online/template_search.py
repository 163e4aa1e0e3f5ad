"""How TADT finds its template again: the sizes of window and template, three scales, the choice among their responses.

Li et al., "Target-Aware Deep Tracking", CVPR 2019, and the released programs. Maps are `[D, n, n]`, n odd, the middle
cell being where the target was last.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack.errors import UserError, check_choices, check_numbers
from jaxtrack.models import correlation, resampling
from jaxtrack.online.channel_regression import central, largest_template, offsets

Peak = Literal["centred", "released"]

_LEAST_CELLS = 3  # of a search window


@dataclasses.dataclass(frozen=True)
class Search:
    """How the template is found again. Pixels are those of a frame at the scale at which the target has its size."""

    smallest_px: float = 44.0
    """Smaller targets, by the root of their area, are magnified to this."""
    largest_px: float = 59.0
    """Larger ones are shrunk to this; three times it is searched."""
    scale_weights: tuple[float, float, float] = (0.990, 1.0, 1.005)
    """What the best response counts for a target that has become smaller, is as it was, has become larger."""
    window: float = 1.0
    """What is added to the responses, whose maximum is 1, in the middle of the search window; less elsewhere."""
    peak: Peak = "centred"
    """Where responses are looked up: around the last position; or half a pixel beside it, as released."""

    def __post_init__(self) -> None:
        """Refuses what cannot be searched with."""
        check_numbers(self, positive=("smallest_px", "largest_px", "scale_weights"), not_negative=("window",))
        if self.smallest_px > self.largest_px:
            raise UserError(f"smallest_px must be at most largest_px, not {self.smallest_px:g} and {self.largest_px:g}")
        check_choices(self, peak=Peak)

    @property
    def region_px(self) -> float:
        """Three times the largest target, before it is rounded."""
        return 3 * self.largest_px

    @property
    def window_px(self) -> float:
        """Side of the search window of a frame that is large enough."""
        return float(window_side(np.asarray(self.region_px)))


def window_side(region_px: Any) -> Any:
    """The side of the search window for that of a region, pixels: 4 times an odd number, 4 to 11 more."""
    return region_px + 8 - (region_px - 4) % 8


def rescale(search: Search, size: jax.Array) -> jax.Array:
    """By how much a frame is magnified so that a target of (width, height) gets its size, `float32 []`."""
    mean = jnp.sqrt(jnp.prod(size))
    return jnp.clip(mean, search.smallest_px, search.largest_px) / mean


def window_cells(search: Search, cells: int, frame_px: jax.Array) -> jax.Array:
    """The side of the search window in cells, odd; `frame_px` is the frame's shorter side, rescaled; `int32 []`."""
    side = window_side(jnp.minimum(jnp.ceil(frame_px), search.region_px))
    wanted = 2 * jnp.floor(cells * side / search.window_px / 2).astype(jnp.int32) + 1
    return jnp.clip(wanted, _LEAST_CELLS, cells)


def template_sides(search: Search, cells: int, size: jax.Array, window: jax.Array) -> jax.Array:
    """The template's (height, width) in cells, odd, for a target's rescaled (width, height); `int32 [2]`."""
    wanted = 2 * jnp.floor(size[::-1] * cells / search.window_px / 2).astype(jnp.int32) + 1
    return jnp.minimum(wanted, largest_template(window))


def scale_factors(cells: int) -> tuple[float, float, float]:
    """What the target's size is multiplied by where the enlarged, the plain or the shrunk map matches best."""
    return cells / (cells + 2), 1.0, cells / (cells - 2)


def scaled(maps: jax.Array) -> jax.Array:
    """Maps `[D, n, n]` enlarged by a cell on every side and cut, as they are, and shrunk so; `[3, D, n, n]`."""
    n = maps.shape[1]

    def one(factor: float) -> jax.Array:
        matrix = resampling.bilinear(n // 2 + offsets(n) * factor, jnp.ones(()), n)  # plain, as released
        return resampling.resize(maps, matrix, matrix)

    smaller, _, larger = scale_factors(n)
    return jnp.stack([one(smaller), maps, one(larger)])


def responses(maps: jax.Array, template: jax.Array, sides: jax.Array, cells: jax.Array) -> jax.Array:
    """The template's correlation with maps `[D, n, n]` where it lies in the search window, else 0; `[n, n]`."""
    n = maps.shape[1]
    found = correlation.spectral(correlation.spectrum(maps, n), template, n)
    found = jnp.roll(found, (n // 2, n // 2), (0, 1))
    return jnp.where(central(n, cells - sides + 1), found, 0.0)


def peak_offsets(search: Search) -> tuple[np.ndarray, float]:
    """Where responses are looked up, pixels from the window's middle, and what is added to the one that is found."""
    half = search.window_px / 2
    if search.peak == "centred":
        return np.arange(-half, half + 1, dtype=np.float32), 0.0
    return np.arange(0.5 - half, half, dtype=np.float32), 0.5


def hann(positions_px: jax.Array, side_px: jax.Array) -> jax.Array:
    """The symmetric Hann window of a side around 0, 0 beyond it; `[M]` to `[M]`."""
    inside = jnp.abs(positions_px) <= (side_px - 1) / 2
    return jnp.where(inside, 0.5 + 0.5 * jnp.cos(2 * jnp.pi * positions_px / (side_px - 1)), 0.0)


def best(search: Search, maps: jax.Array, cells: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Which of three response maps `[3, n, n]`, maximum 1, is best, and the displacement (x, y) in pixels there."""
    n = maps.shape[1]
    positions, more = peak_offsets(search)
    cell_px = search.window_px / n
    matrix = resampling.cubic(jnp.asarray(n // 2 + positions / cell_px), n)
    line = hann(jnp.asarray(positions), cells.astype(jnp.float32) * cell_px)
    fine = resampling.resize(maps, matrix, matrix) + search.window * (line[:, None] * line[None])[None]
    which = jnp.argmax(jnp.max(fine, axis=(1, 2)) * jnp.asarray(search.scale_weights, jnp.float32))
    row, column = jnp.unravel_index(jnp.argmax(fine[which]), fine.shape[1:])
    return which, jnp.asarray(positions)[jnp.stack([column, row])] + more
