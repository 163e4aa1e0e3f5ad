import time

import numpy as np
import pytest
from matplotlib.path import Path as Outline

from jaxtrack.data.regionfiles import corners_of_boxes
from jaxtrack.evaluation.vot import regions
from jaxtrack.evaluation.vot.regions import overlaps


def corners(numbers):
    """Four numbers of a box or eight of a polygon as `[1, 4, 2]`."""
    if len(numbers) == 4:
        return corners_of_boxes(np.array([numbers]))
    return np.array(numbers, np.float32).reshape(1, 4, 2)


def overlap(a, b, bounds=(320, 240), drawing="rounded"):
    [value] = overlaps(corners(a), corners(b), bounds, drawing)
    return value


@pytest.mark.parametrize(
    ("a", "b", "bounds", "value"),
    [
        ((10, 10, 20, 30), (15, 12, 20, 30), (320, 240), 0.553699),
        ((10, 10, 20, 30), (15, 12, 20, 30), (319, 239), 0.553699),
        ((10.4, 10.6, 20.2, 30.3), (15, 12, 20, 30), (320, 240), 0.619684),
        ((-5, -5, 40, 40), (0, 0, 40, 40), (320, 240), 0.770970),
        ((50, 60, 70, 80), (40, 70, 100, 40, 140, 110, 80, 140), (320, 240), 0.653196),
        ((300, 200, 50, 60), (290, 190, 60, 60), (320, 240), 0.544592),
        ((300, 200, 50, 60), (290, 190, 60, 60), (319, 239), 0.533333),
    ],
)
def test_overlaps_are_those_of_the_reference(a, b, bounds, value):
    assert overlap(a, b, bounds) == pytest.approx(value, abs=5e-7)
    assert overlap(b, a, bounds) == pytest.approx(value, abs=5e-7)


def test_upright_boxes_count_the_pixels_of_both_borders():
    # Columns 10 to 30 and rows 10 to 40 against columns 15 to 35 and rows 12 to 42: 16 x 29 of 2 x 21 x 31 - 16 x 29.
    assert overlap((10, 10, 20, 30), (15, 12, 20, 30)) == pytest.approx(464 / (2 * 651 - 464))


def test_boxes_that_touch_in_an_edge_do_not_overlap():
    assert overlap((10, 10, 20, 20), (30, 10, 20, 20)) == 0
    assert overlap((10, 10, 20, 20), (29.9, 10, 20, 20)) > 0


def test_regions_outside_the_image_do_not_overlap_unless_it_does_not_bound_them():
    assert overlap((400, 300, 20, 20), (400, 300, 20, 20)) == 0
    assert overlap((400, 300, 20, 20), (400, 300, 20, 20), None) == 1


def test_a_region_without_area_does_not_overlap():
    assert overlap((0, 0, 30, 30), (5, 5, 1e-3, 1e-3)) == 0
    assert overlap((5, 5, 0, 9), (5, 5, 0, 9)) == 0


def test_what_nobody_knows_has_no_overlap_and_does_not_disturb_the_rest():
    a = np.concatenate([corners((10, 10, 20, 30)), np.full((1, 4, 2), np.nan)])
    b = np.concatenate([corners((10, 10, 20, 30))] * 2)
    assert overlaps(a, b, (320, 240))[0] == 1
    assert np.isnan(overlaps(a, b, (320, 240))[1])
    assert np.isnan(overlaps(b, a, (320, 240))[1])


# --- the rule, drawn pixel by pixel --------------------------------------------------------------------------------


def half_away(values):
    return [int(abs(v) + 0.5) * (1 if v >= 0 else -1) for v in values]


def drawn(polygon, width, height):
    """The mask of a polygon of rounded corners by the rule's words: one row, one edge, one crossing at a time."""
    xs, ys = half_away(polygon[:, 0]), half_away(polygon[:, 1])
    mask = np.zeros((height, width), bool)
    for row in range(height):
        nodes = []
        for i in range(4):
            x, y, x2, y2 = xs[i], ys[i], xs[i - 1], ys[i - 1]
            if y != y2 and min(y, y2) <= row <= max(y, y2):
                nodes.append(int(x + (row - y) / (y2 - y) * (x2 - x)))
        nodes.sort()
        k = 0
        while k + 1 < len(nodes):
            if nodes[k] == nodes[k + 1]:
                k += 1
                continue
            if nodes[k] >= width:
                break
            for column in range(max(nodes[k], 0), min(nodes[k + 1], width - 1) + 1):
                mask[row, column] = True
            k += 2
    return mask


def by_masks(a, b, bounds):
    """The overlap of two polygons, drawn."""
    low, high = zip(*((np.floor(p.min(0)), np.ceil(p.max(0))) for p in (a, b)), strict=True)
    low, high = np.maximum(low, 0), np.minimum(high, bounds)
    if (np.minimum(*high) - np.maximum(*low) <= 0).any():
        return 0.0
    origin = np.minimum(*low).astype(np.float32)
    width, height = (np.maximum(*high) - origin).astype(int) + 1
    one, other = (drawn(p - origin, width, height) for p in (a, b))
    return (one & other).sum() / (one | other).sum() if (one | other).any() else 0.0


def quadrilaterals(seed, count, spread):
    """Pairs of any four points around a common place: convex, concave or crossed, some beyond the border."""
    random = np.random.default_rng(seed)
    centre = random.uniform(-10, 90, (count, 1, 2))
    both = [centre + random.uniform(-spread, spread, (count, 4, 2)) for _ in range(2)]
    both[0][::3] = np.round(both[0][::3])  # corners on pixels, and halves, where rounding decides
    both[1][::4] = np.round(both[1][::4] * 2) / 2
    return [polygons.astype(np.float32) for polygons in both]


@pytest.mark.parametrize("spread", [3, 12, 40])
def test_random_quadrilaterals_overlap_as_their_masks_do(spread):
    a, b = quadrilaterals(spread, 400, spread)
    expected = [by_masks(one, other, (80, 60)) for one, other in zip(a, b, strict=True)]
    assert np.mean(expected) > 0.02
    assert overlaps(a, b, (80, 60)) == pytest.approx(expected, abs=1e-12)


def test_frames_are_worked_through_in_parts_of_any_size(monkeypatch):
    a, b = quadrilaterals(0, 50, 20)
    whole = overlaps(a, b, (80, 60))
    monkeypatch.setattr(regions, "_ROWS_AT_ONCE", 7)
    assert overlaps(a, b, (80, 60)).tolist() == whole.tolist()


# --- the geometry, by an outline -----------------------------------------------------------------------------------


def filled(polygon, size, drawing):
    """The pixels that a polygon fills, found by asking for its overlap with each pixel's row and column run."""
    mask = np.zeros((size, size), bool)
    of_row, rows = np.zeros(size, int), np.arange(size, dtype=float)
    runs = regions._runs(polygon[None], of_row, rows, np.full(size, size - 1.0), drawing)
    for start, end in runs:
        for row in range(size):
            mask[row, int(start[row]) : int(end[row]) + 1] = True
    return mask


def distances(points, polygon):
    """Of points `[P, 2]` to the outline of a polygon, in pixels."""
    shortest = np.full(len(points), np.inf)
    for one, other in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        along = other - one
        share = np.clip((points - one) @ along / max(along @ along, 1e-9), 0, 1)
        shortest = np.minimum(shortest, np.linalg.norm(points - one - share[:, None] * along, axis=1))
    return shortest


def convex(random, centre, radii):
    """Four corners in order on an upright ellipse with two radii out of a range."""
    angles = np.sort(random.uniform(0, 2 * np.pi, 4))
    return centre + random.uniform(*radii, 2) * np.stack([np.cos(angles), np.sin(angles)], -1)


@pytest.mark.parametrize("drawing", ["rounded", "legacy"])
def test_filled_are_the_pixels_inside_and_none_that_is_off_the_outline(drawing):
    random = np.random.default_rng(3)
    size, deep = 48, 0
    points = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1).reshape(-1, 2).astype(float)
    for _ in range(200):
        polygon = random.uniform(2, 45, (4, 2))  # convex, concave or crossed
        if drawing == "rounded":
            # Of others this rule fills a row beside a corner that points up or down: the walk starts at the corner.
            polygon = np.round(convex(random, (24, 24), (8, 20)))
        mask = filled(polygon, size, drawing).ravel()
        inside = Outline(np.concatenate([polygon, polygon[:1]]), closed=True).contains_points(points)
        near = distances(points, polygon) <= 1
        assert not (inside & ~near & ~mask).any()
        assert not (mask & ~inside & ~near).any()
        deep += (inside & ~near).sum()
    assert deep > 20_000


def test_the_old_rule_neither_rounds_nor_fills_the_last_crossing():
    # Columns 10 to 29 and rows 11 to 40: a row belongs to the edges that it is above the lower end of.
    assert filled(corners((10, 10, 20, 30))[0].astype(float), 64, "legacy").sum() == 20 * 30
    assert filled(corners((10, 10, 20, 30))[0].astype(float), 64, "rounded").sum() == 21 * 31
    assert overlap((10, 10, 20, 30), (15, 12, 20, 30), None, "legacy") == pytest.approx(15 * 28 / (1200 - 15 * 28))


def test_thousands_of_frames_take_a_second_or_two():
    random = np.random.default_rng(0)
    centre = random.uniform(0, 600, (5000, 1, 2))
    a, b = (centre + random.uniform(-80, 80, (5000, 4, 2)) for _ in range(2))
    start = time.process_time()
    overlaps(a, b, (640, 480))
    assert time.process_time() - start < 2
