import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import siamese_losses
from gradients import assert_gradients

from jaxtrack.losses.classification import (
    hard_cross_entropy,
    random_subset,
    select_cross_entropy,
    weighted_cross_entropy,
)
from jaxtrack.losses.reduction import mean


def random_batch(seed=0, shape=(3, 8)):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (*shape, 2)).astype(np.float32)
    return logits, rng.choice([-1, 0, 1], size=shape, p=[0.3, 0.4, 0.3]).astype(np.int32)


def errors(logits, labels, label):
    """-ln p of every sample of a label, one after the other."""
    found = []
    for b, i in np.ndindex(*labels.shape):
        if labels[b, i] == label:
            background, target = (math.exp(x) for x in logits[b, i])
            found.append(-math.log((target if label else background) / (target + background)))
    return found


def halves(terms):
    return [float(mean(part)) for part in terms]


def test_golden_values_of_anchors():
    case = siamese_losses.rpn()
    terms = select_cross_entropy(jnp.asarray(case.logits, jnp.float32), case.labels)
    positive, negative = halves(terms)
    assert (positive, negative) == pytest.approx((1.027118, 1.104011), abs=1e-6)
    assert (positive + negative) / 2 == pytest.approx(1.065565, abs=1e-6)
    assert (float(terms.positive.count), float(terms.negative.count)) == (8, 2927 + 16)


def test_golden_value_of_points():
    case = siamese_losses.ban()
    terms = select_cross_entropy(jnp.asarray(case.logits, jnp.float32), case.labels)
    assert sum(halves(terms)) / 2 == pytest.approx(1.004121, abs=1e-6)


def test_the_halves_agree_with_a_plain_loop():
    logits, labels = random_batch()
    terms = select_cross_entropy(logits, labels)
    for part, label in zip(terms, (1, 0), strict=True):
        expected = errors(logits, labels, label)
        assert float(part.sum) == pytest.approx(sum(expected), rel=1e-5)
        assert float(part.count) == len(expected)


def test_gradients_are_those_of_finite_differences():
    logits, labels = random_batch()
    for half in range(2):
        assert_gradients(lambda x, half=half: mean(select_cross_entropy(x, labels)[half]), logits)
    assert_gradients(lambda x: mean(hard_cross_entropy(x, labels)), logits)
    assert_gradients(lambda x: mean(weighted_cross_entropy(x, labels)), logits)


def test_what_is_ignored_may_be_nan_and_extreme_logits_stay_finite():
    labels = jnp.asarray([[1, 0, -1, 1]])
    logits = jnp.asarray([[[0.0, 0.0], [0.0, 500.0], [np.nan, np.inf], [300.0, -300.0]]])

    def total(x):
        terms = (*select_cross_entropy(x, labels), hard_cross_entropy(x, labels))
        return jnp.stack([part.sum for part in terms])

    np.testing.assert_allclose(total(logits), [math.log(2) + 600, 500, 500], rtol=1e-6)
    gradient = jax.jit(jax.jacobian(total))(logits)
    assert np.all(np.isfinite(gradient))
    np.testing.assert_array_equal(gradient[:, 0, 2], 0)


def test_an_empty_half_is_zero_without_gradient():
    logits = jnp.asarray([[[0.3, -0.2], [1.0, 2.0]]])

    @jax.jit
    def both(x, labels):
        return jnp.stack([mean(half) for half in select_cross_entropy(x, labels)])

    for label, empty in ((0, 0), (1, 1), (-1, 0), (-1, 1)):
        labels = jnp.full((1, 2), label, jnp.int32)
        assert float(both(logits, labels)[empty]) == 0
        np.testing.assert_array_equal(jax.jacobian(both)(logits, labels)[empty], 0)


def test_released_code_takes_one_sample_for_none():
    logits, _ = random_batch(1, (2, 4))
    labels = jnp.asarray([[1, 0, 0, -1], [-1, -1, 0, -1]])
    positive, negative = select_cross_entropy(logits, labels, released=True)
    assert (float(positive.sum), float(positive.count)) == (0, 0)
    assert float(negative.count) == 3
    right = select_cross_entropy(logits, labels)
    assert float(right.positive.sum) == pytest.approx(errors(logits, np.asarray(labels), 1)[0], rel=1e-5)
    assert float(right.positive.count) == 1
    assert float(negative.sum) == float(right.negative.sum)
    swapped = select_cross_entropy(logits, jnp.asarray([[0, 1, 1, -1], [-1, -1, -1, -1]]), released=True)
    assert (float(swapped.negative.sum), float(swapped.negative.count), float(swapped.positive.count)) == (0, 0, 2)


def test_negatives_are_drawn_from_the_pool_of_the_whole_batch():
    # Each sample's error is another power of two, so that the sum tells which were drawn.
    labels = np.asarray([[0, 1, 0, 0], [0, -1, 0, 1]], np.int32)
    powers = 2.0 ** np.arange(8).reshape(2, 4)
    logits = jnp.asarray(np.stack([np.zeros_like(powers), np.log(np.expm1(powers))], axis=-1), jnp.float32)

    @jax.jit
    def draw(key):
        return select_cross_entropy(logits, labels, negatives=2, key=key).negative

    allowed = sum(1 << i for i in (0, 2, 3, 4, 6))
    seen = set()
    for seed in range(60):
        total, count = draw(jax.random.key(seed))
        bits = round(float(total))
        assert float(count) == 2 == bits.bit_count()
        assert bits & ~allowed == 0
        seen.add(bits)
    assert len(seen) == 10  # every pair of the five
    few = select_cross_entropy(logits, labels, negatives=48, key=jax.random.key(0))
    assert (float(few.negative.count), float(few.positive.count)) == (5, 2)


def test_drawing_without_a_key_is_refused():
    logits, labels = random_batch()
    with pytest.raises(ValueError, match="drawing negatives needs a random key"):
        select_cross_entropy(logits, labels, negatives=48)


def test_random_subsets_have_the_right_size_and_are_equally_likely():
    members = jnp.asarray([True] * 6 + [False] * 3 + [True] * 2)

    def subsets(limit):
        keys = jax.random.split(jax.random.key(1), 2000)
        return np.asarray(jax.jit(jax.vmap(lambda key: random_subset(key, members, limit)))(keys))

    chosen = subsets(2)
    np.testing.assert_array_equal(chosen.sum(1), 2)
    assert not chosen[:, ~np.asarray(members)].any()
    both = chosen[:, np.asarray(members)].astype(int)
    pairs = (both.T @ both)[np.triu_indices(8, 1)]  # 28 of them, 71.4 expected each, deviation 8.3
    assert pairs.sum() == 2000
    assert np.abs(pairs - 2000 / 28).max() < 4.5 * 8.3
    for limit in (8, 11, 40):
        np.testing.assert_array_equal(subsets(limit), np.tile(members, (2000, 1)))


@pytest.mark.parametrize("threshold", [0.5, 0.7])
def test_the_second_stage_is_over_hard_negatives_alone(threshold):
    logits, labels = random_batch(2)
    hard = [e for e in errors(logits, labels, 0) if 1 - math.exp(-e) > threshold]
    assert 0 < len(hard) < len(errors(logits, labels, 0))
    total, count = hard_cross_entropy(logits, labels, threshold=threshold)
    assert float(total) == pytest.approx(sum(hard), rel=1e-5)
    assert float(count) == len(hard)


def test_the_second_stage_without_hard_negatives_is_zero_without_gradient():
    logits = jnp.asarray([[[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]]])
    labels = jnp.asarray([[0, 1, 0]])  # the last has a probability of 0.5 exactly
    value, gradient = jax.jit(jax.value_and_grad(lambda x: mean(hard_cross_entropy(x, labels))))(logits)
    assert float(value) == 0
    np.testing.assert_array_equal(gradient, 0)


def test_the_weighted_cross_entropy_agrees_with_a_plain_loop():
    logits, labels = random_batch()
    found = weighted_cross_entropy(logits, labels, background=0.25)
    targets, others = (errors(logits, labels, label) for label in (1, 0))
    assert float(found.sum) == pytest.approx(sum(targets) + 0.25 * sum(others), rel=1e-5)
    assert float(found.count) == len(targets) + 0.25 * len(others)


def test_the_weighted_cross_entropy_of_nothing_is_zero():
    logits, labels = random_batch()
    loss = jax.jit(lambda x: mean(weighted_cross_entropy(x, np.full_like(labels, -1))))
    found, gradient = jax.value_and_grad(loss)(logits)
    assert float(found) == 0
    assert not np.asarray(gradient).any()
