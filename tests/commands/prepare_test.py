import pytest
from command_line import error_of
from dataset_folders import write_got10k, write_image

from jaxtrack.__main__ import main
from jaxtrack.commands import prepare as command
from jaxtrack.data.preparation import crops
from jaxtrack.data.preparation.registry import DATASETS


@pytest.fixture
def arguments(tmp_path):
    """A video of two frames, the second of which does not decode."""
    source = write_got10k(tmp_path / "source", [2])
    (source / "train" / "GOT-10k_Train_000001" / "00000002.jpg").write_bytes(b"no image")
    return ["--dataset", "GOT-10k", "--data-dir", str(source), "--out", str(tmp_path / "out")]


def test_the_summary_says_what_was_made_and_what_was_dropped(arguments, tmp_path, capsys):
    assert main(["prepare", *arguments]) == 0
    first, dropped, reason = capsys.readouterr().out.splitlines()
    folder = tmp_path / "out" / "got10k" / "train"
    assert first.startswith(f"{folder}: 1 videos, 1 tracks, 1 frames in ")
    assert first.endswith(" s")
    assert dropped == f"1 annotations were dropped ({folder / 'report.json'} names some):"
    assert reason == "  1 unreadable image"
    assert main(["prepare", *arguments]) == 0
    assert "1 files were there already, from an earlier call" in capsys.readouterr().out


def test_split_and_visible_only_are_passed_on(arguments, tmp_path, capsys):
    write_image(tmp_path / "source" / "val" / "GOT-10k_Val_000001" / "00000001.jpg")
    (tmp_path / "source" / "val" / "GOT-10k_Val_000001" / "groundtruth.txt").write_text("1,2,3,4\n")
    (tmp_path / "source" / "val" / "GOT-10k_Val_000001" / "absence.label").write_text("1\n")
    line = error_of("prepare", capsys, *arguments, "--split", "val", "--visible-only")
    assert "every frame of got10k was dropped" in line
    assert main(["prepare", *arguments[:-1], str(tmp_path / "other"), "--split", "val"]) == 0


def test_mistakes_are_one_sentence(arguments, tmp_path, capsys):
    assert "did you mean got10k" in error_of("prepare", capsys, "--dataset", "got1k", *arguments[2:])
    assert "has no split 'test'" in error_of("prepare", capsys, *arguments, "--split", "test")
    assert "there is no folder" in error_of("prepare", capsys, *arguments[:3], tmp_path / "none", *arguments[4:])


def test_sequences_of_a_test_benchmark_are_warned_of(arguments, tmp_path, capsys):
    source = tmp_path / "videos"
    write_image(source / "Mine" / "img" / "0001.jpg")
    (source / "Mine" / "groundtruth_rect.txt").write_text("11,12,20,15\n")
    assert main(["prepare", "--dataset", "OTB", "--data-dir", str(source), "--out", str(tmp_path / "out")]) == 0
    [warning] = capsys.readouterr().err.splitlines()
    assert warning == (
        f"warning: {source} has the layout of a test benchmark, and 0 of its 1 sequences have names of OTB-100's: "
        "results on what a tracker was trained on say nothing"
    )
    assert main(["prepare", *arguments]) == 0
    assert "warning" not in capsys.readouterr().err


def test_an_interrupted_call_says_that_it_goes_on(arguments, monkeypatch, capsys):
    def interrupt(image):
        raise KeyboardInterrupt

    monkeypatch.setattr(crops, "encode", interrupt)
    assert main(["prepare", *arguments]) == 130
    assert capsys.readouterr().err == "interrupted: the same command goes on where this one stopped\n"


def test_the_help_names_every_dataset(capsys):
    assert main(["prepare", "--help"]) == 0
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name, dataset in DATASETS.items():
        assert f"{name} ({dataset.title})" in printed


def test_a_log_gets_a_line_now_and_then(capsys):
    now = [0.0]
    lines = command._Lines(lambda: now[0])
    for second in (5, 19, 21, 40, 45):
        now[0] = second
        lines(second, 100)
    assert capsys.readouterr().err == "21/100 videos\n45/100 videos\n"
