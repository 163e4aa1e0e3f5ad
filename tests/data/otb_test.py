from pathlib import Path

import numpy as np
import pytest

from jaxtrack.data import otb
from jaxtrack.data.otb_table import table
from jaxtrack.errors import UserError

BY_NAME = {entry.name: entry for entry in table()}


# Reading one sequence.


def numbered(first, last):
    """One annotation row per image number, which is the row's x."""
    return [f"{number},2,3,4" for number in range(first, last + 1)]


def test_the_first_row_belongs_to_the_first_image_of_the_table(tmp_path, make_sequence):
    rows = ["5,2,3,4", *numbered(2, 471)]
    sequence = otb.load_sequence(BY_NAME["David"], make_sequence(tmp_path, "David", range(300, 771), rows))
    assert len(sequence) == 471
    assert sequence.name == "David"
    assert sequence.frames.paths[0].name == "0300.jpg"
    np.testing.assert_array_equal(sequence.boxes[:2], [[4, 1, 3, 4], [1, 1, 3, 4]])
    assert sequence.attributes == {"IV", "SV", "OCC", "DEF", "MB", "IPR", "OPR"}
    assert sequence[470].shape == (12, 16, 3)


def test_tiger1_starts_on_image_6_with_row_6(tmp_path, make_sequence):
    folder = make_sequence(tmp_path, "Tiger1", range(1, 355), numbered(1, 354))
    sequence = otb.load_sequence(BY_NAME["Tiger1"], folder)
    assert len(sequence) == 349
    assert (sequence.frames.paths[0].name, sequence.frames.paths[-1].name) == ("0006.jpg", "0354.jpg")
    np.testing.assert_array_equal(sequence.boxes[[0, -1], 0], [5, 353])


def test_images_after_the_last_one_of_the_table_are_left_out(tmp_path, make_sequence):
    folder = make_sequence(tmp_path, "Football1", range(1, 82), ["3,2,3,4"] * 74)
    sequence = otb.load_sequence(BY_NAME["Football1"], folder)
    assert len(sequence) == len(sequence.frames) == 74
    assert sequence.frames.paths[-1].name == "0074.jpg"


def test_rows_after_the_last_image_are_left_out(tmp_path, make_sequence):
    sequence = otb.load_sequence(BY_NAME["Deer"], make_sequence(tmp_path, rows=["3,2,3,4"] * 75))
    assert len(sequence) == len(sequence.boxes) == 71


@pytest.mark.parametrize("last", [697, 698])
def test_boards_last_row_may_lack_its_image(tmp_path, make_sequence, last):
    folder = make_sequence(tmp_path, "Board", range(1, last + 1), ["3,2,3,4"] * 698, digits=5)
    assert len(otb.load_sequence(BY_NAME["Board"], folder)) == last


def test_rows_with_a_number_that_is_not_positive_are_not_valid(tmp_path, make_sequence):
    rows = ["1,1,3,4", "0,2,3,4", "2,2,0,0", "-1,2,3,4", *["2,2,3,4"] * 67]
    sequence = otb.load_sequence(BY_NAME["Deer"], make_sequence(tmp_path, rows=rows))
    assert sequence.valid.tolist() == [True, False, False, False, *[True] * 67]


@pytest.mark.parametrize("annotation", ["groundtruth_rect.txt", None])
def test_a_sequence_without_images_is_refused_as_empty(tmp_path, make_sequence, annotation):
    folder = make_sequence(tmp_path, images=[], rows=["3,2,3,4"] * 71)
    if annotation is None:
        (folder / "img").rmdir()
    with pytest.raises(UserError, match=r"^Deer: empty sequence, no image in .*img \(expected 0001.jpg to 0071.jpg\)"):
        otb.load_sequence(BY_NAME["Deer"], folder)


def test_a_missing_image_is_refused_by_its_number(tmp_path, make_sequence):
    folder = make_sequence(tmp_path)
    (folder / "img" / "0033.jpg").unlink()
    (folder / "img" / "0071.jpg").unlink()
    with pytest.raises(UserError, match=r"^Deer: image 0033.jpg is missing in .*\(2 of the images"):
        otb.load_sequence(BY_NAME["Deer"], folder)


def test_too_few_rows_are_refused(tmp_path, make_sequence):
    folder = make_sequence(tmp_path, rows=["3,2,3,4"] * 70)
    with pytest.raises(UserError, match=r"^Deer: .*groundtruth_rect.txt has 70 rows for 71 images"):
        otb.load_sequence(BY_NAME["Deer"], folder)


@pytest.mark.parametrize("bad", ["NaN,2,3,4", "left,2,3,4"])
def test_a_broken_row_is_refused_with_file_and_line(tmp_path, make_sequence, bad):
    rows = ["3,2,3,4"] * 71
    rows[9] = bad
    with pytest.raises(UserError, match=r"Deer.groundtruth_rect\.txt, line 10: expected four finite numbers"):
        otb.load_sequence(BY_NAME["Deer"], make_sequence(tmp_path, rows=rows))


@pytest.mark.parametrize(("first", "why"), [("17,2,3,4", "outside the image of 16x12"), ("3,2,0,4", "is empty")])
def test_a_first_box_that_no_tracker_could_start_from_is_refused(tmp_path, make_sequence, first, why):
    with pytest.raises(UserError, match=rf"^Deer \(.*groundtruth_rect.txt\): the first box .*{why}"):
        otb.load_sequence(BY_NAME["Deer"], make_sequence(tmp_path, rows=[first, *["3,2,3,4"] * 70]))


def test_the_first_tracked_box_is_checked_not_the_first_row(tmp_path, make_sequence):
    rows = ["0,0,0,0"] * 5 + ["16,12,1,1"] * 349
    folder = make_sequence(tmp_path, "Tiger1", range(1, 355), rows)
    assert len(otb.load_sequence(BY_NAME["Tiger1"], folder)) == 349


def test_real_sequences_load_with_their_frames(test_data):
    benchmark = otb.BENCHMARKS["otb100"](test_data)
    frames = {sequence.name: len(sequence) for sequence in benchmark.sequences}
    expected = {
        "Bolt2": 293, "Couple": 140, "Crossing": 120, "David": 471, "Deer": 71, "Football1": 74, "Freeman1": 326,
        "Human7": 250, "Jogging-1": 307, "Jogging-2": 307, "Jumping": 313, "MotorRolling": 164, "Skiing": 81,
    }  # fmt: skip
    assert expected.items() <= frames.items()
    assert len(frames) + len(benchmark.missing) == 100
    by_name = {sequence.name: sequence for sequence in benchmark.sequences}
    np.testing.assert_array_equal(by_name["Jogging-2"].boxes[0], [179, 78, 37, 114])  # from the file, less 1
    np.testing.assert_array_equal(by_name["David"].boxes[0], [128, 79, 64, 78])
    grey = by_name["Jumping"][0]
    assert grey.shape == (288, 352, 3)
    assert (grey[..., 0] == grey[..., 1]).all()
    assert (grey[..., 0] == grey[..., 2]).all()
    colour = by_name["Skiing"][80]
    assert colour.shape == (360, 640, 3)
    assert (colour[..., 0] != colour[..., 2]).any()


# Finding sequences.


@pytest.mark.parametrize("inside", [".", "otb", "OTB100", "otb2013", "TB-50"])
def test_sequences_are_found_in_the_folder_or_in_one_named_like_the_benchmark(tmp_path, make_sequence, inside):
    folder = make_sequence(tmp_path / inside)
    assert otb.sequence_folders(table(), tmp_path) == {"Deer": folder}


@pytest.mark.parametrize("annotation", ["groundtruth_rect.txt", "groundtruth_rect.2.txt"])
def test_a_folder_that_is_a_sequence_is_answered_with_the_one_that_holds_it(tmp_path, monkeypatch, annotation):
    folder = tmp_path / "data" / "Deer"
    (folder / "img").mkdir(parents=True)
    monkeypatch.chdir(folder)
    for data_dir in (folder, Path()):
        with pytest.raises(UserError, match="looked for its folders in"):  # without an annotation it is none
            otb.BENCHMARKS["otb100"](data_dir)
    (folder / annotation).write_text("1,1,5,5\n")
    for data_dir in (folder, Path()):
        with pytest.raises(UserError, match=rf"is itself a sequence, give the folder that holds it: {tmp_path}/data$"):
            otb.BENCHMARKS["otb100"](data_dir)


def test_a_folder_of_annotations_does_not_hide_the_images(tmp_path, make_sequence):
    make_sequence(tmp_path / "OTB-annotations", images=[], rows=["3,4,5,6"] * 71)
    (tmp_path / "OTB-annotations" / "Deer" / "img").rmdir()
    (tmp_path / "otb100" / "groundtruth_rect").mkdir(parents=True)
    folder = make_sequence(tmp_path / "otb")
    assert otb.sequence_folders(table(), tmp_path) == {"Deer": folder}


def test_folders_that_only_share_a_name_are_not_sequences(tmp_path):
    (tmp_path / "Fish").mkdir()
    (tmp_path / "Toy").write_text("a file")
    assert otb.sequence_folders(table(), tmp_path) == {}


def test_a_two_target_video_gives_one_sequence_per_annotation(tmp_path, make_sequence):
    folder = make_sequence(tmp_path, "Jogging", range(1, 308), annotation="groundtruth_rect.1.txt")
    make_sequence(tmp_path, "Jogging", [], ["7,8,5,6"] * 307, "groundtruth_rect.2.txt")
    assert otb.sequence_folders(table(), tmp_path) == {"Jogging-1": folder, "Jogging-2": folder}
    first, second = otb.BENCHMARKS["otb2013"](tmp_path).sequences
    assert (first.name, second.name) == ("Jogging-1", "Jogging-2")
    np.testing.assert_array_equal([first.boxes[0], second.boxes[0]], [[2, 3, 5, 6], [6, 7, 5, 6]])


def test_a_partial_copy_is_never_called_by_the_benchmarks_name(tmp_path, make_sequence):
    make_sequence(tmp_path)
    benchmark = otb.BENCHMARKS["otb2013"](tmp_path)
    assert benchmark.title == "1 of the 51 sequences of OTB-2013"
    assert len(benchmark.missing) == 50
    assert "Deer" not in benchmark.missing


def test_a_catalogue_tells_what_is_found_and_what_is_broken(tmp_path, make_sequence):
    make_sequence(tmp_path)
    make_sequence(tmp_path, "Football1", [1, 2])
    infos = {info.name: info for info in otb.BENCHMARKS["otb2013"].catalogue(tmp_path)}
    assert len(infos) == 51
    assert infos["Deer"].found
    assert infos["Deer"].box_size == (5, 6)
    assert not infos["Deer"].problem
    assert infos["Football1"].found
    assert infos["Football1"].problem.startswith("Football1: image 0003.jpg is missing")
    assert (infos["Tiger1"].found, infos["Tiger1"].frames, infos["Tiger1"].box_size) == (False, 349, None)


def test_files_that_a_folder_lacks_are_named(tmp_path, make_sequence):
    folder = make_sequence(tmp_path, images=range(1, 70))
    assert otb.missing_files(BY_NAME["Deer"], folder) == ["img/0070.jpg", "img/0071.jpg"]
    jogging = otb.missing_files(BY_NAME["Jogging-1"], tmp_path / "Jogging")
    assert jogging[:2] == ["groundtruth_rect.1.txt", "img/0001.jpg"]
    board = make_sequence(tmp_path, "Board", range(1, 698), digits=5)
    assert otb.missing_files(BY_NAME["Board"], board) == []
