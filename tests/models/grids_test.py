"""Grids, anchors and what they mean as boxes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import siamese_losses

from jaxtrack.models import grids
from jaxtrack.models.siamese import ARCHITECTURES
from jaxtrack.models.small_resnet import SmallResNet
from jaxtrack.models.transt import TruncatedResNet


def test_windows_and_grids_of_the_specification():
    assert grids.window(25, 5).sum() == pytest.approx(5 * 144, rel=1e-6)
    assert grids.window(16, 1).max() == pytest.approx(0.978267, abs=1e-6)
    np.testing.assert_array_equal(grids.grid(16, 16)[[0, -1]], [[-128, -128], [112, 112]])
    np.testing.assert_array_equal(grids.grid(25, 8)[1], [-88, -96])
    np.testing.assert_array_equal(grids.anchor_sizes(8), [[104, 32], [88, 40], [64, 64], [40, 80], [32, 96]])


def candidates_by_loop(kind, stride, cls, loc):
    """Section 7.3 of the specification, cell by cell, anchor-major."""
    side, count = cls.shape[0], cls.shape[-1] // 2
    scores, boxes = [], []
    for a in range(count):
        for row in range(side):
            for column in range(side):
                background, target = cls[row, column, a], cls[row, column, count + a]
                scores.append(1 / (1 + np.exp(background - target)))
                x, y = ((k - side // 2) * stride for k in (column, row))
                d = [loc[row, column, k * count + a] for k in range(4)]
                if kind == "points":
                    left, top, right, bottom = x - d[0], y - d[1], x + d[2], y + d[3]
                    boxes.append(((left + right) / 2, (top + bottom) / 2, right - left, bottom - top))
                else:
                    w, h = [(104, 32), (88, 40), (64, 64), (40, 80), (32, 96)][a]
                    boxes.append((x + d[0] * w, y + d[1] * h, w * np.exp(d[2]), h * np.exp(d[3])))
    return np.asarray(scores), np.asarray(boxes)


@pytest.mark.parametrize(("kind", "count", "side"), [("anchors", 5, 5), ("points", 1, 4)])
def test_candidates_agree_with_a_plain_loop(kind, count, side):
    rng = np.random.default_rng(0)
    cls = rng.normal(size=(side, side, 2 * count)).astype(np.float32)
    loc = rng.normal(size=(side, side, 4 * count)).astype(np.float32)
    found = grids.candidates(kind, 8, cls, loc)
    scores, boxes = candidates_by_loop(kind, 8, cls, loc)
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)
    np.testing.assert_allclose(found.boxes_cxcywh, boxes, rtol=1e-5, atol=1e-4)


def test_anchors_and_points_of_the_specification():
    """Around the middle of 255 pixels: sizes first, then rows, then columns; points have no size."""
    np.testing.assert_array_equal(grids.anchors("anchors", 25, 8, 127), siamese_losses.ANCHORS)
    points = grids.anchors("points", 25, 8, 127)
    np.testing.assert_array_equal(points[:, :2], siamese_losses.POINTS)
    assert not points[:, 2:].any()


@pytest.mark.parametrize(("kind", "count"), [("anchors", 5), ("points", 1)])
def test_boxes_are_decoded_about_any_centre_and_in_any_number(kind, count):
    side = 3
    loc = np.random.default_rng(1).normal(size=(2, side, side, 4 * count)).astype(np.float32)
    parts = loc.reshape(2, side * side, 4, count).transpose(0, 3, 1, 2).reshape(2, -1, 4)
    found = grids.decode(kind, side, 8, parts, centre_px=127)
    assert found.shape == parts.shape
    for image in range(2):
        _, boxes = candidates_by_loop(kind, 8, np.zeros((side, side, 2 * count)), loc[image])
        np.testing.assert_allclose(found[image], boxes + np.asarray([127, 127, 0, 0]), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "backbone", "side_px", "cell"),
    [
        ("transt", TruncatedResNet(2, (1, 1, 1)), 128, 8),
        ("transt_nano", SmallResNet((2, 2, 2, 2), ((), (1,), (), (1,))), 127, 3),
    ],
)
def test_a_token_lies_in_the_middle_of_what_it_sees(name, backbone, side_px, cell):
    """Of a narrow backbone of the same geometry: those pixels whose change changes the token."""
    images = jnp.full((side_px, side_px, side_px, 3), 200.0)
    pixels = np.arange(side_px)
    changed = images.at[pixels, pixels, pixels].set(1e5)
    # No weight is negative: nothing that a token sees is lost in a ReLU.
    variables = jax.tree.map(jnp.abs, backbone.init(jax.random.key(0), images[:1]))
    see = jax.jit(lambda images: backbone.apply(variables, images)[0][:, cell, cell])
    seen = np.flatnonzero(np.any(see(changed) != see(images), axis=-1))
    assert 0 < seen[0] < seen[-1] < side_px - 1  # all of them are in the image
    architecture = ARCHITECTURES[name]
    side = architecture.score_cells
    places = grids.anchors("tokens", side, architecture.stride_px, architecture.search_px // 2)
    np.testing.assert_array_equal(places[cell * side + cell, :2], (seen[0] + seen[-1]) / 2)


def test_a_tokens_box_has_nothing_to_do_with_its_place():
    with pytest.raises(ValueError, match="a token's box has nothing to do with where its cell lies"):
        grids.decode("tokens", 4, 8, np.zeros((16, 4)))
