"""TADT's ranking loss (eq. 5) and its gradients as printed (eqs 6 and 7)."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradients import assert_gradients

from jaxtrack.losses.ranking import smooth_pairwise

EVERY = np.ones(5, bool)
DISTANCES = np.array([0.4, 0.2, 0.0, 0.2, 0.4])
SCORES = np.array([0.3, -0.7, 0.2, 1.1, 0.6])


def pairs_by_loop(distances, where, pairs):
    """(i, j): sample j is nearer to the target's size than sample i."""
    count = range(len(distances))
    found = [(i, j) for i in count for j in count if distances[j] < distances[i] and where[i] and where[j]]
    return [(i, j) for i, j in found if pairs == "all" or abs(i - j) == 1]


def by_loop(scores, distances, where, pairs):
    return math.log1p(sum(math.exp(scores[i] - scores[j]) for i, j in pairs_by_loop(distances, where, pairs)))


@pytest.mark.parametrize("pairs", ["all", "adjacent"])
def test_the_loss_is_the_printed_sum_over_pairs(pairs):
    where = np.array([True, True, True, True, False])
    for given in (EVERY, where):
        found = smooth_pairwise(jnp.float32(SCORES), jnp.float32(DISTANCES), given, pairs=pairs)
        assert float(found) == pytest.approx(by_loop(SCORES, DISTANCES, given, pairs), rel=1e-6)


def test_which_pairs_there_are():
    # Two far, two middle, one near: 2 * 2 + 4 pairs; of neighbours (0, 1), (1, 2), (3, 2), (4, 3).
    assert len(pairs_by_loop(DISTANCES, EVERY, "all")) == 8
    assert pairs_by_loop(DISTANCES, EVERY, "adjacent") == [(0, 1), (1, 2), (3, 2), (4, 3)]
    for pairs, count in (("all", 8), ("adjacent", 4)):
        zero = smooth_pairwise(jnp.zeros(5), jnp.float32(DISTANCES), EVERY, pairs=pairs)
        assert float(zero) == pytest.approx(math.log(1 + count), rel=1e-6)


@pytest.mark.parametrize("pairs", ["all", "adjacent"])
def test_the_gradient_is_that_of_finite_differences(pairs):
    assert_gradients(lambda f: smooth_pairwise(f, DISTANCES, EVERY, pairs=pairs), SCORES)


def test_the_gradient_is_the_printed_one_but_for_its_length():
    # Eq. 6: -1 / L sum dz exp(-f . dz); f . dz is that of the sample nearer to the target's size less the other's.
    loss, gradient = jax.value_and_grad(lambda f: smooth_pairwise(f, jnp.float32(DISTANCES), EVERY))(
        jnp.float32(SCORES)
    )
    printed = np.zeros(5)
    for i, j in pairs_by_loop(DISTANCES, EVERY, "all"):
        difference = np.eye(5)[j] - np.eye(5)[i]
        printed -= difference * math.exp(-SCORES @ difference) / float(loss)
    np.testing.assert_allclose(gradient * math.exp(float(loss)), printed * float(loss), rtol=1e-5)
    assert gradient[2] < 0 < gradient[0]  # what is nearest is to be scored higher


def test_the_gradient_by_the_input_is_the_scores_gradient_times_the_kernel():
    rng = np.random.default_rng(0)
    samples, kernel = rng.normal(size=(5, 6)), rng.normal(size=6)
    with jax.enable_x64(True):
        found = jax.grad(lambda x: smooth_pairwise(x @ kernel, DISTANCES, EVERY))(samples)
        by_score = jax.grad(lambda f: smooth_pairwise(f, DISTANCES, EVERY))(samples @ kernel)
    np.testing.assert_allclose(found, np.outer(by_score, kernel), rtol=1e-12)  # eq. 7


def test_samples_that_do_not_count_may_be_nan_and_no_pair_is_no_loss():
    where = np.array([True, True, False])
    scores, distances = jnp.asarray([1.0, 0.0, jnp.nan]), jnp.asarray([0.0, 1.0, jnp.nan])
    value, slope = jax.value_and_grad(lambda f: smooth_pairwise(f, distances, where))(scores)
    assert float(value) == pytest.approx(math.log1p(math.exp(-1)), rel=1e-6)
    assert slope[2] == 0
    assert np.isfinite(slope).all()
    value, slope = jax.value_and_grad(lambda f: smooth_pairwise(f, jnp.zeros(3), where))(scores)
    assert float(value) == 0
    np.testing.assert_array_equal(slope, 0)


def test_however_wrong_the_order_is_the_loss_is_finite():
    value, slope = jax.value_and_grad(lambda f: smooth_pairwise(f, jnp.asarray([1.0, 0.0]), EVERY[:2]))(
        jnp.asarray([500.0, -500.0])
    )
    assert float(value) == pytest.approx(1000)
    np.testing.assert_allclose(slope, [1, -1])


def test_pairs_of_another_kind_are_refused():
    with pytest.raises(ValueError, match="must be 'all' or 'adjacent', not 'every'"):
        smooth_pairwise(jnp.zeros(5), jnp.zeros(5), EVERY, pairs="every")  # type: ignore[arg-type]
