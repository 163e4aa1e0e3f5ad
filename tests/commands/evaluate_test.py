import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import html_pages
import numpy as np
import pytest
from command_line import box_files, error_of, without
from otb_scores import score

from jaxtrack import trackers
from jaxtrack.__main__ import main
from jaxtrack.commands import _benchmark_choice, _table_notes, evaluate
from jaxtrack.data.boxfiles import read_boxes
from jaxtrack.data.sequences import Benchmark
from jaxtrack.evaluation import runner, trained_on

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments):
    return main(["evaluate", *arguments])


def test_an_evaluation_prints_a_table_and_writes_everything(options, data_dir, tmp_path, capsys):
    assert run(*options, "--per-sequence", "--per-attribute") == 0
    printed = capsys.readouterr().out
    reports = tmp_path / "results" / "reports" / "otb2013-Deer+Football1" / "opencv-mil"
    assert {path.name for path in reports.iterdir()} == {
        "summary.csv",
        "per_sequence.csv",
        "per_attribute.csv",
        "summary.json",
        "summary.tex",
        "success.png",
        "success.svg",
        "precision.png",
        "precision.svg",
        "norm_precision.png",
        "norm_precision.svg",
        "attributes",
        "report.html",
    }
    assert str(reports) in printed
    # The numbers are those of the stored boxes, scored by hand.
    [folder] = (tmp_path / "results" / "opencv-mil").glob("*/otb2013")
    aucs = {}
    for name in ("Deer", "Football1"):
        truth = read_boxes(data_dir / "otb" / name / "groundtruth_rect.txt")
        aucs[name] = score(read_boxes(folder / f"{name}.txt"), truth).auc
    with (reports / "summary.csv").open() as file:
        [row] = csv.DictReader(file)
    assert float(row["auc"]) == pytest.approx(np.mean(list(aucs.values())))
    assert f"{np.mean(list(aucs.values())):.3f}" in printed
    for name, auc in aucs.items():
        assert f"{name} " in printed
        assert f"{auc:.3f}" in printed
    run_id = json.loads((folder / "run.json").read_text())["id"]
    assert run_id in printed
    assert "s to start on a sequence" in printed
    page = html_pages.parse((reports / "report.html").read_text("utf-8"))
    [row] = html_pages.rows(html_pages.section(page, "summary"))
    assert row[1].split()[0] == f"{np.mean(list(aucs.values())):.3f}"
    assert html_pages.rows(html_pages.section(page, "sources"))[0][:2] == [run_id, "0"]


def test_a_second_call_runs_nothing_and_prints_the_same_table(options, capsys, monkeypatch):
    assert run(*options, "--sequences=Deer") == 0
    first = capsys.readouterr().out
    monkeypatch.setattr(runner, "run_session", None)
    assert run(*options, "--sequences=Deer") == 0
    assert capsys.readouterr().out == first


def test_repeats_are_one_row_with_a_deviation(options, tmp_path, capsys):
    assert run(*options, "--sequences=Deer", "--seed=3", "--repeats=2") == 0
    assert "±" in capsys.readouterr().out
    infos = [json.loads(path.read_text()) for path in tmp_path.rglob("run.json")]
    assert sorted(info["identity"]["seed"] for info in infos) == [3, 4]


def test_weights_that_were_trained_on_scored_sequences_are_told_of(options, capsys, monkeypatch):
    monkeypatch.setattr(trained_on, "remark", lambda config, name, names: f"{' and '.join(names)} of {name}")
    assert run(*options) == 0
    assert "¹ weights trained on Deer and Football1 of otb2013" in capsys.readouterr().out


def test_below_the_table_stands_where_weights_came_from(options, capsys, monkeypatch):
    monkeypatch.setattr(_table_notes, "weights", lambda entries: [f"{each.label}: weights mine" for each in entries])
    assert run(*options, "--sequences=Deer") == 0
    assert "opencv-mil: weights mine\n" in capsys.readouterr().out


def test_missing_sequences_are_named_and_the_title_says_part(options, capsys):
    assert run(*without(options, "--sequences")) == 0
    captured = capsys.readouterr()
    assert "2 of the 51 sequences of OTB-2013" in captured.out
    line = captured.err.strip()
    named = line.partition("not found: ")[2]
    assert named.startswith("Basketball, ")
    assert len(named.split(", ")) == 10
    assert named.endswith(" and 39 more (--list --benchmark otb2013 names all)")


def test_a_few_missing_sequences_are_all_named():
    names = tuple("ABCDEFGHIJ")
    assert _benchmark_choice.shortened(Benchmark("mine", "Mine", [], names)) == "A, B, C, D, E, F, G, H, I, J"


def test_missing_sequences_whose_names_nobody_knows_are_counted():
    mine = Benchmark("mine", "Mine", [], tuple("ABCDEFGHIJKL"), unnamed=71)
    assert _benchmark_choice.shortened(mine).endswith("I, J and 73 more (--list --benchmark mine names all)")
    assert _benchmark_choice.shortened(Benchmark("mine", "Mine", [], (), unnamed=71)) == "71 sequences"


def test_options_of_a_tracker_reach_its_config(options, tmp_path):
    assert run(*options, "--sequences=Deer", "--opencv-mil.track-radius-px=2.5") == 0
    [info] = [json.loads(path.read_text()) for path in tmp_path.rglob("run.json")]
    assert info["identity"]["config"]["track_radius_px"] == 2.5
    assert info["identity"]["config"]["search_radius_px"] == 6


def test_a_config_file_is_a_tracker_of_its_own_beside_the_default(options, tmp_path, capsys):
    config = tmp_path / "narrow.py"
    config.write_text(
        "from jaxtrack.trackers.opencv import MilConfig\n"
        "def config():\n"
        "    return MilConfig(search_radius_px=4.0, init_max_negatives=8)\n"
    )
    arguments = [*options, "--sequences=Deer", f"--tracker=opencv-mil,{config}", "--narrow.track-max-negatives=8"]
    assert run(*arguments) == 0
    printed = capsys.readouterr().out
    [info] = [json.loads(path.read_text()) for path in tmp_path.glob("results/narrow/*/*/run.json")]
    assert info["identity"]["config"]["search_radius_px"] == 4
    assert info["identity"]["config"]["track_max_negatives"] == 8
    assert info["extra"] == {"method": "opencv-mil"}
    assert "narrow" in printed
    assert "opencv-mil" in printed


def test_published_results_are_rows_beside_the_trackers(options, data_dir, tmp_path, capsys, caplog, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # else a long name is broken or not, depending on the width of the times
    folder = tmp_path / "KCF"
    folder.mkdir()
    rows = (data_dir / "otb" / "Deer" / "groundtruth_rect.txt").read_text().splitlines()
    (folder / "deer.txt").write_text("\n".join(rows))
    (folder / "Basketball.txt").write_text("1,1,9,9")  # of no sequence that is scored
    assert run(*options, "--sequences=Deer", f"--published={folder}/") == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if "KCF" in line)
    numbers = ["0.952", *["1.000"] * 4, "-", "1", "published"]  # 20 of 21 thresholds
    assert row.split() == ["KCF", "(published)", *numbers]
    with (tmp_path / "results" / "reports" / "otb2013-Deer" / "opencv-mil+KCF" / "summary.csv").open() as file:
        assert [line["tracker"] for line in csv.DictReader(file)] == ["opencv-mil", "KCF (published)"]
    report = tmp_path / "results" / "reports" / "otb2013-Deer" / "opencv-mil+KCF" / "report.html"
    theirs = html_pages.section(html_pages.parse(report.read_text("utf-8")), "sources").all("article")[1]
    assert [value.text for value in theirs.all("dd")][1] == str(folder)
    assert caplog.text == ""


def test_published_results_of_a_rendered_benchmark(options, tmp_path, capsys):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "Procedural_SV.txt").write_text("1,1,9,9")
    arguments = [*options, "--benchmark=procedural", "--sequences=procedural-sv", f"--published={folder}"]
    assert run(*arguments) == 0
    assert "mine" in capsys.readouterr().out


def test_the_report_folder_can_be_chosen(options, tmp_path):
    assert run(*options, "--sequences=Deer", f"--report={tmp_path / 'here'}") == 0
    assert (tmp_path / "here" / "success.svg").exists()
    assert not (tmp_path / "results" / "reports").exists()


def test_a_report_of_selected_sequences_leaves_that_of_the_benchmark_alone(options, tmp_path, capsys):
    assert run(*without(options, "--sequences")) == 0
    reports = tmp_path / "results" / "reports"
    before = (reports / "otb2013" / "opencv-mil" / "summary.csv").read_bytes()
    assert run(*options, "--sequences=Football1, deer") == 0
    assert f"Report, tables and plots are in {reports / 'otb2013-Deer+Football1'}" in capsys.readouterr().out
    assert run(*options, "--sequences=Deer") == 0
    assert {path.name for path in reports.iterdir()} == {"otb2013", "otb2013-Deer", "otb2013-Deer+Football1"}
    assert (reports / "otb2013" / "opencv-mil" / "summary.csv").read_bytes() == before


def test_a_report_of_other_trackers_leaves_that_of_these_alone(options, tmp_path):
    config = tmp_path / "narrow.py"
    config.write_text(
        "from jaxtrack.trackers.opencv import MilConfig\n"
        "def config():\n"
        "    return MilConfig(search_radius_px=4.0, init_max_negatives=8, track_max_negatives=8)\n"
    )
    one = [*options, "--sequences=Deer"]
    assert run(*one) == 0
    reports = tmp_path / "results" / "reports" / "otb2013-Deer"
    before = (reports / "opencv-mil" / "summary.csv").read_bytes()
    assert run(*one, f"--tracker=opencv-mil,{config}") == 0
    assert {path.name for path in reports.iterdir()} == {"opencv-mil", "opencv-mil+narrow"}
    assert (reports / "opencv-mil" / "summary.csv").read_bytes() == before


@pytest.mark.parametrize("names", [[f"Sequence{i}" for i in range(20)], ["a/b"], ["Über uns"]])
def test_a_report_is_not_named_after_sequences_that_make_no_name_of_a_folder(names):
    assert re.fullmatch(rf"{len(names)}-sequences-[0-9a-f]{{12}}", evaluate._joined(names, "sequences"))
    assert evaluate._joined(names, "sequences") != evaluate._joined([*names[:-1], "another/one"], "sequences")


def test_without_options_the_default_tracker_runs_beside_opencvs():
    assert evaluate.Options().tracker == f"{trackers.DEFAULT},opencv-mil"
    readme = (ROOT / "README.md").read_text("utf-8")
    assert f"The first line runs `{trackers.DEFAULT}` and `opencv-mil` on `procedural`." in readme


def test_help_shows_the_options_of_the_chosen_trackers_alone(capsys):
    assert run("--help", "--tracker", "opencv-mil") == 0
    printed = capsys.readouterr().out
    assert "--opencv-mil.search-radius-px FLOAT" in printed
    assert "--deeptrack" not in printed


def test_full_asks_for_the_full_list(capsys):
    assert _benchmark_choice.canonical_name("procedural", full=True) == "procedural-full"
    assert "otb100 has no short and full list" in error_of("evaluate", capsys, "--full", "--benchmark=otb100")


def test_download_fetches_the_sequences_that_were_asked_for(options, monkeypatch, data_dir, tmp_path):
    fetched = []
    monkeypatch.setattr(
        _benchmark_choice, "download", lambda names, folder, progress: fetched.append((list(names), folder))
    )
    assert run(*options, "--sequences=Deer", "--download") == 0
    assert fetched == [(["Deer"], data_dir)]


def test_download_of_a_whole_benchmark_asks_for_all_of_it(options, monkeypatch):
    fetched = []
    monkeypatch.setattr(_benchmark_choice, "download", lambda names, folder, progress: fetched.append(list(names)))
    assert run(*without(options, "--sequences"), "--download") == 0
    assert len(fetched[0]) == 51


def test_no_cache_leaves_nothing_in_the_cache_folder(options, no_compilation_cache):
    assert run(*options, "--sequences=Deer", "--no-cache") == 0
    assert os.environ["JAXTRACK_COMPILATION_CACHE"] == "0"
    assert not no_compilation_cache.exists()


# --- interruptions ----------------------------------------------------------------------------------------------


def start(arguments):
    """evaluate.py in a process of its own."""
    command = [sys.executable, "evaluate.py", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_a_sequence(process, results):
    """Until the first sequence of the process is stored."""
    deadline = time.monotonic() + 60
    while not box_files(results):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_run_killed_at_any_moment_and_resumed_leaves_the_files_of_an_uninterrupted_one(options, tmp_path):
    many = [*options, "--repeats=3"]
    killed = start(many)
    wait_for_a_sequence(killed, tmp_path / "results")
    killed.kill()
    killed.communicate()
    assert 1 <= len(box_files(tmp_path / "results")) < 6
    assert run(*many) == 0
    assert run(*many, f"--results={tmp_path / 'uninterrupted'}") == 0
    resumed = box_files(tmp_path / "results")
    assert len(resumed) == 6
    assert resumed == box_files(tmp_path / "uninterrupted")


def test_ctrl_c_says_how_to_go_on_and_exits_with_130(options, tmp_path):
    process = start([*options, "--repeats=20"])
    wait_for_a_sequence(process, tmp_path / "results")
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again to go on" in message
    assert "Traceback" not in message
