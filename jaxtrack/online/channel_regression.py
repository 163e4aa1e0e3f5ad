"""TADT's regressor, which learns in the first frame where the target is, and what it makes of each channel.

Li et al., "Target-Aware Deep Tracking", CVPR 2019: eqs 1, 3 and 4. Maps are `[C, n, n]` with the target's centre in the
middle cell, n odd. The sizes of target and window are traced, so that one program serves all videos: a regressor has as
many taps as the largest target asks for, and a mask.
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxtrack.errors import check_choices, check_numbers
from jaxtrack.losses import regression
from jaxtrack.models import correlation

Solver = Literal["conjugate", "released"]
Importance = Literal["weights", "gradient"]

_FALL = 0.2  # of the label's logarithm at one deviation
_DEVIATION = 0.1  # of the label, share of the template's sides
_SETTLED = 1e-5  # of the gradient's first length: further iterations would change nothing that counts


@dataclasses.dataclass(frozen=True)
class Regression:
    """How the regressor learns."""

    solver: Solver = "conjugate"
    """Conjugate gradients on the ridge regression of eq. 3, with a bias; or as released, Adam on what is the gradient
    of no loss, with a dead zone."""
    iterations: int = 50
    """Most iterations; "conjugate" ends sooner where the ridge lets nothing more be learned."""
    stop: float = 0.02
    """The squared error, summed over the cells, below which it has converged."""
    ridge: float = 1.0
    """lambda of eq. 3, as a share of the centred maps' mean square times the number of the regressor's weights."""
    rate: float = 5e-7
    """Adam's rate, for the weights; twice that for the bias ("released" alone)."""
    decay: float = 1000.0
    """What is added to the gradient, times the weights ("released" alone)."""
    dead_zone: float = 0.1
    """Smaller errors count nothing ("released" alone)."""
    activation: float = 0.0
    """Root mean square that maps are brought to before "released" learns from them; 0 takes VGG-16's as they are."""
    importance: Importance = "weights"
    """What a channel is worth: the sum of its learned weights, or, with the opposite sign, the mean of the loss's
    gradient by its map."""

    def __post_init__(self) -> None:
        """Refuses what cannot be learned by."""
        not_negative = ("stop", "ridge", "rate", "decay", "dead_zone", "activation")
        check_numbers(self, positive=("iterations",), not_negative=not_negative)
        check_choices(self, solver=Solver, importance=Importance)


# --- the grid ------------------------------------------------------------------------------------------------------


def largest_template(cells: Any) -> Any:
    """The longest side of a template in a window of n cells: two thirds of them, so that something is left to search.

    Odd; n may be traced.
    """
    return 2 * (cells // 3) + 1


def taps(template: Any) -> Any:
    """The regressor's sides for a template's, in cells; of the released programs. Both odd."""
    return 2 * ((template + 1) // 2) + 1


def offsets(cells: int) -> jax.Array:
    """Distances of n cells from the middle one, `float32 [n]`."""
    return jnp.arange(cells, dtype=jnp.float32) - cells // 2


def central(cells: int, sides: jax.Array) -> jax.Array:
    """Whether cells lie in the middle rectangle of odd sides (height, width), `bool [n, n]`."""
    near = jnp.abs(offsets(cells))[None] <= ((sides - 1) // 2).astype(jnp.float32)[:, None]  # [2, n]
    return near[0][:, None] & near[1][None]


def label(cells: int, template: jax.Array) -> jax.Array:
    """exp(-0.2 (dy^2 / s_y^2 + dx^2 / s_x^2)) around the middle cell, s a tenth of the template's sides; `[n, n]`."""
    deviation = _DEVIATION * template.astype(jnp.float32)
    squares = (offsets(cells)[None] / deviation[:, None]) ** 2  # [2, n]
    return jnp.exp(-_FALL * (squares[0][:, None] + squares[1][None]))


# --- the regressor -------------------------------------------------------------------------------------------------


class Learned(NamedTuple):
    """A regressor.

    Attributes:
      weights: `float32 [C, K, K]`, 0 beyond its taps.
      error: `float32 []`, squared and summed over the cells, at the end; as released, before the last iteration and
        weighted.
      iterations: `int32 []`, how many there were.
    """

    weights: jax.Array
    error: jax.Array
    iterations: jax.Array


class Problem(NamedTuple):
    """What a regressor learns.

    Attributes:
      maps: `float32 [C, n, n]`, 0 where nothing counts.
      target: `float32 [n, n]`.
      sides: `int32 [2]`, the regressor's taps (height, width).
      where: `bool [n, n]`, the cells that count.
    """

    maps: jax.Array
    target: jax.Array
    sides: jax.Array
    where: jax.Array


def predict(maps: jax.Array, weights: jax.Array) -> jax.Array:
    """W * X: the correlation of maps `[C, n, n]`, zeros around them, with weights `[C, K, K]`, K odd; `[n, n]`."""
    cells, reach = maps.shape[1], weights.shape[1] // 2
    side = -(-(cells + reach) // 16) * 16  # a length with a fast transform
    x = correlation.spectrum(jnp.pad(maps, ((0, 0), (reach, 0), (reach, 0))), side)
    return correlation.spectral(x, correlation.spectrum(weights, side), side)[:cells, :cells]


def learn(config: Regression, problem: Problem) -> tuple[Learned, jax.Array]:
    """Trains a regressor; returns it and what it makes of each channel, `float32 [C]`, more being better."""
    chex.assert_rank(problem.maps, 3)
    if config.solver == "conjugate":
        problem = _centred(problem)
    channels = len(problem.maps)
    count = jnp.maximum(jnp.sum(problem.where.astype(jnp.float32)), 1.0)
    level = jnp.sqrt(jnp.sum(problem.maps**2) / (count * channels))
    level = jnp.where(level > 0, level, 1.0)
    strength = jnp.zeros(())
    if config.solver == "conjugate":
        problem = problem._replace(maps=problem.maps / level)
        strength = config.ridge * channels * jnp.prod(problem.sides.astype(jnp.float32))
        learned = _conjugate(config, problem, strength)
    else:
        if config.activation:
            problem = problem._replace(maps=problem.maps * (config.activation / level))
        learned = _released(config, problem)
    if config.importance == "weights":
        return learned, jnp.sum(learned.weights, axis=(1, 2))
    slope = jax.grad(lambda maps: _objective(problem._replace(maps=maps), learned.weights, strength))(problem.maps)
    return learned, -jnp.mean(slope, axis=(1, 2))


def _centred(problem: Problem) -> Problem:
    """Maps and target less their means over the cells that count: what a bias, which costs nothing, leaves to learn."""
    where = problem.where[None].astype(jnp.float32)

    def less_mean(maps: jax.Array) -> jax.Array:
        mean = jnp.sum(maps * where, axis=(1, 2), keepdims=True) / jnp.maximum(jnp.sum(where), 1.0)
        return (maps - mean) * where

    return problem._replace(maps=less_mean(problem.maps), target=less_mean(problem.target[None])[0])


def _objective(problem: Problem, weights: jax.Array, strength: jax.Array) -> jax.Array:
    predicted = predict(problem.maps, weights)
    return regression.ridge(predicted, problem.target, weights, strength, problem.where).sum


def _nothing(problem: Problem) -> tuple[jax.Array, jax.Array]:
    """A regressor of zeros, and the mask of its taps, `float32`, `[C, K, K]` and `[1, K, K]`."""
    channels, cells, _ = problem.maps.shape
    most = taps(largest_template(cells))
    return jnp.zeros((channels, most, most)), central(most, problem.sides).astype(jnp.float32)[None]


class _Descent(NamedTuple):
    """What conjugate gradients hand on.

    Attributes:
      weights: `float32 [C, K, K]`.
      gradient: `float32 [C, K, K]`, of the loss by the weights.
      direction: `float32 [C, K, K]`, of the next step.
      loss: `float32 []`, of eq. 3, the ridge included.
      iterations: `int32 []`, so far.
    """

    weights: jax.Array
    gradient: jax.Array
    direction: jax.Array
    loss: jax.Array
    iterations: jax.Array


def _conjugate(config: Regression, problem: Problem, strength: jax.Array) -> Learned:
    """Conjugate gradients: the loss is quadratic, so that they need no rate, whatever the network's activations."""
    zero, mask = _nothing(problem)

    def slope(weights: jax.Array, target: jax.Array) -> jax.Array:
        part = problem._replace(target=target)
        return jax.grad(lambda w: _objective(part, w * mask, strength))(weights)

    def error(carry: _Descent) -> jax.Array:
        return carry.loss - strength * jnp.vdot(carry.weights, carry.weights)

    def unfinished(carry: _Descent) -> jax.Array:
        more = (carry.iterations < config.iterations) & (error(carry) >= config.stop)
        return more & (jnp.vdot(carry.gradient, carry.gradient) > settled)

    def turn(carry: _Descent) -> _Descent:
        bend = slope(carry.direction, jnp.zeros_like(problem.target))  # the Hessian times the direction
        square, curvature = jnp.vdot(carry.gradient, carry.gradient), jnp.vdot(carry.direction, bend)
        step = square / jnp.maximum(curvature, 1e-30)
        gradient = carry.gradient + step * bend
        loss = carry.loss + step * jnp.vdot(carry.gradient, carry.direction) + 0.5 * step**2 * curvature
        direction = -gradient + (jnp.vdot(gradient, gradient) / square) * carry.direction
        return _Descent(carry.weights + step * carry.direction, gradient, direction, loss, carry.iterations + 1)

    first = slope(zero, problem.target)
    settled = _SETTLED**2 * jnp.vdot(first, first)
    start = _Descent(zero, first, -first, _objective(problem, zero, strength), jnp.zeros((), jnp.int32))
    end = jax.lax.while_loop(unfinished, turn, start)
    return Learned(end.weights, error(end), end.iterations)


def released_errors(
    predicted: jax.Array, target: jax.Array, where: jax.Array, *, dead_zone: float = 0.1
) -> tuple[jax.Array, jax.Array]:
    """The released program's loss, sum (e^Y (P - Y))^2, and what it passes back: 2 / n e^Y (P - Y), one factor e^Y.

    Args:
      predicted: `float32 [n, n]`, P.
      target: `float32 [n, n]`, Y.
      where: `bool [n, n]`, the cells that count; n of them.
      dead_zone: smaller errors are none.
    """
    error = jnp.where(where & (jnp.abs(predicted - target) >= dead_zone), predicted - target, 0.0)
    weighted = jnp.exp(target) * error
    count = jnp.maximum(jnp.sum(where.astype(jnp.float32)), 1.0)
    return jnp.sum(weighted * weighted), 2 / count * weighted


class _Adam(NamedTuple):
    """What Adam hands on; its means are of what `parameters` are: weights `float32 [C, K, K]` and bias `float32 []`.

    Attributes:
      parameters: weights and bias.
      mean: of their gradients.
      square: mean of their gradients' squares.
      loss: `float32 []`, before the last iteration; infinite before the first.
      iterations: `int32 []`, so far.
    """

    parameters: tuple[jax.Array, jax.Array]
    mean: tuple[jax.Array, jax.Array]
    square: tuple[jax.Array, jax.Array]
    loss: jax.Array
    iterations: jax.Array


def _released(config: Regression, problem: Problem) -> Learned:
    """Adam with the weights' decay in the gradient; begins with zeros, the released program with 1e-8 of noise."""
    zero, mask = _nothing(problem)
    parameters = (zero, jnp.zeros(()))
    rates = (config.rate, 2 * config.rate)

    def unfinished(carry: _Adam) -> jax.Array:
        return (carry.iterations < config.iterations) & (carry.loss >= config.stop)

    def turn(carry: _Adam) -> _Adam:
        weights, bias = carry.parameters
        predicted, back = jax.vjp(lambda w: predict(problem.maps, w * mask), weights)
        loss, slope = released_errors(predicted + bias, problem.target, problem.where, dead_zone=config.dead_zone)
        gradient = (back(slope)[0] + config.decay * weights, jnp.sum(slope))
        time = (carry.iterations + 1).astype(jnp.float32)
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, carry.mean, gradient)
        square = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, carry.square, gradient)

        def move(value: jax.Array, rate: float, m: jax.Array, v: jax.Array) -> jax.Array:
            return value - rate * (m / (1 - 0.9**time)) / (jnp.sqrt(v / (1 - 0.999**time)) + 1e-8)

        moved = tuple(move(*each) for each in zip(carry.parameters, rates, mean, square, strict=True))
        return _Adam((moved[0], moved[1]), mean, square, loss, carry.iterations + 1)

    zeros = jax.tree.map(jnp.zeros_like, parameters)
    start = _Adam(parameters, zeros, zeros, jnp.full((), jnp.inf), jnp.zeros((), jnp.int32))
    end = jax.lax.while_loop(unfinished, turn, start)
    return Learned(end.parameters[0], end.loss, end.iterations)
