"""`evaluate` with other rules, other runs, and benchmarks other than OTB's."""

import csv
import functools
import json

import command_line
import cv2
import numpy as np
import pytest
from toy_vot import write_sequence

from jaxtrack.__main__ import main

error_of = functools.partial(command_line.error_of, "evaluate")
MIL = ["--opencv-mil.search-radius-px=6", "--opencv-mil.init-max-negatives=8", "--opencv-mil.track-max-negatives=8"]


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")


def write_images(folder, names):
    folder.mkdir(parents=True)
    image = np.random.default_rng(0).integers(0, 128, (36, 48, 3), np.uint8)
    image[4:16, 4:20] = (20, 60, 250)
    for name in names:
        cv2.imwrite(str(folder / name), image)


@pytest.fixture
def uav(tmp_path):
    """One sequence of UAV123, 25 frames, without the target in the second."""
    write_images(tmp_path / "uav" / "data_seq" / "UAV123" / "boat9", [f"{i:06d}.jpg" for i in range(1, 26)])
    rows = ["5,5,16,12", "NaN,NaN,NaN,NaN", *["5,5,16,12"] * 23]
    annotations = tmp_path / "uav" / "anno" / "UAV123"
    annotations.mkdir(parents=True)
    (annotations / "boat9.txt").write_text("\n".join(rows) + "\n")
    return tmp_path / "uav"


def run(*arguments):
    return main(["evaluate", *map(str, arguments)])


def rows_of(folder):
    return list(csv.DictReader((folder / "summary.csv").read_text().splitlines()))


def publish(folder, rows, name="boat9"):
    folder.mkdir()
    (folder / f"{name}.txt").write_text("".join(f"{row}\n" for row in rows))
    return folder


@pytest.fixture
def published(uav, tmp_path):
    """Options that score a result that is right in every frame."""
    them = publish(tmp_path / "Them", ["5,5,16,12"] * 25)
    return ["--benchmark=uav123", f"--data-dir={uav}", "--tracker=none", f"--published={them}", "--quiet",
            f"--report={tmp_path / 'report'}"]  # fmt: skip


@pytest.mark.parametrize(
    ("more", "precision", "success", "title"),
    [
        ([], 1, 24 / 25, "OPE"),
        (["--invalid-frames=skip"], 1, 1, "OPE (otb)"),
        (["--protocol=PyTracking", "--invalid-frames=miss"], 24 / 25, 24 / 25, "OPE (pytracking)"),
    ],
)
def test_results_are_scored_by_the_rules_asked_for(published, tmp_path, capsys, more, precision, success, title):
    assert run(*published, *more) == 0
    assert f"{title} on 1 of the 123 sequences of UAV123" in capsys.readouterr().out
    [row] = rows_of(tmp_path / "report")
    assert float(row["precision_20"]) == pytest.approx(precision)
    assert float(row["norm_precision_20"]) == pytest.approx(precision)
    assert float(row["success_50"]) == pytest.approx(success)
    assert row["protocol"] == title


def test_got10k_has_its_own_columns(tmp_path, capsys):
    folder = tmp_path / "data" / "val" / "GOT-10k_Val_000001"
    write_images(folder, [f"{i:08d}.jpg" for i in (1, 2, 3)])
    (folder / "groundtruth.txt").write_text("5,5,16,12\n" * 3)
    (folder / "cover.label").write_text("8\n8\n0\n")
    (folder / "meta_info.ini").write_text("object_class: boat\nresolution: (48, 36)\n")
    them = publish(tmp_path / "Them", ["1,1,2,2", "5,5,16,6", "1,1,2,2"], folder.name)
    report = tmp_path / "report"
    options = ["--benchmark=got10k_val", f"--data-dir={tmp_path / 'data'}", "--tracker=none", f"--published={them}"]
    assert run(*options, f"--report={report}", "--per-sequence") == 0
    printed = capsys.readouterr().out
    assert all(label in printed for label in ("AO", "SR@0.75", "mAO"))
    [row] = rows_of(report)
    assert [float(row[key]) for key in ("ao", "sr_50", "sr_75", "mao")] == [0.5, 0.0, 0.0, 0.5]


def test_a_benchmark_whose_annotations_are_hidden_is_run_but_not_scored(tmp_path, capsys):
    write_images(tmp_path / "TEST" / "frames" / "ab_0", [f"{i}.jpg" for i in range(3)])
    (tmp_path / "TEST" / "anno").mkdir()
    (tmp_path / "TEST" / "anno" / "ab_0.txt").write_text("4,4,16,12\n")
    options = ["--benchmark=trackingnet", f"--data-dir={tmp_path}", f"--results={tmp_path / 'results'}", "--quiet"]
    assert run("--tracker=opencv-mil", *MIL, *options) == 0
    assert "annotations of 1 of the 511 sequences of TrackingNet test are not public" in capsys.readouterr().out
    [boxes] = (tmp_path / "results").glob("opencv-mil/*/trackingnet/ab_0.txt")
    assert len(boxes.read_text().splitlines()) == 3
    assert "not public, nothing can be scored" in error_of(
        capsys, "--tracker=none", f"--published={tmp_path}", "--sequences=ab_0", *options
    )


@pytest.mark.parametrize(("runs", "files"), [("tre", 6), ("sre", 12)])
def test_runs_of_tre_and_sre_are_stored_pooled_and_resumed(uav, tmp_path, capsys, runs, files):
    options = ["--benchmark=uav123", f"--data-dir={uav}", f"--results={tmp_path / 'results'}", "--quiet"]
    command = ["--tracker=opencv-mil", *MIL, *options, f"--runs={runs}"]
    assert run(*command) == 0
    assert f"{runs.upper()} on 1 of the 123" in capsys.readouterr().out
    [stored] = (tmp_path / "results" / "opencv-mil").glob(f"*/uav123-{runs}")
    boxes = sorted(path for path in stored.glob("boat9*.txt") if ".times" not in path.name)
    # Of 25 frames, the second without the target, six may be started from: 1, 3, 4, 5, 6 and (with E = 5) no more.
    assert len(boxes) == (5 if runs == "tre" else files)
    report = tmp_path / "results" / "reports" / f"uav123-{runs}" / "opencv-mil"
    [row] = json.loads((report / "summary.json").read_text())["trackers"]
    lengths = [25, 23, 22, 21, 20]
    frames = row["runs"][0]["sequences"]["boat9"]["frames"]
    assert frames == (12 * 25 if runs == "sre" else sum(lengths[start] for start in tre_positions()))
    before = {path: path.stat().st_mtime_ns for path in boxes}
    boxes[0].unlink()
    assert run(*command) == 0
    assert [path for path in boxes if path.stat().st_mtime_ns != before[path]] == boxes[:1]


def tre_positions():
    """Positions (0-based) in the list of five starts: floor(1 + 5 k / 19) for k = 0 to 18, then the last."""
    return [(5 * k) // 19 for k in range(19)] + [4]


def test_mistakes_are_answered_in_words(published, tmp_path, capsys):
    published = [*published, "--sequences=boat9"]  # so that nothing is said of those that are not there
    assert "no protocol called 'zzz': there are otb, pysot, got10k, pytracking" in error_of(
        capsys, *published, "--protocol=zzz"
    )
    assert "--published holds results of one run per sequence" in error_of(capsys, *published, "--runs=tre")
    (tmp_path / "Them" / "boat9.txt").write_text("5,5,16,12\n" * 24)
    said = error_of(capsys, *published, "--protocol=pysot")
    assert "Them: the result of boat9 is too short: 24 rows for 25 frames" in said


def test_vot_has_rules_of_its_own(tmp_path, capsys):
    write_sequence(tmp_path / "vot2018" / "bag", 3)
    options = [
        "--benchmark=vot2018",
        "--sequences=bag",
        f"--data-dir={tmp_path}",
        "--tracker=opencv-mil",
        f"--results={tmp_path / 'r'}",
    ]
    for option in ("--protocol=otb", "--runs=sre", "--invalid-frames=miss"):
        assert f"{option.partition('=')[0]} is for one-pass evaluations" in error_of(capsys, *options, option)


def test_one_real_sequence_of_uav123_is_tracked_and_scored(test_data, tmp_path):
    found = run("--benchmark=uav123", f"--data-dir={test_data / 'uav123'}", "--tracker=opencv-mil", *MIL, "--quiet",
                f"--results={tmp_path / 'results'}", f"--report={tmp_path / 'report'}")  # fmt: skip
    assert found == 0
    [row] = rows_of(tmp_path / "report")
    assert (row["tracker"], row["sequences"]) == ("opencv-mil", "1")
    assert 1 / 67 < float(row["auc"]) <= 20 / 21  # more than the first frame, which is given
    [boxes] = (tmp_path / "results").glob("*/*/uav123/wakeboard7.txt")
    assert len(boxes.read_text().splitlines()) == 67
