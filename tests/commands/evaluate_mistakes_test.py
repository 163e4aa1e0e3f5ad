"""What `evaluate` refuses: one sentence, exit code 2, and nothing left behind."""

import functools
import shutil
from pathlib import Path

import command_line
import cv2
import numpy as np
import pytest
from command_line import box_files, without

from jaxtrack.__main__ import main
from jaxtrack.data import download

error_of = functools.partial(command_line.error_of, "evaluate")


def test_an_unknown_tracker(capsys):
    assert "did you mean opencv-mil" in error_of(capsys, "--tracker=opencv-mill")


def test_no_tracker_at_all(capsys):
    assert "name at least one tracker" in error_of(capsys, "--tracker=,")


def test_a_tracker_named_twice(capsys):
    assert "opencv-mil is named twice" in error_of(capsys, "--tracker=opencv-mil,opencv-mil")


def test_an_unknown_benchmark(options, capsys, tmp_path):
    assert "did you mean otb2013" in error_of(capsys, *options, "--benchmark=otb2103")
    assert not (tmp_path / "results").exists()


def test_an_unknown_sequence(options, capsys, tmp_path):
    assert "did you mean Deer" in error_of(capsys, *options, "--sequences=Dear")
    assert not (tmp_path / "results").exists()


def test_weights_of_another_network_are_told_before_anything_is_written(options, capsys, tmp_path):
    arguments = without(without(options, "--opencv-mil"), "--tracker")
    other = ["--tracker=siamban_nano", "--siamban-nano.architecture=siamban_pico"]
    assert "holds weights of siamban_nano, not of siamban_pico" in error_of(capsys, *arguments, *other)
    assert not (tmp_path / "results").exists()


def test_a_sequence_of_another_benchmark(capsys):
    line = error_of(capsys, "--tracker=opencv-mil", "--sequences=deer")
    assert "There is no sequence of Procedural called 'deer'" in line
    assert "it is in otb2013, tb50, otb100" in line
    assert "name the benchmark by --benchmark" in line


def test_a_data_folder_that_is_a_sequence_itself(options, data_dir, capsys):
    line = error_of(capsys, *options, f"--data-dir={data_dir / 'otb' / 'Deer'}")
    assert f"Deer is itself a sequence, give the folder that holds it: {data_dir / 'otb'}" in line


def test_a_missing_data_folder(options, capsys, tmp_path):
    assert "does not exist" in error_of(capsys, *options, f"--data-dir={tmp_path / 'nowhere'}")
    assert not (tmp_path / "results").exists()


def test_published_results_that_are_not_there_are_told_before_anything_runs(options, capsys, tmp_path):
    assert f"there is no folder {tmp_path / 'KCF'}" in error_of(capsys, *options, f"--published={tmp_path / 'KCF'}")
    (tmp_path / "KCF").mkdir()
    assert "holds no result file" in error_of(capsys, *options, f"--published={tmp_path / 'KCF'}")
    for parent in "ab":
        (tmp_path / parent / "KCF").mkdir(parents=True)
    same = f"--published={tmp_path / 'a' / 'KCF'},{tmp_path / 'b' / 'KCF'}"
    assert "two folders have the same name" in error_of(capsys, *options, same)
    assert not (tmp_path / "results").exists()


# Not a folder without the right to write: tests may run as root, for whom every folder has it.
def test_a_results_folder_below_a_file(options, capsys, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert "cannot write results" in error_of(capsys, *options, f"--results={tmp_path / 'file' / 'results'}")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_report_folder_below_a_file_is_told_before_anything_runs(options, capsys, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert "--report: cannot write" in error_of(capsys, *options, f"--report={tmp_path / 'file' / 'report'}")
    assert not (tmp_path / "results").exists()


def test_a_tracker_whose_library_is_not_installed(options, capsys, tmp_path, monkeypatch):
    monkeypatch.delattr("cv2.TrackerCSRT", raising=False)
    arguments = [*without(options, "--opencv-mil"), "--tracker=opencv-csrt"]
    assert "pip install" in error_of(capsys, *arguments)
    assert not (tmp_path / "results").exists()


def test_a_number_that_a_config_refuses(options, capsys):
    assert "must be greater than 0" in error_of(capsys, *options, "--opencv-mil.track-radius-px=-1")


@pytest.mark.parametrize("option", ["--repeats=0", "--seed=-1", "--seed=2147483648"])
def test_a_count_or_seed_out_of_range(options, capsys, option):
    assert option.split("=")[0] in error_of(capsys, *options, option)


def test_a_download_of_something_that_is_not_downloaded(capsys):
    assert "nothing to download for procedural" in error_of(capsys, "--tracker=opencv-mil", "--download")


def test_a_download_to_nowhere(capsys, monkeypatch):
    monkeypatch.delenv("JAXTRACK_DATA", raising=False)
    monkeypatch.setattr(download, "download", None)
    arguments = ["--tracker=opencv-mil", "--benchmark=otb2013", "--download"]
    assert "say by --data-dir" in error_of(capsys, *arguments)


@pytest.fixture
def broken(data_dir, tmp_path):
    """A copy of the data of which a test may damage Football1; Deer is whole."""
    return Path(shutil.copytree(data_dir, tmp_path / "data"))


@pytest.mark.parametrize(
    ("row", "text", "message"),
    [
        (9, "11,13,left,8", "line 10: expected four finite numbers"),
        (9, "NaN,13,8,8", "line 10: expected four finite numbers"),
        (0, "60,13,8,8", "lies outside the image of 48x36 pixels"),
        (0, "11,13,0,8", "is empty"),
        (73, "", "has 73 rows for 74 images"),
    ],
)
def test_a_broken_annotation_is_told_before_anything_runs(broken, options, capsys, tmp_path, row, text, message):
    annotation = broken / "otb" / "Football1" / "groundtruth_rect.txt"
    rows = annotation.read_text().splitlines()
    rows[row] = text
    annotation.write_text("\n".join(rows))
    line = error_of(capsys, *options, f"--data-dir={broken}")
    assert "Football1" in line
    assert message in line
    assert not (tmp_path / "results").exists()


def test_a_sequence_without_images_is_told_before_anything_runs(broken, options, capsys, tmp_path):
    for image in (broken / "otb" / "Football1" / "img").iterdir():
        image.unlink()
    assert "Football1: empty sequence" in error_of(capsys, *options, f"--data-dir={broken}")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (b"\xff\xd8 no image \xff\xd9", "does not decode as an image"),
        (cv2.imencode(".jpg", np.zeros((36, 40, 3), np.uint8))[1].tobytes(), "has 40x36 pixels, the first one 48x36"),
    ],
    ids=["no image", "another size"],
)
def test_a_broken_image_names_its_file_and_keeps_what_is_complete(broken, tmp_path, capsys, options, image, message):
    (broken / "otb" / "Football1" / "img" / "0030.jpg").write_bytes(image)
    assert main(["evaluate", *options, f"--data-dir={broken}"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: Football1: ")
    assert "0030.jpg" in line
    assert message in line
    assert [path.rsplit("/")[-1] for path in box_files(tmp_path / "results")] == ["Deer.txt"]


@pytest.mark.parametrize(
    ("typo", "suggestion"),
    [
        ("--opencv-mil.search-radius=6", "did you mean --opencv-mil.search-radius-px"),
        ("--opencv_mil.track_radius_pxs=6", "did you mean --opencv-mil.track-radius-px"),
        ("--benchmrk=otb100", "did you mean --benchmark?"),
        ("--dataset=otb100", "There is no option --dataset: did you mean --benchmark?"),
        ("--data_root=DIR", "did you mean --data-dir?"),
        ("--deeptrack.sampling.particles=80", "its tracker is not among those of --tracker"),
        (
            "--siamban-nano.penalty=0.1",
            "its tracker is not among those of --tracker, which takes several: --tracker A,s",
        ),
        (
            "--siamban_nano.penalty=0.1",
            "its tracker is not among those of --tracker, which takes several: --tracker A,s",
        ),
        ("--frobnicate", "--help"),
        ("Deer", "'Deer' belongs to no option"),
    ],
)
def test_an_option_that_is_not_there(capsys, typo, suggestion):
    assert suggestion in error_of(capsys, "--tracker=opencv-mil", typo)


def test_a_value_of_the_wrong_type(capsys):
    assert main(["evaluate", "--tracker=opencv-mil", "--seed=many"]) == 2
    assert "--seed" in capsys.readouterr().err
