import numpy as np
import pytest

from jaxtrack.data.regionfiles import (
    FAILED,
    REGION,
    SKIPPED,
    STARTED,
    area_boxes,
    corners_of_boxes,
    enclosing_boxes,
    read_regions,
    regions,
    write_results,
)
from jaxtrack.errors import UserError


def written(folder, text):
    path = folder / "toy_001.txt"
    path.write_text(text)
    return path


def test_codes_rectangles_and_polygons_are_told_apart(tmp_path):
    found = read_regions(written(tmp_path, "1\n10,20,30,40\n1\t2\t3\t4\t5\t6\t7\t8\n0\n2\n\n"))
    assert found.codes.tolist() == [STARTED, REGION, REGION, SKIPPED, FAILED]
    assert found.corners[1].tolist() == [[10, 20], [40, 20], [40, 60], [10, 60]]
    assert found.corners[2].tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert np.isnan(found.corners[[0, 3, 4]]).all()
    assert found.present.tolist() == [False, True, True, False, False]
    assert found.rectangle.tolist() == [False, True, False, False, False]
    assert found.frames_with(FAILED).tolist() == [4]


def test_right_and_bottom_are_added_up_in_float32():
    [corners] = corners_of_boxes(np.array([[0.1, 0.2, 16777216.0, 3.0]]))
    assert corners[1, 0] == np.float32(0.1) + np.float32(16777216)
    assert corners.dtype == np.float32


@pytest.mark.parametrize("row", ["NaN,NaN,NaN,NaN", "nan", "1,2,nan,4,5,6,7,8"])
def test_an_annotation_with_nan_is_one_of_which_nothing_is_known(tmp_path, row):
    if row == "nan":
        with pytest.raises(UserError, match="expected a code"):
            read_regions(written(tmp_path, row))
        return
    found = read_regions(written(tmp_path, f"1,2,3,4\n{row}\n"))
    assert found.codes.tolist() == [REGION, SKIPPED]
    assert np.isnan(found.corners[1]).all()
    assert found.rectangle.tolist() == [True, False]


def test_a_byte_order_mark_is_no_part_of_the_first_number(tmp_path):
    assert read_regions(written(tmp_path, "\ufeff1,2,3,4\r\n5,6,7,8\r\n")).present.tolist() == [True, True]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,2,3,4\n1,2,3,4,5,6\n", "row 2: expected a code (0, 1 or 2), x,y,w,h or the 8 numbers of four corners"),
        ("3\n", "row 1: expected a code (0, 1 or 2)"),
        ("1,2,3\n", "row 1: expected"),
        ("1,2,inf,4\n", "row 1: expected"),
        ("1,2,3,four\n", "line 1: expected"),
        ("1;2;3;4\n", "line 1: expected"),
        ("", "is empty: expected one region per frame"),
    ],
)
def test_rows_that_are_no_region_are_refused_with_their_place(tmp_path, text, said):
    path = written(tmp_path, text)
    with pytest.raises(UserError) as raised:
        read_regions(path)
    assert str(raised.value).startswith(str(path))
    assert said in str(raised.value)


def test_a_result_with_nan_is_refused_with_its_place(tmp_path):
    path = written(tmp_path, "1\nnan,2,3,4\n")
    with pytest.raises(UserError) as raised:
        read_regions(path, nan_allowed=False)
    assert str(raised.value) == (
        f"{path}, line 2: a result must not have NaN, write 0 where nothing is known: 'nan,2,3,4'"
    )


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot read the regions of .*nowhere.txt: No such file"):
        read_regions(tmp_path / "nowhere.txt")


def test_results_are_written_as_vot_has_them(tmp_path):
    boxes = np.array([[np.nan] * 4, [1, 2.00004, 3.25, 4], [np.nan] * 4])
    write_results(tmp_path / "a" / "toy_001.txt", boxes, np.array([STARTED, REGION, FAILED], np.int8))
    assert (tmp_path / "a" / "toy_001.txt").read_text() == "1\n1.0000,2.0000,3.2500,4.0000\n2\n"


def test_a_box_that_is_not_finite_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="not finite"):
        write_results(tmp_path / "toy_001.txt", np.full((1, 4), np.nan), np.array([REGION], np.int8))
    assert not list(tmp_path.iterdir())


def test_the_box_of_a_polygons_area_is_the_one_that_pysot_starts_from():
    # Golden value of the reference: centre (90, 90), w = h = 74.541328; x = cx - (w - 1) / 2.
    [box] = area_boxes(np.array([[[40, 70], [100, 40], [140, 110], [80, 140]]]))
    assert box[2:] == pytest.approx([74.541328] * 2, abs=1e-6)
    assert box[:2] == pytest.approx([90 - 73.541328 / 2] * 2, abs=1e-6)


def test_an_upright_polygon_gives_the_box_of_its_pixels():
    [box] = area_boxes(np.array([[[4, 6], [9, 6], [9, 7], [4, 7]]]))
    assert box.tolist() == [4, 6, 6, 2]  # pixels 4 to 9 and 6 to 7


def test_a_polygon_without_area_gives_a_box_of_a_pixel():
    [box] = area_boxes(np.full((1, 4, 2), 7.0))
    assert box.tolist() == [7, 7, 1, 1]


def test_trackers_start_from_rectangles_as_they_are_and_from_polygons_by_the_rule():
    found = regions([[10, 20, 30, 40], [4, 6, 9, 6, 9, 7, 4, 7], [0]])
    area, enclosing = found.start_boxes(), found.start_boxes("enclosing")
    assert area[:2].tolist() == [[10, 20, 30, 40], [4, 6, 6, 2]]
    assert enclosing[:2].tolist() == [[10, 20, 30, 40], [4, 6, 5, 1]]
    assert np.isnan(area[2]).all()
    assert enclosing_boxes(np.array([[[3, 1], [5, 4], [4, 9], [0, 2]]])).tolist() == [[0, 1, 5, 8]]
