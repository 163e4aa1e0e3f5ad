"""RPN2T's loss on the cells of a map, each with an anchor, and the score that they give a sample together.

A sample has two pairs of scores (background, target) in every cell, of which the `masked` ones are asked for only in
the cells whose anchors match a centred target, the `everywhere` ones in all:

    L = alpha L_cls(masked) + beta L_cls(everywhere)      (eq. 2)

The paper says neither whether L_cls is a sum or a mean over cells nor how the scores become one; hence the choices.
"""

from typing import Any, Literal, NamedTuple, get_args

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack.losses.reduction import Term, combine, term

Over = Literal["mean", "sum"]
Weighting = Literal["loss", "uniform"]
ScoreOf = Literal["target", "difference"]


class AnchorTerms(NamedTuple):
    """The two losses of eq. 2; both count cells of samples, or samples where the loss is a sum over cells."""

    masked: Term
    everywhere: Term


def anchor_terms(
    masked: jax.Array, everywhere: jax.Array, labels: jax.Array, mask: np.ndarray, *, over: Over = "mean"
) -> AnchorTerms:
    """Cross entropy in the cells of the mask, and in all cells; a sample's label holds in each of them.

    Args:
      masked: `float32 [B, h, w, 2]`, scores before the softmax.
      everywhere: the same shape.
      labels: `int [B]`: 1 target, 0 background, -1 not counted.
      mask: `bool [h, w]`.
      over: whether a sample's loss is the "mean" over its cells or their "sum"; always a mean over samples.
    """
    _check("over", over, Over)
    chex.assert_shape([masked, everywhere], (len(labels), *mask.shape, 2))
    counted = labels >= 0
    samples = jnp.sum(counted.astype(jnp.float32))

    def one(scores: jax.Array, cells: np.ndarray) -> Term:
        where = counted[:, None, None] & jnp.asarray(cells)[None]
        logs = jax.nn.log_softmax(jnp.where(where[..., None], scores, 0.0))
        found = term(-jnp.where((labels == 1)[:, None, None], logs[..., 1], logs[..., 0]), where)
        return found if over == "mean" else found._replace(count=samples)

    return AnchorTerms(one(masked, mask), one(everywhere, np.ones_like(mask)))


def anchor_loss(
    masked: jax.Array,
    everywhere: jax.Array,
    labels: jax.Array,
    mask: np.ndarray,
    *,
    alpha: float = 1.0,
    beta: float = 10.0,
    over: Over = "mean",
) -> jax.Array:
    """Eq. 2, `float32 []`; alpha and beta are the weights of the two terms, other arguments as for `anchor_terms`."""
    terms = anchor_terms(masked, everywhere, labels, mask, over=over)
    return combine(terms._asdict(), {"masked": alpha, "everywhere": beta})[0]


def anchor_score(
    masked: jax.Array,
    everywhere: jax.Array,
    mask: np.ndarray,
    *,
    alpha: float = 1.0,
    beta: float = 10.0,
    weighting: Weighting = "loss",
    of: ScoreOf = "target",
) -> jax.Array:
    """The score of samples: a weighted mean over the scores of their cells, `float32 [B]`.

    Args:
      masked: `float32 [B, h, w, 2]`, of which the cells of the mask count.
      everywhere: the same shape.
      mask: `bool [h, w]`.
      alpha: weight of the masked scores' mean, as in the loss. What was not learnt, by a weight of 0, never counts.
      beta: weight of the mean over all cells.
      weighting: by the weights of the "loss", or "uniform": every cell's score counts the same.
      of: the mean is of the score of the "target", or of its "difference" from the background's.
    """
    _check("weighting", weighting, Weighting)
    _check("of", of, ScoreOf)
    chex.assert_equal_shape([masked, everywhere])
    chex.assert_shape(masked, (None, *mask.shape, 2))

    def of_cells(scores: jax.Array) -> jax.Array:
        return scores[..., 1] if of == "target" else scores[..., 1] - scores[..., 0]

    cells = int(mask.sum())
    matched = jnp.sum(jnp.where(jnp.asarray(mask)[None], of_cells(masked), 0.0), axis=(1, 2)) / cells
    overall = jnp.mean(of_cells(everywhere), axis=(1, 2))
    if weighting == "uniform":
        alpha, beta = cells * (alpha > 0), mask.size * (beta > 0)
    return (alpha * matched + beta * overall) / (alpha + beta)


def _check(name: str, value: str, kind: Any) -> None:
    if value not in get_args(kind):
        raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, not {value!r}")
