"""Cross entropies of Siamese trackers over the labelled anchors or points of a whole batch.

Logits are `float32 [B, N, 2]` = (background, target); labels `int [B, N]`: 1 target, 0 background, -1 not counted.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxtrack.losses.reduction import Term, term


class SelectTerms(NamedTuple):
    """The cross entropy's two halves; each has the weight 1/2 in the released trackers, 1 in the RBO paper (eq. 5)."""

    positive: Term
    negative: Term


def random_subset(key: jax.Array, members: jax.Array, limit: int) -> jax.Array:
    """At most `limit` of the true entries, every subset of that size being equally likely; `bool [N]` to `bool [N]`.

    Args:
      key: a typed random key.
      members: the entries to choose from.
      limit: the number to keep; all of them where there are no more.
    """
    chex.assert_rank(members, 1)
    scores = jnp.where(members, jax.random.uniform(key, members.shape), -1.0)
    best, index = jax.lax.top_k(scores, min(limit, len(members)))
    return jnp.zeros_like(members).at[index].set(best >= 0)


def select_cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    *,
    released: bool = False,
    negatives: int | None = None,
    key: jax.Array | None = None,
) -> SelectTerms:
    """-ln p(target) over the positives and -ln p(background) over the negatives of the batch's common pool.

    Args:
      logits: `[B, N, 2]`.
      labels: `[B, N]`.
      released: take a set of exactly one sample for an empty one, as the released code of SiamRPN++, SiamBAN and RBO
        does by an oversight. The set is that of this batch alone: not for a part of a batch whose terms are summed.
      negatives: draw at most so many negatives from the whole pool (48 in the released SiamRPN++-RBO); None takes all.
      key: a typed random key, for drawing.

    Returns:
      The two terms; they count samples.

    Raises:
      ValueError: if negatives are to be drawn without a key.
    """
    errors = _errors(logits, labels)
    counted = labels == 0
    if negatives is not None:
        if key is None:
            raise ValueError("drawing negatives needs a random key: give key, or negatives=None to take all of them")
        counted = random_subset(key, counted.ravel(), negatives).reshape(counted.shape)
    terms = SelectTerms(term(errors, labels == 1), term(errors, counted))
    return SelectTerms(*(_without_single(part) for part in terms)) if released else terms


def hard_cross_entropy(logits: jax.Array, labels: jax.Array, *, threshold: float = 0.5) -> Term:
    """The second stage of a two-stage cross entropy: -ln p(background) over the negatives with p(target) > threshold.

    The RBO paper compares with it in prose alone, without formula, threshold or weight. The natural reading adds this
    term to those of `select_cross_entropy`; if the second stage is to see the positives too, give theirs more weight.

    Args:
      logits: `[B, N, 2]`.
      labels: `[B, N]`.
      threshold: the probability above which a negative is hard.
    """
    hard = (labels == 0) & (jax.nn.sigmoid(_margins(logits, labels)) > threshold)
    return term(_errors(logits, labels), hard)


def weighted_cross_entropy(logits: jax.Array, labels: jax.Array, *, background: float = 0.0625) -> Term:
    """-ln of the probability of the label's class over all that is counted; its weighted sum and the sum of weights.

    Chen et al., "Transformer Tracking", CVPR 2021, section 3.4: there are many more tokens of the background than of
    the target, and they weigh 1 / 16.

    Args:
      logits: `[B, N, 2]`.
      labels: `[B, N]`.
      background: the weight of the background; the target's is 1.
    """
    weights = jnp.where(labels == 1, 1.0, jnp.where(labels == 0, background, 0.0))
    return Term(jnp.sum(weights * _errors(logits, labels)), jnp.sum(weights))


def _margins(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Logit of the target against the background, `[B, N]`; 0, without gradient, where nothing is counted."""
    chex.assert_shape(logits, (*labels.shape, 2))
    chex.assert_rank(labels, 2)
    logits = jnp.where((labels >= 0)[..., None], logits, 0.0)
    return logits[..., 1] - logits[..., 0]


def _errors(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """-ln of the probability of the label's class, `[B, N]`."""
    margins = _margins(logits, labels)
    return jax.nn.softplus(jnp.where(labels == 1, -margins, margins))


def _without_single(part: Term) -> Term:
    return Term(*(jnp.where(part.count == 1, 0.0, value) for value in part))
