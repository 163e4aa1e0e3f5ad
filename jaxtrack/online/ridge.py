"""Box regression by ridge regression, learnt once from the first frame (MDNet, after R-CNN).

Four linear functions of a box's features are to say the offsets from it to the target (`jaxtrack.boxes.encode`). There
are fewer samples (1000) than features (4608), so the equations are solved in the samples: weights = X' (X X' +
penalty I)^-1 Y.
"""

from typing import Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxtrack import boxes as boxes_lib

Constant = Literal["free", "penalised"]


class Regressor(NamedTuple):
    """A linear function of features: `weights float32 [D, 4]`, `bias float32 [4]`."""

    weights: jax.Array
    bias: jax.Array


def fit(
    features: jax.Array,
    boxes: jax.Array,
    target: jax.Array,
    valid: jax.Array,
    *,
    penalty: float = 1000.0,
    constant: Constant = "free",
) -> Regressor:
    """Learns the offsets from samples.

    "free": the constant of the linear function is not penalised, as in scikit-learn (py-MDNet). "penalised": it is the
    weight of a feature that is always 1, and offsets are taken from their mean (R-CNN, MDNet's Matlab code). That code
    also whitens the offsets and colours what it predicts; as the penalty is the same for all four, this cancels out.

    In float32 the penalty is lost beside features that are too large: with 1000 samples of few directions and a penalty
    of 1000, beside a mean square norm of 1e8. Where the solution is not finite the regressor changes nothing.

    Args:
      features: `[N, D]`, of each sample's box.
      boxes: `float32 [N, 4]`, the samples' boxes, of positive size.
      target: `float32 [4]`, the target's box in the same frame.
      valid: `bool [N]`, which samples count. Without any the regressor changes nothing.
      penalty: factor of the squared weights (lambda).
      constant: see above.
    """
    chex.assert_shape([boxes, target], [(len(features), 4), (4,)])
    counts = valid[:, None]
    number = jnp.maximum(jnp.sum(valid.astype(jnp.float32)), 1.0)

    def mean(values: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(counts, values, 0.0), axis=0, keepdims=True) / number  # [1, K]

    x, y = features.astype(jnp.float32), boxes_lib.encode(boxes, target[None])
    y_mean = mean(y)
    x_mean = mean(x) if constant == "free" else jnp.zeros_like(x[:1])
    x, y = (jnp.where(counts, values - middle, 0.0) for values, middle in ((x, x_mean), (y, y_mean)))
    # Where the machine would round factors of a product to fewer bits, the system would no longer be definite.
    kernel = jnp.matmul(x, x.T, precision=jax.lax.Precision.HIGHEST)
    if constant == "penalised":
        kernel = kernel + (counts & valid[None]).astype(jnp.float32)
    factor = jax.scipy.linalg.cho_factor(kernel + penalty * jnp.eye(len(x), dtype=jnp.float32))
    dual = jax.scipy.linalg.cho_solve(factor, y)  # [N, 4]; rows that do not count are 0
    weights = jnp.matmul(x.T, dual, precision=jax.lax.Precision.HIGHEST)
    if constant == "penalised":
        bias = (y_mean + jnp.sum(dual, axis=0, keepdims=True))[0]
    else:
        bias = (y_mean - jnp.matmul(x_mean, weights, precision=jax.lax.Precision.HIGHEST))[0]
    solved = jnp.all(jnp.isfinite(weights)) & jnp.all(jnp.isfinite(bias))
    return Regressor(jnp.where(solved, weights, 0.0), jnp.where(solved, bias, 0.0))


def predict(regressor: Regressor, features: jax.Array, boxes: jax.Array, size: jax.Array | None = None) -> jax.Array:
    """Boxes corrected by a regressor.

    Args:
      regressor: what `fit` has learnt.
      features: `[K, D]`, of each box.
      boxes: `float32 [K, 4]`.
      size: `[2]`, (height, width) of the image in pixels, to clip as py-MDNet does: x and y are at least 0, width and
        height at most what is left of the image from the corner of the box that was given. None clips nothing (Matlab).

    Returns:
      `float32 [K, 4]`.
    """
    offsets = jnp.matmul(features.astype(jnp.float32), regressor.weights, precision=jax.lax.Precision.HIGHEST)
    found = boxes_lib.decode(boxes, offsets + regressor.bias[None])
    if size is None:
        return found
    left = size.astype(jnp.float32)[::-1][None] - boxes[:, :2]
    return jnp.concatenate([jnp.maximum(found[:, :2], 0.0), jnp.minimum(found[:, 2:], left)], axis=-1)
