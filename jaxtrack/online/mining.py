"""Learning from remembered samples with hard-negative mining: MDNet's update of its last layers, as one loop.

In each iteration many negatives are scored, and the gradient is of those that look most like the target (Nam and Han,
CVPR 2016, section 4.3). Samples come from streams, random permutations one after another, so that none is used twice
before all have been used once.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxtrack.errors import UserError, check_numbers
from jaxtrack.online.clipping import clip_scale
from jaxtrack.online.frame_memory import Pool, take

Params = Any
Score = Callable[[Params, Any], jax.Array]
Loss = Callable[[Params, Any, jax.Array, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class Mining:
    """How the trained layers follow their samples; the defaults are those of MDNet's paper and Matlab code."""

    positives: int = 32
    """Positives of a batch."""
    negatives: int = 96
    """Negatives of a batch, the hardest of …"""
    candidates: int = 1024
    """… so many."""
    first_iterations: int = 30
    """Iterations in the first frame."""
    first_rate: float = 1e-4
    """Learning rate in the first frame."""
    iterations: int = 10
    """Iterations of a later update."""
    rate: float = 3e-4
    """Learning rate of a later update."""
    fast_layers: tuple[str, ...] = ("fc6",)
    """Names of layers that learn faster: those that start from random numbers in every video."""
    fast_factor: float = 10.0
    """Factor of their learning rate."""
    bias_factor: float = 2.0
    """Further factor of every bias's learning rate."""
    bias_decay: bool = False
    """Whether the weight decay is on biases too."""
    momentum: float = 0.9
    """Of stochastic gradient descent."""
    persistent: bool = False
    """Keep the momentum's running mean from update to update; off, each update starts at rest."""
    weight_decay: float = 5e-4
    """Factor of the parameters that is added to their gradient."""
    clip_norm: float | None = None
    """Greatest norm of the whole gradient, before the decay is added; None never shortens it."""

    def __post_init__(self) -> None:
        """Refuses numbers that nothing can be learnt with."""
        check_numbers(
            self,
            positive=("positives", "negatives", "first_rate", "rate", "fast_factor", "bias_factor"),
            not_negative=("first_iterations", "iterations", "momentum", "weight_decay"),
        )
        if self.candidates < self.negatives:
            raise UserError(f"{self.negatives} negatives cannot be the hardest of {self.candidates} candidates")
        if self.momentum >= 1:
            raise UserError(f"momentum of Mining must be less than 1, not {self.momentum:g}")
        if self.clip_norm is not None:
            check_numbers(self, positive=("clip_norm",))


PY_MDNET = Mining(
    first_iterations=50,
    first_rate=5e-4,
    iterations=15,
    rate=1e-3,
    bias_factor=1.0,
    bias_decay=True,
    persistent=True,
    clip_norm=10.0,
)
"""Those of the PyTorch program of 2019."""


class Report(NamedTuple):
    """What an update did: the mean loss over its iterations, `float32 []` (0 without any); and how many, `int32 []`."""

    loss: jax.Array
    iterations: jax.Array


def stream(key: jax.Array, valid: jax.Array, start: jax.Array | int, count: int) -> jax.Array:
    """Entries start … start + count - 1 of an endless stream of random permutations of the valid rows.

    Calls with one key and one mask read one and the same stream, and every row comes once in each permutation. Only
    where a single call passes over whole permutations, because fewer than `count` rows are valid, do those repeat the
    order of its last one: the number of sorts is fixed, at two.

    Args:
      key: a typed random key, the stream's.
      valid: `bool [N]`, at least one of them true.
      start: `int32 []`, the first entry, at least 0.
      count: how many entries.

    Returns:
      `int32 [count]`, indices of valid rows.
    """
    number = jnp.maximum(jnp.sum(valid, dtype=jnp.int32), 1)
    first, offset = jnp.divmod(jnp.asarray(start, jnp.int32), number)
    lap, place = jnp.divmod(offset + jnp.arange(count, dtype=jnp.int32), number)  # [count]

    def permutation(index: jax.Array) -> jax.Array:
        """The valid rows in random order, the others behind them; `int32 [N]`."""
        order = jax.random.bits(jax.random.fold_in(key, index), valid.shape, jnp.uint32) >> 1
        return jnp.argsort(jnp.where(valid, order, jnp.uint32(0xFFFFFFFF))).astype(jnp.int32)

    # The last one may go on in the next call and must then be the same there; those in between are used up here.
    opening, closing = permutation(first), permutation(first + lap[-1])
    return jnp.where(lap > 0, closing[place], opening[place])


def hardest(scores: jax.Array, count: int) -> jax.Array:
    """Indices of the highest scores, highest first; `float32 [N]` to `int32 [count]`."""
    return jax.lax.top_k(scores, count)[1].astype(jnp.int32)


def train(
    key: jax.Array,
    params: Params,
    velocity: Params,
    positives: Pool,
    negatives: Pool,
    iterations: jax.Array | int,
    config: Mining,
    *,
    score: Score,
    loss: Loss,
    rate: jax.Array | float,
) -> tuple[Params, Params, Report]:
    """Trains on pools of samples, with new hard negatives in every iteration.

    Args:
      key: a typed random key.
      params: what is trained; nested dictionaries of `float32` arrays, with biases named "bias".
      velocity: the momentum's running mean, of the same structure; zeros at first. Unless `config.persistent` it is
        forgotten in the first iteration, whatever finite numbers it holds.
      positives: samples of the target.
      negatives: samples of the background. The pools are constants of the loop, never carried through it.
      iterations: `int32 []`. 0 costs nothing, also under `vmap` if it is 0 in all lanes. Without a single valid
        positive or negative there are none.
      config: the constants.
      score: (params, rows of N samples) to `float32 [N]`, without dropout; among negatives the highest are the hardest.
      loss: (params, rows of a batch of B, labels `int32 [B]` 1 target, 0 background, key of dropout) to `float32 []`, a
        mean over the batch. Positives come first; they are in random order.
      rate: learning rate, `config.first_rate` or `config.rate`.

    Returns:
      Parameters, velocity and a `Report`.
    """
    positive_key, negative_key, dropout_key = jax.random.split(key, 3)
    place = jnp.arange(config.positives + config.negatives, dtype=jnp.int32)
    labels = (place < config.positives).astype(jnp.int32)
    factors = _factors(params, config)

    def hard_negatives(params: Params, i: jax.Array) -> Any:
        rows = take(negatives, stream(negative_key, negatives.valid, i * config.candidates, config.candidates))
        best = hardest(score(params, rows), config.negatives)
        return jax.tree.map(lambda leaf: leaf[best], rows)

    def body(i: jax.Array, carry: tuple[Params, Params, jax.Array]) -> tuple[Params, Params, jax.Array]:
        params, velocity, total = carry
        chosen = take(positives, stream(positive_key, positives.valid, i * config.positives, config.positives))
        batch = jax.tree.map(lambda p, n: jnp.concatenate([p, n]), chosen, hard_negatives(params, i))
        value, gradients = jax.value_and_grad(loss)(params, batch, labels, jax.random.fold_in(dropout_key, i))
        # To start at rest by forgetting costs nothing where no iteration is due; to set to zero would, in every frame.
        momentum = config.momentum if config.persistent else jnp.where(i == 0, 0.0, config.momentum)
        params, velocity = _descend(params, velocity, gradients, factors, momentum, rate, config)
        return params, velocity, total + value

    some = jnp.any(positives.valid) & jnp.any(negatives.valid)
    due = jnp.where(some, jnp.asarray(iterations, jnp.int32), 0)
    start = (params, velocity, jnp.zeros((), jnp.float32))
    params, velocity, total = jax.lax.fori_loop(0, due, body, start)
    return params, velocity, Report(total / jnp.maximum(due, 1).astype(jnp.float32), due)


class _Factors(NamedTuple):
    """Of one array of parameters: factor of the learning rate, and the weight decay."""

    rate: float
    decay: float


def _factors(params: Params, config: Mining) -> Params:
    """The parameters' tree with `_Factors` for each array."""

    def factors(path: tuple, leaf: jax.Array) -> _Factors:
        del leaf
        names = [getattr(part, "key", None) for part in path]
        fast = config.fast_factor if any(name in config.fast_layers for name in names) else 1.0
        if names[-1] == "bias":
            return _Factors(fast * config.bias_factor, config.weight_decay if config.bias_decay else 0.0)
        return _Factors(fast, config.weight_decay)

    return jax.tree_util.tree_map_with_path(factors, params)


def _descend(
    params: Params,
    velocity: Params,
    gradients: Params,
    factors: Params,
    momentum: jax.Array | float,
    rate: jax.Array | float,
    config: Mining,
) -> tuple[Params, Params]:
    """One step of stochastic gradient descent; returns parameters and velocity."""
    scale = 1.0 if config.clip_norm is None else clip_scale(gradients, config.clip_norm)
    velocity = jax.tree.map(
        lambda v, g, p, f: momentum * v + scale * g + f.decay * p, velocity, gradients, params, factors
    )
    return jax.tree.map(lambda p, v, f: p - rate * f.rate * v, params, velocity, factors), velocity
