"""Ranking losses of "Ranking-Based Siamese Visual Tracking" (RBO, CVPR 2022), as printed and as released; and TADT's.

That of "Target-Aware Deep Tracking" (TADT, CVPR 2019), `smooth_pairwise`, ranks the samples of one image. All others
take a batch of images with N anchors or points each: `probabilities float32 [B, N]` of the target, in [0, 1];
`labels int [B, N]`: 1 target, 0 background, -1 not counted; `ious float32 [B, N]` of the predicted boxes with the
target's box. Each term is a sum over the images that contribute and their number. An image that has nothing to rank
contributes nothing, and its gradient is exactly 0. What is labelled -1 may be anything, NaN included.
"""

from typing import Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack.losses.reduction import Term, term

Variant = Literal["released", "paper"]
Neighbours = Literal["all", "adjacent"]


class IouRankingTerms(NamedTuple):
    """The two halves of IoU-guided ranking, of weight 0.25 each in RBO.

    Attributes:
      score: probabilities ordered as the IoUs are.
      iou: IoUs ordered as the probabilities are.
    """

    score: Term
    iou: Term


def classification_ranking(
    probabilities: jax.Array,
    labels: jax.Array,
    *,
    variant: Variant = "released",
    beta: float = 4.0,
    margin: float = 0.5,
    threshold: float = 0.5,
    hard_in_negative_pair: int = 8,
    max_positives: int = 16,
) -> Term:
    """CR: ln(1 + exp(beta (P- - P+ + margin))) / beta, where P- = sum_j softmax(p)_j p_j over hard negatives.

    Nothing is frozen: gradients flow through P+, P- and the softmax.

    "paper": P- is over all negatives with p >= threshold, P+ the mean of p over all positives. Images without hard
    negatives, and those without positives (of which the paper does not speak), are skipped.

    "released": images without a negative of p > threshold are skipped. P- is over as many of the highest negatives as
    there are positives, hard or not. Without positives P+ is 1, and P- over all negatives with p > threshold, or the
    highest `hard_in_negative_pair` if those are fewer.

    Args:
      probabilities: `[B, N]`.
      labels: `[B, N]`.
      variant: which form.
      beta: sharpness (L in the released code).
      margin: alpha, by which P+ is to exceed P-.
      threshold: tau, above which a negative is hard.
      hard_in_negative_pair: fewest negatives in P- of an image without positives ("released").
      max_positives: most negatives in P- of an image with positives ("released"); one with more positives than that
        still has them all in P+.
    """
    chex.assert_rank([probabilities, labels], 2)
    chex.assert_equal_shape([probabilities, labels])
    positive, negative = labels == 1, labels == 0
    present = jnp.any(positive, axis=1)
    low = jnp.where(negative, probabilities, -1.0)  # below every probability
    if variant == "paper":
        hard = low >= threshold
        contributes = present & jnp.any(hard, axis=1)
        p_negative = _expectation(probabilities, hard)
    elif variant == "released":
        hard = low > threshold
        contributes = jnp.any(hard, axis=1)
        p_negative = _released_negatives(low, positive, hard, hard_in_negative_pair, max_positives)
    else:
        raise ValueError(f"variant of a ranking loss must be 'released' or 'paper', not {variant!r}")
    count = jnp.maximum(jnp.sum(positive.astype(low.dtype), axis=1), 1.0)
    p_positive = jnp.where(present, jnp.sum(jnp.where(positive, probabilities, 0.0), axis=1) / count, 1.0)
    return term(jax.nn.softplus(beta * (p_negative - p_positive + margin)) / beta, contributes)


def iou_guided_ranking(
    probabilities: jax.Array,
    labels: jax.Array,
    ious: jax.Array,
    *,
    variant: Variant = "released",
    gamma: float = 3.0,
    max_positives: int = 16,
) -> IouRankingTerms:
    """IGR, eq. 10: exp(-gamma (p_i - p_j)) where v_i > v_j, and exp(-gamma (v_i - sg(v_j))) where p_i > p_j.

    p are the positives' probabilities, v their IoUs; sg stops the gradient: of two IoUs that of the sample with the
    lower probability is frozen. "paper" divides the sum over an image's pairs by its number n of positives, and leaves
    out ties. "released" takes the mean over its n (n - 1) / 2 pairs, tied ones in the order of the samples (the
    released code: in the order in which its sort leaves them).

    An image contributes if it has at least two positives. If it has more than `max_positives`, so many of them are
    ranked, evenly spread over their order, and n is their number.

    Args:
      probabilities: `[B, N]`.
      labels: `[B, N]`.
      ious: `[B, N]`.
      variant: which form.
      gamma: sharpness; 3 in the paper, 5 in most released configurations.
      max_positives: see above; memory grows with its square.
    """
    if variant not in ("released", "paper"):
        raise ValueError(f"variant of a ranking loss must be 'released' or 'paper', not {variant!r}")
    p, v, valid = _positives(probabilities, labels, ious, max_positives)
    strict = variant == "paper"
    n = jnp.sum(valid.astype(p.dtype), axis=1)
    terms = []
    for order, difference in (
        (v, p[:, :, None] - p[:, None]),
        (p, v[:, :, None] - jax.lax.stop_gradient(v)[:, None]),
    ):
        sums = _sum_over_pairs(-gamma * difference, _pairs(order, valid, strict=strict))
        terms.append(term(sums / _divisor(n, per_positive=strict), n >= 2))
    return IouRankingTerms(*terms)


def original_iou_ranking(
    probabilities: jax.Array,
    labels: jax.Array,
    ious: jax.Array,
    *,
    alpha: float = 1.0,
    frozen: bool = False,
    per_positive: bool = False,
    max_positives: int = 16,
) -> Term:
    """IGR-ori, the ablation: the mean over pairs of positives of exp(-alpha (p_i - p_j) (v_i - v_j)) (RankDetNet).

    The RBO paper prints the formula without sharpness or normalisation, and no code is released.

    Args:
      probabilities: `[B, N]`.
      labels: `[B, N]`.
      ious: `[B, N]`.
      alpha: sharpness.
      frozen: freeze of two IoUs that of the sample with the lower probability.
      per_positive: divide by the number of positives instead of the number of pairs.
      max_positives: see `iou_guided_ranking`.
    """
    p, v, valid = _positives(probabilities, labels, ious, max_positives)
    lower = jax.lax.stop_gradient(v) if frozen else v
    product = (p[:, :, None] - p[:, None]) * (v[:, :, None] - lower[:, None])
    sums = _sum_over_pairs(-alpha * product, _pairs(p, valid, strict=False))
    n = jnp.sum(valid.astype(p.dtype), axis=1)
    return term(sums / _divisor(n, per_positive=per_positive), n >= 2)


def smooth_pairwise(
    scores: jax.Array, distances: jax.Array, where: jax.Array, *, pairs: Neighbours = "all"
) -> jax.Array:
    """ln(1 + sum over pairs of exp(f_i - f_j)), j being nearer to the target's size than i (TADT, eq. 5).

    Its derivative by the scores is sum (z_i - z_j) exp(f_i - f_j) / (1 + sum exp(f_i - f_j)), z the unit vectors.
    Eq. 6 prints 1 / L in place of 1 / e^L, which changes its length alone.

    Args:
      scores: `float32 [N]`, f; of samples in ascending order of their size.
      distances: `float32 [N]`, how far each one's size is from the target's, of any unit; samples equally far are no
        pair.
      where: `bool [N]`, the samples that count; the others may hold anything.
      pairs: "all", or "adjacent" ones: of neighbours in size, as in the released programs.

    Returns:
      `float32 []`; 0, with gradient 0, where there is no pair.
    """
    chex.assert_rank([scores, distances, where], 1)
    chex.assert_equal_shape([scores, distances, where])
    if pairs not in ("all", "adjacent"):
        raise ValueError(f"pairs of the smooth ranking loss must be 'all' or 'adjacent', not {pairs!r}")
    scores, distances = (jnp.where(where, values, 0.0) for values in (scores, distances))
    ranked = (distances[:, None] > distances[None]) & where[:, None] & where[None]
    if pairs == "adjacent":
        index = np.arange(len(scores))
        ranked &= np.abs(index[:, None] - index[None]) == 1
    differences = jnp.where(ranked, scores[:, None] - scores[None], -jnp.inf)
    return jax.nn.logsumexp(jnp.concatenate([jnp.zeros((1,), scores.dtype), differences.ravel()]))


def _expectation(p: jax.Array, where: jax.Array) -> jax.Array:
    """sum_j softmax(p)_j p_j over the true entries of each row, `[B, K]` to `[B]`; 0 for a row without any."""
    p = jnp.where(where, p, 0.0)
    weights = jnp.where(where, jnp.exp(p), 0.0)  # p is at most 1: nothing to subtract
    total = jnp.sum(weights, axis=1)
    return jnp.sum(weights * p, axis=1) / jnp.where(total > 0, total, 1.0)


def _released_negatives(
    low: jax.Array, positive: jax.Array, hard: jax.Array, hard_in_negative_pair: int, max_positives: int
) -> jax.Array:
    """P- of the released code, `[B]`; `low [B, N]` holds the negatives' probabilities, -1 elsewhere."""
    positives = jnp.sum(positive, axis=1, dtype=jnp.int32)
    taken = jnp.where(positives > 0, jnp.minimum(positives, max_positives), hard_in_negative_pair)
    # The top max(hard, minimum) of a negative pair has no fixed size: beyond the minimum it is the set of hard ones.
    highest = jax.lax.top_k(low, min(max(max_positives, hard_in_negative_pair), low.shape[1]))[0]  # [B, K]
    rank = jnp.arange(highest.shape[1], dtype=jnp.int32)
    top = _expectation(highest, (rank[None] < taken[:, None]) & (highest >= 0))
    many = (positives == 0) & (jnp.sum(hard, axis=1, dtype=jnp.int32) > hard_in_negative_pair)
    return jnp.where(many, _expectation(low, hard), top)


def _positives(
    probabilities: jax.Array, labels: jax.Array, ious: jax.Array, max_positives: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Probabilities and IoUs of the positives, gathered to the front, 0 behind them; and what is there, `[B, M]`."""
    chex.assert_rank([probabilities, labels, ious], 2)
    chex.assert_equal_shape([probabilities, labels, ious])
    seen = jnp.cumsum(labels == 1, axis=1, dtype=jnp.int32)  # [B, N]
    count = seen[:, -1:]
    slot = jnp.arange(max_positives, dtype=jnp.int32)[None]
    chosen = jnp.where(count > max_positives, slot * count // max_positives, slot)  # [B, M], among the positives
    index = jax.vmap(jnp.searchsorted)(seen, chosen + 1)
    index = jnp.minimum(index, labels.shape[1] - 1)
    valid = slot < count
    p, v = (jnp.where(valid, jnp.take_along_axis(x, index, axis=1), 0.0) for x in (probabilities, ious))
    return p, v, valid


def _pairs(order: jax.Array, valid: jax.Array, *, strict: bool) -> jax.Array:
    """Whether i comes before j in descending order, `bool [B, M, M]`; ties by index, or not at all if `strict`."""
    ahead = order[:, :, None] > order[:, None]
    if not strict:
        earlier = np.triu(np.ones(ahead.shape[1:], bool), 1)
        ahead |= (order[:, :, None] == order[:, None]) & earlier[None]
    return ahead & valid[:, :, None] & valid[:, None]


def _sum_over_pairs(exponents: jax.Array, pairs: jax.Array) -> jax.Array:
    """Sum of exp over an image's pairs, `[B, M, M]` to `[B]`."""
    return jnp.sum(jnp.where(pairs, jnp.exp(jnp.where(pairs, exponents, 0.0)), 0.0), axis=(1, 2))


def _divisor(n: jax.Array, *, per_positive: bool) -> jax.Array:
    """What an image's sum over pairs is divided by, at least 1; `[B]`."""
    return jnp.maximum(n if per_positive else n * (n - 1) / 2, 1.0)
