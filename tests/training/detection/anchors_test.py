"""Anchors, their labels and samples, and boxes as offsets from them; by py-faster-rcnn's rules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.boxes import encode
from jaxtrack.errors import UserError
from jaxtrack.training.detection import anchors
from jaxtrack.training.detection.anchors import Labels

# What py-faster-rcnn's code yields, corners inclusive (specification, part b).
PUBLISHED = [
    (-84, -40, 99, 55),
    (-176, -88, 191, 103),
    (-360, -184, 375, 199),
    (-56, -56, 71, 71),
    (-120, -120, 135, 135),
    (-248, -248, 263, 263),
    (-36, -80, 51, 95),
    (-80, -168, 95, 183),
    (-168, -344, 183, 359),
]
SIZE = (304, 400)


def published(rows, columns):
    """Inclusive corners of all anchors, one by one."""
    return [(x + a, y + b, x + c, y + d) for y in range(0, 16 * rows, 16) for x in range(0, 16 * columns, 16)
            for a, b, c, d in PUBLISHED]  # fmt: skip


def overlap(a, b):
    """Of inclusive corners."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + 1)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + 1)
    areas = [(c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b)]
    return width * height / (sum(areas) - width * height)


def label_by_loop(places, objects, size):
    """Labels, and the object of each positive; corners inclusive."""
    height, width = size
    inside = [p[0] >= 0 and p[1] >= 0 and p[2] < width and p[3] < height for p in places]
    table = np.array([[overlap(p, o) if i else 0.0 for o in objects] for p, i in zip(places, inside, strict=True)])
    labels = np.full(len(places), -1)
    for number, row in enumerate(table):
        if inside[number] and row.max() < 0.3:
            labels[number] = 0
    for column in table.T:
        for number in range(len(places)):
            if column[number] == column.max() > 0:
                labels[number] = 1
    for number, row in enumerate(table):
        if inside[number] and row.max() >= 0.7:
            labels[number] = 1
    return labels, table.argmax(axis=1)


def boxes_of(corners):
    corners = np.asarray(corners, np.float32).reshape(-1, 4)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2] + 1], axis=1)


label = jax.jit(anchors.label, static_argnums=0)


def test_the_anchors_of_a_cell_are_the_published_ones():
    np.testing.assert_array_equal(anchors.cell_anchors(), boxes_of(PUBLISHED))


def test_cells_are_sixteen_pixels_apart_row_by_row():
    np.testing.assert_array_equal(anchors.grid(3, 5), boxes_of(published(3, 5)))


def test_labels_are_those_of_a_loop():
    random = np.random.default_rng(0)
    rows, columns = 20, 26
    seen = set()
    for _ in range(5):
        # Some as an anchor, some small, some in a corner.
        corners = [np.asarray(published(rows, columns)[9 * (26 * 9 + 12) + 3]) + random.integers(-4, 5, 4)]
        for side in (20, 90, 160):
            x, y = random.integers(0, 120, 2)
            corners.append(np.asarray([x, y, x + side, y + side + random.integers(0, 20)]))
        labels, nearest = label_by_loop(published(rows, columns), corners, SIZE)
        objects = np.concatenate([boxes_of(corners), np.zeros((3, 4), np.float32)])
        found, matched = label(Labels(), anchors.grid(rows, columns), objects, jnp.asarray(SIZE, jnp.int32))
        np.testing.assert_array_equal(found, labels)
        positive = labels == 1
        np.testing.assert_array_equal(np.asarray(matched)[positive], objects[nearest[positive]])
        seen |= set(labels.tolist())
    assert seen == {-1, 0, 1}


def test_an_object_of_little_overlap_has_its_best_anchors_all_the_same():
    """A square of 81 pixels in the five of 88 x 176 that hold it, with an IoU of 0.42 each: all are positive."""
    places = anchors.grid(20, 26)
    middle = boxes_of(PUBLISHED)[6] + np.asarray([160, 144, 0, 0], np.float32)
    small = np.concatenate([middle[:2] + np.asarray([3.5, 47.5]), [81, 81]]).astype(np.float32)
    found, _ = label(Labels(), places, small[None], jnp.asarray(SIZE, jnp.int32))
    holding = [middle + np.asarray([0, shift, 0, 0], np.float32) for shift in (-32, -16, 0, 16, 32)]
    np.testing.assert_array_equal(places[np.flatnonzero(found == 1)], holding)


def test_an_object_that_is_an_anchor_is_a_positive_without_offsets():
    places = anchors.grid(20, 26)
    number = 9 * (26 * 9 + 12) + 3
    found, matched = label(Labels(), places, places[number][None], jnp.asarray(SIZE, jnp.int32))
    assert int(found[number]) == 1
    np.testing.assert_array_equal(encode(places, matched)[number], np.zeros(4))


def test_anchors_that_cross_the_border_are_never_labelled():
    places = anchors.grid(20, 26)
    size = jnp.asarray([200, 250], jnp.int32)
    found, _ = label(Labels(), places, places[3][None], size)
    outside = (
        (places[:, :2] < 0).any(axis=1) | (places[:, 0] + places[:, 2] > 250) | (places[:, 1] + places[:, 3] > 200)
    )
    assert (np.asarray(found)[outside] == -1).all()
    assert (np.asarray(found)[~outside] >= 0).any()


def test_an_image_without_objects_has_negatives_alone():
    found, matched = label(Labels(), anchors.grid(20, 26), np.zeros((2, 4), np.float32), jnp.asarray(SIZE, jnp.int32))
    assert set(np.asarray(found).tolist()) == {-1, 0}
    assert np.isfinite(encode(anchors.grid(20, 26), matched)).all()


# --- samples


@pytest.mark.parametrize(
    ("positives", "negatives", "expected"),
    [(300, 900, (128, 128)), (10, 900, (10, 246)), (200, 50, (128, 50)), (0, 0, (0, 0))],
)
def test_a_sample_has_256_anchors_at_most_half_of_them_positive(positives, negatives, expected):
    labels = np.asarray([1] * positives + [0] * negatives + [-1] * 40, np.int32)
    labels = np.random.default_rng(1).permutation(labels)
    sampled = np.asarray(anchors.sample(Labels(), jax.random.key(0), jnp.asarray(labels)))
    assert ((sampled == 1).sum(), (sampled == 0).sum()) == expected
    assert (labels[sampled >= 0] == sampled[sampled >= 0]).all()


def test_samples_are_random():
    labels = jnp.asarray([1] * 200 + [0] * 600, jnp.int32)
    some = [np.asarray(anchors.sample(Labels(), jax.random.key(seed), labels)) for seed in (0, 1)]
    for kind in (0, 1):
        assert (some[0] == kind).sum() == (some[1] == kind).sum()
        assert ((some[0] == kind) != (some[1] == kind)).any()


# --- offsets


def test_offsets_bring_boxes_back():
    random = np.random.default_rng(2)
    places, boxes = (np.abs(random.normal(60, 20, (30, 4))).astype(np.float32) + 1 for _ in range(2))
    np.testing.assert_allclose(anchors.decode(places, encode(places, boxes)), boxes, rtol=1e-4, atol=1e-3)


def test_no_side_becomes_longer_than_a_thousand_16ths_of_the_anchors_and_any_shift_is_taken():
    """py-faster-rcnn's limit: 1000 / 16 times 32 and 64 pixels are 2000 and 4000; the centre goes 9 sides on."""
    found = anchors.decode(np.asarray([[0.0, 0, 32, 64]], np.float32), np.asarray([[9.0, 9, 80, 5]], np.float32))
    np.testing.assert_allclose(found, [[16 + 9 * 32 - 1000, 32 + 9 * 64 - 2000, 2000, 4000]], rtol=1e-4)


def test_mistakes_are_one_sentence():
    with pytest.raises(UserError, match="positives of Labels are at most sampled, 64, not 128"):
        Labels(sampled=64)
    with pytest.raises(UserError, match="positive_iou of Labels must be greater than 0"):
        Labels(positive_iou=0)
