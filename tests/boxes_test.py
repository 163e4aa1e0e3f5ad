import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from jaxtrack import boxes

coordinates = st.floats(-200, 200, width=32)
sides = st.floats(0.5, 200, width=32)


@st.composite
def box_pairs(draw):
    rows = draw(st.integers(1, 4))
    corners = draw(hnp.arrays(np.float64, (2, rows, 2), elements=coordinates))
    sizes = draw(hnp.arrays(np.float64, (2, rows, 2), elements=sides))
    return np.concatenate([corners, sizes], axis=-1)


def test_corner_and_centre_form_of_a_box_worked_by_hand():
    box = np.array([10.0, 20.0, 4.0, 6.0])
    np.testing.assert_array_equal(boxes.xyxy_from_box(box), [10, 20, 14, 26])
    np.testing.assert_array_equal(boxes.cxcywh_from_box(box), [12, 23, 4, 6])


@given(box_pairs())
def test_converting_there_and_back_gives_the_box(pair):
    box = pair[0]
    np.testing.assert_allclose(boxes.box_from_xyxy(boxes.xyxy_from_box(box)), box, atol=1e-9)
    np.testing.assert_allclose(boxes.box_from_cxcywh(boxes.cxcywh_from_box(box)), box, atol=1e-9)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),
        ((0, 0, 10, 10), (5, 0, 10, 10), 50 / 150),
        ((0, 0, 10, 10), (2, 3, 4, 5), 20 / 100),
        ((0, 0, 10, 10), (10, 0, 10, 10), 0.0),  # sharing an edge is sharing nothing
        ((0, 0, 0, 0), (0, 0, 0, 0), 0.0),
        ((0, 0, 10, 10), (3, 3, 0, 5), 0.0),
    ],
)
def test_overlap_worked_by_hand(a, b, expected):
    a, b = np.array(a, np.float32), np.array(b, np.float32)
    assert boxes.iou(a, b) == pytest.approx(expected, abs=1e-7)
    assert float(boxes.iou(jnp.asarray(a), jnp.asarray(b))) == pytest.approx(expected, abs=1e-7)


@given(box_pairs())
def test_overlap_is_symmetric_bounded_and_does_not_move_with_the_origin(pair):
    a, b = pair
    overlap = boxes.iou(a, b)
    assert ((overlap >= 0) & (overlap <= 1 + 1e-12)).all()
    np.testing.assert_allclose(overlap, boxes.iou(b, a))
    shift = np.array([17.0, -5.0, 0.0, 0.0])
    np.testing.assert_allclose(overlap, boxes.iou(a + shift, b + shift), atol=1e-9)


@given(box_pairs())
def test_clipping_keeps_what_lies_inside_the_image(pair):
    size = np.array([120.0, 90.0])  # height, width
    image = np.broadcast_to(np.array([0.0, 0.0, 90.0, 120.0]), pair[0].shape)
    clipped = boxes.clip(pair[0], size)
    np.testing.assert_allclose(boxes.area(clipped), boxes.intersection(pair[0], image), atol=1e-6)
    corners = boxes.xyxy_from_box(clipped)
    assert (corners >= 0).all()
    assert (corners <= np.array([90, 120, 90, 120])).all()


def test_a_forgotten_axis_is_an_error_not_a_broadcast():
    with pytest.raises(ValueError, match="equal shape"):
        boxes.iou(np.zeros((3, 4)), np.zeros(4))
