"""IT-SGD, DeepTrack's iterative training with lazy updates (Li et al., algorithm 1), as one `lax.while_loop`.

The cues' networks are trained one after another, each on its own two outputs; after each step the cue's columns of
the fusion layer follow (coordinate descent). Training starts only where the fused loss on a batch is high.
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxtrack.errors import UserError, check_numbers
from jaxtrack.losses.structural import structural_importance, structural_loss, truncated_error
from jaxtrack.models.cue_cnn import CueCNN, fuse
from jaxtrack.online import memory
from jaxtrack.online.clipping import clip_scale

Cues = tuple[dict, ...]  # CueCNN's parameters, cue by cue
Fusion = dict[str, jax.Array]  # {"kernel": [K, 8, 2], "bias": [2]}
Network = dict  # {"cues": Cues, "fusion": Fusion}


@dataclasses.dataclass(frozen=True)
class Loss:
    """The training loss, eq. 10 and its ablations."""

    beta: float = 0.0025
    """Cut of the truncated norm for negatives; 0 switches the truncation off (eq. 3)."""
    u: float = 3.0
    """Asymmetry: the cut for positives is beta / (1 + u)."""
    power: Literal[1, 2] = 2
    """1: norm of the error, 2: its square."""
    structural: bool = True
    """Weight samples by the structural importance; off, with beta 0, it is the plain loss (eq. 2)."""

    def __post_init__(self) -> None:
        """Refuses a negative cut."""
        check_numbers(self, not_negative=("beta", "u"))


@dataclasses.dataclass(frozen=True)
class Training:
    """How the network learns from the memories; the defaults are the paper's constants where it gives them."""

    loss: Loss = Loss()
    """The training loss."""
    learning_rate: float = 5e-2
    """r, for the cues' networks."""
    fusion_learning_rate: float = 5e-3
    """r-hat, for the fusion layer."""
    momentum: float = 0.0
    """Momentum of both."""
    weight_decay: float = 0.0
    """L2 penalty on the weights and biases."""
    clip_norm: float = 5.0
    """Largest norm of a gradient, cue by cue."""
    epsilon: float = 5e-3
    """Training stops when the running loss is at most epsilon."""
    start_factor: float = 2.0
    """Training starts when the loss on a batch is above start_factor * epsilon."""
    first_rounds: int = 300
    """Most rounds in the first frame; a round is one step on each cue's network, all on one batch."""
    rounds: int = 10
    """Most rounds in a later frame."""
    loss_average: float = 0.5
    """Weight of the newest batch in the running loss that stops training."""
    positives: int = 16
    """Positive samples a batch, half of them mirrored."""
    negatives: int = 16
    """Negative samples a batch."""
    sigma: float = 10.0
    """Decay of the negatives' selection probability with their age in frames."""
    temporal: Literal["gaussian", "inverse", "uniform"] = "gaussian"
    """Negatives: exp(-sigma age^2) as printed, exp(-age^2 / sigma), or no temporal sampling."""
    label_noise: bool = True
    """Weight the selection by the label quality Q of a sample's frame."""
    joint: bool = False
    """Train all cues and the fusion layer at once on the fused loss instead of cue by cue."""
    lazy_model: bool = True
    """Train the cues' networks only when the loss is high; off: in every frame."""
    lazy_fusion: bool = True
    """Train the fusion layer only when the loss is high; off: in every frame."""

    def __post_init__(self) -> None:
        """Refuses numbers that nothing can be learnt with."""
        rates = ("learning_rate", "fusion_learning_rate", "momentum", "weight_decay", "epsilon", "sigma")
        check_numbers(
            self,
            positive=("clip_norm", "first_rounds", "rounds", "positives", "negatives", "loss_average"),
            not_negative=(*rates, "start_factor"),
        )
        if self.momentum >= 1 or self.loss_average > 1:
            raise UserError("momentum must be less than 1, and loss_average at most 1")


class Samples(NamedTuple):
    """What the memories hold of N samples.

    Attributes:
      patches: `float32 [N, 32, 32, K]`, cut out of the cue maps.
      overlap: `float32 [N]`, IoU of the sample's box and the target's box in its frame.
      quality: `float32 [N]`, the probability that the sample's label is right.
    """

    patches: jax.Array
    overlap: jax.Array
    quality: jax.Array


class Batch(NamedTuple):
    """A mini-batch: `patches [K, B, 32, 32]`, `positive bool [B]`, `overlap [B]`."""

    patches: jax.Array
    positive: jax.Array
    overlap: jax.Array


class Report(NamedTuple):
    """What training did in a frame, scalars: the loss before it, the running loss at its end, rounds, share cut."""

    loss_before: jax.Array
    loss: jax.Array
    rounds: jax.Array
    truncated: jax.Array


def create_memory(capacity: int, block: int, patch: tuple[int, ...]) -> memory.Memory:
    """An empty memory of `capacity` samples with patches of a shape, written `block` at a time; its rows: `Samples`."""
    number = jnp.zeros((), jnp.float32)
    row = jax.eval_shape(lambda: Samples(jnp.zeros(patch, jnp.float32), number, number))
    return memory.create(capacity, block, row)


def negative_weights(negatives: memory.Memory, config: Training) -> jax.Array:
    """Selection weights of the negatives: temporal decay times label quality; `[R]`.

    The newest negatives have age 0: only ratios matter, and under the printed sigma = 10 a memory whose newest
    samples were one frame old would underflow.
    """
    rows = memory.valid(negatives)
    newest = jnp.max(jnp.where(rows, negatives.frame, -1))
    age = (newest - negatives.frame).astype(jnp.float32)
    exponent = {"gaussian": config.sigma, "inverse": 1.0 / config.sigma, "uniform": 0.0}[config.temporal]
    weights = jnp.exp(-exponent * age * age)
    if config.label_noise:
        weights = weights * negatives.rows.quality
    return jnp.where(rows, weights, 0.0)


def positive_weights(positives: memory.Memory, config: Training) -> jax.Array:
    """Selection weights of the positives: uniform, times label quality; `[R]`."""
    rows = memory.valid(positives)
    return jnp.where(rows, positives.rows.quality, 0.0) if config.label_noise else rows.astype(jnp.float32)


def draw_batch(key: jax.Array, positives: memory.Memory, negatives: memory.Memory, config: Training) -> Batch:
    """Draws a mini-batch with replacement; every second positive is mirrored."""
    positive_key, negative_key = jax.random.split(key)
    p = memory.draw(positive_key, positive_weights(positives, config), config.positives)
    n = memory.draw(negative_key, negative_weights(negatives, config), config.negatives)
    chosen = positives.rows.patches[p]  # [P, 32, 32, K]
    mirror = (jnp.arange(config.positives, dtype=jnp.int32) % 2 == 1)[:, None, None, None]
    chosen = jnp.where(mirror, chosen[:, :, ::-1], chosen)
    patches = jnp.concatenate([chosen, negatives.rows.patches[n]])
    return Batch(
        patches=jnp.moveaxis(patches, -1, 0),
        positive=jnp.arange(len(patches), dtype=jnp.int32) < config.positives,
        overlap=jnp.concatenate([positives.rows.overlap[p], negatives.rows.overlap[n]]),
    )


def batch_loss(outputs: jax.Array, batch: Batch, loss: Loss) -> jax.Array:
    """Mean of eq. 10 over a batch; `[B, 2]` to `[]`."""
    total, count = structural_loss(
        outputs, batch.positive, batch.overlap, beta=loss.beta, u=loss.u, power=loss.power, weighted=loss.structural
    )
    return total / count


def sample_errors(outputs: jax.Array, positive: jax.Array, overlap: jax.Array, loss: Loss) -> jax.Array:
    """Structural importance times truncated norm of each sample, `[N]`: what the label quality Q averages."""
    error, _ = truncated_error(outputs, positive, beta=loss.beta, u=loss.u, power=loss.power)
    return structural_importance(overlap) * error


def hidden_responses(cues: Cues, patches: jax.Array) -> jax.Array:
    """Hidden responses of all cues; `[K, B, 32, 32]` to `[K, B, 8]`."""
    # The cues stay apart, as they are trained one after another.
    return jnp.stack([CueCNN().apply(params, maps)[1] for params, maps in zip(cues, patches, strict=True)])  # type: ignore[index]


def _descend(params: dict, velocity: dict, gradients: dict, rate: float, config: Training) -> tuple[dict, dict]:
    """One step of SGD with momentum on a clipped gradient; returns parameters and velocity."""
    scale = clip_scale(gradients, config.clip_norm)
    velocity = jax.tree.map(
        lambda v, g, p: config.momentum * v + scale * g + config.weight_decay * p, velocity, gradients, params
    )
    return jax.tree.map(lambda p, v: p - rate * v, params, velocity), velocity


def _cue_step(params: dict, velocity: dict, maps: jax.Array, batch: Batch, config: Training) -> tuple[dict, dict]:
    """One step on one cue's network, on its own outputs; `maps [B, 32, 32]`."""

    def loss(params: dict) -> jax.Array:
        return batch_loss(CueCNN().apply(params, maps)[0], batch, config.loss)  # type: ignore[index]

    return _descend(params, velocity, jax.grad(loss)(params), config.learning_rate, config)


def _fusion_step(
    fusion: Fusion, velocity: Fusion, hidden: jax.Array, batch: Batch, k: int, config: Training
) -> tuple[Fusion, Fusion]:
    """One step on the fusion layer's columns of cue `k` and on its bias; `hidden [K, B, 8]`."""
    gradients = jax.grad(lambda params: batch_loss(fuse(params, hidden), batch, config.loss))(fusion)
    new, speed = _descend(fusion, velocity, gradients, config.fusion_learning_rate, config)

    def only_k(updated: Fusion, old: Fusion) -> Fusion:
        return {"kernel": old["kernel"].at[k].set(updated["kernel"][k]), "bias": updated["bias"]}

    return only_k(new, fusion), only_k(speed, velocity)


def _round(
    network: Network, velocity: Network, batch: Batch, config: Training, train_model: jax.Array, train_fusion: jax.Array
) -> tuple[Network, Network]:
    """One round of coordinate descent on a batch: for each cue a step on its network, then on its fusion columns."""
    hidden = hidden_responses(network["cues"], batch.patches)
    cues, cue_speeds = list(network["cues"]), list(velocity["cues"])
    fusion, fusion_speed = network["fusion"], velocity["fusion"]
    for k, maps in enumerate(batch.patches):
        new = _cue_step(cues[k], cue_speeds[k], maps, batch, config)
        cues[k], cue_speeds[k] = _choose(train_model, new, (cues[k], cue_speeds[k]))
        hidden = hidden.at[k].set(CueCNN().apply(cues[k], maps)[1])  # type: ignore[index]
        new = _fusion_step(fusion, fusion_speed, hidden, batch, k, config)
        fusion, fusion_speed = _choose(train_fusion, new, (fusion, fusion_speed))
    return {"cues": tuple(cues), "fusion": fusion}, {"cues": tuple(cue_speeds), "fusion": fusion_speed}


def _joint_round(network: Network, velocity: Network, batch: Batch, config: Training) -> tuple[Network, Network]:
    """One step on everything at once, on the fused loss (the ablation)."""

    def loss(network: Network) -> jax.Array:
        outputs = fuse(network["fusion"], hidden_responses(network["cues"], batch.patches))
        return batch_loss(outputs, batch, config.loss)

    gradients = jax.grad(loss)(network)
    rates = {"cues": config.learning_rate, "fusion": config.fusion_learning_rate}
    moved = {n: _descend(network[n], velocity[n], gradients[n], rate, config) for n, rate in rates.items()}
    return {n: pair[0] for n, pair in moved.items()}, {n: pair[1] for n, pair in moved.items()}


def _choose(condition: jax.Array, new: tuple, old: tuple) -> tuple:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def _evaluate(network: Network, batch: Batch, config: Training) -> tuple[jax.Array, jax.Array]:
    """The fused loss of a batch and the share of its samples that the truncation leaves out, both `[]`."""
    outputs = fuse(network["fusion"], hidden_responses(network["cues"], batch.patches))
    loss = config.loss
    _, cut = truncated_error(outputs, batch.positive, beta=loss.beta, u=loss.u, power=loss.power)
    return batch_loss(outputs, batch, loss), jnp.mean(cut.astype(jnp.float32))


def train(
    key: jax.Array,
    network: Network,
    velocity: Network,
    positives: memory.Memory,
    negatives: memory.Memory,
    config: Training,
    *,
    first: bool,
) -> tuple[Network, Network, Report]:
    """Trains the network on the memories if the loss asks for it.

    Args:
      key: a typed random key.
      network: the parameters; see `Network`.
      velocity: the momentum's running mean, of the same structure.
      positives: memory of positives; with `negatives` a constant of the loop, never carried through it.
      negatives: memory of negatives.
      config: the constants.
      first: whether this is the first frame, where training always starts.

    Returns:
      The network, the velocity, and a `Report`.
    """
    first_key, loop_key = jax.random.split(key)
    loss_before, truncated = _evaluate(network, draw_batch(first_key, positives, negatives, config), config)
    due = jnp.asarray(True) if first else loss_before > config.start_factor * config.epsilon
    train_model, train_fusion = due | (not config.lazy_model), due | (not config.lazy_fusion)
    limit = jnp.where(train_model | train_fusion, config.first_rounds if first else config.rounds, 0)

    def unfinished(carry: tuple) -> jax.Array:
        done, _, _, running, _ = carry
        # Without laziness there is nothing to stop early for: every frame trains its full number of rounds. And in
        # the first frame a lucky first batch must not pass for a trained network.
        converged = due & (running <= config.epsilon) & ((done > 0) if first else True)
        return (done < limit) & ~converged

    def body(carry: tuple) -> tuple:
        done, network, velocity, running, truncated = carry
        batch = draw_batch(jax.random.fold_in(loop_key, done), positives, negatives, config)
        if config.joint:
            network, velocity = _joint_round(network, velocity, batch, config)
        else:
            network, velocity = _round(network, velocity, batch, config, train_model, train_fusion)
        loss, cut = _evaluate(network, batch, config)
        truncated = truncated + (cut - truncated) / (done + 2).astype(jnp.float32)
        return done + 1, network, velocity, running + config.loss_average * (loss - running), truncated

    start = (jnp.zeros((), jnp.int32), network, velocity, loss_before, truncated)
    rounds, network, velocity, running, truncated = jax.lax.while_loop(unfinished, body, start)
    return network, velocity, Report(loss_before, running, rounds, truncated)
