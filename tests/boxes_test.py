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


@pytest.mark.parametrize(
    ("factor", "sides"),
    [(107 / 75, (57.067, 114.133)), (139 / 107, (51.963, 103.925)), (203 / 171, (47.485, 94.971))],
)
def test_the_regions_that_networks_see_about_a_box(factor, sides):
    """mdnet_family.md, section 5, vectors 2 and 4: the Matlab code's rule, PyTorch's, RPN2T's."""
    found = boxes.enlarged(np.array([100.0, 50.0, 40.0, 80.0]), factor)
    np.testing.assert_allclose(found[2:], sides, atol=5e-4)
    np.testing.assert_allclose(found[:2] + found[2:] / 2, [120, 90])


def test_rounded_to_pixels_a_region_has_the_matlab_codes_corners():
    """mdnet_family.md, section 5, vector 2; jax arrays and leading axes as well."""
    region = boxes.enlarged(jnp.asarray([[[100.0, 50.0, 40.0, 80.0]]]), 107 / 75)
    np.testing.assert_array_equal(np.round(boxes.xyxy_from_box(region)), [[[91, 33, 149, 147]]])


@pytest.mark.parametrize(
    ("in_file", "origin", "ours"),
    [
        ((1, 1, 2, 3), 1, (0, 0, 2, 3)),  # MATLAB's first pixel is 1
        ((11.5, 21, 30, 40), 1, (10.5, 20, 30, 40)),
        ((0, 0, 2, 3), 0, (0, 0, 2, 3)),
        ((4, 6), 1, (3, 5)),  # a point
        ((np.nan,) * 4, 1, (np.nan,) * 4),
    ],
)
def test_files_that_count_pixels_from_1_move_the_corner_and_not_the_size(in_file, origin, ours):
    np.testing.assert_array_equal(boxes.zero_based(np.array(in_file), origin), ours)
    np.testing.assert_array_equal(boxes.as_in_files(np.array(ours, np.float32), origin), in_file)
    assert boxes.zero_based(np.array(in_file, np.float32)).dtype == np.float64
    assert boxes.as_in_files(np.array(ours, np.float32)).dtype == np.float64


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


def test_the_offsets_of_a_box_worked_by_hand():
    """Centre 10 of 100 to the right and 5 of 50 up; twice as wide, half as high."""
    box, target = np.array([0.0, 0, 100, 50]), np.array([-40.0, 7.5, 200, 25])
    expected = np.array([0.1, -0.1, np.log(2), np.log(0.5)])
    np.testing.assert_allclose(boxes.encode(box, target), expected, atol=1e-12)
    np.testing.assert_allclose(boxes.encode(jnp.asarray(box), jnp.asarray(target)), expected, atol=1e-6)
    np.testing.assert_allclose(boxes.decode(box, expected), target, atol=1e-12)
    np.testing.assert_allclose(boxes.decode(jnp.asarray(box), jnp.asarray(expected)), target, rtol=1e-6)
    # In centre form: the same offsets, (50, 25) to (60, 20).
    centred = np.array([50.0, 25, 100, 50]), np.array([60.0, 20, 200, 25])
    np.testing.assert_allclose(boxes.encode_cxcywh(*centred), expected, atol=1e-12)
    np.testing.assert_allclose(boxes.decode_cxcywh(centred[0], expected), centred[1], atol=1e-12)


@given(box_pairs())
def test_the_offsets_between_two_boxes_lead_from_one_to_the_other(pair):
    box, target = pair
    np.testing.assert_allclose(boxes.decode(box, boxes.encode(box, target)), target, atol=1e-9)
    np.testing.assert_array_equal(boxes.encode(box, box), np.zeros_like(box))
    one = boxes.encode(box, target[:1])
    np.testing.assert_array_equal(one, boxes.encode(box, np.broadcast_to(target[:1], box.shape)))
