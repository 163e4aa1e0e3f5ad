"""TADT's regressor of the target's place: its geometry, its training, what it makes of channels."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate2d
from tadt_synthetic import CELLS, distance

from jaxtrack.errors import UserError
from jaxtrack.online import channel_regression as regression
from jaxtrack.online.channel_regression import Problem, Regression

EVERY = np.ones((CELLS, CELLS), bool)
SIDES = np.array([5, 7], np.int32)  # the template's height and width


def problem(maps, where=EVERY, sides=SIDES):
    target = regression.label(maps.shape[1], jnp.asarray(sides))
    return Problem(jnp.asarray(maps, jnp.float32), target, jnp.asarray(regression.taps(sides)), jnp.asarray(where))


@functools.cache
def learner(config):
    return jax.jit(lambda given: regression.learn(config, given))


def bump(y, x, width=1.5):
    """A blob about a cell."""
    return np.exp(-(distance(y=y, x=x) ** 2) / (2 * width**2))


def known_channels(seed=0, noise=0.05):
    """16 maps, of which 3, 7, 8 and 12 are active where the target is, and only there; others elsewhere."""
    rng = np.random.default_rng(seed)
    maps = np.zeros((16, CELLS, CELLS))
    for channel in maps:
        places = [place for place in rng.uniform(0, 20, (30, 2)) if np.hypot(*(place - 10)) > 6]
        for y, x in places[:3]:
            channel += rng.uniform(0.5, 2) * bump(y, x, rng.uniform(1, 2))
    maps[0] = 1
    maps[4] = 1 - bump(10, 10, 3)  # active all over but at the target
    for channel, gain in ((3, 1), (7, 1.5), (8, 2), (12, 0.7)):
        maps[channel] = gain * bump(10, 10)
    maps += noise * np.abs(rng.normal(size=maps.shape))
    maps[5] = 0
    return maps


FOLLOWING = {3, 7, 8, 12}


# --- geometry ----------------------------------------------------------------------------------------------------


def test_the_regressor_is_a_little_larger_than_the_template():
    assert regression.taps(np.array([13, 15])).tolist() == [15, 17]  # tadt.md, section 5 and vector 2
    assert regression.taps(1) == 3


def test_the_label_falls_by_a_fifth_of_a_logarithm_at_a_tenth_of_the_template():
    label = np.asarray(regression.label(45, jnp.asarray([20, 10])))
    assert label[22, 22] == 1
    assert label[22 + 2, 22] == pytest.approx(0.8187, abs=1e-4)  # vector 3: one deviation of 2 cells
    assert label[22 - 4, 22] == pytest.approx(0.4493, abs=1e-4)  # two
    assert label[22, 22 + 1] == pytest.approx(0.8187, abs=1e-4)
    assert label[22 + 2, 22 - 2] == pytest.approx(0.8187 * 0.4493, abs=1e-4)


def test_the_middle_rectangle():
    found = np.asarray(regression.central(7, jnp.asarray([3, 5])))
    expected = np.zeros((7, 7), bool)
    expected[2:5, 1:6] = True
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("cells", "taps"), [(21, 17), (15, 3), (45, 33)])
def test_the_prediction_is_the_correlation_with_zeros_around(cells, taps):
    rng = np.random.default_rng(0)
    maps, weights = rng.normal(size=(3, cells, cells)), rng.normal(size=(3, taps, taps))
    found = regression.predict(jnp.float32(maps), jnp.float32(weights))
    expected = sum(correlate2d(x, w, mode="same") for x, w in zip(maps, weights, strict=True))
    np.testing.assert_allclose(found, expected, atol=2e-3)


# --- the ridge regression ----------------------------------------------------------------------------------------


def least_squares(given, ridge):
    """The solution of eq. 3 with a bias by its normal equations, `[C, h, w]`, float64."""
    maps, (height, width) = np.asarray(given.maps, np.float64), np.asarray(given.sides)
    channels, cells, _ = maps.shape
    where = np.asarray(given.where)
    maps = np.where(where, maps - maps[:, where].mean(axis=1)[:, None, None], 0)
    maps = maps / np.sqrt((maps**2).sum() / (channels * np.asarray(given.where).sum()))
    padded = np.pad(maps, ((0, 0), (height // 2,) * 2, (width // 2,) * 2))
    rows = [padded[:, i : i + height, j : j + width].ravel() for i, j in np.ndindex(cells, cells) if where[i, j]]
    design, target = np.stack(rows), np.asarray(given.target, np.float64)[where]
    target = target - target.mean()
    strength = ridge * design.shape[1]
    weights = np.linalg.solve(design.T @ design + strength * np.eye(design.shape[1]), design.T @ target)
    return weights.reshape(channels, height, width)


def test_conjugate_gradients_solve_the_ridge_regression():
    where = np.asarray(regression.central(CELLS, jnp.asarray([17, 17])))
    maps = np.where(where, np.random.default_rng(1).normal(size=(2, CELLS, CELLS)), 0)
    given = problem(maps, where, np.array([3, 5], np.int32))
    learned, importance = learner(Regression(iterations=200, stop=0.0, ridge=0.1))(given)
    expected = least_squares(given, 0.1)
    middle = learned.weights.shape[1] // 2
    inner = learned.weights[:, middle - 2 : middle + 3, middle - 3 : middle + 4]
    np.testing.assert_allclose(inner, expected, atol=2e-4)
    assert jnp.sum(jnp.abs(learned.weights)) == pytest.approx(float(jnp.sum(jnp.abs(inner))), rel=1e-5)
    np.testing.assert_allclose(importance, expected.sum(axis=(1, 2)), atol=2e-3)


def test_it_stops_at_an_error_of_002_or_after_50_iterations():
    easy = problem(np.random.default_rng(0).normal(size=(16, CELLS, CELLS)))
    learned, _ = learner(Regression(ridge=1e-6))(easy)
    assert float(learned.error) < 0.02
    assert 0 < int(learned.iterations) < 50
    before, _ = learner(Regression(ridge=1e-6, iterations=int(learned.iterations) - 1))(easy)
    assert float(before.error) >= 0.02
    hard, _ = learner(Regression(ridge=1e-6))(problem(np.repeat(bump(3, 4)[None], 16, axis=0)))
    assert int(hard.iterations) == 50


def test_it_stops_where_the_ridge_lets_nothing_more_be_learned():
    given = problem(known_channels())
    learned, importance = learner(Regression())(given)
    assert 0 < int(learned.iterations) < 40
    assert float(learned.error) > 0.02  # it is not the error that has ended it
    np.testing.assert_allclose(importance, least_squares(given, 1.0).sum(axis=(1, 2)), atol=2e-6)  # of 2e-2


def test_channels_that_follow_the_target_and_no_others_are_most_important():
    for seed in range(5):
        _, importance = learner(Regression())(problem(known_channels(seed)))
        assert set(np.argsort(-importance)[:4].tolist()) == FOLLOWING
        assert importance[5] == 0
        assert importance[0] < 0.5 * min(importance[channel] for channel in FOLLOWING)


def test_under_a_smaller_ridge_channels_that_follow_other_things_go_first():
    for seed in range(3):
        _, importance = learner(Regression(ridge=0.1))(problem(known_channels(seed)))
        assert set(np.argsort(-importance)[:4].tolist()) != FOLLOWING


def test_the_activations_scale_does_not_matter():
    one = learner(Regression())(problem(known_channels()))[1]
    other = learner(Regression())(problem(1000 * known_channels()))[1]
    np.testing.assert_allclose(one, other, rtol=1e-2, atol=1e-4)


def test_the_mean_gradient_is_the_weights_sum_times_the_errors():
    # docs/tadt.md: were it not for the border, the mean of -dL/dX_c would be 2 sum (Y - P) sum W_c / n^2: of the sign
    # that the sum of the errors happens to have. By hand: every error passes back to the cells under the kernel.
    given = problem(known_channels())
    learned, _ = learner(Regression())(given)
    _, gradient = learner(Regression(importance="gradient"))(given)
    centred = regression._centred(given)
    level = np.sqrt(np.mean(np.asarray(centred.maps) ** 2))
    errors = np.asarray(centred.target - regression.predict(centred.maps / level, learned.weights))
    weights = np.asarray(learned.weights)
    reach = weights.shape[1] // 2
    expected = np.zeros(16)
    for i, j in np.ndindex(CELLS, CELLS):
        rows, columns = (slice(max(reach - k, 0), min(reach - k + CELLS, 2 * reach + 1)) for k in (i, j))
        expected += 2 * errors[i, j] * weights[:, rows, columns].sum(axis=(1, 2))
    np.testing.assert_allclose(gradient, expected / CELLS**2, rtol=1e-2, atol=1e-3 * np.abs(gradient).max())


@pytest.mark.parametrize("config", [Regression(), Regression(importance="gradient"), Regression("released")])
def test_maps_of_nothing_but_zeros_teach_nothing(config):
    learned, importance = learner(config)(problem(np.zeros((3, CELLS, CELLS))))
    assert np.isfinite(float(learned.error))
    np.testing.assert_array_equal(importance, 0)


# --- the released program ----------------------------------------------------------------------------------------


def test_the_released_errors_have_a_dead_zone_and_two_weights():
    predicted, target = jnp.asarray([[0.05, 0.5], [1.2, 0.0]]), jnp.asarray([[0.0, 0.0], [1.0, 0.5]])
    where = jnp.asarray([[True, True], [True, False]])
    loss, slope = regression.released_errors(predicted, target, where)
    assert float(loss) == pytest.approx(0.25 + np.exp(2) * 0.04, rel=1e-5)
    np.testing.assert_allclose(slope, [[0, 2 / 3 * 0.5], [2 / 3 * np.e * 0.2, 0]], rtol=1e-5)


def test_adams_first_step_is_the_rate_in_the_direction_of_the_target():
    rate = 1e-3
    maps = np.zeros((1, CELLS, CELLS))
    maps[0, 10, 10] = 100.0
    learned, importance = learner(Regression("released", iterations=1, rate=rate, decay=0.0))(problem(maps))
    errors = np.asarray(problem(maps).target)
    errors = np.where(errors >= 0.1, errors, 0)
    # The tap at t looks from cell 10 - t: it learns where the label there is beyond the dead zone.
    learns = (errors[::-1, ::-1][2:-2, 2:-2] > 0) & regression.central(17, jnp.asarray(regression.taps(SIDES)))
    assert learns.sum() > 8
    np.testing.assert_allclose(learned.weights[0][learns], rate, rtol=1e-3)
    assert float(importance[0]) == pytest.approx(float(jnp.sum(learned.weights)), rel=1e-5)


def test_the_bias_learns_twice_as_fast():
    given = problem(np.zeros((1, CELLS, CELLS)))  # from which nothing else can be learned
    learned, _ = learner(Regression("released", iterations=2, rate=0.06))(given)
    target = np.asarray(given.target, np.float64)
    errors = 0.12 - target  # after the first step, the error before the second
    expected = ((np.exp(target) * errors)[np.abs(errors) >= 0.1] ** 2).sum()
    assert float(learned.error) == pytest.approx(expected, rel=1e-4)


def test_the_decay_is_a_part_of_the_gradient():
    """By hand: the first step is the rate; so large a decay alone is the second one's gradient, g.

    The mean is then 0.1 g / (1 - 0.9^2), the square 0.001 g^2 / (1 - 0.999^2): 0.744 of the rate back.
    """
    rate, decay = 1e-3, 1e9
    maps = np.zeros((1, CELLS, CELLS))
    maps[0, 10, 10] = 100.0
    learned, _ = learner(Regression("released", iterations=2, rate=rate, decay=decay))(problem(maps))
    middle = learned.weights.shape[1] // 2
    back = 0.1 / (1 - 0.9**2) / math.sqrt(0.001 / (1 - 0.999**2))
    assert float(learned.weights[0, middle, middle]) == pytest.approx((1 - back) * rate, rel=1e-3)


def test_the_released_program_ends_as_soon_as_the_error_is_below_002():
    maps = np.zeros((1, CELLS, CELLS))
    maps[0, 10, 10] = 100.0  # every tap learns one cell of the label, 0.1 in an iteration
    config = Regression("released", rate=1e-3, decay=0.0)
    learned, _ = learner(config)(problem(maps))
    assert 5 < int(learned.iterations) < 50
    assert float(learned.error) < 0.02
    before, _ = learner(dataclasses.replace(config, iterations=int(learned.iterations) - 1))(problem(maps))
    assert float(before.error) >= 0.02


def test_within_the_dead_zone_nothing_is_learned():
    learned, importance = learner(Regression("released", dead_zone=1.01))(problem(known_channels()))
    assert (float(learned.error), int(learned.iterations)) == (0, 1)
    np.testing.assert_array_equal(importance, 0)


def test_maps_are_brought_to_the_activations_that_the_steps_of_the_released_program_are_for():
    config = Regression("released", iterations=3, activation=20.0)
    given = known_channels()[[3, 7, 8]]
    one, other = (learner(config)(problem(scale * given))[1] for scale in (1, 1000))
    np.testing.assert_allclose(one, other, rtol=1e-3)
    level = 20 / np.sqrt(np.mean(given**2))
    as_they_are = learner(dataclasses.replace(config, activation=0.0))(problem(level * given))[1]
    np.testing.assert_allclose(one, as_they_are, rtol=1e-3)


def test_the_released_program_also_finds_the_channels_that_follow_the_target():
    config = Regression("released", iterations=100, activation=20.0)
    learned, importance = learner(config)(problem(known_channels()))
    assert int(learned.iterations) <= 100
    # It has no taste for channels that are everywhere: the constant one may be among the first.
    assert set(np.argsort(-importance)[:6].tolist()) >= FOLLOWING


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"solver": "sgd"}, "solver of Regression must be one of conjugate, released, not 'sgd'"),
        ({"importance": "mean"}, "importance of Regression must be one of weights, gradient, not 'mean'"),
        ({"iterations": 0}, "iterations of Regression must be greater than 0"),
        ({"ridge": -1.0}, "ridge of Regression must be at least 0"),
    ],
)
def test_a_regression_that_cannot_be_learned_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        Regression(**change)
