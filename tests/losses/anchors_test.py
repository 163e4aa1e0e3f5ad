import math

import jax
import numpy as np
import pytest
from gradients import assert_gradients

from jaxtrack.losses import anchors
from jaxtrack.losses.reduction import mean

MASK = np.array([[False, True, False], [True, True, False]])


def scores(seed, count=5):
    return np.random.default_rng(seed).normal(0, 2, (count, 2, 3, 2)).astype(np.float32)


MASKED, EVERYWHERE = scores(0), scores(1)
LABELS = np.array([1, 0, -1, 1, 0])


def by_hand(masked, everywhere, labels, mask, over):
    """The two terms in plain Python."""
    sums, cells, samples = [0.0, 0.0], [0, 0], 0
    for b, label in enumerate(labels):
        if label < 0:
            continue
        samples += 1
        for row in range(2):
            for column in range(3):
                for k, maps in enumerate((masked, everywhere)):
                    if k == 0 and not mask[row, column]:
                        continue
                    background, target = maps[b, row, column].tolist()
                    log = math.log(math.exp(background) + math.exp(target))
                    sums[k] += log - (target if label == 1 else background)
                    cells[k] += 1
    return [total / (number if over == "mean" else samples) for total, number in zip(sums, cells, strict=True)]


@pytest.mark.parametrize("over", ["mean", "sum"])
def test_the_terms_are_those_of_a_plain_loop(over):
    found = anchors.anchor_terms(MASKED, EVERYWHERE, LABELS, MASK, over=over)
    expected = by_hand(MASKED, EVERYWHERE, LABELS, MASK, over)
    np.testing.assert_allclose([mean(part) for part in found], expected, rtol=1e-5)


@pytest.mark.parametrize("over", ["mean", "sum"])
def test_the_loss_is_their_weighted_sum(over):
    first, second = by_hand(MASKED, EVERYWHERE, LABELS, MASK, over)
    assert float(anchors.anchor_loss(MASKED, EVERYWHERE, LABELS, MASK, over=over)) == pytest.approx(
        first + 10 * second, rel=1e-5
    )
    found = anchors.anchor_loss(MASKED, EVERYWHERE, LABELS, MASK, alpha=0.3, beta=0.0, over=over)
    assert float(found) == pytest.approx(0.3 * first, rel=1e-5)


def test_for_scores_that_are_alike_the_sum_weighs_cells_and_the_mean_does_not():
    alike, labels, mask = np.zeros((3, 14, 14, 2), np.float32), np.array([1, 0, 1]), np.zeros((14, 14), bool)
    mask[6:8, 4:10] = True
    for over, cells in (("mean", (1, 1)), ("sum", (12, 196))):
        found = anchors.anchor_terms(alike, alike, labels, mask, over=over)
        np.testing.assert_allclose([mean(part) for part in found], math.log(2) * np.array(cells), rtol=1e-5)


def test_what_does_not_count_may_be_anything_and_has_no_gradient():
    masked, everywhere = MASKED.copy(), EVERYWHERE.copy()
    masked[2] = everywhere[2] = np.nan
    masked[:, ~MASK] = np.nan

    def loss(masked, everywhere):
        return anchors.anchor_loss(masked, everywhere, LABELS, MASK)

    value, gradients = jax.jit(jax.value_and_grad(loss, (0, 1)))(masked, everywhere)
    assert float(value) == pytest.approx(float(loss(MASKED, EVERYWHERE)), rel=1e-6)
    assert (np.asarray(gradients[0])[:, ~MASK] == 0).all()
    assert (np.asarray(gradients[0])[2] == 0).all()
    assert (np.asarray(gradients[1])[2] == 0).all()
    assert (np.asarray(gradients[1])[[0, 1, 3, 4]] != 0).all()


def test_a_batch_without_samples_costs_nothing():
    nothing = np.full(5, -1)

    def loss(masked):
        return anchors.anchor_loss(masked, EVERYWHERE, nothing, MASK, over="sum")

    assert float(loss(MASKED)) == 0
    assert (np.asarray(jax.grad(loss)(MASKED)) == 0).all()


def test_gradients_are_those_of_central_differences():
    assert_gradients(lambda a, q: anchors.anchor_loss(a, q, LABELS[:2], MASK), MASKED[:2], EVERYWHERE[:2])


def test_the_score_weighs_the_means_of_both_maps_as_the_loss_does():
    matched = MASKED[:, MASK, 1].mean(axis=1)
    overall = EVERYWHERE[..., 1].mean(axis=(1, 2))
    found = anchors.anchor_score(MASKED, EVERYWHERE, MASK)
    np.testing.assert_allclose(found, (matched + 10 * overall) / 11, rtol=1e-5)
    np.testing.assert_allclose(anchors.anchor_score(MASKED, EVERYWHERE, MASK, beta=0.0), matched, rtol=1e-5)
    np.testing.assert_allclose(anchors.anchor_score(MASKED, EVERYWHERE, MASK, alpha=0.0), overall, rtol=1e-5)


def test_a_uniform_score_is_the_mean_over_all_cells_that_are_learnt():
    matched, overall = MASKED[:, MASK, 1], EVERYWHERE[..., 1].reshape(5, -1)
    expected = np.concatenate([matched, overall], axis=1).mean(axis=1)
    found = anchors.anchor_score(MASKED, EVERYWHERE, MASK, weighting="uniform")
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    found = anchors.anchor_score(MASKED, EVERYWHERE, MASK, beta=0.0, weighting="uniform")
    np.testing.assert_allclose(found, matched.mean(axis=1), rtol=1e-5)


def test_a_score_may_be_of_differences():
    matched = (MASKED[..., 1] - MASKED[..., 0])[:, MASK].mean(axis=1)
    overall = (EVERYWHERE[..., 1] - EVERYWHERE[..., 0]).mean(axis=(1, 2))
    found = anchors.anchor_score(MASKED, EVERYWHERE, MASK, alpha=2.0, beta=3.0, of="difference")
    np.testing.assert_allclose(found, (2 * matched + 3 * overall) / 5, rtol=1e-5, atol=1e-6)


def test_unknown_rules_are_refused_in_words():
    with pytest.raises(ValueError, match="over must be one of mean, sum, not 'median'"):
        anchors.anchor_terms(MASKED, EVERYWHERE, LABELS, MASK, over="median")
    with pytest.raises(ValueError, match="weighting must be one of loss, uniform"):
        anchors.anchor_score(MASKED, EVERYWHERE, MASK, weighting="none")
    with pytest.raises(ValueError, match="of must be one of target, difference"):
        anchors.anchor_score(MASKED, EVERYWHERE, MASK, of="logit")
