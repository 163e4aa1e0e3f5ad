import functools
import math

import jax
import numpy as np
import pytest
import siamese_losses
from siamese_losses import ANCHORS, BAN_OTHER, BAN_TARGET, CELLS, POINTS, RPN_TARGET

from jaxtrack.errors import UserError
from jaxtrack.models import grids
from jaxtrack.training.labels import (
    AnchorLabels,
    EllipseLabels,
    TokenLabels,
    anchor_labels,
    ellipse_labels,
    token_labels,
)

RBO_ANCHORS = AnchorLabels(keep_all_negatives=True)
EVERY_POINT = EllipseLabels(positives=625, total=1250, negative_pair_cap=None)
EVERY_ANCHOR = AnchorLabels(positives=3125, total=6250, negatives_in_negative_pair=3125)
TARGETS = [RPN_TARGET, BAN_TARGET, (60, 40, 190, 100), (-20.5, 90, 40, 140), (120, 120, 131, 126), (10, 10, 250, 245)]


@functools.cache
def compiled(labels, config):
    return jax.jit(lambda key, target, negative: labels(key, target, negative, config))


def label(labels, target, config, *, negative=False, seed=0):
    """Labels, targets and weights of one image as numpy arrays."""
    found = compiled(labels, config)(jax.random.key(seed), np.asarray(target, np.float32), np.asarray(negative))
    assert [array.dtype for array in found] == [np.int32, np.float32, np.float32]
    return [np.asarray(array) for array in found]


@functools.cache
def many(labels, config, target, *, negative=False, count=400):
    """The labels of many keys, `[count, N]`."""
    draw = jax.jit(jax.vmap(lambda key: labels(key, np.asarray(target, np.float32), negative, config).label))
    return np.asarray(draw(jax.random.split(jax.random.key(5), count)))


def counts(values):
    return [int((values == value).sum()) for value in (1, 0, -1)]


# --- golden values -------------------------------------------------------------------------------------------------


def test_golden_labels_of_anchors():
    found, target, weight = label(anchor_labels, RPN_TARGET, RBO_ANCHORS)
    assert counts(found) == [8, 2927, 190]
    cells = [(11, 12), (12, 11), (12, 12), (12, 13), (13, 11), (13, 12), (13, 13), (14, 12)]
    positives = [2 * 625 + 25 * row + column for row, column in cells]
    np.testing.assert_array_equal(np.flatnonzero(found == 1), positives)
    np.testing.assert_allclose(target[positives[0]], [0.0078125, 0.203125, -0.06453852, -0.00784318], atol=1e-7)
    np.testing.assert_allclose(weight[positives], 1 / 8, rtol=1e-6)
    assert np.count_nonzero(weight) == 8


def test_golden_labels_of_points():
    found, target, weight = label(ellipse_labels, BAN_TARGET, EVERY_POINT)
    assert counts(found)[:2] == [14, 568]
    rows = {9: range(10, 13), 10: range(10, 14), 11: range(10, 14), 12: range(10, 13)}
    positives = [25 * row + column for row, columns in rows.items() for column in columns]
    np.testing.assert_array_equal(np.flatnonzero(found == 1), positives)
    np.testing.assert_array_equal(target[25 * 9 + 10], [22.5, 22.75, 41.5, 49.25])
    np.testing.assert_array_equal(weight, found == 1)
    other, target, weight = label(ellipse_labels, BAN_OTHER, EVERY_POINT, negative=True)
    assert counts(other) == [0, 8, 617]
    assert not target.any()
    assert not weight.any()


# --- plain loops ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_labels_of_anchors_agree_with_a_plain_loop(target):
    found, deltas, _ = label(anchor_labels, target, EVERY_ANCHOR)
    np.testing.assert_array_equal(found, [siamese_losses.anchor_label(a, target) for a in ANCHORS])
    np.testing.assert_allclose(deltas, [siamese_losses.anchor_deltas(a, target) for a in ANCHORS], atol=1e-5)


@pytest.mark.parametrize("target", TARGETS)
def test_labels_of_points_agree_with_a_plain_loop(target):
    expected = np.asarray([siamese_losses.point_label(p, target) for p in POINTS])
    found, distances, _ = label(ellipse_labels, target, EVERY_POINT)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(distances, np.asarray([siamese_losses.point_distances(p, target) for p in POINTS]))
    found, _, _ = label(ellipse_labels, target, EVERY_POINT, negative=True)
    np.testing.assert_array_equal(found, np.where(expected == 1, 0, -1))


def test_points_on_an_ellipse_are_ignored():
    # The points (127 + 8 i, 127 + 8 j); semi-axes 16 x 24 and 32 x 48.
    found, _, _ = label(ellipse_labels, (95, 79, 159, 175), EVERY_POINT)
    at = found.reshape(25, 25)
    assert [int(at[12, 12 + i]) for i in range(6)] == [1, 1, -1, -1, -1, 0]
    assert [int(at[12 + j, 12]) for j in range(8)] == [1, 1, 1, -1, -1, -1, -1, 0]


@pytest.mark.parametrize("centre", [(127, 127), (123.5, 130.9), (31, 223), (240, 8), (300, 127)])
def test_negatives_of_a_negative_pair_of_anchors_lie_around_the_other_object(centre):
    x, y = centre
    box = (x - 20, y - 15, x + 20, y + 15)
    column, row = (12 + math.ceil((v - 127) / 8 + 0.5) for v in centre)
    expected = [0 if abs(r - row) <= 3 and abs(c - column) <= 3 else -1 for r, c in CELLS] * 5
    found, target, weight = label(anchor_labels, box, EVERY_ANCHOR, negative=True)
    np.testing.assert_array_equal(found, expected)
    assert not target.any()
    assert not weight.any()
    drawn, _, _ = label(anchor_labels, box, RBO_ANCHORS, negative=True)
    assert (drawn == 0).sum() == min(16, expected.count(0))
    assert np.all(found[drawn == 0] == 0)


# --- subsets -------------------------------------------------------------------------------------------------------

BIG = (60, 60, 190, 200)  # 55 points inside the smaller ellipse
WIDE = (90, 100, 164, 154)  # 18 anchors overlap by more than 0.6


@pytest.mark.parametrize(
    ("labels", "target", "everything", "expected"),
    [
        (anchor_labels, RPN_TARGET, EVERY_ANCHOR, (8, 48)),  # 48 even though fewer than 16 are positive
        (anchor_labels, WIDE, EVERY_ANCHOR, (16, 48)),
        (ellipse_labels, BAN_TARGET, EVERY_POINT, (14, 48)),
        (ellipse_labels, BIG, EVERY_POINT, (16, 48)),
    ],
)
def test_at_most_16_positives_and_48_negatives_are_kept(labels, target, everything, expected):
    config = AnchorLabels() if labels is anchor_labels else EllipseLabels()
    unsampled, _, _ = label(labels, target, everything)
    found, _, weight = label(labels, target, config)
    assert tuple(counts(found)[:2]) == expected
    assert counts(unsampled)[0] >= expected[0]
    kept = found >= 0
    np.testing.assert_array_equal(found[kept], unsampled[kept])
    positives = expected[0]
    weight_of_each = 1 / (positives + 1e-6) if labels is anchor_labels else 1
    np.testing.assert_allclose(weight, np.where(found == 1, weight_of_each, 0), rtol=1e-6)


def test_a_negative_pair_of_points_keeps_16_or_all_of_them():
    every, _, _ = label(ellipse_labels, BIG, EllipseLabels(negative_pair_cap=None), negative=True)
    assert counts(every)[:2] == [0, 55]
    some, _, _ = label(ellipse_labels, BIG, EllipseLabels(), negative=True)
    assert counts(some)[:2] == [0, 16]
    assert np.all(every[some == 0] == 0)


def test_a_key_decides_alone():
    first, second = (label(anchor_labels, RPN_TARGET, AnchorLabels(), seed=3) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    other, _, _ = label(anchor_labels, RPN_TARGET, AnchorLabels(), seed=4)
    assert np.any(other != first[0])


def assert_uniform(chosen, members):
    """Every member is chosen about equally often, `bool [keys, N]`; nobody else ever is."""
    np.testing.assert_array_equal(chosen.any(axis=0) & ~members, False)
    share = chosen.sum() / len(chosen) / members.sum()
    deviation = math.sqrt(share * (1 - share) / len(chosen))
    assert np.abs(chosen.mean(axis=0)[members] - share).max() < 5 * deviation


def test_subsets_are_uniform_over_keys():
    few = AnchorLabels(positives=3, total=24)
    found = many(anchor_labels, few, RPN_TARGET)
    unsampled, _, _ = label(anchor_labels, RPN_TARGET, EVERY_ANCHOR)
    for value, count in ((1, 3), (0, 21)):
        np.testing.assert_array_equal((found == value).sum(axis=1), count)
        assert_uniform(found == value, unsampled == value)
    near, _, _ = label(anchor_labels, RPN_TARGET, EVERY_ANCHOR, negative=True)
    assert_uniform(many(anchor_labels, few, RPN_TARGET, negative=True) == 0, near == 0)
    inner, _, _ = label(ellipse_labels, BIG, EVERY_POINT)
    found = many(ellipse_labels, EllipseLabels(), BIG)
    for value in (1, 0):
        assert_uniform(found == value, inner == value)
    assert_uniform(many(ellipse_labels, EllipseLabels(), BIG, negative=True) == 0, inner == 1)


# --- geometry and configuration ------------------------------------------------------------------------------------


def test_anchors_and_points_lie_where_the_network_means_them():
    """A target's deltas and distances, decoded as a tracker decodes the network's output, are the target's box."""
    x1, y1, x2, y2 = box = np.asarray((50, 60, 101, 140), np.float32)
    side, stride, centre = 5, 8, 71
    expected = [(x1 + x2) / 2 - centre, (y1 + y2) / 2 - centre, x2 - x1, y2 - y1]
    for labels, config, kind, anchors in (
        (anchor_labels, AnchorLabels(), "anchors", 5),
        (ellipse_labels, EllipseLabels(), "points", 1),
    ):
        compute = jax.jit(functools.partial(labels, config=config, side=side, stride=stride, centre_px=centre))
        found = compute(jax.random.key(0), box, False)
        assert found.label.shape == (anchors * side * side,)
        loc = np.asarray(found.target).reshape(anchors, side, side, 4).transpose(1, 2, 3, 0).reshape(side, side, -1)
        cls = np.zeros((side, side, 2 * anchors), np.float32)
        decoded = grids.candidates(kind, stride, cls, loc).boxes_cxcywh
        np.testing.assert_allclose(decoded, np.tile(expected, (len(decoded), 1)), atol=1e-4)


def test_a_batch_mixes_ordinary_and_negative_pairs():
    keys = jax.random.split(jax.random.key(0), 3)
    targets = np.asarray([RPN_TARGET, RPN_TARGET, BAN_TARGET], np.float32)
    negative = np.asarray([False, True, False])
    batched = jax.jit(jax.vmap(functools.partial(anchor_labels, config=AnchorLabels())))(keys, targets, negative)
    single = compiled(anchor_labels, AnchorLabels())
    for i in range(3):
        for found, expected in zip(batched, single(keys[i], targets[i], negative[i]), strict=True):
            np.testing.assert_allclose(found[i], expected, rtol=1e-6)
    assert [counts(found)[0] > 0 for found in np.asarray(batched.label)] == [True, False, True]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: AnchorLabels(positives=0), "positives of AnchorLabels must be greater than 0, not 0"),
        (lambda: AnchorLabels(positives=64), "total of AnchorLabels must be greater than positives, not 64 and 64"),
        (lambda: AnchorLabels(lower=0.7), "AnchorLabels needs lower <= upper < 1, not 0.7 and 0.6"),
        (lambda: AnchorLabels(upper=1.0), "AnchorLabels needs lower <= upper < 1, not 0.3 and 1"),
        (lambda: AnchorLabels(lower=-0.1), "lower of AnchorLabels must be at least 0, not -0.1"),
        (lambda: EllipseLabels(total=16), "total of EllipseLabels must be greater than positives, not 16 and 16"),
        (lambda: EllipseLabels(negative_pair_cap=0), "negative_pair_cap of EllipseLabels must be greater than 0"),
    ],
)
def test_numbers_that_label_nothing_are_refused(build, message):
    with pytest.raises(UserError, match=message):
        build()


# --- tokens --------------------------------------------------------------------------------------------------------


AS_RELEASED = TokenLabels()


@functools.cache
def of_tokens(config, first_px):
    grid = {"side": 32, "stride": 8, "search_px": 256, "first_px": first_px}
    return jax.jit(lambda target, negative: token_labels(target, negative, config, **grid))


def tokens(cxcywh, *, negative=False, config=AS_RELEASED, first_px=0.0):
    """Labels of a box in sides of a search region of 256 pixels, 32 cells."""
    cx, cy, w, h = cxcywh
    target = 256 * np.asarray([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
    found = of_tokens(config, first_px)(target.astype(np.float32), negative)
    return [np.asarray(array) for array in found]


def test_golden_labels_of_tokens():
    """siamese.md 13.2: 72 and 21 positives and the first three of each."""
    for box, count, first in (
        ((0.5, 0.5, 0.25, 0.3), 72, [396, 397, 398]),
        ((0.4, 0.6, 0.1, 0.2), 21, [524, 525, 526]),
    ):
        found, target, weight = tokens(box)
        assert counts(found) == [count, 1024 - count, 0]
        np.testing.assert_array_equal(np.flatnonzero(found == 1)[:3], first)
        np.testing.assert_allclose(target, np.broadcast_to(box, (1024, 4)), atol=1e-6)
        np.testing.assert_array_equal(weight, found == 1)


def test_a_box_that_begins_outside_has_no_positives_unless_it_is_cut():
    """siamese.md 13.2: none for (0.05, 0.5, 0.25, 0.3)."""
    left, above, beyond = (0.05, 0.5, 0.25, 0.3), (0.5, 0.05, 0.3, 0.25), (0.95, 0.5, 0.25, 0.3)
    assert counts(tokens(left)[0])[:2] == counts(tokens(above)[0])[:2] == [0, 1024]
    cut = tokens(left, config=TokenLabels(cut=True))[0].reshape(32, 32)
    # It ends at 0.175 of the width, 5.6 cells, and covers the rows 11.2 to 20.8.
    rows, columns = np.nonzero(cut == 1)
    assert (set(rows), set(columns)) == (set(range(12, 21)), set(range(6)))
    # To the right there is nothing to count from: columns from 26.4 on.
    for config in (AS_RELEASED, TokenLabels(cut=True)):
        assert set(np.flatnonzero(tokens(beyond, config=config)[0] == 1) % 32) == set(range(27, 32))


def test_the_smallest_box_has_one_positive():
    # From 16.1 to 16.4 cells: none begins in between, so the one after it counts.
    found, *_ = tokens((16.25 / 32, 16.25 / 32, 0.3 / 32, 0.3 / 32))
    np.testing.assert_array_equal(np.flatnonzero(found == 1), [17 * 32 + 17])


def test_the_small_networks_positives_are_the_tokens_whose_pixels_lie_in_the_box():
    """Their token k lies at pixel 16 k + 15, after four convolutions of 3 x 3 with stride 2 and no padding."""
    pixels = 16 * np.arange(15) + 15
    label = jax.jit(lambda box: token_labels(box, False, TokenLabels(cut=True), side=15, stride=16, search_px=255))
    for left, top, right, bottom in ((96, 96, 158, 158), (-20, 3, 66, 48), (200, 100, 300, 131.5), (95, 111, 127, 128)):
        found = np.asarray(label(np.asarray([left, top, right, bottom], np.float32)).label).reshape(15, 15)
        columns, rows = (left <= pixels) & (pixels < right), (top <= pixels) & (pixels < bottom)
        np.testing.assert_array_equal(found, rows[:, None] & columns[None])


def test_all_tokens_of_a_negative_pair_are_background():
    found, target, weight = tokens((0.5, 0.5, 0.25, 0.3), negative=True)
    assert counts(found) == [0, 1024, 0]
    assert not target.any()
    assert not weight.any()


def test_the_references_boxes_are_half_a_pixel_off():
    (_, theirs, _), (_, right, _) = (tokens((0.5, 0.5, 0.25, 0.3), first_px=first) for first in (0.0, 0.5))
    np.testing.assert_allclose(right[0] - theirs[0], [0.5 / 256, 0.5 / 256, 0, 0], atol=1e-7)


def test_ranking_nothing_is_refused():
    with pytest.raises(UserError, match="positives of TokenLabels must be greater than 0"):
        TokenLabels(positives=0)
