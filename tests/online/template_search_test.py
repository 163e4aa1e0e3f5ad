"""TADT's geometry (tadt.md, section 12), its three scales, and the choice among their responses."""

import dataclasses

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate2d

from jaxtrack.errors import UserError
from jaxtrack.models import correlation
from jaxtrack.online import template_search
from jaxtrack.online.template_search import Search

PAPER, RELEASED = Search(), Search(peak="released")
CELLS = 45


def test_the_side_of_the_search_window():
    expected = {177: 180, 150: 156, 128: 132, 120: 124, 100: 108}  # vector 1
    for region, side in expected.items():
        assert template_search.window_side(region) == side
        assert int(template_search.window_cells(PAPER, CELLS, jnp.float32(region))) == side // 4
    assert PAPER.window_px == 180
    assert int(template_search.window_cells(PAPER, CELLS, jnp.float32(1000))) == 45
    assert int(template_search.window_cells(PAPER, CELLS, jnp.float32(2))) == 3
    assert int(template_search.window_cells(PAPER, 23, jnp.float32(1000))) == 23


def test_a_target_of_60_x_50_has_a_template_of_15_x_13_cells():
    found = template_search.template_sides(PAPER, CELLS, jnp.asarray([60.0, 50.0]), jnp.asarray(45))
    assert found.tolist() == [13, 15]  # vector 2, (height, width)
    long = template_search.template_sides(PAPER, CELLS, jnp.asarray([400.0, 1.0]), jnp.asarray(45))
    assert long.tolist() == [1, 31]


@pytest.mark.parametrize(("size", "zoom"), [((60, 60), 59 / 60), ((50, 50), 1), ((11, 44), 2), ((1, 1), 44)])
def test_targets_are_brought_to_44_to_59_pixels(size, zoom):
    assert float(template_search.rescale(PAPER, jnp.asarray(size, jnp.float32))) == pytest.approx(zoom, rel=1e-6)


def test_three_times_another_largest_target_is_searched_as_well():
    wide = Search(smallest_px=80.0, largest_px=100.0)
    assert wide.window_px == 308  # 4 times an odd number
    assert [float(template_search.rescale(wide, jnp.full(2, side))) for side in (40.0, 200.0)] == [2, 0.5]
    found = template_search.template_sides(wide, CELLS, jnp.asarray([308 / 3, 308 / 9]), jnp.asarray(45))
    assert found.tolist() == [5, 15]


def test_the_three_scales():
    assert template_search.scale_factors(45) == pytest.approx((0.957447, 1, 1.046512), abs=1e-6)  # vector 4


def test_maps_are_enlarged_and_shrunk_about_their_middle():
    maps = np.random.default_rng(0).normal(size=(2, CELLS, CELLS)).astype(np.float32)
    found = jax.jit(template_search.scaled)(maps)
    for one, smaller, same, larger in zip(maps, *found, strict=True):
        np.testing.assert_allclose(smaller, cv2.resize(one, (47, 47))[1:-1, 1:-1], atol=1e-4)
        np.testing.assert_array_equal(same, one)
        shrunk = np.asarray(larger)[1:-1, 1:-1]
        np.testing.assert_allclose(shrunk, cv2.resize(one, (43, 43)), atol=1e-4)
        assert not np.asarray(larger)[[0, -1]].any()
        assert not np.asarray(larger)[:, [0, -1]].any()


def test_responses_are_the_valid_correlation_in_the_middle_of_zeros():
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(3, CELLS, CELLS)).astype(np.float32)
    template = np.zeros_like(maps)
    template[:, 22 - 3 : 22 + 4, 22 - 2 : 22 + 3] = kernel = rng.normal(size=(3, 7, 5))
    sides = jnp.asarray([7, 5])
    spectrum = correlation.spectrum(jnp.asarray(template), CELLS)
    found = template_search.responses(jnp.asarray(maps), spectrum, sides, jnp.asarray(45))
    valid = sum(correlate2d(x, k, mode="valid") for x, k in zip(maps, kernel, strict=True))
    np.testing.assert_allclose(found[3:-3, 2:-2], valid, atol=1e-3)
    assert jnp.sum(found == 0) == 45 * 45 - valid.size
    # In a smaller window of 25 cells the template stays within those.
    small = template_search.responses(jnp.asarray(maps), spectrum, sides, jnp.asarray(25))
    assert jnp.sum(small != 0) == (25 - 7 + 1) * (25 - 5 + 1)
    np.testing.assert_array_equal(small[22 - 9 : 22 + 10, 22 - 10 : 22 + 11], found[13:32, 12:33])


def test_the_window_is_matlabs_symmetric_hann():
    positions, _ = template_search.peak_offsets(RELEASED)
    assert len(positions) == 180
    np.testing.assert_allclose(
        template_search.hann(jnp.asarray(positions), jnp.float32(180)), np.hanning(180), atol=1e-6
    )
    inner = template_search.hann(jnp.asarray(positions), jnp.float32(100))
    np.testing.assert_allclose(inner[40:140], np.hanning(100), atol=1e-6)
    assert not np.asarray(inner)[:40].any()


def response(y, x, width=3.0, cells=CELLS):
    rows, columns = np.mgrid[:cells, :cells] - cells // 2
    return np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * width**2))


def decide(search, maps, cells=CELLS):
    which, moved = template_search.best(search, jnp.asarray(np.stack(maps), jnp.float32), jnp.asarray(cells))
    return int(which), moved.tolist()


def test_a_target_that_has_not_moved_stays_and_is_looked_for_half_a_pixel_aside_as_released():
    same = [0.5 * response(0, 0), response(0, 0), 0.5 * response(0, 0)]
    assert decide(PAPER, same) == (1, [0, 0])
    # Vector 5: the middle cell maps to 90.5 of 1 to 180; the first of the two nearest is 90, no displacement.
    which, moved = decide(RELEASED, same)
    assert which == 1
    assert all(abs(d - 0.5) <= 0.5 for d in moved)
    half_aside = [0.5 * response(0, 0), response(0.25 / 4, -0.25 / 4), 0.5 * response(0, 0)]
    assert decide(RELEASED, half_aside)[1] == [0, 1]  # x a quarter of a pixel to the left, y down


@pytest.mark.parametrize("search", [PAPER, RELEASED])
def test_a_target_that_has_moved_by_cells_is_found_pixels_away(search):
    which, (x, y) = decide(
        dataclasses.replace(search, window=0.0), [0 * response(0, 0), response(-3, 5), 0 * response(0, 0)]
    )
    assert which == 1
    assert (x, y) == (pytest.approx(20, abs=1), pytest.approx(-12, abs=1))


def test_the_window_is_added_before_the_decision():
    near, far = 0.8 * response(0, 2, 1.5), response(0, 15, 1.5)
    maps = [0 * near, np.maximum(near, far), 0 * near]
    assert decide(Search(window=0.0), maps)[1][0] == pytest.approx(60, abs=1)
    assert decide(PAPER, maps)[1][0] == pytest.approx(8, abs=1.5)


def test_scales_are_weighted_for_the_choice_and_not_for_the_place():
    flat = response(0, 0)
    assert decide(PAPER, [flat, flat, flat])[0] == 2  # 1.005 beats 1
    assert decide(Search(scale_weights=(1.01, 1.0, 1.005)), [flat, flat, flat])[0] == 0
    assert decide(PAPER, [flat, 0.99 * flat, 0.98 * flat])[0] == 1  # with the window 2 * 0.99, 1.99, 1.98 * 1.005


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"smallest_px": 60.0}, "smallest_px must be at most largest_px, not 60 and 59"),
        ({"peak": "first"}, "peak of Search must be one of centred, released, not 'first'"),
        ({"scale_weights": (1.0, 0.0, 1.0)}, "scale_weights of Search must be greater than 0"),
        ({"window": -1.0}, "window of Search must be at least 0"),
    ],
)
def test_a_search_that_cannot_be_made_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        Search(**change)
