import functools
import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import siamese_losses
from gradients import assert_gradients, central_differences

from jaxtrack.losses import ranking, regression
from jaxtrack.losses.reduction import mean

VARIANTS = ("released", "paper")


def compiled(loss):
    """A loss as one program: without it every operation is compiled for itself."""
    names = [p.name for p in inspect.signature(loss).parameters.values() if p.kind is p.KEYWORD_ONLY]
    return jax.jit(loss, static_argnames=names)


classification_ranking = compiled(ranking.classification_ranking)
iou_guided_ranking = compiled(ranking.iou_guided_ranking)
original_iou_ranking = compiled(ranking.original_iou_ranking)


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


def softmax_mean(values):
    weights = [math.exp(q) for q in values]
    return sum(w * q for w, q in zip(weights, values, strict=True)) / sum(weights)


def cr_by_loop(p, labels, variant, most=16):
    """Section 5.3: the losses of the images that are not skipped."""
    losses = []
    for scores, label in zip(p, labels, strict=True):
        positives = [s for s, y in zip(scores, label, strict=True) if y == 1]
        negatives = sorted((s for s, y in zip(scores, label, strict=True) if y == 0), reverse=True)
        hard = [s for s in negatives if s > 0.5]
        if not hard or (variant == "paper" and not positives):
            continue
        if variant == "paper":
            chosen = hard
        elif positives:
            chosen = negatives[: min(len(positives), most)]
        else:
            chosen = negatives[: max(len(hard), 8)]
        plus = np.mean(positives) if positives else 1.0
        losses.append(math.log(1 + math.exp(4 * (softmax_mean(chosen) - plus + 0.5))) / 4)
    return losses


def igr_by_loop(p, labels, v, variant, gamma=3.0, frozen=None):
    """Section 5.4: both losses of the images with at least two positives; `frozen` are the IoUs without gradient."""
    losses = []
    for scores, label, ious, still in zip(p, labels, v, v if frozen is None else frozen, strict=True):
        found = [i for i, y in enumerate(label) if y == 1]
        n = len(found)
        if n < 2:
            continue
        sums = [0.0, 0.0]
        for k, order in enumerate((ious, scores)):
            ranked = sorted(found, key=lambda i, order=order: -order[i])
            for i, high in enumerate(ranked):
                for low in ranked[i + 1 :]:
                    if variant == "paper" and order[high] == order[low]:
                        continue
                    difference = ious[high] - still[low] if k else scores[high] - scores[low]
                    sums[k] += math.exp(-gamma * difference)
        losses.append([s / (n if variant == "paper" else n * (n - 1) / 2) for s in sums])
    return losses


def ori_by_loop(p, labels, v, alpha, frozen=None):
    losses = []
    for scores, label, ious, still in zip(p, labels, v, v if frozen is None else frozen, strict=True):
        ranked = sorted((i for i, y in enumerate(label) if y == 1), key=lambda i, scores=scores: -scores[i])
        pairs = [(i, j) for k, i in enumerate(ranked) for j in ranked[k + 1 :]]
        if pairs:
            terms = [math.exp(-alpha * (scores[i] - scores[j]) * (ious[i] - still[j])) for i, j in pairs]
            losses.append(sum(terms) / len(pairs))
    return losses


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
