"""Particles: candidate states around the last one, on the grid of a map of the target's surroundings.

The map is centred on the target and covers it (times `context`) with 32 x 32 cells whatever its size. A particle's
position is rounded to that grid and its size to one of a few levels, each with a map of its own; so overlapping
particles share what is computed on the maps. `exact` gives both up, at the price of one crop for every particle.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack import images
from jaxtrack.errors import UserError, check_numbers

CELLS = 32  # Cells across a patch, in x and in y.


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How particles are drawn; DeepTrack's constants (Li et al., section III-D)."""

    particles: int = 1500
    """Particles a frame."""
    position_std_px: float = 10.0
    """Standard deviation of a particle's position, in pixels, at most …"""
    position_std_rel: float = 0.5
    """… this share of the target's height."""
    widening: float = 1.5
    """Growth of the position's deviation with each frame in doubt; 1 never widens the search."""
    widest: float = 4.0
    """Largest factor that widening reaches."""
    scale_std_rel: float = 0.01
    """Standard deviation of a particle's size, as a share of it."""
    scale_levels: int = 3
    """Sizes tried in a frame, an odd number; ignored by exact."""
    scale_step: float = 1.25
    """Distance of neighbouring sizes, in standard deviations of the size."""
    reach: tuple[int, int] = (48, 56)
    """Farthest particle below / above and left / right, in cells of 1/32 patch."""
    surround: float = 1.0
    """Farthest negative that is no particle, in sides of the target."""
    context: float = 1.25
    """Side of a patch relative to the target's."""
    exact: bool = False
    """Evaluate every particle on its own crop, neither position nor size rounded."""

    def __post_init__(self) -> None:
        """Refuses numbers that no particles can be drawn with."""
        numbers = ("particles", "position_std_px", "position_std_rel", "scale_levels", "scale_step", "reach")
        check_numbers(self, positive=(*numbers, "surround", "context"), not_negative=("scale_std_rel",))
        if not (1 <= self.widening < float("inf") and 1 <= self.widest < float("inf")):
            raise UserError(f"widening and widest must be at least 1, not {self.widening:g} and {self.widest:g}")
        if self.scale_levels % 2 == 0:
            raise UserError(f"scale_levels must be odd, so that one is the target's own size, not {self.scale_levels}")
        if 3 * self.scale_std_rel >= 1 or self.factors()[0] <= 0:
            raise UserError(f"scale_std_rel {self.scale_std_rel:g} is so large that sizes would become negative")

    def factors(self) -> np.ndarray:
        """Sizes of the levels relative to the target's, `float32 [L]`."""
        count = 1 if self.exact else self.scale_levels
        step = np.float32(self.scale_std_rel * self.scale_step)
        return 1 + step * (np.arange(count, dtype=np.float32) - (count - 1) // 2)

    @property
    def middle(self) -> int:
        """The level of the target's own size."""
        return (len(self.factors()) - 1) // 2

    @property
    def map_size(self) -> tuple[int, int]:
        """(rows, columns) of a map: a patch's 32 cells and the reach on both sides."""
        return CELLS + 2 * self.reach[0], CELLS + 2 * self.reach[1]


class Particles(NamedTuple):
    """N candidate states.

    Attributes:
      level: `int32 [N]`, index of the size.
      row: `float32 [N]`, top row on the level's map, in cells.
      column: `float32 [N]`, left column, in cells.
      factor: `float32 [N]`, size relative to the level's; 1 unless exact.
    """

    level: jax.Array
    row: jax.Array
    column: jax.Array
    factor: jax.Array


def target(sampling: Sampling) -> Particles:
    """The one particle at the target itself."""
    row, column = jnp.asarray(sampling.reach, jnp.float32)[:, None]
    return Particles(jnp.full((1,), sampling.middle, jnp.int32), row, column, jnp.ones((1,), jnp.float32))


def draw(sampling: Sampling, key: jax.Array, size: jax.Array, spread: jax.Array | float = 1.0) -> Particles:
    """Particles around the target: normal in position and size, truncated at three standard deviations.

    Args:
      sampling: the constants.
      key: a typed random key.
      size: `float32 [2]`, the target's (width, height) in pixels.
      spread: `float32 []`, factor of the position's deviation.
    """
    noise = jax.random.truncated_normal(key, -3.0, 3.0, (3, sampling.particles), jnp.float32)
    std = spread * jnp.minimum(sampling.position_std_px, sampling.position_std_rel * size[1])
    cell = sampling.context * size / CELLS
    reach_y, reach_x = sampling.reach
    column = jnp.clip(noise[0] * std / cell[0], -reach_x, reach_x) + reach_x
    row = jnp.clip(noise[1] * std / cell[1], -reach_y, reach_y) + reach_y
    if sampling.exact:
        factor = 1.0 + sampling.scale_std_rel * noise[2]
        # Growing about its centre moves a particle's corner; the draw is of the centre.
        shift = (factor - 1.0) * (CELLS / 2)
        return Particles(jnp.zeros(noise[2].shape, jnp.int32), row - shift, column - shift, factor)
    level = jnp.round(noise[2] / sampling.scale_step).astype(jnp.int32) + sampling.middle
    level = jnp.clip(level, 0, sampling.scale_levels - 1)
    return Particles(level, jnp.round(row), jnp.round(column), jnp.ones_like(row))


def surroundings(sampling: Sampling, key: jax.Array, count: int, surround: float) -> Particles:
    """Positions spread evenly around the target, at most `surround` of its sides away, at its own size."""
    reach = jnp.asarray(sampling.reach, jnp.float32)[:, None]
    farthest = jnp.minimum(reach, surround * CELLS / sampling.context)
    shift = jax.random.uniform(key, (2, count), jnp.float32, -1.0, 1.0) * farthest
    row, column = jnp.round(reach + shift)
    return Particles(jnp.full((count,), sampling.middle, jnp.int32), row, column, jnp.ones_like(row))


def map_box(sampling: Sampling, centre: jax.Array, size: jax.Array, factor: jax.Array) -> jax.Array:
    """The part of the image that a level's map covers, `float32 [4]`.

    Args:
      sampling: the constants.
      centre: `float32 [2]`, the target's centre (x, y), pixels.
      size: `float32 [2]`, its (width, height), pixels.
      factor: `float32 []`, the level's size relative to the target's.
    """
    rows, columns = sampling.map_size
    extent = jnp.asarray([columns / CELLS, rows / CELLS], jnp.float32) * sampling.context * size * factor
    return jnp.concatenate([centre - extent / 2, extent])


def to_boxes(sampling: Sampling, centre: jax.Array, size: jax.Array, particles: Particles) -> jax.Array:
    """The particles' boxes in the image, `float32 [N, 4]`; `centre` and `size` as for `map_box`."""
    scale = jnp.asarray(sampling.factors())[particles.level][:, None]
    corner = jnp.stack([particles.column, particles.row], axis=-1)  # cells
    reach = jnp.asarray([sampling.reach[1], sampling.reach[0]], jnp.float32)
    # The middle of a patch at `reach` is the centre of the map; an exact particle's patch has its own side.
    shift = corner - reach[None] + (CELLS / 2) * (particles.factor[:, None] - 1)
    middle = centre[None] + sampling.context * size[None] * scale / CELLS * shift
    extent = size[None] * scale * particles.factor[:, None]
    return jnp.concatenate([middle - extent / 2, extent], axis=-1)


def patches(sampling: Sampling, maps: jax.Array, particles: Particles) -> jax.Array:
    """Cuts the particles' patches out of the maps; `[L, H, W, K]` to `[N, 32, 32, K]`."""
    if sampling.exact:
        extent = jnp.asarray(maps.shape[1:3], jnp.int32)
        side = CELLS * particles.factor
        cells = jnp.stack([particles.column, particles.row, side, side], axis=-1)
        return jax.vmap(lambda box: images.crop(maps[0], extent, box, (CELLS, CELLS)))(cells)

    def one(level: jax.Array, row: jax.Array, column: jax.Array) -> jax.Array:
        zero = jnp.zeros((), jnp.int32)
        return jax.lax.dynamic_slice(maps, (level, row, column, zero), (1, CELLS, CELLS, maps.shape[-1]))[0]

    return jax.vmap(one)(particles.level, particles.row.astype(jnp.int32), particles.column.astype(jnp.int32))
