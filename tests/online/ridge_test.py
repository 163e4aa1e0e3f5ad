import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.online import ridge

TARGET = np.array([50.0, 40.0, 30.0, 20.0], np.float32)


def problem(count=40, width=90, seed=0):
    """More features than samples; the features tell the boxes' offsets, with noise."""
    rng = np.random.default_rng(seed)
    shift = rng.uniform(-0.3, 0.3, (count, 2)) * TARGET[2:]
    extent = TARGET[2:] * 1.3 ** rng.uniform(-1, 1, (count, 2))
    boxes = np.concatenate([TARGET[:2] + TARGET[2:] / 2 + shift - extent / 2, extent], axis=1).astype(np.float32)
    mixing = rng.normal(size=(4, width))
    features = 5 + 10 * offsets(boxes) @ mixing + 2 * rng.normal(size=(count, width))
    return features.astype(np.float32), boxes, rng.uniform(size=count) < 0.7


def offsets(boxes):
    """Box by box, in plain Python."""
    found = []
    for x, y, w, h in boxes.astype(np.float64):
        dx = (TARGET[0] + TARGET[2] / 2 - (x + w / 2)) / w
        dy = (TARGET[1] + TARGET[3] / 2 - (y + h / 2)) / h
        found.append([dx, dy, np.log(TARGET[2] / w), np.log(TARGET[3] / h)])
    return np.array(found)


def free(x, y, penalty):
    """Ridge regression in the features, the constant not penalised: the normal equations of centred data."""
    middle, level = x.mean(axis=0), y.mean(axis=0)
    weights = np.linalg.solve(
        (x - middle).T @ (x - middle) + penalty * np.eye(x.shape[1]), (x - middle).T @ (y - level)
    )
    return lambda new: (new - middle) @ weights + level


def penalised(x, y, penalty):
    """R-CNN's: a feature that is always 1, whitened offsets."""
    level = y.mean(axis=0)
    covariance = (y - level).T @ (y - level) / len(y)
    values, vectors = np.linalg.eigh(covariance)
    whiten = vectors @ np.diag((values + 0.001) ** -0.5) @ vectors.T
    colour = vectors @ np.diag((values + 0.001) ** 0.5) @ vectors.T
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ ((y - level) @ whiten))
    return lambda new: np.concatenate([new, np.ones((len(new), 1))], axis=1) @ weights @ colour + level


fit = jax.jit(ridge.fit, static_argnames=("penalty", "constant"))


@pytest.mark.parametrize(("constant", "oracle"), [("free", free), ("penalised", penalised)])
@pytest.mark.parametrize(("penalty", "size"), [(1000.0, 1.0), (10.0, 1.0), (10.0, 0.02)])
def test_the_dual_solution_is_that_of_the_normal_equations_over_the_valid_samples(constant, oracle, penalty, size):
    features, boxes, valid = problem()
    features = np.float32(size) * features  # only of small features does the constant take part
    regressor = fit(features, boxes, TARGET, valid, penalty=penalty, constant=constant)
    assert (regressor.weights.shape, regressor.bias.shape) == ((90, 4), (4,))
    expected = oracle(features[valid].astype(np.float64), offsets(boxes)[valid], penalty)
    new = np.float32(size) * problem(seed=1)[0]
    found = new @ np.asarray(regressor.weights) + np.asarray(regressor.bias)
    np.testing.assert_allclose(found, expected(new.astype(np.float64)), atol=2e-4)
    assert np.abs(found).max() > 0.02


@pytest.mark.parametrize("penalty", [1000.0, 10.0])
def test_the_free_constant_is_scikit_learns(penalty):
    linear_model = pytest.importorskip("sklearn.linear_model")
    features, boxes, valid = problem()
    regressor = fit(features, boxes, TARGET, valid, penalty=penalty)
    expected = linear_model.Ridge(alpha=penalty).fit(features[valid].astype(np.float64), offsets(boxes)[valid])
    np.testing.assert_allclose(regressor.weights, expected.coef_.T, atol=1e-5)
    np.testing.assert_allclose(regressor.bias, expected.intercept_, atol=2e-4)


def test_samples_that_do_not_count_may_be_anything():
    features, boxes, valid = problem()
    wrong = np.where(valid[:, None], features, np.nan)
    for constant in ("free", "penalised"):
        for a, b in zip(
            fit(features, boxes, TARGET, valid, penalty=10.0, constant=constant),
            fit(wrong, boxes, TARGET, valid, penalty=10.0, constant=constant),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("constant", ["free", "penalised"])
def test_without_a_sample_boxes_stay_as_they_are(constant):
    features, boxes, _ = problem()
    regressor = fit(features, boxes, TARGET, np.zeros(40, bool), penalty=1000.0, constant=constant)
    np.testing.assert_allclose(ridge.predict(regressor, features, boxes), boxes, atol=1e-4)


@pytest.mark.parametrize("constant", ["free", "penalised"])
def test_features_that_are_too_large_for_the_solution_leave_boxes_as_they_are(constant):
    """Along one line 1000 samples of a mean square norm of 1e8 make 1e11, which float32 has to 8192: 1000 is lost."""
    _, boxes, _ = problem(1000)
    features = np.random.default_rng(0).normal(size=(1000, 1)) @ np.ones((1, 200))
    features = (features * np.sqrt(1e8 / np.mean(np.sum(features**2, axis=1)))).astype(np.float32)
    regressor = fit(features, boxes, TARGET, np.ones(1000, bool), penalty=1000.0, constant=constant)
    np.testing.assert_array_equal(regressor.weights, np.zeros((200, 4)))
    np.testing.assert_array_equal(regressor.bias, np.zeros(4))
    np.testing.assert_allclose(ridge.predict(regressor, features, boxes), boxes, atol=1e-4)


def test_boxes_come_nearer_to_the_target_also_those_that_were_not_learnt_from():
    features, boxes, valid = problem()
    regressor = fit(features, boxes, TARGET, valid, penalty=100.0)
    found = np.asarray(ridge.predict(regressor, features, boxes))
    for part in (valid, ~valid):
        assert np.abs(found - TARGET)[part].mean() < 0.4 * np.abs(boxes - TARGET)[part].mean()


def constant_regressor(*values):
    """A regressor that gives every box the same offsets."""
    return ridge.Regressor(jnp.zeros((1, 4)), jnp.asarray(values, jnp.float32))


predict = functools.partial(ridge.predict, features=jnp.zeros((1, 1)))


def test_predictions_are_clipped_as_pytorch_mdnet_does_and_only_if_asked():
    size = jnp.asarray([100, 200], jnp.int32)
    # Half a box to the left and up, and twice as large: from (10, 5, 40, 20) to (-30, -15, 80, 40).
    far = constant_regressor(-0.5, -0.5, np.log(2), np.log(2))
    box = jnp.asarray([[10.0, 5.0, 40.0, 20.0]])
    np.testing.assert_allclose(predict(far, boxes=box), [[-30, -15, 80, 40]], rtol=1e-5)
    np.testing.assert_allclose(predict(far, boxes=box, size=size), [[0, 0, 80, 40]], rtol=1e-5)
    # At (150, 70) there are 50 x 30 pixels of the image left, wherever the corrected box's own corner is.
    box = jnp.asarray([[150.0, 70.0, 40.0, 20.0]])
    np.testing.assert_allclose(predict(far, boxes=box, size=size), [[110, 50, 50, 30]], rtol=1e-5)


def test_features_of_sixteen_bits_are_accepted():
    features, boxes, valid = problem()
    half = features.astype(jnp.bfloat16)
    regressor = fit(half, boxes, TARGET, valid, penalty=10.0)
    same = fit(np.asarray(half, np.float32), boxes, TARGET, valid, penalty=10.0)
    np.testing.assert_array_equal(regressor.weights, same.weights)
    np.testing.assert_array_equal(ridge.predict(regressor, half, boxes), ridge.predict(same, half, boxes))
