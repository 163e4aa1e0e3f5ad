import cv2
import numpy as np
import pytest

from jaxtrack import drawing
from jaxtrack.drawing import Trace, TrackPicture, colour_of, draw_box

GREY = 128


def canvas(height=240, width=320):
    return np.full((height, width, 3), GREY, np.uint8)


def painted(image, colour, tolerance=40):
    """(x, y, w, h) that the pixels of about a colour cover, None if there are none."""
    near = (np.abs(image.astype(int) - np.asarray(colour)) <= tolerance).all(axis=-1)
    if not near.any():
        return None
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    return columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1


def test_a_box_is_drawn_where_it_is():
    image = canvas()
    draw_box(image, np.array([100, 60, 50, 80]), colour_of(0))
    # On each side the last pixel outside and the first inside.
    assert painted(image, colour_of(0), 0) == (99, 59, 52, 82)
    assert (image[61:139, 101:149] == GREY).all()
    assert (image[58, 98:152] < GREY).all()  # the rim
    assert (image[70:130, 110:140] == GREY).all()
    assert (image[:50] == GREY).all()


def test_a_pixel_that_the_outline_covers_in_part_is_coloured_in_part():
    image = canvas()
    draw_box(image, np.array([100.25, 60, 50, 80]), colour_of(0))
    # The outline covers [99.25, 101.25), the rim is the pixel to the left of it.
    for column, share in ((99, 0.75), (100, 1.0), (101, 0.25)):
        ground = 0.75 * GREY + 0.25 * 24 if column == 99 else GREY
        np.testing.assert_allclose(image[100, column], ground + share * (np.array(colour_of(0)) - ground), atol=1)
    np.testing.assert_allclose(image[100, 98], 0.25 * GREY + 0.75 * 24, atol=1)


def test_a_fraction_of_a_pixel_shows():
    near, far = canvas(), canvas()
    draw_box(near, np.array([100.0, 60.0, 50.0, 80.0]), colour_of(0))
    draw_box(far, np.array([100.4, 60.0, 50.0, 80.0]), colour_of(0))
    assert not np.array_equal(near, far)


@pytest.mark.parametrize("box", [[-30, -20, 60, 60], [300, 200, 80, 90], [-1e9, 5, 2e9, 20], [500, 500, 9, 9]])
def test_a_box_that_leaves_the_image_is_drawn_as_far_as_it_is_inside(box):
    image = canvas()
    draw_box(image, np.array(box, float), colour_of(1), "1")
    assert image.shape == (240, 320, 3)
    assert painted(image, colour_of(1)) is not None  # the label at least


def test_a_box_that_is_not_finite_is_not_drawn():
    image = canvas()
    draw_box(image, np.array([1, 2, np.nan, 4]), colour_of(0), "0")
    assert (image == GREY).all()


@pytest.mark.parametrize(
    ("box", "above"), [([100, 60, 50, 80], True), ([100, 2, 50, 80], False)], ids=["room above", "no room above"]
)
def test_a_label_stands_above_its_box_or_below(box, above):
    plain, labelled = canvas(), canvas()
    draw_box(plain, np.array(box), colour_of(0))
    draw_box(labelled, np.array(box), colour_of(0), "7")
    rows = np.flatnonzero((plain != labelled).any(axis=(1, 2)))
    if above:
        assert rows[0] > 40
        assert rows[-1] <= 61
    else:
        assert rows[0] >= 81


def test_lines_and_letters_grow_with_the_image():
    for side, width in ((240, 2), (1080, 4)):
        image = canvas(side, side)
        draw_box(image, np.array([50, 50, 100, 100]), colour_of(0))
        line = (np.abs(image[100, :100].astype(int) - np.asarray(colour_of(0))) <= 40).all(axis=-1)
        assert abs(line.sum() - width) < 1


def test_neighbouring_targets_have_colours_of_their_own():
    assert len({colour_of(k) for k in range(6)}) == 6
    assert colour_of(6) == colour_of(0)


# --- traces --------------------------------------------------------------------------------------------------------


def values(trace):
    column = trace.lowest[:, 0]
    return column[np.isfinite(column)].tolist()


def test_a_trace_keeps_the_lowest_score_of_those_that_share_a_slot():
    trace = Trace(slots=2, targets=1, frames=8)  # four slots of two frames
    for score in (0.5, 0.25, 0.75, 1.0, 0.125):
        trace.add(np.array([score]))
    assert trace.lowest[:, 0].tolist()[:3] == [0.25, 0.75, 0.125]
    assert np.isnan(trace.lowest[3, 0])


def test_a_trace_makes_room_where_there_are_more_frames_than_were_said():
    trace = Trace(slots=2, targets=2, frames=4)
    for score in (0.5, 0.25, 0.75, 1.0, 0.125):
        trace.add(np.array([score, 1 - score]))
    assert values(trace) == [0.25, 0.75, 0.125]
    assert trace.lowest[:3, 1].tolist() == [0.5, 0.0, 0.875]


def test_a_frame_without_a_score_leaves_a_gap():
    trace = Trace(slots=2, targets=1, frames=4)
    trace.add(None)
    trace.add(np.array([np.nan]))
    trace.add(np.array([0.5]))
    np.testing.assert_array_equal(trace.lowest[:, 0], [np.nan, np.nan, 0.5, np.nan])
    assert trace.ends == (0.5, 0.5)


@pytest.mark.parametrize(
    ("scores", "ends"),
    [([0.2, 0.9], (0, 1)), ([], (0, 1)), ([2.0, 7.5], (0, 8)), ([-0.3, 0.5], (-0.3, 0.5)), ([-42.0], (-50, 0))],
)
def test_the_axis_holds_all_scores_and_0(scores, ends):
    trace = Trace(4, 1)
    for score in scores:
        trace.add(np.array([score]))
    assert trace.axis() == pytest.approx(ends)


# --- the picture ---------------------------------------------------------------------------------------------------


def strip_of(picture, height=240):
    return picture[height:]


def test_a_picture_has_even_sides_and_shows_the_image_above_the_strip():
    drawing_of = TrackPicture((47, 63), 1, 10)
    image = np.random.default_rng(0).integers(0, 255, (47, 63, 3), np.uint8)
    before = image.copy()
    picture = drawing_of.draw(image, np.array([[500, 500, 5, 5]]), None, 0)
    assert picture.shape == (*drawing_of.size, 3)
    assert [side % 2 for side in drawing_of.size] == [0, 0]
    np.testing.assert_array_equal(picture[:25, :40], before[:25, :40])  # the label is in the other corner
    np.testing.assert_array_equal(image, before)


def test_the_trace_goes_from_left_to_right_and_as_high_as_its_score():
    drawing_of = TrackPicture((240, 320), 1, 101)
    box = np.array([[100, 100, 20, 20]])
    assert painted(strip_of(drawing_of.draw(canvas(), box, None, 0)), colour_of(0)) is None
    for number in range(1, 51):
        picture = drawing_of.draw(canvas(), box, np.array([1.0]), number)
    high = painted(strip_of(picture), colour_of(0))
    for number in range(51, 101):
        picture = drawing_of.draw(canvas(), box, np.array([0.0]), number)
    both = painted(strip_of(picture), colour_of(0))
    height = picture.shape[0] - 240
    assert high[1] < 10
    assert high[3] < 8
    assert high[0] + high[2] == pytest.approx(320 / 2, abs=12)
    assert both[0] + both[2] > 300
    assert both[1] + both[3] > height - 10


def test_each_target_has_its_box_its_number_and_its_trace():
    drawing_of = TrackPicture((240, 320), 2, 4)
    boxes = np.array([[50, 100, 40, 40], [200, 100, 40, 40]])
    drawing_of.draw(canvas(), boxes, None, 0)
    for number in (1, 2):
        picture = drawing_of.draw(canvas(), boxes, np.array([0.9, 0.4]), number)
    for k in range(2):
        assert painted(picture[102:240], colour_of(k)) == pytest.approx((boxes[k, 0] - 1, 0, 42, 39), abs=1)
    first, second = (painted(strip_of(picture), colour_of(k))[1] for k in range(2))
    assert first < second


def test_the_label_of_a_single_target_tells_its_score():
    assert drawing._label(0, 1, np.array([0.876])) == "0: 0.88"
    assert drawing._label(0, 1, None) == "0"
    assert drawing._label(1, 2, np.array([0.876, 0.5])) == "1"


def test_what_is_drawn_is_the_same_for_images_that_cannot_be_written_into():
    image = np.broadcast_to(np.full((240, 320, 1), GREY, np.uint8), (240, 320, 3))
    box = np.array([[100, 100, 20, 20]])
    one, other = (TrackPicture((240, 320), 1, 4).draw(each, box, None, 0) for each in (image, canvas()))
    np.testing.assert_array_equal(one, other)
    assert cv2.countNonZero((one != GREY).any(axis=-1).astype(np.uint8)) > 100
