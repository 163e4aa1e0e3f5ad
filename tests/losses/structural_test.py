import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.losses.structural import structural_importance, structural_loss, truncated_error


@pytest.mark.parametrize(
    ("overlap", "expected"),
    [(0.9, 0.197375), (0.1, 0.197375), (0.5, 0.0), (0.0, 0.244919), (1.0, 0.244919), (0.25, 0.124353)],
)
def test_importance_of_equation_5(overlap, expected):
    assert float(structural_importance(jnp.float32(overlap))) == pytest.approx(expected, abs=1e-6)


def test_the_same_error_is_kept_for_a_positive_and_cut_for_a_negative():
    outputs = jnp.asarray([[0.97, 0.01], [0.01, 0.97]])
    error, cut = truncated_error(outputs, jnp.asarray([True, False]), beta=0.0025, u=3.0)
    np.testing.assert_allclose(error, [0.001, 0.0], atol=1e-7)
    np.testing.assert_array_equal(cut, [False, True])
    symmetric, _ = truncated_error(outputs, jnp.asarray([True, False]), beta=0.0025, u=0.0)
    np.testing.assert_array_equal(symmetric, [0.0, 0.0])


def test_the_norm_is_the_root_of_the_squared_error_and_is_cut_on_its_own_scale():
    outputs = jnp.asarray([[0.97, 0.01]])
    error, _ = truncated_error(outputs, jnp.asarray([True]), beta=0.0025, u=3.0, power=1)
    assert float(error[0]) == pytest.approx(math.sqrt(0.001), abs=1e-6)


def by_loop(outputs, positive, overlap, beta, u, power, weighted):
    total = 0.0
    for f, p, theta in zip(outputs, positive, overlap, strict=True):
        label = (1.0, 0.0) if p else (0.0, 1.0)
        error = ((f[0] - label[0]) ** 2 + (f[1] - label[1]) ** 2) ** (power / 2)
        if error <= beta / (1 + u * label[0]):
            error = 0.0
        total += error * (abs(2 / (1 + math.exp(-(theta - 0.5))) - 1) if weighted else 1.0)
    return total


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("weighted", [True, False])
def test_the_loss_agrees_with_a_plain_loop(power, weighted):
    rng = np.random.default_rng(1)
    positive = rng.uniform(size=64) > 0.5
    target = np.stack([positive, ~positive], axis=-1)
    outputs = (target + rng.normal(0, 0.05, (64, 2))).astype(np.float32)
    overlap = rng.uniform(size=64).astype(np.float32)
    total, count = structural_loss(
        jnp.asarray(outputs), jnp.asarray(positive), jnp.asarray(overlap), power=power, weighted=weighted
    )
    expected = by_loop(outputs, positive, overlap, 0.0025, 3.0, power, weighted)
    assert float(total) == pytest.approx(expected, rel=1e-4)
    assert float(count) == 64


def test_cut_samples_have_no_gradient_and_others_do():
    outputs = jnp.asarray([[0.01, 0.97], [0.3, 0.5]])
    args = (jnp.zeros(2, bool), jnp.asarray([0.1, 0.1]))
    gradient = jax.grad(lambda f: structural_loss(f, *args)[0])(outputs)
    np.testing.assert_array_equal(gradient[0], 0)
    np.testing.assert_allclose(gradient[1], 0.197375 * 2 * np.array([0.3, -0.5]), atol=1e-6)


@pytest.mark.parametrize("power", [1, 2])
def test_a_perfect_output_has_zero_loss_and_a_finite_gradient(power):
    outputs = jnp.asarray([[1.0, 0.0]])
    args = (jnp.ones(1, bool), jnp.ones(1))
    value, gradient = jax.value_and_grad(lambda f: structural_loss(f, *args, beta=0.0, power=power)[0])(outputs)
    assert float(value) == 0
    np.testing.assert_array_equal(gradient, 0)


def test_samples_that_do_not_count_are_as_if_they_were_not_there():
    outputs = jnp.asarray([[0.2, 0.5], [np.nan, np.inf], [0.9, 0.3]])
    positive, overlap = jnp.asarray([False, True, True]), jnp.asarray([0.1, np.nan, 0.8])
    where = jnp.asarray([True, False, True])

    def loss(outputs):
        return structural_loss(outputs, positive, overlap, where=where)

    total, count = loss(outputs)
    # 0.197375 (0.2² + 0.5²) + tanh(0.15) (0.1² + 0.3²)
    assert float(total) == pytest.approx(0.197375 * 0.29 + 0.1488850 * 0.10, rel=1e-5)
    assert float(count) == 2
    gradient = jax.grad(lambda f: loss(f)[0])(outputs)
    np.testing.assert_array_equal(gradient[1], 0)
    assert np.all(np.isfinite(gradient))


def test_a_batch_in_which_nothing_counts_has_sum_and_count_zero():
    none = jnp.zeros(1, bool)
    total, count = structural_loss(jnp.ones((1, 2)), jnp.ones(1, bool), jnp.ones(1), where=none)
    assert (float(total), float(count)) == (0, 0)
