import jax
import jax.numpy as jnp
import numpy as np
import pytest
import siamese_losses
from gradients import assert_gradients

from jaxtrack import boxes
from jaxtrack.losses.reduction import mean
from jaxtrack.losses.regression import box_l1, giou, giou_loss, iou, l1, ltrb_iou_loss, ridge, smooth_l1


def single(value):
    return jnp.asarray(value, jnp.float32)


def test_golden_value_of_the_l1_loss():
    case = siamese_losses.rpn()
    term = l1(single(case.loc), single(case.regression), single(case.weight))
    assert float(mean(term)) == pytest.approx(0.248329, abs=1e-6)
    assert float(term.count) == 2


def test_golden_value_of_the_iou_loss():
    case = siamese_losses.ban()
    term = ltrb_iou_loss(single(case.loc), single(case.regression), case.labels == 1)
    assert float(mean(term)) == pytest.approx(0.443546, abs=1e-6)
    assert float(term.count) == 14


def test_l1_and_smooth_l1_by_hand():
    predicted = single([[[1.0, -2.0, 0.25, 0.0], [9, 9, 9, 9]], [[3, 0, 0, 0], [0, 0, 0, 0.5]]])
    target, weight = jnp.zeros((2, 2, 4)), single([[0.5, 0.0], [1.0, 2.0]])
    assert [float(x) for x in l1(predicted, target, weight)] == [0.5 * 3.25 + 3 + 2 * 0.5, 2]
    # With beta 1: 0.5, 1.5, 0.03125; 2.5; 0.125. With beta 2: 0.25, 1, 0.015625; 2; 0.0625.
    assert float(smooth_l1(predicted, target, weight).sum) == 0.5 * 2.03125 + 2.5 + 2 * 0.125
    assert float(smooth_l1(predicted, target, weight, beta=2.0).sum) == 0.5 * 1.265625 + 2 + 2 * 0.0625


@pytest.mark.parametrize("loss", [l1, smooth_l1])
def test_offsets_without_weight_leave_no_trace(loss):
    predicted = single([[[0.5, 1, 2, 3], [np.nan, np.inf, 0, 0]], [[1, 2, 3, 4], [5, 6, 7, 8]]])
    target = single([[[0, 0, 0, 0], [0, 0, -np.inf, np.nan]], [[0, 0, 0, 0], [0, 0, 0, 0]]])
    weight = single([[1, 0], [0, 0]])
    value, gradient = jax.jit(jax.value_and_grad(lambda x: mean(loss(x, target, weight))))(predicted)
    assert np.isfinite(float(value))
    assert np.all(np.asarray(gradient[0, 0]) > 0)
    np.testing.assert_array_equal(gradient[0, 1], 0)
    np.testing.assert_array_equal(gradient[1], 0)


def distances(seed=0, shape=(2, 3)):
    return np.random.default_rng(seed).uniform(2, 20, (*shape, 4))


def test_the_iou_loss_by_hand_and_where_it_vanishes():
    predicted, target = single([[[2, 3, 4, 5], [1, 1, 1, 1]]]), single([[[3, 1, 4, 2], [1, 1, 1, 1]]])
    total, count = ltrb_iou_loss(predicted, target, jnp.ones((1, 2), bool))
    shared, union = (2 + 4) * (1 + 2), 6 * 8 + 7 * 3 - 18
    assert float(total) == pytest.approx(1 - (shared + 1) / (union + 1), rel=1e-6)
    assert float(count) == 2


@pytest.mark.parametrize("loss", [ltrb_iou_loss, giou_loss])
def test_samples_that_do_not_count_leave_no_trace(loss):
    predicted = single(distances()).at[0, 1].set(np.nan).at[1, 2].set(-0.5)
    target = single(distances(1)).at[0, 1].set(0)
    where = jnp.asarray([[True, False, True], [False, True, False]])
    clean = jnp.where(where[..., None], predicted, 7.0)
    compute = jax.jit(jax.value_and_grad(lambda x, where: mean(loss(x, target, where))))
    value, gradient = compute(predicted, where)
    assert float(value) == pytest.approx(float(compute(clean, where)[0]))
    np.testing.assert_array_equal(np.any(gradient != 0, axis=-1), where)
    value, gradient = compute(predicted, jnp.zeros_like(where))
    assert float(value) == 0
    np.testing.assert_array_equal(gradient, 0)


def random_boxes(count, seed):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.uniform(0, 10, (count, 2)), rng.uniform(1, 12, (count, 2))], axis=-1)


def overlaps_by_loop(a, b):
    """IoU and GIoU of two boxes (cx, cy, w, h)."""
    a, b = ((x - w / 2, y - h / 2, x + w / 2, y + h / 2) for x, y, w, h in (a, b))
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = width * height if width > 0 and height > 0 else 0
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return shared / union, shared / union - (hull - union) / hull


def test_overlaps_agree_with_a_plain_loop_and_with_the_boxes_of_trackers():
    a, b = random_boxes(40, 0), random_boxes(40, 1)
    expected = np.asarray([overlaps_by_loop(x, y) for x, y in zip(a, b, strict=True)])
    assert (expected[:, 0] == 0).any()
    assert (expected[:, 1] < 0).any()
    found = np.stack([iou(single(a), single(b)), giou(single(a), single(b))], axis=-1)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    corner = [boxes.box_from_cxcywh(x) for x in (a, b)]
    np.testing.assert_allclose(found[:, 0], boxes.iou(*corner), atol=1e-5)


def test_giou_by_hand():
    # Unit squares a unit apart: union 2, hull 3. A box and its left half: IoU = GIoU = 1/2.
    a, b = single([[0.5, 0.5, 1, 1], [2, 2, 4, 4]]), single([[2.5, 0.5, 1, 1], [1, 2, 2, 4]])
    np.testing.assert_allclose(giou(a, b), [-1 / 3, 0.5], rtol=1e-6)
    total, count = giou_loss(a[None], b[None], jnp.ones((1, 2), bool))
    assert float(total) == pytest.approx(4 / 3 + 0.5)
    assert float(count) == 2


def test_one_target_serves_all_boxes_of_an_image():
    a, b = single(random_boxes(6, 2)).reshape(2, 3, 4), single(random_boxes(2, 3))
    every = jnp.broadcast_to(b[:, None], a.shape)
    np.testing.assert_array_equal(iou(a, b[:, None]), iou(a, every))
    where = jnp.asarray([[True, False, True]] * 2)
    np.testing.assert_array_equal(giou_loss(a, b[:, None], where), giou_loss(a, every, where))


@pytest.mark.parametrize("overlap", [iou, giou])
def test_boxes_without_area_have_finite_overlaps_and_gradients(overlap):
    a = single([[3, 3, 0, 0], [3, 3, 0, 0], [3, 3, 2, 2], [3, 3, 0, 5]])
    b = single([[3, 3, 0, 0], [3, 3, 4, 4], [0, 0, 0, 0], [3, 3, 0, 5]])
    value, gradient = jax.jit(jax.value_and_grad(lambda *ab: jnp.sum(overlap(*ab)), (0, 1)))(a, b)
    assert np.isfinite(float(value))
    assert np.all(np.isfinite(gradient))
    if overlap is iou:
        assert float(value) == 0
        np.testing.assert_array_equal(gradient[0][0], 0)


def test_gradients_are_those_of_finite_differences():
    rng = np.random.default_rng(5)
    predicted, target = rng.normal(0, 1, (2, 2, 4)), rng.normal(0, 1, (2, 2, 4))
    weight = np.asarray([[0.5, 0], [1, 2]])
    assert_gradients(lambda x: mean(l1(x, target, weight)), predicted)
    assert_gradients(lambda x: mean(smooth_l1(x, target, weight, beta=0.7)), predicted)
    assert_gradients(lambda x: mean(box_l1(x, target, weight > 0)), predicted)
    where = np.asarray([[True, False, True], [True, True, False]])
    assert_gradients(lambda x: 10 * mean(ltrb_iou_loss(x, distances(1), where)), distances())
    a, b = random_boxes(6, 0).reshape(2, 3, 4), random_boxes(6, 1).reshape(2, 3, 4)
    assert_gradients(lambda a, b: jnp.sum(iou(a, b)), a, b)
    assert_gradients(lambda a, b: jnp.sum(giou(a, b)), a, b)
    assert_gradients(lambda a: mean(giou_loss(a, b, where)), a)


# --- ridge regression of maps ------------------------------------------------------------------------------------


def test_the_ridge_loss_by_hand():
    predicted, target = single([[1, 2], [3, np.nan]]), single([[0, 2], [5, np.inf]])
    where = jnp.asarray([[True, True], [True, False]])
    loss, count = ridge(predicted, target, single([1, -2]), single(0.5), where)
    assert float(loss) == 1 + 0 + 4 + 0.5 * (1 + 4)
    assert float(count) == 3


def correlated(maps, kernel):
    """W * X, valid, spelt out."""
    height, width = maps.shape[0] - kernel.shape[0] + 1, maps.shape[1] - kernel.shape[1] + 1
    rows = [
        [jnp.sum(maps[i : i + kernel.shape[0], j : j + kernel.shape[1]] * kernel) for j in range(width)]
        for i in range(height)
    ]
    return jnp.stack([jnp.stack(row) for row in rows])


def test_the_ridge_losses_gradients_are_those_of_finite_differences_and_eq_4s_but_for_the_sign():
    rng = np.random.default_rng(0)
    maps, kernel, target = rng.normal(size=(5, 4)), rng.normal(size=(2, 3)), rng.normal(size=(4, 2))
    where = np.ones((4, 2), bool)

    def loss(maps, kernel):
        return ridge(correlated(maps, kernel), target, kernel, 0.3 * jnp.ones((), maps.dtype), where).sum

    assert_gradients(loss, maps, kernel)
    with jax.enable_x64(True):
        found = jax.grad(loss)(maps, kernel)
        residual = target - np.asarray(correlated(maps, kernel))
    printed = np.zeros_like(maps)  # eq. 4: sum over the cells (i, j) of 2 (Y(i, j) - X_o(i, j)) W
    for i, j in np.ndindex(4, 2):
        printed[i : i + 2, j : j + 3] += 2 * residual[i, j] * kernel
    np.testing.assert_allclose(found, -printed, rtol=1e-9)


def test_l1_of_boxes_counts_the_positives():
    predicted = single([[[1.0, -2.0, 0.25, 0.5], [9, 9, np.nan, 9]], [[3, 0, 0, 0], [0, 0, 0, 0.5]]])
    where = jnp.asarray([[True, False], [True, True]])
    loss = jax.jit(lambda predicted: box_l1(predicted, jnp.zeros((2, 2, 4)), where))
    assert [float(x) for x in loss(predicted)] == [3.75 + 3 + 0.5, 3]
    gradient = np.asarray(jax.grad(lambda predicted: loss(predicted).sum)(predicted))
    np.testing.assert_array_equal(gradient[0], [[1, -1, 1, 1], [0, 0, 0, 0]])
