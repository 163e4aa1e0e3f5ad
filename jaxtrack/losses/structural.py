"""The truncated structural loss of DeepTrack (Li et al., IEEE TIP 2016, eqs 2, 3, 5, 9, 10)."""

import chex
import jax
import jax.numpy as jnp


def structural_importance(overlap: jax.Array) -> jax.Array:
    """Eq. 5, the weight of a sample: |2 / (1 + exp(-(overlap - 0.5))) - 1| = |tanh((overlap - 0.5) / 2)|.

    The paper gives its range as [0, 1]; the printed formula stays within [0, 0.2449], and the thresholds of the lazy
    update are tied to that scale.

    Args:
      overlap: `float32 [...]`, IoU of the sample's box and the target's.

    Returns:
      `float32 [...]`, 0 at an overlap of 0.5.
    """
    return jnp.abs(jnp.tanh((overlap - 0.5) / 2.0))


def truncated_error(
    outputs: jax.Array, positive: jax.Array, *, beta: float, u: float, power: int = 2
) -> tuple[jax.Array, jax.Array]:
    """Eq. 9, the truncated norm ||f - l||_T: 0 where the norm is at most beta / (1 + u * l).

    Args:
      outputs: `float32 [..., 2]`, f = (score of target, score of background).
      positive: `bool [...]`; the label l is (1, 0) where true, (0, 1) elsewhere.
      beta: cut of negative samples; 0 keeps every sample with an error.
      u: the cut of positive samples is beta / (1 + u); 0 is the symmetric truncation.
      power: 1 takes the norm, 2 its square (in the comparison with the cut, too).

    Returns:
      The truncated error `float32 [...]`, and `bool [...]`, true where the sample was cut.
    """
    chex.assert_axis_dimension(outputs, -1, 2)
    chex.assert_shape(positive, outputs.shape[:-1])
    target = positive.astype(outputs.dtype)
    difference = outputs - jnp.stack([target, 1 - target], axis=-1)
    squared = jnp.sum(difference * difference, axis=-1)
    # The norm has no gradient at 0; the inner `where` keeps the derivative of the root finite there.
    norm = jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), 0.0)
    error = norm if power == 1 else squared
    cut = error <= beta / (1 + u * target)
    return jnp.where(cut, 0.0, error), cut


def structural_loss(
    outputs: jax.Array,
    positive: jax.Array,
    overlap: jax.Array,
    *,
    beta: float = 0.0025,
    u: float = 3.0,
    power: int = 2,
    weighted: bool = True,
    where: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Eq. 10: sum of structural importance times truncated norm, and the number of samples.

    With `beta=0` it is eq. 3; with `weighted=False` too, eq. 2.

    Args:
      outputs: `float32 [N, 2]`.
      positive: `bool [N]`.
      overlap: `float32 [N]`, IoU of the sample's box and the target's.
      beta: see `truncated_error`.
      u: see `truncated_error`.
      power: see `truncated_error`.
      weighted: whether to weight by the structural importance.
      where: `bool [N]`, the samples that count; by default all.

    Returns:
      The sum over the batch and the number of samples that count, both `float32 []`; the loss is their quotient.
    """
    chex.assert_rank([outputs, positive, overlap], [2, 1, 1])
    chex.assert_equal_shape([positive, overlap])
    where = jnp.ones_like(positive) if where is None else where
    # What does not count may be NaN: it must not reach the gradient, either.
    outputs = jnp.where(where[:, None], outputs, 0.0)
    error, _ = truncated_error(outputs, positive, beta=beta, u=u, power=power)
    weight = jax.lax.stop_gradient(structural_importance(overlap)) if weighted else jnp.ones_like(error)
    return jnp.sum(jnp.where(where, weight * error, 0.0)), jnp.sum(where.astype(error.dtype))
