"""The objective's terms beside the golden values of siamese.md, 13.2, and beside plain numpy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import siamese_losses

from jaxtrack.errors import UserError
from jaxtrack.losses.reduction import combine, mean
from jaxtrack.models import grids
from jaxtrack.models.siamese import ARCHITECTURES
from jaxtrack.training import objective
from jaxtrack.training.labels import Labels
from jaxtrack.training.objective import CRConstants, IGROriConstants, Objective

ANCHORS, POINTS = ARCHITECTURES["siamrpn_r50"], ARCHITECTURES["siamban_r50"]
KEY = jax.random.key(0)


def noise(seed, channels):
    """What the specification draws as PyTorch's `[2, channels, 25, 25]`, channels last."""
    drawn = np.random.RandomState(seed).standard_normal((2, channels, 25, 25))
    return drawn.transpose(0, 2, 3, 1).astype(np.float32)


@functools.cache
def batch(name):
    """(architecture, cls, loc, labels, golden batch) of the two cases of the specification."""
    case = getattr(siamese_losses, name)()
    labels = Labels(*(jnp.asarray(x) for x in (case.labels, np.float32(case.regression), np.float32(case.weight))))
    if name == "rpn":
        return ANCHORS, 1.5 * noise(11, 10), 0.1 * noise(12, 20), labels, case
    return POINTS, 1.5 * noise(21, 2), np.exp(0.3 * noise(22, 4) + np.float32(3.3)), labels, case


def means_and_weights(name, config, key=KEY):
    """The mean of each term, its weight and its count."""
    architecture, cls, loc, labels, _ = batch(name)
    weights = {}

    @jax.jit
    def run(cls, loc):
        found, chosen = objective.terms(config, architecture, cls, loc, labels, key)
        weights.update(chosen)
        return {name: (mean(term), term.count) for name, term in found.items()}

    found = jax.tree.map(float, run(cls, loc))
    return {n: v for n, (v, _) in found.items()}, weights, {n: count for n, (_, count) in found.items()}


RBO = {"classification_ranking": 0.5, "iou_ranking": 0.25}


@pytest.mark.parametrize(
    ("variant", "half", "ranking"),
    [("released", 0.5, (0.652077, 5.888928, 1.320460)), ("paper", 1.0, (0.736491, 20.611246, 4.621610))],
)
def test_golden_terms_of_anchors(variant, half, ranking):
    found, weights, counts = means_and_weights("rpn", Objective(loc=1.2, variant=variant, **RBO))
    names = ("cls_positive", "cls_negative", "loc", "cr", "igr_1", "igr_2")
    expected = dict(zip(names, (1.027118, 1.104011, 0.248329, *ranking), strict=True))
    assert found == pytest.approx(expected, rel=3e-6)
    assert weights == dict(zip(names, (half, half, 1.2, 0.5, 0.25, 0.25), strict=True))
    assert (counts["cls_positive"], counts["cls_negative"], counts["loc"]) == (8, 2927 + 16, 2)


@pytest.mark.parametrize(
    ("variant", "half", "ranking"),
    [("released", 0.5, (0.657545, 3.331792, 1.388911)), ("paper", 1.0, (0.782557, 21.656650, 9.027920))],
)
def test_golden_terms_of_points(variant, half, ranking):
    found, weights, counts = means_and_weights("ban", Objective(variant=variant, **RBO))
    cross_entropy = (found.pop("cls_positive") + found.pop("cls_negative")) / 2
    assert cross_entropy == pytest.approx(1.004121, rel=3e-6)
    assert found == pytest.approx(
        dict(zip(("loc", "cr", "igr_1", "igr_2"), (0.443546, *ranking), strict=True)), rel=3e-6
    )
    assert (weights["cls_positive"], weights["cls_negative"], weights["loc"]) == (half, half, 1.0)
    assert (counts["cls_positive"], counts["cls_negative"], counts["loc"]) == (14, 568 + 8, 14)


@pytest.mark.parametrize(("name", "expected"), [("rpn", (27.189489, 1.685556)), ("ban", (12.072896, 1.913930))])
def test_gamma_is_that_of_the_iou_guided_ranking(name, expected):
    found, _, _ = means_and_weights(name, Objective(gamma=5.0, iou_ranking=1.0))
    assert (found["igr_1"], found["igr_2"]) == pytest.approx(expected, rel=5e-6)


@pytest.mark.parametrize(("name", "expected"), [("rpn", (1.378681, 1.987621)), ("ban", (1.014778, 0.872723))])
def test_golden_gradients_of_the_ranking_losses(name, expected):
    architecture, cls, loc, labels, _ = batch(name)
    config = Objective(cls=0.0, loc=0.0, **RBO)

    def total(cls, loc):
        loc = jnp.exp(loc) if name == "ban" else loc
        return combine(*objective.terms(config, architecture, cls, loc, labels, KEY))[0]

    found = jax.jit(jax.grad(total, (0, 1)))(cls, np.log(loc) if name == "ban" else loc)
    assert [float(jnp.sum(jnp.abs(gradient))) for gradient in found] == pytest.approx(expected, rel=1e-5)


# --- which terms there are -----------------------------------------------------------------------------------------


def test_weights_of_zero_leave_terms_out():
    everything = {
        "cls": ("cls_positive", "cls_negative"),
        "loc": ("loc",),
        "classification_ranking": ("cr",),
        "iou_ranking": ("igr_1", "igr_2"),
        "joint_ranking": ("igr_ori",),
        "hard_cls": ("cls_hard",),
    }
    for chosen, names in everything.items():
        weights = {name: 0.75 if name == chosen else 0.0 for name in everything}
        found, applied, _ = means_and_weights("ban", Objective(**weights))
        assert set(found) == set(names)
        assert set(applied.values()) == {0.375 if chosen == "cls" else 0.75}


def test_the_defaults_are_cross_entropy_and_boxes_alone():
    assert set(means_and_weights("ban", Objective())[0]) == {"cls_positive", "cls_negative", "loc"}


def test_smooth_l1_is_a_parabola_below_one():
    found, _, _ = means_and_weights("rpn", Objective(smooth_l1=True))
    case = batch("rpn")[4]
    difference = np.abs(case.loc - case.regression)
    error = np.where(difference < 1, difference**2 / 2, difference - 0.5).sum(axis=-1)
    assert found["loc"] == pytest.approx((error * case.weight).sum() / 2, rel=1e-5)


def test_the_second_cross_entropy_is_that_of_the_hard_negatives():
    found, _, counts = means_and_weights("rpn", Objective(hard_cls=1.0))
    case = batch("rpn")[4]
    p = np.asarray(case.probabilities(case.logits))
    hard = p[(case.labels == 0) & (p > 0.5)]
    assert counts["cls_hard"] == len(hard) > 1449  # of the first image (13.2), and some of the second
    assert found["cls_hard"] == pytest.approx(-np.log(1 - hard).mean(), rel=1e-5)


def test_the_joint_ranking_is_the_mean_over_pairs_of_the_products():
    found, _, _ = means_and_weights("rpn", Objective(joint_ranking=1.0))
    case = batch("rpn")[4]
    positive = np.flatnonzero(case.labels[0] == 1)
    p = np.asarray(case.probabilities(case.logits))[0, positive]
    predicted = np.asarray(case.boxes(case.loc))[0, positive]
    v = [numpy_iou(box, case.target_boxes()[0, 0]) for box in predicted]
    losses = [np.exp(-(p[i] - p[j]) * (v[i] - v[j])) for i in range(8) for j in range(i)]
    assert found["igr_ori"] == pytest.approx(np.mean(losses), rel=1e-5)


def ranked():
    """Probabilities and IoUs of the positives of the first image of the anchors' case."""
    case = batch("rpn")[4]
    positive = np.flatnonzero(case.labels[0] == 1)
    predicted = np.asarray(case.boxes(case.loc))[0, positive]
    v = np.asarray([numpy_iou(box, case.target_boxes()[0, 0]) for box in predicted])
    return np.asarray(case.probabilities(case.logits))[0, positive], v


@pytest.mark.parametrize(("alpha", "per_positive", "count"), [(3.0, False, 8 * 7 / 2), (1.0, True, 8)])
def test_sharpness_and_divisor_of_the_joint_ranking_can_be_chosen(alpha, per_positive, count):
    p, v = ranked()
    total = sum(np.exp(-alpha * (p[i] - p[j]) * (v[i] - v[j])) for i in range(8) for j in range(i))
    constants = IGROriConstants(alpha=alpha, per_positive=per_positive)
    found, _, _ = means_and_weights("rpn", Objective(joint_ranking=1.0, igr_ori=constants))
    assert found["igr_ori"] == pytest.approx(total / count, rel=1e-5)


def test_the_joint_ranking_can_freeze_the_ious_of_lower_scores():
    """The gradient by the IoU of the positive with the lowest score, in any pair the lower one, is then 0."""
    architecture, cls, loc, labels, case = batch("rpn")
    positive = np.flatnonzero(case.labels[0] == 1)
    lowest = positive[np.argmin(ranked()[0])]
    kinds = {}
    for frozen in (False, True):
        config = Objective(cls=0, loc=0, joint_ranking=1.0, igr_ori=IGROriConstants(frozen=frozen))

        def total(loc, config=config):
            return combine(*objective.terms(config, architecture, cls, loc, labels, KEY))[0]

        gradient = objective.per_candidate(jax.jit(jax.grad(total))(loc), 4)[0]
        kinds[frozen] = np.abs(gradient).sum(axis=1) > 0
    assert kinds[False][positive].all()
    assert not kinds[True][lowest]
    assert kinds[True][positive].sum() == 7


def test_the_constants_of_classification_ranking_can_be_chosen():
    """The released form, image by image: the highest negatives, as many as positives, or at least so many as hard."""
    constants = CRConstants(beta=2.0, margin=0.25, threshold=0.97, hard_in_negative_pair=200)
    case, losses = batch("rpn")[4], []
    for p, label in zip(np.asarray(case.probabilities(case.logits)), np.asarray(case.labels), strict=True):
        low = np.sort(p[label == 0])[::-1]
        hard, count = int((low > 0.97).sum()), int((label == 1).sum())
        assert hard > 0
        taken = low[: count or max(hard, 200)]
        weights = np.exp(taken) / np.exp(taken).sum()
        above = p[label == 1].mean() if count else 1.0
        losses.append(np.log1p(np.exp(2.0 * (weights @ taken - above + 0.25))) / 2.0)
    found, _, _ = means_and_weights("rpn", Objective(classification_ranking=0.5, cr=constants))
    assert found["cr"] == pytest.approx(np.mean(losses), rel=1e-5)


def test_a_higher_threshold_of_classification_ranking_leaves_images_out():
    constants = CRConstants(threshold=1.0)
    counts = means_and_weights("ban", Objective(classification_ranking=0.5, cr=constants))[2]
    assert counts["cr"] == 0
    assert means_and_weights("ban", Objective(classification_ranking=0.5))[2]["cr"] == 2


def test_the_threshold_of_the_second_cross_entropy_can_be_chosen():
    case = batch("rpn")[4]
    p = np.asarray(case.probabilities(case.logits))
    hard = p[(case.labels == 0) & (p > 0.8)]
    found, _, counts = means_and_weights("rpn", Objective(hard_cls=1.0, hard_threshold=0.8))
    assert counts["cls_hard"] == len(hard) > 0
    assert found["cls_hard"] == pytest.approx(-np.log(1 - hard).mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CRConstants(beta=0.0), "beta of CRConstants must be greater than 0, not 0"),
        (lambda: CRConstants(threshold=-0.1), "threshold of CRConstants must be at least 0, not -0.1"),
        (lambda: IGROriConstants(alpha=0.0), "alpha of IGROriConstants must be greater than 0, not 0"),
        (lambda: Objective(hard_threshold=-1.0), "hard_threshold of Objective must be at least 0, not -1"),
    ],
)
def test_constants_that_make_no_sense_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_negatives_are_drawn_from_the_whole_batch_by_the_key():
    config = Objective(pooled_negatives=48)
    draws = [means_and_weights("rpn", config, jax.random.key(seed)) for seed in range(2)]
    assert draws[0][2]["cls_negative"] == draws[1][2]["cls_negative"] == 48
    assert draws[0][0]["cls_negative"] != draws[1][0]["cls_negative"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"loc": -1.0}, "loc of Objective must be at least 0, not -1"),
        ({"gamma": 0.0}, "gamma of Objective must be greater than 0, not 0"),
        ({"pooled_negatives": 0}, "pooled_negatives of Objective must be greater than 0, not 0"),
        ({"cls": 0.0, "loc": 0.0}, "an Objective needs a weight above 0"),
    ],
)
def test_an_objective_that_makes_no_sense_is_refused(wrong, message):
    with pytest.raises(UserError, match=message):
        Objective(**wrong)


# --- candidates and their boxes ------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["siamrpn_r50", "siamban_r50", "nanotrack_v2", "siamrpn_alex"])
def outputs(request):
    """An architecture (odd grids, an even one, another search region) and random maps of two images."""
    architecture = ARCHITECTURES[request.param]
    side, count = architecture.score_cells, 5 if architecture.kind == "anchors" else 1
    random = np.random.default_rng(0)
    cls = random.normal(size=(2, side, side, 2 * count)).astype(np.float32)
    loc = random.normal(size=(2, side, side, 4 * count)).astype(np.float32)
    return architecture, cls, np.exp(loc + 3) if architecture.kind == "points" else 0.3 * loc


def decoded(architecture, cls, loc):
    """Candidates of the image as a tracker sees them."""
    found = [
        grids.candidates(architecture.kind, architecture.stride_px, *map(jnp.asarray, one))
        for one in zip(cls, loc, strict=True)
    ]
    return np.stack([x.scores for x in found]), np.stack([x.boxes_cxcywh for x in found])


def test_candidates_are_in_the_trackers_order_and_their_boxes_the_trackers(outputs):
    architecture, cls, loc = outputs
    scores, boxes = decoded(*outputs)
    logits = objective.per_candidate(jnp.asarray(cls), 2)
    np.testing.assert_allclose(jax.nn.softmax(logits, axis=-1)[..., 1], scores, rtol=1e-6)
    predicted = objective.predicted_boxes(architecture, objective.per_candidate(jnp.asarray(loc), 4))
    # The tracker's are relative to the middle of the crop.
    middle = {255: 127, 287: 143}[architecture.search_px]
    np.testing.assert_allclose(predicted, boxes + np.asarray([middle, middle, 0, 0]), rtol=1e-6, atol=1e-4)


def numpy_iou(a, b):
    (ax, ay, aw, ah), (bx, by, bw, bh) = a, b
    width = min(ax + aw / 2, bx + bw / 2) - max(ax - aw / 2, bx - bw / 2)
    height = min(ay + ah / 2, by + bh / 2) - max(ay - ah / 2, by - bh / 2)
    shared = max(width, 0) * max(height, 0)
    return shared / (aw * ah + bw * bh - shared)


def test_overlaps_are_those_of_every_candidate_with_the_target(outputs):
    architecture, _, loc = outputs
    _, boxes = decoded(*outputs)
    targets = np.float32([[90, 100, 150, 130], [40, 60, 200, 220]])
    found = objective.overlaps(architecture, objective.per_candidate(jnp.asarray(loc), 4), jnp.asarray(targets))
    middle = architecture.search_px // 2
    for image, (x1, y1, x2, y2) in enumerate(targets.tolist()):
        target = ((x1 + x2) / 2 - middle, (y1 + y2) / 2 - middle, x2 - x1, y2 - y1)
        expected = [numpy_iou(box, target) for box in boxes[image].tolist()]
        np.testing.assert_allclose(found[image], expected, rtol=1e-4, atol=1e-5)
        assert max(expected) > 0.2
