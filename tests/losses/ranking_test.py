import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import siamese_losses
from ranking_loops import (
    VARIANTS,
    classification_ranking,
    cr_by_loop,
    igr_by_loop,
    iou_guided_ranking,
    ori_by_loop,
    original_iou_ranking,
)

from jaxtrack.losses import regression
from jaxtrack.losses.reduction import mean

# --- golden values -------------------------------------------------------------------------------------------------


@functools.cache
def rows(name):
    """Everything that the specification lists of a golden batch, in float64."""
    case = getattr(siamese_losses, name)()

    @jax.jit
    def compute(logits, loc, labels):
        p = case.probabilities(logits)
        v = regression.iou(case.boxes(loc), case.target_boxes())
        found = {}
        for variant in VARIANTS:
            for margin in (0.5, 100.0):
                cr = functools.partial(classification_ranking, variant=variant, margin=margin)
                found[f"CR {variant} {margin:g}"] = jax.vmap(lambda p, y, cr=cr: mean(cr(p[None], y[None])))(p, labels)
            for gamma in (3.0, 5.0):
                terms = iou_guided_ranking(p, labels, v, variant=variant, gamma=gamma)
                found[f"IGR {variant} {gamma:g}"] = jnp.stack([mean(term) for term in terms])
        found["CR"] = mean(classification_ranking(p, labels))
        for per_positive in (False, True):
            found[f"ori {per_positive}"] = mean(
                original_iou_ranking(p, labels, v, alpha=3.0, per_positive=per_positive)
            )
        return found

    with jax.enable_x64(True):
        found = jax.tree.map(np.asarray, compute(case.logits, case.loc, case.labels))
        p = np.asarray(case.probabilities(case.logits))[0]
    found["P+"] = p[case.labels[0] == 1].mean()
    found["hard"] = (p[case.labels[0] == 0] > 0.5).sum()
    return found


@functools.cache
def gradients(name):
    """Gradients of 0.5 CR + 0.25 (IGR1 + IGR2) by logits and by what is regressed (logarithms of point distances)."""
    case = getattr(siamese_losses, name)()

    def total(logits, loc, labels):
        p = case.probabilities(logits)
        v = regression.iou(case.boxes(jnp.exp(loc) if name == "ban" else loc), case.target_boxes())
        score, iou = iou_guided_ranking(p, labels, v)
        return 0.5 * mean(classification_ranking(p, labels)) + 0.25 * (mean(score) + mean(iou))

    with jax.enable_x64(True):
        loc = np.log(case.loc) if name == "ban" else case.loc
        return [np.asarray(g) for g in jax.jit(jax.grad(total, (0, 1)))(case.logits, loc, case.labels)]


@pytest.mark.parametrize(
    ("name", "cr", "images", "p_minus", "hard", "p_plus", "paper"),
    [
        ("rpn", 0.652077, (0.921464, 0.382690), (0.998688, 0.806568), 1449, 0.583573, 0.736491),
        ("ban", 0.657545, (0.967860, 0.347231), (0.989939, 0.798725), 303, 0.527341, 0.782557),
    ],
)
def test_golden_values_of_classification_ranking(name, cr, images, p_minus, hard, p_plus, paper):
    found = rows(name)
    assert found["CR"] == pytest.approx(cr, abs=1e-6)
    assert found["CR released 0.5"] == pytest.approx(images, abs=1e-6)
    assert found["CR paper 0.5"] == pytest.approx([paper, 0], abs=1e-6)
    assert found["P+"] == pytest.approx(p_plus, abs=1e-6)
    assert found["hard"] == hard
    for variant, value in zip(VARIANTS, p_minus, strict=True):
        # Far in its linear part the loss is P- - P+ + margin.
        assert found[f"CR {variant} 100"][0] - 100 + found["P+"] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "gamma3", "gamma5", "paper"),
    [
        ("rpn", (5.888928, 1.320460), (27.189489, 1.685556), (20.611246, 4.621610)),
        ("ban", (3.331792, 1.388911), (12.072896, 1.913930), (21.656650, 9.027920)),
    ],
)
def test_golden_values_of_iou_guided_ranking(name, gamma3, gamma5, paper):
    found = rows(name)
    # The reference decodes boxes in float32.
    np.testing.assert_allclose(found["IGR released 3"], gamma3, rtol=1e-6)
    np.testing.assert_allclose(found["IGR released 5"], gamma5, rtol=1e-6)
    np.testing.assert_allclose(found["IGR paper 3"], paper, rtol=1e-6)


def test_golden_values_of_the_ablation():
    # The reference's boxes are float32.
    assert rows("rpn")["ori False"] == pytest.approx(1.221204, rel=1e-6)
    assert rows("rpn")["ori True"] == pytest.approx(4.274215, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "sums", "first", "logit", "loc"),
    [
        (
            "rpn",
            (1.378681, 1.987621),
            2 * 625 + 11 * 25 + 12,
            0.02909142,
            (0.2348939, -0.2713027, -0.005248851, -0.02637799),
        ),
        (
            "ban",
            (1.014778, 0.872723),
            9 * 25 + 10,
            0.04498853,
            (0.02953702, 0.03260376, -0.03309837, -0.02993012),
        ),
    ],
)
def test_golden_gradients(name, sums, first, logit, loc):
    found = gradients(name)
    assert [np.abs(g).sum() for g in found] == pytest.approx(sums, abs=2e-6)
    np.testing.assert_allclose(found[0][0, first], [-logit, logit], rtol=1e-6)
    np.testing.assert_allclose(found[1][0, first], loc, rtol=2e-6)


# --- plain loops ---------------------------------------------------------------------------------------------------


def batch(seed, *, ties=False):
    """Ten images of 40 samples: 0, 0, 0, 0, 1, 2, 5, 9, 16 and 3 positives, of few or many, hard or easy negatives."""
    rng = np.random.default_rng(seed)
    p, v = rng.uniform(0.01, 0.99, (2, 10, 40))
    if ties:
        p, v = np.round(p, 1) + 0.03, np.round(v, 1)
    labels = rng.choice([-1, 0], size=(10, 40), p=[0.3, 0.7])
    labels[2, 4:] = -1  # fewer negatives than the eight
    p[3, rng.permutation(40)[:34]] *= 0.5  # few hard ones, then the eight highest
    labels[5, 3:] = -1  # one negative for two positives
    p[9] *= 0.5  # none is hard
    for image, count in enumerate((0, 0, 0, 0, 1, 2, 5, 9, 16, 3)):
        labels[image, rng.permutation(40)[:count]] = 1
    return p.astype(np.float32), labels.astype(np.int32), v.astype(np.float32)


@functools.partial(jax.jit, static_argnames="variant")
def all_terms(p, labels, v, variant):
    cr = classification_ranking(p, labels, variant=variant)
    return cr, iou_guided_ranking(p, labels, v, variant=variant), original_iou_ranking(p, labels, v)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_losses_agree_with_plain_loops(seed, variant):
    p, labels, v = batch(seed, ties=seed % 2 == 1)
    cr, igr, ori = all_terms(p, labels, v, variant)
    p, v = p.astype(np.float64), v.astype(np.float64)
    expected = {
        "cr": cr_by_loop(p, labels, variant),
        "score": [pair[0] for pair in igr_by_loop(p, labels, v, variant)],
        "iou": [pair[1] for pair in igr_by_loop(p, labels, v, variant)],
        "ori": ori_by_loop(p, labels, v, 1.0),
    }
    for term, losses in zip((cr, *igr, ori), expected.values(), strict=True):
        assert float(term.sum) == pytest.approx(sum(losses), rel=1e-5)
        assert float(term.count) == len(losses) >= 4


def test_tied_pairs_count_in_the_released_form_alone():
    p, v = jnp.asarray([[0.9, 0.4, 0.4]]), jnp.asarray([[0.7, 0.2, 0.7]])
    labels = jnp.ones((1, 3), jnp.int32)
    score, iou = iou_guided_ranking(p, labels, v, variant="paper")
    assert float(score.sum) == pytest.approx((math.exp(-1.5) + 1) / 3)  # samples 0 over 1, 2 over 1
    assert float(iou.sum) == pytest.approx((math.exp(-1.5) + 1) / 3)  # samples 0 over 1, 0 over 2
    score, iou = iou_guided_ranking(p, labels, v, variant="released")
    assert float(score.sum) == pytest.approx((math.exp(-1.5) + 1 + math.exp(-1.5)) / 3)  # and 0 before 2
    assert float(iou.sum) == pytest.approx((math.exp(-1.5) + 1 + math.exp(1.5)) / 3)  # and 1 before 2


def test_thresholds_are_strict_in_the_released_code_and_not_in_the_paper():
    p, labels = jnp.asarray([[0.7, 0.5, 0.2]]), jnp.asarray([[1, 0, 0]])
    assert float(classification_ranking(p, labels, variant="released").count) == 0
    assert float(classification_ranking(p, labels, variant="paper").count) == 1


def test_hyper_parameters_by_hand():
    p, labels = jnp.asarray([[0.6, 0.45, 0.2]]), jnp.asarray([[1, 0, 0]])
    for variant in VARIANTS:
        value = mean(classification_ranking(p, labels, variant=variant, beta=2.0, margin=0.1, threshold=0.4))
        assert float(value) == pytest.approx(math.log(1 + math.exp(2 * (0.45 - 0.6 + 0.1))) / 2)
    negative_pair = jnp.asarray([[-1, 0, 0]])
    value = mean(classification_ranking(p, negative_pair, threshold=0.4, hard_in_negative_pair=1))
    assert float(value) == pytest.approx(math.log(1 + math.exp(4 * (0.45 - 1 + 0.5))) / 4)


def test_positives_beyond_the_maximum():
    rng = np.random.default_rng(0)
    p, v = rng.uniform(0.1, 0.9, (2, 1, 30)).astype(np.float32)
    labels = np.zeros((1, 30), np.int32)
    positives = np.sort(rng.permutation(30)[:10])
    labels[0, positives] = 1
    kept = np.zeros_like(labels)
    kept[0, positives[[0, 2, 5, 7]]] = 1  # every two and a half
    terms = iou_guided_ranking(p, labels, v, max_positives=4)
    expected = igr_by_loop(p, kept, v, "released")[0]
    assert [float(mean(term)) for term in terms] == pytest.approx(expected, rel=1e-5)
    ori = original_iou_ranking(p, labels, v, max_positives=4)
    assert float(mean(ori)) == pytest.approx(ori_by_loop(p, kept, v, 1.0)[0], rel=1e-5)
    # All of them are in P+; as many negatives as the maximum says are in P-.
    cr = classification_ranking(p, labels, max_positives=4)
    assert float(mean(cr)) == pytest.approx(cr_by_loop(p, labels, "released", most=4)[0], rel=1e-5)
    assert cr_by_loop(p, labels, "released", most=4) != cr_by_loop(p, labels, "released")
    # A negative pair still has its eight.
    p, labels = np.linspace(0.1, 0.6, 30, dtype=np.float32)[None], np.zeros((1, 30), np.int32)
    cr = classification_ranking(p, labels, max_positives=4)
    assert float(mean(cr)) == pytest.approx(cr_by_loop(p, labels, "released")[0], rel=1e-5)


def test_an_unknown_variant_is_refused():
    p, labels = jnp.ones((1, 2)), jnp.ones((1, 2), jnp.int32)
    for loss in (classification_ranking, functools.partial(iou_guided_ranking, ious=p)):
        with pytest.raises(ValueError, match="variant of a ranking loss must be 'released' or 'paper', not 'papre'"):
            loss(p, labels, variant="papre")


def test_arrays_of_different_shapes_are_refused():
    with pytest.raises(AssertionError):
        iou_guided_ranking(jnp.ones((2, 3)), jnp.ones((2, 3), jnp.int32), jnp.ones((2, 4)))
    with pytest.raises(AssertionError):
        classification_ranking(jnp.ones(3), jnp.ones(3, jnp.int32))
