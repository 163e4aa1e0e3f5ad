"""How well a network does on pairs that it is not trained on, and whether it ranks its candidates as it should."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxtrack.data.procedural_pairs import Pair
from jaxtrack.models import siamese
from jaxtrack.training import objective
from jaxtrack.training.step import Recipe, label_batch


def pair_measures(recipe: Recipe, variables: Any, pairs: Pair, keys: jax.Array) -> dict[str, jax.Array]:
    """What a network, normalising by its running statistics, makes of B pairs; `float32 [B]` each.

    Args:
      recipe: the training's.
      variables: `{"params", "batch_stats"}`.
      pairs: with a leading axis B.
      keys: one for each, for drawing labels.

    Returns:
      `iou`: of the box with the highest score. `positive`, `negative`: mean score of the positives, highest score of
      the labelled background. `rank`: Spearman's correlation of score and IoU over the positives. NaN where a pair has
      no such thing: of a negative pair only `negative` is a number.
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
    highest = jnp.max(scores, axis=1, where=is_negative, initial=-jnp.inf)
    return {
        "iou": jnp.where(pairs.negative, jnp.nan, jnp.take_along_axis(overlaps, best[:, None], axis=1)[:, 0]),
        "positive": jnp.mean(scores, axis=1, where=is_positive),
        "negative": jnp.where(jnp.any(is_negative, axis=1), highest, jnp.nan),
        "rank": jax.vmap(spearman)(scores, overlaps, is_positive),
    }


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
    """Means over pairs: `iou`, `success` (IoU above 0.5), `positive`, `negative`, `margin` and `rank`."""
    means = {name: float(jnp.nanmean(values)) for name, values in measures.items()}
    known = measures["iou"][~jnp.isnan(measures["iou"])]
    return {
        **means,
        "success": float(jnp.mean(known > 0.5)),
        "margin": float(jnp.nanmean(measures["positive"] - measures["negative"])),
    }
