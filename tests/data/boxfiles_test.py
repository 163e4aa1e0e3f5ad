import numpy as np
import pytest

from jaxtrack.data.boxfiles import annotated_rows, read_boxes, write_boxes
from jaxtrack.errors import UserError


@pytest.fixture
def file(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "groundtruth_rect.txt"
        path.write_bytes(text.encode(encoding))
        return path

    return write


@pytest.mark.parametrize("row", ["11,21,30,40", "11\t21\t30\t40", "11 21  30 40", "11, 21\t30 ,40", "  11,21,30,40  "])
def test_comma_tab_and_blanks_separate_columns(file, row):
    np.testing.assert_array_equal(read_boxes(file(f"1,1,2,3\n{row}\n")), [[0, 0, 2, 3], [10, 20, 30, 40]])


@pytest.mark.parametrize("text", ["1,1,2,3", "1,1,2,3\n", "1,1,2,3\r\n", "1,1,2,3\n\n  \n", "\ufeff1,1,2,3\n"])
def test_line_ends_trailing_blank_lines_and_byte_order_marks_do_not_matter(file, text):
    np.testing.assert_array_equal(read_boxes(file(text)), [[0, 0, 2, 3]])


def test_boxes_are_float64_and_keep_fractions(file):
    boxes = read_boxes(file("1.5,2.25,3.125,4e1\n"))
    assert boxes.dtype == np.float64
    np.testing.assert_array_equal(boxes, [[0.5, 1.25, 3.125, 40]])


@pytest.mark.parametrize(
    ("bad", "shown"),
    [
        ("1,2,x,4", "'1,2,x,4'"),
        ("1,2,nan,4", "'1,2,nan,4'"),
        ("1,inf,3,4", "'1,inf,3,4'"),
        ("1,2,3", "'1,2,3'"),
        ("1,2,3,4,5", "'1,2,3,4,5'"),
        ("1,,3,4", "'1,,3,4'"),
        ("", "''"),
    ],
)
def test_a_row_that_is_not_four_finite_numbers_is_refused_with_its_line(file, bad, shown):
    with pytest.raises(UserError, match=r"groundtruth_rect\.txt, line 2: expected four .* found ") as caught:
        read_boxes(file(f"1,2,3,4\n{bad}\n1,2,3,4\n"))
    assert str(caught.value).endswith(shown)


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_file_is_refused(file, text):
    with pytest.raises(UserError, match=r"groundtruth_rect\.txt is empty"):
        read_boxes(file(text))


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(UserError, match=r"Cannot read the boxes of .*nothing\.txt: No such file"):
        read_boxes(tmp_path / "nothing.txt")


def test_bytes_that_are_no_text_are_refused_as_a_row(file):
    with pytest.raises(UserError, match="line 1"):
        read_boxes(file("ÿþ", encoding="latin-1"))


def test_written_boxes_are_one_based_with_four_decimals(tmp_path):
    write_boxes(tmp_path / "run" / "otb" / "Deer.txt", np.array([[0, -1.5, 2, 3], [0.12345, 0, 1 / 3, 4]], np.float32))
    assert (tmp_path / "run" / "otb" / "Deer.txt").read_text() == (
        "1.0000,-0.5000,2.0000,3.0000\n1.1235,1.0000,0.3333,4.0000\n"
    )


def test_boxes_survive_writing_and_reading(tmp_path):
    boxes = np.random.default_rng(0).uniform(-50, 2000, (40, 4)).round(4)
    write_boxes(tmp_path / "boxes.txt", boxes)
    np.testing.assert_allclose(read_boxes(tmp_path / "boxes.txt"), boxes, rtol=0, atol=1e-9)


def test_a_box_that_is_not_finite_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="the box of frame 1 is not finite"):
        write_boxes(tmp_path / "boxes.txt", np.array([[0, 0, 1, 1], [0, np.nan, 1, 1]]))
    assert list(tmp_path.iterdir()) == []


def test_boxes_of_another_shape_are_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"\[N, 4\]"):
        write_boxes(tmp_path / "boxes.txt", np.zeros((2, 5)))


def test_a_row_counts_as_annotated_if_all_four_numbers_of_the_file_are_positive(file):
    boxes = read_boxes(file("1,1,1,1\n0,1,1,1\n1,0,1,1\n1,1,0,1\n1,1,1,0\n-3,1,9,9\n0.5,0.5,0.5,0.5\n"))
    assert annotated_rows(boxes).tolist() == [True, False, False, False, False, False, True]
