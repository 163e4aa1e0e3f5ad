import numpy as np
import pytest

from jaxtrack.data.sequences import Sequence, check_init_box
from jaxtrack.errors import UserError

SIZE = (100, 200)  # height, width


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 1, 1),
        (199, 99, 1, 1),
        (-5, -5, 6, 6),
        (199.5, 99.5, 50, 50),
        (-10, -10, 500, 500),
        (50, 50, 0.5, 0.5),
    ],
)
def test_a_box_that_shares_some_area_with_the_image_is_accepted(box):
    check_init_box(np.array(box), SIZE, "Deer")


@pytest.mark.parametrize("box", [(200, 0, 9, 9), (0, 100, 9, 9), (-9, 0, 9, 9), (0, -9, 9, 9), (150, 100, 1, 1)])
def test_a_box_outside_the_image_is_refused(box):
    with pytest.raises(UserError, match=r"^Deer: the first box .* lies outside the image of 200x100 pixels$"):
        check_init_box(np.array(box), SIZE, "Deer")


@pytest.mark.parametrize("box", [(5, 5, 0, 9), (5, 5, 9, 0), (5, 5, -2, 9), (5, 5, 9, -2)])
def test_a_box_without_area_is_refused(box):
    with pytest.raises(UserError, match=r"^--box: the first box \(x 5, y 5, w .* is empty"):
        check_init_box(np.array(box), SIZE, "--box")


@pytest.mark.parametrize("box", [(1, 2, 3), (1, 2, 3, np.nan), (1, np.inf, 3, 4), ((1, 2, 3, 4),)])
def test_what_is_not_four_finite_numbers_is_refused(box):
    with pytest.raises(UserError, match="must be four finite numbers"):
        check_init_box(np.array(box), SIZE, "Deer")


@pytest.mark.parametrize("box", ["28,20,16,16", None, [[1, 2], [3]], {}, 5, (1, 2, "three", 4), (1, 1, 1e39, 1)])
def test_whatever_is_given_as_a_box_is_answered_with_a_sentence(box):
    with pytest.raises(UserError, match=r"^Deer: the first box must be four finite numbers x, y, w, h, not "):
        check_init_box(box, SIZE, "Deer")


def test_all_boxes_in_place_of_the_first_are_not_printed():
    with pytest.raises(UserError, match=r"not 500 x 4 numbers$"):
        check_init_box(np.ones((500, 4)), SIZE, "Deer")


def test_a_checked_box_is_float32():
    checked = check_init_box((1, 2, 3, 4), SIZE, "Deer")
    assert checked.dtype == np.float32
    assert checked.tolist() == [1, 2, 3, 4]


def test_a_width_that_float32_cannot_tell_from_0_is_refused():
    with pytest.raises(UserError, match="is empty"):
        check_init_box((1, 2, 1e-60, 4), SIZE, "Deer")


def test_a_sequence_counts_and_reads_its_frames():
    images = np.arange(3, dtype=np.uint8)[:, None, None, None] + np.zeros((3, 4, 5, 3), np.uint8)
    sequence = Sequence("a", images, np.ones((3, 4)), np.ones(3, bool))
    assert len(sequence) == 3
    np.testing.assert_array_equal(sequence[2], np.full((4, 5, 3), 2))


@pytest.mark.parametrize(("rows", "flags"), [(2, 3), (3, 2), (4, 4)])
def test_frames_boxes_and_flags_must_be_of_one_number(rows, flags):
    with pytest.raises(ValueError, match=r"a: 3 frames need boxes \[3, 4\]"):
        Sequence("a", np.zeros((3, 4, 5, 3), np.uint8), np.ones((rows, 4)), np.ones(flags, bool))
