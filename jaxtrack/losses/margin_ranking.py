"""The margin ranking loss between samples of one mini-batch (RankLoc), and its sum with the cross entropy.

A batch has B samples: `outputs float32 [B, 2]`, the scores (background, target) before the softmax; `labels int [B]`:
1 target, 0 background, -1 not counted; `overlaps float32 [B]`, the IoU of a sample's box with the target's box in its
own frame, by which samples of several frames compare. What is labelled -1 may be anything, NaN included.

The paper leaves open which pairs are meant, the margin, and whether scores or probabilities are ranked; hence the
choices, with those as defaults that agree best with its words.
"""

from typing import Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxtrack.losses.reduction import Term, combine, term

Pairs = Literal["all", "adjacent", "disjoint", "cross"]
RankOn = Literal["logit", "probability"]

# Where none is given; probabilities differ by less.
_MARGINS: dict[RankOn, float] = {"logit": 0.1, "probability": 0.05}


class RankLocTerms(NamedTuple):
    """The two losses of eq. 3: `classification` counts samples, `ranking` counts pairs."""

    classification: Term
    ranking: Term


class _Differences(NamedTuple):
    """Of pairs (i, j), arrays of any one shape: score i - score j, overlap i - overlap j, whether both are there."""

    score: jax.Array
    overlap: jax.Array
    both: jax.Array


def margin_ranking(
    outputs: jax.Array,
    labels: jax.Array,
    overlaps: jax.Array,
    *,
    pairs: Pairs = "all",
    margin: float | None = None,
    min_gap: float = 1e-3,
    rank_on: RankOn = "logit",
) -> Term:
    """max(0, margin - (f_i - f_j)) over pairs of samples with overlap_i > overlap_j (eq. 2).

    Args:
      outputs: `[B, 2]`.
      labels: `[B]`.
      overlaps: `[B]`.
      pairs: which pairs are ranked. "all" pairs of positives; those that are "adjacent" when positives are sorted by
        overlap; "disjoint" ones, the first positive of the batch with the second, the third with the fourth and so on,
        a random choice if the batch is in random order; or "cross", the first positive with the first negative, the
        second with the second and so on.
      margin: by how much the score of the one that overlaps more is to exceed the other's (m; not in the paper). None
        is 0.1 of logits, 0.05 of probabilities.
      min_gap: pairs whose overlaps differ by less are left out, and so are ties always.
      rank_on: f is the target's "logit", or its "probability" by the softmax.

    Returns:
      Sum over the pairs, and their number.
    """
    if rank_on not in _MARGINS:
        raise ValueError(f"rank_on of the margin ranking loss must be 'logit' or 'probability', not {rank_on!r}")
    outputs, overlaps = _counted(outputs, labels, overlaps)
    scores = outputs[:, 1] if rank_on == "logit" else jax.nn.softmax(outputs)[:, 1]
    differences = _differences(scores, labels, overlaps, pairs)
    gap, margin = differences.overlap, _MARGINS[rank_on] if margin is None else margin
    return term(jax.nn.relu(margin - differences.score), differences.both & (gap > 0) & (gap >= min_gap))


def rankloc_terms(
    outputs: jax.Array,
    labels: jax.Array,
    overlaps: jax.Array,
    *,
    pairs: Pairs = "all",
    margin: float | None = None,
    min_gap: float = 1e-3,
    rank_on: RankOn = "logit",
) -> RankLocTerms:
    """Cross entropy over the samples (eq. 1) and `margin_ranking` over their pairs (eq. 2); arguments as there."""
    ranking = margin_ranking(outputs, labels, overlaps, pairs=pairs, margin=margin, min_gap=min_gap, rank_on=rank_on)
    outputs, _ = _counted(outputs, labels, overlaps)
    logs = jax.nn.log_softmax(outputs)
    return RankLocTerms(term(-jnp.where(labels == 1, logs[:, 1], logs[:, 0]), labels >= 0), ranking)


def rankloc_loss(
    outputs: jax.Array,
    labels: jax.Array,
    overlaps: jax.Array,
    *,
    classification_weight: float = 2.0,
    ranking_weight: float = 1.0,
    pairs: Pairs = "all",
    margin: float | None = None,
    min_gap: float = 1e-3,
    rank_on: RankOn = "logit",
) -> jax.Array:
    """The mean cross entropy and the mean ranking loss, each times its weight (eq. 3), `float32 []`.

    Eq. 3 has the cross entropy of both samples of a pair and one ranking loss: 2 and 1. Other arguments as for
    `margin_ranking`.
    """
    terms = rankloc_terms(outputs, labels, overlaps, pairs=pairs, margin=margin, min_gap=min_gap, rank_on=rank_on)
    weights = {"classification": classification_weight, "ranking": ranking_weight}
    return combine(terms._asdict(), weights)[0]


def _counted(outputs: jax.Array, labels: jax.Array, overlaps: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Outputs and overlaps, 0 for samples that do not count."""
    chex.assert_shape([outputs, labels, overlaps], [(None, 2), (len(outputs),), (len(outputs),)])
    return jnp.where(labels[:, None] >= 0, outputs, 0.0), jnp.where(labels >= 0, overlaps, 0.0)


def _differences(scores: jax.Array, labels: jax.Array, overlaps: jax.Array, pairs: Pairs) -> _Differences:
    """The pairs of a kind; all arguments `[B]`."""
    positive, negative = jnp.asarray(labels) == 1, jnp.asarray(labels) == 0
    if pairs == "all":
        both = positive[:, None] & positive[None]
        return _Differences(scores[:, None] - scores[None], overlaps[:, None] - overlaps[None], both)
    half = len(scores) // 2
    if pairs == "adjacent":
        order = jnp.argsort(jnp.where(positive, -overlaps, jnp.inf))  # the most overlapping first, others last
        i, j = order[:-1], order[1:]
        both = positive[i] & positive[j]
    elif pairs == "disjoint":
        order = jnp.argsort(~positive)  # positives first, as they come
        i, j = order[0 : 2 * half : 2], order[1 : 2 * half : 2]
        both = positive[i] & positive[j]
    elif pairs == "cross":
        i, j = jnp.argsort(~positive), jnp.argsort(~negative)  # first those that are, as they come
        both = positive[i] & negative[j]
    else:
        raise ValueError(f"pairs of the margin ranking loss must be all, adjacent, disjoint or cross, not {pairs!r}")
    score, overlap = scores[i] - scores[j], overlaps[i] - overlaps[j]
    swap = (overlap < 0) & (pairs == "disjoint")
    return _Differences(jnp.where(swap, -score, score), jnp.where(swap, -overlap, overlap), both)
