"""Gradients that are cut to a length, as trackers do while they learn."""

from typing import Any

import jax
import jax.numpy as jnp


def clip_scale(gradients: Any, norm: float) -> jax.Array:
    """The factor `float32 []` that brings the joint Euclidean norm of a tree of `float32` arrays down to `norm`.

    It is 1 where the norm is not larger.
    """
    found = jnp.sqrt(sum(jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(gradients)))
    return jnp.minimum(1.0, norm / jnp.maximum(found, 1e-12))
