"""TADT's predictor of the scale: its samples, its training, what it makes of channels; and an untrained one."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tadt_synthetic import CELLS, distance

from jaxtrack.errors import UserError
from jaxtrack.losses.ranking import smooth_pairwise
from jaxtrack.models import resampling
from jaxtrack.online import channel_regression, scale_ranking
from jaxtrack.online.scale_ranking import Ranking

SIDES = jnp.asarray([7, 9])
WINDOW = jnp.asarray(CELLS)


def known_channels():
    """12 maps; 1, 4 and 9 are strongest at the true scale: a ring that lies just within the regressor's taps.

    Those that are the same at all scales, or weakest at the true one, are the others.
    """
    ring = np.exp(-((distance() - 4) ** 2) / 1.5)
    maps = np.full((12, CELLS, CELLS), 0.5)
    maps[[1, 4, 9]] = np.array([1, 2, 0.7])[:, None, None] * ring
    maps[[2, 6]] = 2 - ring
    maps[3] = 0
    return jnp.asarray(maps, jnp.float32)


RESPONDING = {1, 4, 9}


@functools.cache
def program(config):
    def run(maps, key):
        return scale_ranking.scale_importance(config, maps, WINDOW, SIDES, key)

    return jax.jit(run)


@functools.cache
def samples():
    return jax.jit(scale_ranking.samples)(known_channels(), WINDOW, SIDES)


def test_a_kernel_of_17_cells_in_45_gives_29_scales():
    ratio, where = scale_ranking.scales(45, jnp.asarray(45), jnp.asarray([17, 15]))
    there = np.asarray(ratio)[np.asarray(where)]
    np.testing.assert_allclose(there * 45, np.arange(17, 74, 2), rtol=1e-6)  # tadt.md, section 6
    assert there[[0, -1]] == pytest.approx([0.378, 1.622], abs=1e-3)
    _, none = scale_ranking.scales(45, jnp.asarray(9), jnp.asarray([9, 9]))
    assert none.sum() == 1


def test_samples_are_the_maps_resized_and_cut():
    maps, found = np.asarray(known_channels()), samples()
    steps = np.flatnonzero(found.where)
    expected = []
    for side in CELLS + 2 * (steps - CELLS // 2):
        ratio = side / CELLS
        positions = [CELLS // 2 + np.arange(-(n // 2), n // 2 + 1) / ratio for n in (7, 9)]
        rows, columns = (
            np.asarray(resampling.bilinear(jnp.asarray(p, jnp.float32), jnp.float32(ratio), CELLS)) for p in positions
        )
        expected.append(np.stack([rows @ one @ columns.T for one in maps]))
    flat = np.stack(expected).reshape(len(steps), -1)
    np.testing.assert_allclose(np.asarray(found.products)[np.ix_(steps, steps)], flat @ flat.T, rtol=1e-4)
    np.testing.assert_allclose(np.asarray(found.sums)[steps], np.stack(expected).sum(axis=(2, 3)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        found.distance[steps], np.abs(CELLS + 2 * (steps - CELLS // 2) - CELLS) / CELLS, atol=1e-6
    )
    assert not np.asarray(found.products)[~np.asarray(found.where)].any()


def test_samples_and_scores_are_exact_on_gpus_too():
    def run(maps):
        return scale_ranking.scale_importance(Ranking(), maps, WINDOW, SIDES, jax.random.key(0))

    products = str(jax.make_jaxpr(run)(known_channels())).split("dot_general[")[1:]
    assert len(products) == 5
    assert all("HIGHEST" in product.split("] ")[0] for product in products)


def test_the_ring_is_strongest_at_the_true_scale():
    sums = np.asarray(samples().sums)[np.asarray(samples().where)]
    assert {int(c) for c in np.flatnonzero(sums.argmax(axis=0) == len(sums) // 2) if np.ptp(sums[:, c]) > 1e-3} == (
        RESPONDING
    )


def test_the_loss_falls_in_every_iteration_and_stops_where_it_is_told_to():
    # 13 scales, two of them k = 1 to 6 steps away: each of these has 2 k - 1 nearer ones.
    first = last = math.log(1 + 2 * sum(2 * k - 1 for k in range(1, 7)))
    for iterations in (1, 5, 50):
        ranked, _ = scale_ranking.learn_scale(Ranking(iterations=iterations), samples())
        assert int(ranked.iterations) == iterations
        assert float(ranked.loss) < last
        last = float(ranked.loss)
    ranked, _ = scale_ranking.learn_scale(Ranking(iterations=50, stop=(first + last) / 2), samples())
    assert 0 < int(ranked.iterations) < 50


@pytest.mark.parametrize(("pairs", "count"), [("all", 2 * sum(2 * k - 1 for k in range(1, 7))), ("adjacent", 12)])
def test_before_the_training_every_pair_of_the_13_scales_counts_one(pairs, count):
    ranked, _ = scale_ranking.learn_scale(Ranking(pairs=pairs, stop=99.0), samples())
    assert int(ranked.iterations) == 0
    assert float(ranked.loss) == pytest.approx(math.log(1 + count), rel=1e-6)


def test_the_training_is_gradient_descent_on_the_kernel():
    """Sample by sample, with all weights spelt out."""
    rng = np.random.default_rng(0)
    flat, where = rng.normal(size=(5, 8)), np.ones(5, bool)
    apart = np.array([0.4, 0.2, 0.0, 0.2, 0.4])
    found = scale_ranking.Samples(
        *(jnp.asarray(x, jnp.float32) for x in (flat @ flat.T, flat.reshape(5, 2, 4).sum(axis=2), apart)),
        jnp.asarray(where),
    )
    rate = 1 / max(((a - b) ** 2).sum() for a in flat for b in flat)
    kernel = np.zeros(8)
    for _ in range(4):
        slope = jax.grad(lambda f: smooth_pairwise(f, jnp.asarray(apart, jnp.float32), where))(
            jnp.asarray(flat @ kernel, jnp.float32)
        )
        kernel -= rate * np.asarray(slope) @ flat
    ranked, importance = scale_ranking.learn_scale(Ranking(iterations=4), found)
    np.testing.assert_allclose(ranked.scores, flat @ kernel, rtol=1e-4)
    np.testing.assert_allclose(importance, kernel.reshape(2, 4).sum(axis=1), rtol=1e-4)


def test_a_trained_predictor_finds_the_channels_that_respond_to_the_scale():
    importance = np.asarray(program(Ranking())(known_channels(), jax.random.key(0)))
    assert set(np.argsort(-importance)[:3].tolist()) == RESPONDING
    # Only rounding is worth more than 0 besides.
    assert set(np.flatnonzero(importance > 1e-4 * importance.max()).tolist()) == RESPONDING


def test_a_trained_predictor_does_not_depend_on_the_key():
    one, other = (program(Ranking())(known_channels(), jax.random.key(seed)) for seed in (0, 1))
    np.testing.assert_array_equal(one, other)


def test_an_untrained_predictor_finds_a_random_half():
    """The released program's: what responds to the scale is chosen as often as what does not."""
    found = [program(Ranking(predictor="untrained"))(known_channels(), jax.random.key(seed)) > 0 for seed in range(200)]
    share = np.mean(found, axis=0)
    np.testing.assert_allclose(share, 0.5, atol=0.15)  # four deviations
    assert np.mean(np.all(np.asarray(found)[:, sorted(RESPONDING)], axis=1)) < 0.25
    np.testing.assert_array_equal(
        found[7], program(Ranking(predictor="untrained"))(jnp.zeros((12, 3, 3)), jax.random.key(7)) > 0
    )


def test_why_what_an_untrained_predictor_finds_is_random():
    """The released way, spelt out: one backward pass, its gradient summed over samples and cells of a channel.

    By eq. 7 every sample passes back its own share of one kernel; the shares of an untrained predictor add up to
    nothing, so that what remains is the kernel's random sum times a tiny number, whatever the maps are.
    """
    rng = np.random.default_rng(0)
    count, taps = 29, 17 * 17
    apart = np.abs(np.arange(count) - count // 2) / 22.5
    for adjacent in ("all", "adjacent"):
        for maps in (np.abs(rng.normal(size=(count, 6, taps))), rng.uniform(0, 9, (count, 6, taps))):
            kernel = 1e-8 * rng.normal(size=(6, taps)) / np.sqrt(taps)
            with jax.enable_x64(True):
                slope = jax.grad(
                    lambda x, k=kernel, pairs=adjacent: smooth_pairwise(
                        jnp.sum(x * k[None], axis=(1, 2)), apart, np.ones(count, bool), pairs=pairs
                    )
                )(maps)
            shares = np.asarray(slope)[:, 0, 0] / kernel[0, 0]
            assert abs(shares.sum()) < 1e-6 * np.abs(shares).sum()
            importance = np.asarray(slope).sum(axis=(0, 2))
            np.testing.assert_allclose(importance, shares.sum() * kernel.sum(axis=1), rtol=1e-3, atol=1e-22)
            # Of neighbours alone, the outermost and the middle sample have shares.
            if adjacent == "adjacent":
                np.testing.assert_allclose(shares[[0, 14, 28]] * (1 + 28), [1, -2, 1], atol=1e-5)
                assert np.abs(np.delete(shares, [0, 14, 28])).max() < 1e-6


def test_a_trained_predictors_mean_gradient_is_nothing_and_that_of_its_magnitudes_is_the_weights_sum():
    """Only differences of scores count: their gradients add up to 0, whatever has been learned.

    Weighted by magnitudes instead, the samples' gradients by eq. 7 have a mean that is the weights' sum but for a
    factor that all channels share.
    """
    rng = np.random.default_rng(0)
    maps, kernel = rng.uniform(0, 9, (9, 6, 25)), rng.normal(size=(6, 25))
    apart = np.abs(np.arange(9) - 4) / 22.5

    def loss(x):
        return smooth_pairwise(jnp.sum(x * kernel[None], axis=(1, 2)), apart, np.ones(9, bool))

    with jax.enable_x64(True):
        slope = np.asarray(jax.grad(loss)(maps))
    shares = slope[:, 0, 0] / kernel[0, 0]
    assert np.abs(shares).max() > 0.1
    np.testing.assert_allclose(slope.mean(axis=(0, 2)), 0, atol=1e-12)
    weighted = (np.sign(shares)[:, None, None] * slope).sum(axis=(0, 2))
    np.testing.assert_allclose(weighted, np.abs(shares).sum() * kernel.sum(axis=1), rtol=1e-9)


def test_a_map_of_nothing_and_a_window_without_room_teach_nothing():
    for maps, window in ((jnp.zeros((12, CELLS, CELLS)), CELLS), (known_channels(), 9)):
        found = jax.jit(scale_ranking.samples)(maps, jnp.asarray(window), SIDES)
        ranked, importance = scale_ranking.learn_scale(Ranking(), found)
        np.testing.assert_array_equal(importance, 0)
        assert np.isfinite(float(ranked.loss))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predictor": "random"}, "predictor of Ranking must be one of trained, untrained, not 'random'"),
        ({"pairs": "next"}, "pairs of Ranking must be one of all, adjacent, not 'next'"),
        ({"iterations": 0}, "iterations of Ranking must be greater than 0"),
    ],
)
def test_a_ranking_that_cannot_be_learned_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        Ranking(**change)


def test_regressor_and_samples_have_the_same_taps():
    assert channel_regression.taps(channel_regression.largest_template(45)) == 33
