"""How well a network does on pairs that it is not trained on, and whether it ranks its candidates as it should."""

import contextlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack.data.procedural_pairs import Pair
from jaxtrack.models import grids, siamese
from jaxtrack.training import objective, sources
from jaxtrack.training.config import TrainConfig
from jaxtrack.training.keys import seed_key
from jaxtrack.training.siamese import Recipe, label_batch
from jaxtrack.training.step import local, on_each, replicated, split
from jaxtrack.training.task import TrainState


def pair_measures(recipe: Recipe, variables: Any, pairs: Pair, keys: jax.Array) -> dict[str, jax.Array]:
    """What a network, normalising by its running statistics, makes of B pairs; `float32 [B]` each.

    Args:
      recipe: the training's.
      variables: `{"params", "batch_stats"}`.
      pairs: with a leading axis B.
      keys: one for each, for drawing labels.

    Returns:
      `iou`: of the box with the highest score. `positive`, `negative`: mean score of the positives, highest score of
      the labelled background. `distractor`: highest score outside the target's box. `rank`: Spearman's correlation of
      score and IoU over the positives. NaN where a pair has no such thing: of a negative pair only `negative` and
      `distractor`, for which everything is outside, are numbers.
    """
    network = siamese.build(recipe.architecture)
    outputs: Any = network.apply(variables, pairs.template, pairs.search)
    cls, loc = outputs
    logits, parts = objective.per_candidate(cls, 2), objective.per_candidate(loc, 4)
    scores = jax.nn.sigmoid(logits[..., 1] - logits[..., 0])  # [B, N]
    overlaps = objective.overlaps(recipe.architecture, parts, pairs.box_xyxy)
    labels = label_batch(recipe, keys, pairs).label
    best = jnp.argmax(scores, axis=1)
    is_positive, is_negative = labels == 1, labels == 0
    outside = pairs.negative[:, None] | ~_inside(recipe.architecture, pairs.box_xyxy)
    highest = jnp.max(scores, axis=1, where=is_negative, initial=-jnp.inf)
    return {
        "iou": jnp.where(pairs.negative, jnp.nan, jnp.take_along_axis(overlaps, best[:, None], axis=1)[:, 0]),
        "positive": jnp.mean(scores, axis=1, where=is_positive),
        "negative": jnp.where(jnp.any(is_negative, axis=1), highest, jnp.nan),
        "distractor": jnp.max(scores, axis=1, where=outside, initial=0.0),
        "rank": jax.vmap(spearman)(scores, overlaps, is_positive),
    }


def _inside(architecture: siamese.Architecture, boxes_xyxy: jax.Array) -> jax.Array:
    """Which candidates lie in a box: `float32 [B, 4]`, corners in pixels of the search region, to `bool [B, N]`."""
    cells = (architecture.kind, architecture.score_cells, architecture.stride_px)
    places = grids.anchors(*cells, centre_px=architecture.search_px // 2)[None, :, :2]  # [1, N, 2]
    return jnp.all((places >= boxes_xyxy[:, None, :2]) & (places <= boxes_xyxy[:, None, 2:]), axis=-1)


def spearman(a: jax.Array, b: jax.Array, where: jax.Array) -> jax.Array:
    """Spearman's rank correlation of the entries that count, `float32 [N]` each; NaN for fewer than three.

    Ties are ranked by their mean rank.
    """

    def ranks(values: jax.Array) -> jax.Array:
        both = where[:, None] & where[None]
        below = both & (values[None] < values[:, None])
        equal = both & (values[None] == values[:, None])
        return jnp.sum(below, axis=1, dtype=jnp.float32) + 0.5 * jnp.sum(equal, axis=1, dtype=jnp.float32)

    count = jnp.sum(where, dtype=jnp.float32)
    x, y = (jnp.where(where, ranks(values) - (count / 2), 0.0) for values in (a, b))
    return jnp.where(count > 2, jnp.sum(x * y) / jnp.sqrt(jnp.sum(x * x) * jnp.sum(y * y)), jnp.nan)


def summary(measures: dict[str, jax.Array]) -> dict[str, float]:
    """Means over pairs: `iou`, `success` (IoU above 0.5), `positive`, `negative`, `margin`, `distractor`, `rank`."""
    means = {name: float(jnp.nanmean(values)) for name, values in measures.items()}
    known = measures["iou"][~jnp.isnan(measures["iou"])]
    return {
        **means,
        "success": float(jnp.mean(known > 0.5)),
        "margin": float(jnp.nanmean(measures["positive"] - measures["negative"])),
    }


def validator(
    config: TrainConfig,
    recipe: Recipe,
    devices: Sequence[Any] | None = None,
    notice: Callable[[], None] | None = None,
) -> Callable[[TrainState], dict[str, float]]:
    """The function that measures a state on the pairs of the validation split, always in float32.

    Args:
      config: the training's.
      recipe: what it is made of.
      devices: by default all; those of this process share the pairs. Each process measures all pairs.
      notice: called while compiling takes long.
    """
    own, held_out = local(devices or jax.devices()), config.held_out
    # Whole shares of the devices; what is too much in the end is cut off.
    batch = -(-min(config.batch, config.validation_pairs) // len(own)) * len(own)
    count = -(-config.validation_pairs // batch)

    def measure(variables: Any, items: Any, numbers: jax.Array) -> dict[str, jax.Array]:
        keys = jax.vmap(lambda number: jax.random.fold_in(seed_key(0), number))(numbers)
        return pair_measures(recipe, variables, held_out.pairs(items), keys)

    program = on_each(measure, own, notice)

    def run(state: TrainState) -> dict[str, float]:
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        variables = replicated(jax.tree.map(np.asarray, variables), own)
        with contextlib.closing(held_out.batches(0, batch, 0, 1)) as batches:
            parts = [
                program(variables, *split((items, sources.sample_numbers(i, batch, 0, 1)), len(own)))
                for i, items in enumerate(itertools.islice(batches, count))
            ]
        joined = {name: np.concatenate([np.asarray(part[name]).ravel() for part in parts]) for name in parts[0]}
        return summary({name: jnp.asarray(values[: config.validation_pairs]) for name, values in joined.items()})

    return run
