"""TADT's predictor, which learns in the first frame which scale is the target's, and what it makes of each channel.

Li et al., "Target-Aware Deep Tracking", CVPR 2019: eqs 1 and 5 to 7. The samples are the first frame's maps at several
scales, cut to the regressor's taps (`jaxtrack.online.channel_regression`).
"""

import dataclasses
import functools
import math
from typing import Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxtrack.errors import check_choices, check_numbers
from jaxtrack.losses import ranking
from jaxtrack.models import resampling
from jaxtrack.online.channel_regression import largest_template, offsets, taps

Predictor = Literal["trained", "untrained"]

# Scales differ by little of what they have in common: with GPUs' 11 bits of a product little would be left.
_exact = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)

# Channels whose samples of all scales are made together, at most.
_TOGETHER = 32


@dataclasses.dataclass(frozen=True)
class Ranking:
    """How the predictor of the scale learns."""

    predictor: Predictor = "trained"
    """Trained; or not, as released: what its channels are worth is random then."""
    pairs: ranking.Neighbours = "all"
    """Which scales are compared."""
    iterations: int = 50
    """Most iterations of gradient descent."""
    stop: float = 0.02
    """The loss below which it has converged."""

    def __post_init__(self) -> None:
        """Refuses what cannot be learned by."""
        check_numbers(self, positive=("iterations",), not_negative=("stop",))
        check_choices(self, predictor=Predictor, pairs=ranking.Neighbours)


class Samples(NamedTuple):
    """The first frame's maps at S scales, ascending, cut to the regressor's taps.

    Attributes:
      products: `float32 [S, S]`, of every two samples.
      sums: `float32 [S, C]`, of each channel over a sample's cells.
      distance: `float32 [S]`, of the scale from 1.
      where: `bool [S]`, the scales that there are for this target.
    """

    products: jax.Array
    sums: jax.Array
    distance: jax.Array
    where: jax.Array


def scales(cells: int, window: jax.Array, sides: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The scales of the samples `float32 [n]`, and which there are for a target `bool [n]`.

    Maps of w cells are resized to w + 2 j, |j| <= (w - 1) / 2 - (longer side - 1) / 2, so that the smallest still holds
    the regressor's taps, and the scales lie on both sides of 1.

    Args:
      cells: n.
      window: `int32 []`, w, the cells that count of it.
      sides: `int32 [2]`, the regressor's taps.
    """
    steps = jnp.arange(cells, dtype=jnp.int32) - cells // 2
    reach = jnp.maximum((window - jnp.max(sides)) // 2, 0)
    ratio = (window + 2 * steps).astype(jnp.float32) / window.astype(jnp.float32)
    where = jnp.abs(steps) <= reach
    return jnp.where(where, ratio, 1.0), where


def samples(maps: jax.Array, window: jax.Array, sides: jax.Array) -> Samples:
    """The samples of maps `[C, n, n]` for a window `int32 []` and taps `int32 [2]`."""
    chex.assert_rank(maps, 3)
    cells = maps.shape[1]
    ratio, where = scales(cells, window, sides)
    most = taps(largest_template(cells))
    inside = jnp.abs(offsets(most))[None] <= ((sides - 1) // 2).astype(jnp.float32)[:, None]  # [2, K]

    def matrices(axis: int) -> jax.Array:
        positions = cells // 2 + offsets(most)[None] / ratio[:, None]  # [S, K]
        found = jax.vmap(lambda p, r: resampling.bilinear(p, r, cells))(positions, ratio)
        return jnp.where(where[:, None, None] & inside[axis][None, :, None], found, 0.0)  # [S, K, n]

    rows, columns = matrices(0), matrices(1)

    def of_channel(one: jax.Array) -> tuple[jax.Array, jax.Array]:
        sample = _exact(_exact(rows, one), columns.transpose(0, 2, 1)).reshape(cells, -1)
        return _exact(sample, sample.T), jnp.sum(sample, axis=1)

    # A part that is left over would be a program of its own.
    together = math.gcd(len(maps), _TOGETHER)
    products, sums = jax.lax.map(of_channel, maps, batch_size=together)
    # Not from the ratios, whose roundings would tell apart what is equally far.
    distance = jnp.where(where, 2 * jnp.abs(offsets(cells)) / window.astype(jnp.float32), 0.0)
    return Samples(jnp.sum(products, axis=0), sums.T, distance, where)


class Ranked(NamedTuple):
    """A predictor of the scale, a weighted sum of the samples.

    Attributes:
      shares: `float32 [S]`, of the samples in the predictor's weights.
      scores: `float32 [S]`, what it makes of the samples.
      loss: `float32 []`, at the end.
      iterations: `int32 []`, how many there were.
    """

    shares: jax.Array
    scores: jax.Array
    loss: jax.Array
    iterations: jax.Array


def learn_scale(config: Ranking, found: Samples) -> tuple[Ranked, jax.Array]:
    """Trains the predictor by eq. 5; returns it and the sum of its weights in each channel, `float32 [C]`.

    The loss is convex and the gradient by the weights is a sum of the samples (eq. 7): gradient descent from zero needs
    their products alone. Its rate, one over the greatest squared difference of two samples, never lets the loss rise.
    """

    def loss(scores: jax.Array) -> jax.Array:
        return ranking.smooth_pairwise(scores, found.distance, found.where, pairs=config.pairs)

    squares = jnp.diag(found.products)
    apart = jnp.max(squares[:, None] + squares[None] - 2 * found.products)
    rate = jnp.where(apart > 0, 1 / jnp.where(apart > 0, apart, 1.0), 0.0)

    def unfinished(carry: Ranked) -> jax.Array:
        return (carry.iterations < config.iterations) & (carry.loss >= config.stop)

    def turn(carry: Ranked) -> Ranked:
        shares = carry.shares - rate * jax.grad(loss)(carry.scores)
        scores = _exact(found.products, shares)
        return Ranked(shares, scores, loss(scores), carry.iterations + 1)

    zero = jnp.zeros_like(found.distance)
    end = jax.lax.while_loop(unfinished, turn, Ranked(zero, zero, loss(zero), jnp.zeros((), jnp.int32)))
    return end, _exact(end.shares, found.sums)


def scale_importance(
    config: Ranking, maps: jax.Array, window: jax.Array, sides: jax.Array, key: jax.Array
) -> jax.Array:
    """What the predictor of the scale makes of each channel of maps `[C, n, n]`, `float32 [C]`.

    Of an untrained one that is the sum of its random first weights times nearly nothing (docs/tadt.md): its sign is
    drawn here.
    """
    if config.predictor == "untrained":
        return jnp.where(jax.random.bernoulli(key, 0.5, (len(maps),)), 1.0, -1.0)
    return learn_scale(config, samples(maps, window, sides))[1]
