import itertools
from pathlib import Path

import pytest
from dataset_folders import write_image, write_lines, write_xml

from jaxtrack.data.preparation import tracks
from jaxtrack.errors import UserError


def test_rows_are_separated_by_commas_or_blanks_and_may_be_nan(tmp_path):
    write_lines(tmp_path / "a.txt", ["1,2,3,4", "1.5\t2  3, 4", "NaN,nan,NaN,NaN", "what", ""])
    rows = tracks.read_rows(tmp_path / "a.txt")
    assert rows[:2] == [[1, 2, 3, 4], [1.5, 2, 3, 4]]
    assert str(rows[2]) == "[nan, nan, nan, nan]"
    assert rows[3:] == [None]


def test_an_annotation_that_is_not_there_or_empty_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*a\.txt: No such file"):
        tracks.read_rows(tmp_path / "a.txt")
    write_lines(tmp_path / "a.txt", [""])
    with pytest.raises(UserError, match=r"a\.txt is empty"):
        tracks.read_rows(tmp_path / "a.txt")


def test_flags_stand_on_one_line_or_on_many_and_are_off_without_a_file(tmp_path):
    write_lines(tmp_path / "one.txt", ["0,1,8"])
    write_lines(tmp_path / "many.txt", ["0", "1", "8"])
    for name in ("one.txt", "many.txt"):
        assert tracks.read_flags(tmp_path / name, 3) == [False, True, True]
    assert tracks.read_flags(tmp_path / "none.txt", 2) == [False, False]
    with pytest.raises(UserError, match=r"one\.txt should hold 2 numbers, one per frame"):
        tracks.read_flags(tmp_path / "one.txt", 2)


def test_images_come_in_the_order_of_their_numbers(tmp_path):
    for name in ("10.jpg", "9.jpg", "0.png", "cover.jpg"):
        write_image(tmp_path / name)
    assert [path.name for path in tracks.numbered_images(tmp_path)] == ["0.png", "9.jpg", "10.jpg"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty has no images named by numbers"):
        tracks.numbered_images(tmp_path / "empty")
    with pytest.raises(UserError, match="there is no folder"):
        tracks.numbered_images(tmp_path / "none")


def test_images_of_one_number_come_by_their_names_however_the_folder_lists_them(tmp_path, monkeypatch):
    names = ["1.jpg", "01.jpg", "1.png"]
    for listed in itertools.permutations(names):
        monkeypatch.setattr(Path, "iterdir", lambda folder, listed=listed: (folder / name for name in listed))
        assert [path.name for path in tracks.numbered_images(tmp_path)] == ["01.jpg", "1.jpg", "1.png"]


def test_the_fractions_of_whole_boxes_are_cut_off_before_the_corner_is_added():
    # 10.9 + 5.9 would be 16.8, but 10 + 5 is meant; towards zero, as in -0.5.
    assert tracks.box_from_whole_xywh([10.9, -0.5, 5.9, 7.2]) == (10, 0, 15, 7)
    assert tracks.box_from_xywh([10.5, 1.0, 5.0, 7.0]) == (10.5, 1, 15.5, 8)
    assert tracks.box_from_xywh([1, 2, 3]) is None


def test_a_polygon_becomes_the_box_around_it_counted_from_0():
    assert tracks.box_from_points([5, 11, 21, 3, 31, 13, 15, 23]) == (4, 2, 30, 22)
    assert tracks.box_from_points([5, 3, 10, 20]) == (4, 2, 14, 22)
    assert tracks.box_from_points([1, 2, 3, 4, 5, 6, 7]) is None
    assert tracks.box_from_points([1]) is None


def test_objects_of_an_xml_annotation(tmp_path):
    write_xml(
        tmp_path / "a.xml",
        {"name": "n01", "trackid": 3, "box": (1, 2, 30, 40), "occluded": 1},
        {"name": "n02", "box": (1, 2, "x", 40), "difficult": 1},
    )
    first, second = tracks.read_xml(tmp_path / "a.xml")
    assert (first.box_xyxy, first.track, first.occluded, first.difficult) == ((1, 2, 30, 40), "3", True, False)
    assert (second.box_xyxy, second.track, second.occluded, second.difficult) == (None, "0", False, True)
    write_lines(tmp_path / "a.xml", ["<annotation>"])
    with pytest.raises(UserError, match=r"a\.xml is not XML"):
        tracks.read_xml(tmp_path / "a.xml")
