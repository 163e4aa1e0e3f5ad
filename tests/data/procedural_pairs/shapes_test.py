import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.data.procedural_pairs.shapes import Shapes, culled, fast_rsqrt, paint_stack, placed, unpack

SIDE = 81


def shapes(*rows):
    """Rows are dictionaries of what differs from a disc of 20 pixels in the middle."""
    count = len(rows)
    column = lambda name, default: jnp.array([row.get(name, default) for row in rows], jnp.float32)  # noqa: E731
    return Shapes(
        place=placed(column("centre", (0.0, 0.0)), column("half", (20.0, 20.0)), column("angle", 0.0)),
        square=column("square", 0.0),
        cut=column("cut", (0.0, 0.0, -9.0)),
        wobble=jnp.zeros((count, 3, 2)).at[:, 0, 0].set(column("bulge", 0.0)),
        copies=column("copies", (0.0, 0.0)),
        period=column("period", (3.0, 3.0)),
        decal=column("decal", 0.0) > 0,
        present=column("present", 1.0) > 0,
    )


def painted(*rows, wobbly=0):
    line = jnp.arange(SIDE, dtype=jnp.float32) - SIDE // 2
    x, y = jnp.meshgrid(line, line)
    return unpack(paint_stack(shapes(*rows), x, y, wobbly, 1.0))


def edges(cover):
    rows, columns = np.nonzero(np.asarray(cover) > 0.5)
    return columns.min() - 40, rows.min() - 40, columns.max() - 40, rows.max() - 40


@pytest.mark.parametrize(
    ("row", "area"),
    [
        ({}, np.pi * 400),
        ({"half": (30.0, 8.0), "angle": 0.7}, np.pi * 240),
        ({"square": 1.0, "half": (25.0, 10.0), "angle": 0.4}, 1000),
        # Half a disc is cut off along its middle.
        ({"cut": (1.0, 0.0, 0.0)}, np.pi * 200),
        # Three columns and one row more to either side of small discs.
        ({"half": (3.0, 3.0), "copies": (1.0, 2.0), "period": (3.0, 4.0)}, 15 * np.pi * 9),
    ],
    ids=["disc", "ellipse", "rectangle", "cut", "copies"],
)
def test_coverage_sums_to_the_area(row, area):
    assert abs(float(painted(row).cover.sum()) - area) < 0.03 * area


def test_edges_lie_where_the_shape_ends():
    layers = painted({"square": 1.0, "half": (20.0, 10.0), "centre": (5.0, -3.0)})
    # Pixels whose centres are inside [-15, 25] x [-13, 7]; the outermost are half covered.
    left, top, right, bottom = edges(layers.cover + 0.01)
    assert (left, top, right, bottom) == (-15, -13, 25, 7)
    np.testing.assert_allclose(layers.cover[40, 25:27], [0.5, 1.0], atol=0.01)


def test_a_wobble_moves_the_contour_only_of_the_shapes_that_may():
    # The second harmonic: 1.3 r^2 = 1 along x, 0.7 r^2 = 1 along y; the last pixels with their centre inside.
    left, top, _, _ = edges(painted({"bulge": 0.3}, wobbly=1).cover)
    assert (left, top) == (-int(20 / 1.3**0.5), -int(20 / 0.7**0.5))
    assert edges(painted({"bulge": 0.3}, wobbly=0).cover) == edges(painted({}).cover)


def test_the_last_shape_is_seen_with_the_one_below_at_its_edges():
    layers = painted({"square": 1.0}, {"square": 1.0, "half": (10.0, 10.0), "centre": (10.0, 0.0)})
    row = 40
    assert layers.top[row, 40 + 15] == 2
    assert layers.top[row, 40 - 15] == 1
    assert layers.top[row, 2] == 0
    assert (layers.top[row, 40], layers.below[row, 40]) == (2, 1)
    assert abs(float(layers.share[row, 40]) - 0.5) < 0.01
    assert float(layers.cover[row, 40]) == 1.0
    assert float(layers.share[row, 40 + 15]) == 1.0


def test_decals_are_seen_only_upon_other_shapes_and_cover_nothing_new():
    layers = painted({}, {"centre": (20.0, 0.0), "decal": 1.0})
    np.testing.assert_array_equal(layers.cover, painted({}).cover)
    assert layers.top[40, 40 + 15] == 2
    assert layers.top[40, 40 + 30] == 0


def test_absent_shapes_change_nothing():
    with_absent = painted({"bulge": 0.2}, {"present": 0.0}, {"half": (5.0, 5.0)}, wobbly=1)
    layers = painted({"bulge": 0.2}, {"half": (5.0, 5.0)}, wobbly=1)
    np.testing.assert_array_equal(with_absent.cover, layers.cover)
    # Shapes keep their numbers.
    np.testing.assert_array_equal(with_absent.top == 3, layers.top == 2)


def test_shapes_outside_a_region_are_dropped_and_those_that_reach_into_it_are_not():
    stack = shapes(
        {"centre": (100.0, 0.0)},
        {"centre": (55.0, 0.0)},
        {"centre": (0.0, 130.0), "half": (10.0, 10.0), "copies": (0.0, 3.0), "period": (3.0, 3.0)},
        {},
    )
    corners = jnp.array([-40.0, 40.0, -40.0, 40.0]), jnp.array([-40.0, -40.0, 40.0, 40.0])
    np.testing.assert_array_equal(culled(stack, *corners).present, [False, True, True, True])


def test_the_fast_inverse_root_is_nearly_exact():
    x = jnp.exp(jnp.linspace(-12.0, 12.0, 5000))
    np.testing.assert_allclose(fast_rsqrt(x), x**-0.5, rtol=2e-3)
