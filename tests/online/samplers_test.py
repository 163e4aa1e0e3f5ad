import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sampler_loops import BOX, COUNT, SIZE, assert_same_distribution, loop
from scipy import stats

from jaxtrack import UserError, boxes
from jaxtrack.online import samplers
from jaxtrack.online.samplers import MATLAB, PYTORCH, Limits

TARGET = np.array([0.0, 0.0, 10.0, 10.0], np.float32)
FREE = Limits(least_side_px=1e-3, slack_px=0)


@functools.cache
def compiled(name):
    generator = getattr(samplers, name)
    names = ("count", "limits", "aspect", "per_axis")
    return jax.jit(generator, static_argnames=[n for n in names if n in generator.__code__.co_varnames])


def draw(name, *args, box=BOX, size=SIZE, count=COUNT, seed=0, **options):
    return np.asarray(compiled(name)(jax.random.key(seed), box, size, count, *args, **options))


# --- against an independent loop, box by box -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("gaussian", {"translation": 0.6, "scale": 1.05}),
        ("gaussian", {"translation": 0.1, "scale": 1.3}),
        ("gaussian", {"translation": 1.5, "scale": 1.05, "limits": dataclasses.replace(PYTORCH, keep="box")}),
        ("gaussian", {"translation": 0.6, "scale": 1.05, "limits": MATLAB, "box": BOX + np.float32([0, 0, 0, 1.4])}),
        ("uniform", {"translation": 1.0, "scale": 1.6}),
        ("uniform", {"translation": 2.0, "scale": 1.3}),
        ("uniform", {"translation": 0.3, "scale": 1.6, "aspect": 1.1}),
        ("uniform", {"translation": 0.3, "scale": 1.1, "aspect": 1.5}),
        ("uniform", {"translation": 0.3, "scale": 1.6, "per_axis": True}),
    ],
)
def test_boxes_are_distributed_as_in_a_plain_loop(kind, options):
    call = dict(options)
    found = draw(kind, call.pop("translation"), call.pop("scale"), **call)
    assert_same_distribution(found, loop(kind, **options))


def test_boxes_of_the_matlab_box_regression_are_distributed_as_in_a_plain_loop():
    assert_same_distribution(draw("regression", limits=FREE), loop("regression", limits=FREE))
    assert_same_distribution(draw("regression"), loop("regression", limits=MATLAB))


def test_candidates_are_spread_as_the_paper_says():
    found = boxes.cxcywh_from_box(draw("gaussian", 0.6, 1.05))
    shift = (found[:, :2] - [160, 120]) / 50
    # G has half the deviation of a normal number, less 1.6 % for what is cut off at two deviations (but kept).
    np.testing.assert_allclose(shift.std(axis=0), 0.3 * 0.959, rtol=0.05)
    assert np.abs(shift).max() == pytest.approx(0.6, rel=1e-4)
    power = np.log(found[:, 2] / 40) / np.log(1.05)
    assert np.abs(power).max() == pytest.approx(1, rel=1e-3)
    np.testing.assert_allclose(found[:, 2] / found[:, 3], 40 / 60, rtol=1e-5)


# --- limits --------------------------------------------------------------------------------------------------------


def test_boxes_are_at_least_ten_pixels_and_ten_smaller_than_the_image_with_their_centre_inside():
    wild = draw("uniform", 20.0, 40.0)
    centre = wild[:, :2] + wild[:, 2:] / 2
    np.testing.assert_allclose(wild[:, 2:].min(axis=0), 10)
    np.testing.assert_allclose(wild[:, 2:].max(axis=0), [310, 230])
    np.testing.assert_allclose(centre.min(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(centre.max(axis=0), [320, 240], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "args", "smallest"),
    [("gaussian", (0.6, 1.6), 1.6), ("uniform", (0.6, 1.6), 1.6), ("whole", (1.6,), 1.6), ("regression", (), 1.05**2)],
)
def test_about_a_box_of_less_than_ten_pixels_others_are_at_least_as_large_as_it_is(name, args, smallest):
    found = draw(name, *args, box=np.float32([140, 90, 7, 20]), limits=PYTORCH)
    np.testing.assert_allclose(found[:, 2:].min(axis=0), [7, 20 / smallest], rtol=0.02)


def test_boxes_may_be_kept_wholly_inside():
    wild = draw("uniform", 20.0, 40.0, limits=dataclasses.replace(PYTORCH, keep="box"))
    assert wild[:, :2].min() > -1e-3
    assert (wild[:, :2] + wild[:, 2:]).max(axis=0) == pytest.approx([320, 240], abs=1e-3)


def test_matlabs_boxes_are_whole_numbers():
    found = draw("gaussian", 0.6, 1.3, limits=MATLAB)
    np.testing.assert_array_equal(found, np.round(found))


def test_matlab_moves_boxes_by_whole_mean_sides():
    box, size = np.float32([500, 500, 10, 12.8]), np.array([1000, 1000], np.int32)
    for limits, mean_side in ((PYTORCH, 11.4), (MATLAB, 11)):
        found = draw("uniform", 20.0, 1.0, box=box, size=size, limits=limits)
        farthest = np.abs(found[:, 0] + found[:, 2] / 2 - 505).max()
        assert farthest == pytest.approx(20 * mean_side, abs=1.5)


def test_in_an_image_smaller_than_the_limits_boxes_keep_a_size():
    found = draw("uniform", 1.0, 1.6, size=np.array([8, 12], np.int32), count=50)
    np.testing.assert_allclose(found[:, 2:], [[10, 8]] * 50)


def test_limits_that_no_box_can_have_are_refused():
    with pytest.raises(UserError, match="least_side_px of Limits must be greater than 0, not 0"):
        Limits(least_side_px=0)
    with pytest.raises(UserError, match="keep of Limits must be one of centre, box, not 'corner'"):
        Limits(keep="corner")  # type: ignore[arg-type]


# --- the whole image -----------------------------------------------------------------------------------------------


def test_boxes_of_the_whole_image_lie_on_a_grid_none_twice():
    # m = floor(2 sqrt(10)) = 6 points each way, from half the box to the image's last pixel.
    columns, rows = np.linspace(20, 319, 6), np.linspace(30, 239, 6)
    grid = {(round(x, 2), round(y, 2)) for x, y in itertools.product(columns.tolist(), rows.tolist())}
    seen = []
    for seed in range(40):
        found = boxes.cxcywh_from_box(draw("whole", count=10, seed=seed))
        centres = [(round(x, 2), round(y, 2)) for x, y in found[:, :2].astype(float).tolist()]
        assert len(set(centres)) == 10
        assert set(centres) <= grid
        seen += centres
        np.testing.assert_allclose(found[:, 2:], [[40, 60]] * 10, rtol=1e-5)
    counts = np.array([seen.count(point) for point in grid])
    assert stats.chisquare(counts).pvalue > 1e-3


def test_boxes_of_the_whole_image_may_vary_in_size():
    power = np.log(draw("whole", 1.6, limits=FREE)[:, 2] / 40) / np.log(1.6)
    assert stats.kstest(power, stats.uniform(-1, 2).cdf).pvalue > 1e-3


# --- choosing by overlap -------------------------------------------------------------------------------------------


def narrower(widths):
    """Boxes of the target's corner and height; their IoU with the target is a tenth of their width."""
    widths = np.asarray(widths, np.float32)
    return np.stack([0 * widths, 0 * widths, widths, 0 * widths + 10], axis=-1)


select = jax.jit(samplers.select, static_argnames=("count", "area"))


def test_limits_of_overlap_are_inclusive():
    candidates = narrower([2.5, 4, 5, 6, 7.5, 10])
    for low, high, expected in ((0.25, 0.5, [0, 1, 2]), (0.75, 1.0, [4, 5]), (0.5, 0.5, [2])):
        index, valid = select(jax.random.key(0), candidates, TARGET, 6, low, high)
        assert sorted(np.asarray(index)[np.asarray(valid)].tolist()) == expected


def test_where_there_are_too_few_boxes_the_mask_says_so_and_the_shape_stays():
    index, valid = select(jax.random.key(0), narrower([1, 8, 2, 9, 3]), TARGET, 4, 0.7, 1.0)
    assert index.shape == valid.shape == (4,)
    assert index.dtype == jnp.int32
    np.testing.assert_array_equal(valid, [True, True, False, False])
    assert sorted(index[:2].tolist()) == [1, 3]
    assert not select(jax.random.key(0), narrower([1, 2]), TARGET, 2, 0.7, 1.0)[1].any()


def test_every_subset_is_equally_likely_and_in_random_order():
    keys = jax.random.split(jax.random.key(0), 3000)
    candidates = narrower([8, 1, 9, 7.5, 2, 10])
    index, valid = jax.vmap(lambda key: select(key, candidates, TARGET, 2, 0.7, 1.0))(keys)
    assert valid.all()
    pairs = [tuple(pair) for pair in np.asarray(index).tolist()]
    assert set(pairs) == set(itertools.permutations([0, 2, 3, 5], 2))
    assert stats.chisquare([pairs.count(pair) for pair in set(pairs)]).pvalue > 1e-3


def test_boxes_of_the_wrong_area_are_left_out():
    candidates = np.array([[0, 0, 10, 9], [0, 0, 10, 10], [0, 0, 10, 12], [0, 0, 16, 12.5], [0, 0, 16, 13]], np.float32)
    index, valid = select(jax.random.key(0), candidates, TARGET, 5, 0.3, 1.0, area=(1.0, 2.0))
    assert sorted(np.asarray(index)[np.asarray(valid)].tolist()) == [1, 2, 3]


def test_more_boxes_than_there_are_cannot_be_chosen():
    with pytest.raises(ValueError, match="3 boxes cannot be chosen out of 2"):
        samplers.select(jax.random.key(0), narrower([1, 2]), TARGET, 3, 0.0, 1.0)


@pytest.mark.parametrize(
    ("name", "args", "low", "high", "surplus", "options"),
    [
        ("gaussian", (0.1, 1.3), 0.7, 1.0, 2, {}),  # positives
        ("uniform", (1.0, 1.6), 0.0, 0.5, 2, {}),  # negatives of the first frame
        ("uniform", (2.0, 1.3), 0.0, 0.3, 2, {}),  # of later ones
        ("regression", (), 0.6, 1.0, 10, {}),
    ],
)
def test_a_surplus_as_matlabs_is_enough(name, args, low, high, surplus, options):
    found = draw(name, *args, **options)
    assert np.mean(samplers.within(found, BOX, low, high)) > 1.2 / surplus


def test_generators_run_side_by_side_on_many_boxes():
    keys = jax.random.split(jax.random.key(0), 3)
    many = np.stack([BOX, BOX + 10, BOX + 20]).astype(np.float32)
    sizes = np.stack([SIZE] * 3)
    together = jax.vmap(lambda key, box, size: samplers.gaussian(key, box, size, 5, 0.6, 1.05))(keys, many, sizes)
    alone = [samplers.gaussian(key, box, SIZE, 5, 0.6, 1.05) for key, box in zip(keys, many, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-5)
