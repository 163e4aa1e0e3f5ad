"""How Siamese networks are trained: the pairs' labels, the terms of the loss, by a `TrainConfig`."""

import functools
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxtrack.data.procedural_pairs import Pair
from jaxtrack.errors import UserError
from jaxtrack.losses.reduction import combine
from jaxtrack.models import siamese
from jaxtrack.models.normalisation import statistics_over
from jaxtrack.training import objective, sources
from jaxtrack.training.config import TrainConfig
from jaxtrack.training.labels import (
    AnchorLabels,
    EllipseLabels,
    Labels,
    TokenLabels,
    anchor_labels,
    ellipse_labels,
    token_labels,
)
from jaxtrack.training.optimiser import Stage, merge
from jaxtrack.training.task import AXIS, TrainState

# `fold_in` of a small number is one of the keys that `split` gives, which the labels of the sample are drawn with.
_BATCH = 0x62617463
_DROPOUT = 0x64726F70

_LABELS = {"anchors": AnchorLabels, "points": EllipseLabels, "tokens": TokenLabels}


class Recipe(NamedTuple):
    """What a step is made of.

    Attributes:
      architecture: the network and its grid.
      pairs: host arrays of B samples to their pairs.
      labels: how candidates are labelled; of the kind that the architecture needs.
      objective: the loss.
      sync_norm: whether batch statistics are those of all devices.
      per_device: whether losses are means over each device's samples and gradients are summed over the devices, as
        in the reference implementations, instead of the gradient of the global means.
      as_of_devices: with `per_device`, the number of devices that the sum is scaled to; 0 leaves it as it is.
      compute: dtype of convolutions and of the maps between them.
    """

    architecture: siamese.Architecture
    pairs: Callable[[Any], Pair]
    labels: AnchorLabels | EllipseLabels | TokenLabels
    objective: objective.Objective
    sync_norm: bool = False
    per_device: bool = False
    as_of_devices: int = 0
    compute: str = "float32"

    @property
    def backbones(self) -> Collection[str]:
        """See `Task`."""
        return siamese.BACKBONES

    def shapes(self) -> Any:
        """See `Task`."""
        return siamese.shapes(self.architecture)

    def draw(self, key: jax.Array) -> Any:
        """See `Task`."""
        sides = (self.architecture.template_px, self.architecture.search_px)
        return siamese.build(self.architecture).init(key, *[jnp.zeros((1, side, side, 3)) for side in sides])

    def completed(self, loaded: Any, draw: Callable[[], Any]) -> Any:
        """See `Task`; a file holds all variables."""
        del draw
        return loaded

    def stored(self, variables: Any) -> Any:
        """See `Task`."""
        return variables

    def loss(self, stage: Stage, state: TrainState, items: Any, numbers: jax.Array) -> Callable[[Any], Any]:
        """See `Task`."""
        keys = jax.vmap(lambda number: jax.random.fold_in(state.key, number))(numbers)
        pairs = self.pairs(items)
        labels = label_batch(self, keys, pairs)
        batch_key = jax.random.fold_in(keys[0], _BATCH)

        def loss(chosen: Any) -> tuple[jax.Array, tuple[dict[str, jax.Array], Any]]:
            variables = {"params": merge(state.params, chosen), "batch_stats": state.batch_stats}
            terms, weights, stats = losses(self, stage.parts, variables, pairs, labels, batch_key)
            share, means = combine(terms, weights, None if self.per_device else AXIS)
            means = jax.lax.pmean(means, AXIS) if self.per_device else means
            total = sum((weights[name] * mean for name, mean in means.items()), jnp.zeros(()))
            return share, ({**means, "loss": total}, stats)

        return loss

    def limited(self, before: Any, after: Any, items: Any) -> Any:
        """See `Task`; all of it."""
        del before, items
        return after

    def gradient_scale(self, devices: int) -> float:
        """See `Task`."""
        return self.as_of_devices / devices if self.per_device and self.as_of_devices else 1.0


def make_recipe(config: TrainConfig) -> Recipe:
    """What the steps of a training are made of; `UserError` where parts of the configuration do not fit."""
    config.check_architecture(siamese.ARCHITECTURES)
    architecture = siamese.ARCHITECTURES[config.architecture]
    fitting = _LABELS[architecture.kind]
    if not isinstance(config.labels, fitting):
        raise UserError(
            f"{config.architecture} has {architecture.kind}: its labels must be {fitting.__name__}, "
            f"not {type(config.labels).__name__}"
        )
    source = config.source
    wanted = (architecture.template_px, architecture.search_px)
    there = getattr(source, "sides_px", wanted)
    if wanted != there:
        raise UserError(
            f"{config.architecture} looks at templates and search regions of {wanted[0]} and {wanted[1]} pixels, and "
            f"training pairs of {type(source).__name__} have {there[0]} and {there[1]}: choose another architecture"
        )
    if config.validation_pairs and isinstance(source, sources.Stored) and not source.validation_folders:
        raise UserError("validation_pairs needs validation_folders in the source: name some, or set it to 0")
    if isinstance(source, sources.Stored):
        both = {folder.resolve() for folder in source.folders} & {each.resolve() for each in source.validation_folders}
        if both:
            raise UserError(f"{min(both)} is trained on and validated on: take it out of folders or validation_folders")
    return Recipe(
        architecture,
        config.source.pairs,
        config.labels,
        config.objective,
        config.sync_norm,
        config.normalisation == "per_device",
        config.reference_devices if config.scale_to_reference else 0,
        config.compute,
    )


def label_batch(recipe: Recipe, keys: jax.Array, pairs: Pair) -> Labels:
    """Labels of B pairs, from a key each; every array gets a leading axis B."""
    architecture = recipe.architecture
    grid: dict[str, Any] = {"side": architecture.score_cells, "stride": architecture.stride_px}
    if isinstance(recipe.labels, TokenLabels):
        region = {"search_px": architecture.search_px, "first_px": 0.5 if architecture.exact_centre else 0.0}
        of_tokens = functools.partial(token_labels, config=recipe.labels, **grid, **region)
        return jax.vmap(lambda box, negative: of_tokens(box, negative))(pairs.box_xyxy, pairs.negative)
    grid["centre_px"] = float(architecture.search_px // 2)
    make = anchor_labels if isinstance(recipe.labels, AnchorLabels) else ellipse_labels
    one = functools.partial(make, config=recipe.labels, **grid)
    return jax.vmap(lambda key, box, negative: one(key, box, negative))(keys, pairs.box_xyxy, pairs.negative)


def losses(
    recipe: Recipe, parts: Sequence[str], variables: Any, pairs: Pair, labels: Labels, key: jax.Array
) -> tuple[dict[str, Any], dict[str, float], Any]:
    """Terms and weights of a device's batch, and the running statistics after it."""
    network = siamese.build(recipe.architecture)
    images = [image.astype(recipe.compute) for image in (pairs.template, pairs.search)]
    with statistics_over(AXIS if recipe.sync_norm else None):
        (cls, loc), changed = network.apply(
            variables,
            *images,
            train=True,
            train_backbone=tuple(parts),
            mutable=["batch_stats"],
            rngs={"dropout": jax.random.fold_in(key, _DROPOUT)},
        )
    sizes: dict[str, Any] = {"positives": recipe.labels.positives, "per_device": recipe.per_device}
    terms, weights = objective.terms(recipe.objective, recipe.architecture, cls, loc, labels, key, **sizes)
    return terms, weights, changed["batch_stats"]
