"""Gradients of the ranking losses, and what they do where there is nothing to rank."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradients import assert_gradients, central_differences
from ranking_loops import (
    VARIANTS,
    classification_ranking,
    igr_by_loop,
    iou_guided_ranking,
    ori_by_loop,
    original_iou_ranking,
)

from jaxtrack.losses import ranking
from jaxtrack.losses.reduction import mean

# --- gradients -----------------------------------------------------------------------------------------------------


def few(seed=0):
    """Three images of twelve samples, p and v apart from ties and thresholds by more than a finite difference."""
    rng = np.random.default_rng(seed)
    p, v = rng.permuted(np.linspace(0.05, 0.97, 12) * np.ones((2, 3, 1)), axis=-1)
    labels = np.asarray([[1] * 4 + [0] * 7 + [-1], [1, 1] + [0] * 10, [0] * 12], np.int32)
    return p, labels, v


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_of_classification_ranking_are_those_of_finite_differences(variant):
    p, labels, _ = few()
    assert_gradients(lambda p: mean(classification_ranking(p, labels, variant=variant)), p)
    # In a negative pair with more than eight hard negatives all of those count.
    many = np.linspace(0.41, 0.95, 12)[None]
    assert_gradients(lambda p: mean(classification_ranking(p, labels[2:])), many)


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_of_iou_guided_ranking_are_those_of_finite_differences(variant):
    p, labels, v = few()
    assert_gradients(lambda p: mean(iou_guided_ranking(p, labels, v, variant=variant).score), p)
    expected = central_differences(lambda x: np.mean([x[1] for x in igr_by_loop(p, labels, x, variant, frozen=v)]), v)
    with jax.enable_x64(True):
        found = jax.jit(jax.grad(lambda v: mean(iou_guided_ranking(p, labels, v, variant=variant).iou)))(v)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


def test_gradients_of_the_ablation_are_those_of_finite_differences():
    p, labels, v = few()
    assert_gradients(lambda p, v: mean(original_iou_ranking(p, labels, v, alpha=3.0)), p, v)
    assert_gradients(lambda p: mean(original_iou_ranking(p, labels, v, alpha=3.0, frozen=True)), p)
    expected = central_differences(lambda x: np.mean(ori_by_loop(p, labels, x, 3.0, frozen=v)), v)
    with jax.enable_x64(True):
        found = jax.jit(jax.grad(lambda v: mean(original_iou_ranking(p, labels, v, alpha=3.0, frozen=True))))(v)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("variant", VARIANTS)
def test_of_two_ious_that_of_the_less_probable_box_is_frozen_and_nothing_else(variant):
    p, v = jnp.asarray([[0.3, 0.8]]), jnp.asarray([[0.9, 0.2]])
    labels = jnp.ones((1, 2), jnp.int32)
    pairs = 2 if variant == "paper" else 1

    def sums(p, v):
        return jnp.stack([term.sum for term in iou_guided_ranking(p, labels, v, variant=variant)])

    by_p, by_v = jax.jit(jax.jacobian(sums, (0, 1)))(p, v)
    slope = 3 * math.exp(3 * 0.5) / pairs  # the box of IoU 0.9 should have the higher p
    np.testing.assert_allclose(by_p[0, 0], [-slope, slope], rtol=1e-6)
    np.testing.assert_array_equal(by_v[0], 0)
    np.testing.assert_array_equal(by_p[1], 0)
    assert float(by_v[1, 0, 0]) == 0
    assert float(by_v[1, 0, 1]) == pytest.approx(-3 * math.exp(3 * 0.7) / pairs, rel=1e-6)


def test_among_many_only_the_least_probable_box_has_no_gradient_by_its_iou():
    p, labels, v = (jnp.asarray(x[:1], jnp.int32 if i == 1 else jnp.float32) for i, x in enumerate(few()))
    for loss, frozen in (
        (lambda v: iou_guided_ranking(p, labels, v).iou.sum, True),
        (lambda v: original_iou_ranking(p, labels, v, frozen=True).sum, True),
        (lambda v: original_iou_ranking(p, labels, v).sum, False),
    ):
        gradient = np.asarray(jax.jit(jax.grad(loss))(v))[0]
        lowest = np.arange(4) == np.argmin(p[0, :4])
        np.testing.assert_array_equal(gradient[:4] == 0, lowest & frozen)
        np.testing.assert_array_equal(gradient[4:], 0)


# --- nothing to rank -----------------------------------------------------------------------------------------------


def everything(p, labels, v):
    found = []
    for variant in VARIANTS:
        found.append(classification_ranking(p, labels, variant=variant))
        found.extend(iou_guided_ranking(p, labels, v, variant=variant))
    found.append(original_iou_ranking(p, labels, v))
    found.append(original_iou_ranking(p, labels, v, frozen=True, per_positive=True))
    return found


@jax.jit
def _values_and_gradients(p, labels, v):
    def means(p, v):
        return jnp.stack([mean(term) for term in everything(p, labels, v)])

    counts = jnp.stack([term.count for term in everything(p, labels, v)])
    return means(p, v), jax.jacobian(means, (0, 1))(p, v), counts


def values_and_gradients(p, labels, v):
    """Means of all losses, `[8]`, their gradients by p and v, `[8, 2, 4]` each, and numbers of contributing images."""
    return _values_and_gradients(np.asarray(p, np.float32), np.asarray(labels, np.int32), np.asarray(v, np.float32))


@pytest.mark.parametrize(
    ("case", "p", "labels"),
    [
        ("all ignored", [0.9, 0.8, 0.7, 0.6], [-1, -1, -1, -1]),
        ("one positive and easy negatives", [0.9, 0.4, 0.3, 0.5 - 1e-6], [1, 0, 0, 0]),
        ("one positive and no negatives", [0.9, 0.8, 0.7, 0.6], [-1, 1, -1, -1]),
        ("easy negatives alone", [0.1, 0.2, 0.3, 0.4], [0, 0, 0, 0]),
        ("probabilities of zero", [0.0, 0.0, 0.0, 0.0], [1, 0, 0, 0]),
    ],
)
def test_an_image_with_nothing_to_rank_has_loss_and_gradient_zero(case, p, labels):
    means, gradients, counts = values_and_gradients([p, p], [labels, labels], np.full((2, 4), 0.5))
    for values in (means, *gradients, counts):
        np.testing.assert_array_equal(values, 0, err_msg=case)


def test_probabilities_of_one_and_equal_ious_have_finite_gradients():
    means, gradients, counts = values_and_gradients(np.ones((2, 4)), [[1, 1, 0, 0]] * 2, np.ones((2, 4)))
    np.testing.assert_array_equal(counts, 2)
    assert all(np.all(np.isfinite(values)) for values in (means, *gradients))


def test_however_sharp_the_loss_is_pairs_in_order_have_a_finite_gradient():
    p = v = jnp.asarray([[0.9, 0.1]])
    labels = jnp.ones((1, 2), jnp.int32)
    value, gradient = jax.value_and_grad(lambda p: iou_guided_ranking(p, labels, v, gamma=200.0).score.sum)(p)
    assert float(value) == 0
    np.testing.assert_array_equal(gradient, 0)


def test_no_intermediate_value_is_nan_where_there_is_nothing_to_rank():
    nothing = jnp.zeros((1, 4))
    labels = jnp.full((1, 4), -1, jnp.int32)
    with jax.debug_nans(True):  # looks at every operation that is not part of a compiled program
        ranking.original_iou_ranking(nothing, labels, nothing)


def test_ignored_samples_may_be_nan_and_images_do_not_touch_each_other():
    p = np.asarray([[0.7, 0.4, 0.8, 0.6], [0.3, 0.2, 0.1, 0.4]])
    v = np.asarray([[0.5, 0.6, 0.0, 0.3], [0.2, 0.3, 0.1, 0.3]])
    labels = np.asarray([[1, 1, 0, -1], [-1, -1, -1, -1]])
    expected, _, counts = values_and_gradients(p, labels, v)
    np.testing.assert_array_equal(counts, 1)
    means, gradients, _ = values_and_gradients(np.where(labels < 0, np.nan, p), labels, np.where(labels < 0, np.inf, v))
    np.testing.assert_array_equal(means, expected)
    for gradient in gradients:
        assert np.all(np.isfinite(gradient))
        np.testing.assert_array_equal(np.where(labels < 0, gradient, 0), 0)
