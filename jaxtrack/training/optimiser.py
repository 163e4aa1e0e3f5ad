"""Stochastic gradient descent as the Siamese trackers use it: schedules, rates by group, frozen stages.

Everything that touches optax is here: its transformations mix integer and float scalars, which jaxtrack's strict
promotion forbids elsewhere.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from jaxtrack.errors import UserError, check_numbers

Tree = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Optimiser:
    """How parameters follow gradients; the defaults are those of SiamBAN and RBO."""

    method: Literal["sgd", "adamw"] = "sgd"
    """SGD with momentum, or Adam with decoupled weight decay."""
    schedule: Literal["log", "cosine", "step"] = "log"
    """After the warm-up: a geometric sequence of rates, constant in an epoch, or a half cosine; to `last_rate`. Or one
    rate, and `last_rate` in the last epochs alone."""
    warmup_rate: float = 0.001
    """Rate in the first epoch."""
    rate: float = 0.005
    """Rate after the warm-up."""
    last_rate: float = 5e-5
    """Rate in the last epoch."""
    last_epochs: int = 1
    """Of the schedule `step`: epochs that have `last_rate`."""
    warmup_epochs: int = 5
    """Epochs of geometric steps from `warmup_rate` towards `rate`, which the first epoch after them has."""
    momentum: float = 0.9
    """Of SGD."""
    weight_decay: float = 1e-4
    """On everything that is trained, normalisation and biases included."""
    clip: float = 10.0
    """Greatest norm of the whole gradient; 0 for any."""
    backbone_factor: float = 0.1
    """Factor of the rate for the backbone."""
    frozen_epochs: int = 10
    """Epochs in which the backbone is not trained at all; then the optimiser starts anew."""
    trained_backbone: tuple[str, ...] = ("layer2", "layer3", "layer4")
    """Parts of the backbone that are trained afterwards; the others never are."""
    accumulate: int = 1
    """Batches whose gradients are averaged for one update."""

    def __post_init__(self) -> None:
        """Refuses numbers that no schedule can have."""
        positive = ("warmup_rate", "rate", "last_rate", "last_epochs", "backbone_factor", "accumulate")
        not_negative = ("warmup_epochs", "weight_decay", "clip", "frozen_epochs")
        check_numbers(self, positive=positive, not_negative=not_negative)
        if not 0 <= self.momentum < 1:
            raise UserError(f"momentum of Optimiser must be in [0, 1), not {self.momentum:g}")


# From random initialisation: nothing is frozen, Adam gets further in few steps than SGD with the references' rates.
FROM_NOTHING = Optimiser(
    method="adamw",
    schedule="cosine",
    warmup_rate=1e-4,
    rate=1e-3,
    last_rate=1e-5,
    warmup_epochs=1,
    weight_decay=0.01,
    backbone_factor=1.0,
    frozen_epochs=0,
    trained_backbone=("stage1", "stage2", "stage3"),
)


@dataclasses.dataclass(frozen=True)
class Stage:
    """A part of the training with one set of trained parameters.

    Attributes:
      name: "frozen" or "whole".
      first_step: the step that it begins with.
      parts: parts of the backbone that are trained and normalise by the statistics of the batch.
    """

    name: str
    first_step: int
    parts: tuple[str, ...]


def stages(config: Optimiser, epochs: int, steps_per_epoch: int) -> tuple[Stage, ...]:
    """The stages of a training, in their order."""
    whole = Stage("whole", min(config.frozen_epochs, epochs) * steps_per_epoch, config.trained_backbone)
    return (Stage("frozen", 0, ()), whole) if config.frozen_epochs else (whole,)


def epoch_rates(config: Optimiser, epochs: int) -> list[float]:
    """The rate of each epoch by the geometric schedule of PySOT's `log` scheduler and warm-up, or in one step.

    >>> [f"{rate:.3g}" for rate in epoch_rates(Optimiser(), 20)[3:7]]
    ['0.00263', '0.00362', '0.005', '0.0036']
    """
    warm = min(config.warmup_epochs, epochs)
    growth, decay = config.rate / config.warmup_rate, config.last_rate / config.rate
    rates = [config.warmup_rate * growth ** (e / config.warmup_epochs) for e in range(warm)]
    if config.schedule == "step":
        last = min(config.last_epochs, epochs - warm)
        return rates + [config.rate] * (epochs - warm - last) + [config.last_rate] * last
    return rates + [config.rate * decay ** (e / max(epochs - warm - 1, 1)) for e in range(epochs - warm)]


def rate_at(config: Optimiser, epochs: int, steps_per_epoch: int, step: jax.Array) -> jax.Array:
    """The rate at a step, `float32 []`."""
    epoch = step.astype(jnp.float32) / steps_per_epoch
    if config.schedule != "cosine":
        rates = jnp.asarray(epoch_rates(config, epochs), jnp.float32)
        return rates[jnp.clip(step // steps_per_epoch, 0, epochs - 1)]
    warm = config.warmup_epochs
    rising = config.warmup_rate * (config.rate / config.warmup_rate) ** (epoch / max(warm, 1))
    done = jnp.clip((epoch - warm) / max(epochs - warm, 1), 0.0, 1.0)
    falling = config.last_rate + (config.rate - config.last_rate) * 0.5 * (1 + jnp.cos(math.pi * done))
    return jnp.where(epoch < warm, rising, falling)


def trained(params: Mapping[str, Any], stage: Stage) -> Tree:
    """The parameters that a stage trains: neck, head, and its parts of the backbone."""
    backbone = {name: part for name, part in params["backbone"].items() if name in stage.parts}
    rest = {name: part for name, part in params.items() if name != "backbone"}
    return {**rest, "backbone": backbone} if backbone else rest


def merge(params: Mapping[str, Any], changed: Mapping[str, Any]) -> Tree:
    """`params` with the parts that `changed` has."""
    backbone = {**params["backbone"], **changed.get("backbone", {})}
    return {**params, **changed, "backbone": backbone}


class Updates:
    """The optax chain of one stage."""

    def __init__(self, config: Optimiser, stage: Stage, epochs: int, steps_per_epoch: int):
        """Builds the chain: clip, weight decay, momentum, rate."""

        def negative_rate(count: Any) -> jax.Array:
            step = stage.first_step + count * config.accumulate
            return -rate_at(config, epochs, steps_per_epoch, step)

        decay = optax.add_decayed_weights(config.weight_decay)
        method = [decay, optax.trace(config.momentum)]
        if config.method == "adamw":
            method = [optax.scale_by_adam(), decay]
        chain = optax.chain(
            *([optax.clip_by_global_norm(config.clip)] if config.clip else []),
            *method,
            optax.stateless(lambda updates, _: _scaled_backbone(updates, config.backbone_factor)),
            optax.scale_by_schedule(negative_rate),
        )
        self._chain = optax.MultiSteps(chain, config.accumulate) if config.accumulate > 1 else chain

    def init(self, params: Tree) -> Any:
        """The optimiser's state for the trained parameters."""
        with jax.numpy_dtype_promotion("standard"):
            return self._chain.init(params)

    def apply(self, params: Tree, gradients: Tree, state: Any) -> tuple[Tree, Any]:
        """The trained parameters and the state after a step."""
        with jax.numpy_dtype_promotion("standard"):
            updates, state = self._chain.update(gradients, state, params)
            return optax.apply_updates(params, updates), state  # type: ignore[return-value]


def _scaled_backbone(updates: Any, factor: float) -> Any:
    if "backbone" not in updates:
        return updates
    return {**updates, "backbone": jax.tree.map(lambda leaf: factor * leaf, updates["backbone"])}
