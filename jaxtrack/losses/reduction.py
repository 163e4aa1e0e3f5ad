"""Sums and counts: how a batch's losses become one number, on one device or on many."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp


class Term(NamedTuple):
    """A loss before its division: the mean of per-device means is not the global mean, the quotient of sums is.

    Attributes:
      sum: `float32 []`, sum over what counts (samples or images).
      count: `float32 []`, how many that is.
    """

    sum: jax.Array
    count: jax.Array


def term(values: jax.Array, where: jax.Array) -> Term:
    """Sum and number of the values that count; `[...]`, `bool [...]`.

    A value that does not count leaves no trace in sum or gradient; its own derivative must be finite, though.
    """
    chex.assert_equal_shape([values, where])
    return Term(jnp.sum(jnp.where(where, values, 0.0)), jnp.sum(where.astype(values.dtype)))


def mean(term: Term) -> jax.Array:
    """The quotient, `float32 []`; exactly 0, with gradient 0, where nothing counts."""
    some = term.count > 0
    return jnp.where(some, term.sum / jnp.where(some, term.count, 1.0), 0.0)


def combine(
    terms: dict[str, Term], weights: dict[str, float], axis_name: str | None = None
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The weighted sum of the terms' means, and the means themselves.

    Args:
      terms: this device's part of each term.
      weights: factor of each term, under the same names.
      axis_name: the mapped axis of a `pmap` over whose devices sums and counts are added up. None for a single
        device, or for means of each device's own batch (the reference implementations' normalisation, which then
        add the devices' gradients up).

    Returns:
      This device's share of the total, `float32 []`: the `psum` of the shares is the global weighted mean, and the
      `psum` of their gradients its gradient. And the global mean of each term, unweighted, `float32 []`; they are for
      the records and have no gradient.

    Raises:
      ValueError: if terms and weights have different names.
    """
    if terms.keys() != weights.keys():
        raise ValueError(f"every loss term needs a weight: got terms {sorted(terms)} and weights {sorted(weights)}")
    # No gradient through a psum: under pmap its transpose is a psum again, which counts every device twice.
    overall = jax.lax.stop_gradient(terms if axis_name is None else jax.lax.psum(terms, axis_name))
    shares = [weights[name] * mean(Term(part.sum, overall[name].count)) for name, part in terms.items()]
    return sum(shares, jnp.zeros_like(shares[0])), {name: mean(part) for name, part in overall.items()}
