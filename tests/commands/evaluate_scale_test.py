"""`evaluate` in several processes, on one host or several, and `--check`."""

import functools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import command_line
import pytest
from command_line import box_files, without
from toy_vot import write_sequence

from jaxtrack.__main__ import main
from jaxtrack.data import benchmarks
from jaxtrack.evaluation import progress, runner, workers
from jaxtrack.trackers.opencv import MilConfig

ROOT = Path(__file__).resolve().parents[2]
error_of = functools.partial(command_line.error_of, "evaluate")


def run(*arguments):
    return main(["evaluate", *map(str, arguments)])


def start(arguments, **options):
    """evaluate.py in a process of its own."""
    command = [sys.executable, "evaluate.py", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=ROOT, text=True, **pipes, **options)


def evaluate(data_dir, results, *names, **more):
    """What the options of `options` ask for, without a report."""
    config = MilConfig(search_radius_px=6.0, init_max_negatives=8, track_max_negatives=8)
    benchmark = benchmarks.load("otb2013", data_dir, names or ("Deer", "Football1"))
    return runner.evaluate([runner.Entry("opencv-mil", "opencv-mil", config)], benchmark, results, **more)


def info_of(results):
    [path] = results.glob("*/*/*/run.json")
    return json.loads(path.read_text())


# --- workers ----------------------------------------------------------------------------------------------------


def test_workers_leave_the_boxes_of_one_process_and_no_speed(options, data_dir, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    evaluate(data_dir, tmp_path / "one")
    assert run(*options, "--workers=2") == 0
    printed = capsys.readouterr()
    several = box_files(tmp_path / "results")
    assert len(several) == 2
    assert several == box_files(tmp_path / "one")
    for path in tmp_path.glob("results/*/*/*/*.times.txt"):
        assert path.read_text().startswith("# shared by 2 workers\n")
    row = next(line for line in printed.out.splitlines() if line.strip().startswith("opencv-mil "))
    assert row.split()[-3:-1] == ["-", "2"]  # fps, sequences
    assert "opencv-mil: no fps of sequences that shared the machine, 2 (2 workers)" in printed.out
    assert "s to start on a sequence" not in printed.out
    # The number of workers is in neither, for the boxes do not depend on it.
    alone, shared = info_of(tmp_path / "one"), info_of(tmp_path / "results")
    assert alone["id"] == shared["id"]
    environments = [info["environments"] for info in (alone, shared)]
    for [environment] in environments:
        del environment["since"]
    assert environments[0] == environments[1]
    assert multiprocessing.active_children() == []


def test_where_nothing_is_left_to_do_there_are_no_workers(data_dir, tmp_path, monkeypatch):
    evaluate(data_dir, tmp_path, "Deer")
    monkeypatch.setattr(workers, "_workers", None)
    evaluate(data_dir, tmp_path, "Deer", way=workers.Workers(2))


class Killing(progress.Reporter):
    """Kills a worker as soon as the first frames are tracked."""

    def __init__(self):
        self.notes = []

    def frames(self, done):
        if not self.notes:
            self.notes.append("killed")
            multiprocessing.active_children()[0].kill()

    def note(self, text):
        self.notes.append(text)


def test_a_worker_that_is_killed_costs_no_sequence(data_dir, tmp_path):
    reporter = Killing()
    [stored] = evaluate(data_dir, tmp_path, way=workers.Workers(2), reporter=reporter)
    assert stored.sequences() == ["Deer", "Football1"]
    [line] = reporter.notes[1:]
    assert line.startswith("a worker process was killed by SIGKILL at opencv-mil, seed 0: ")
    assert line.endswith("; another worker runs that sequence again")


def test_a_broken_image_is_told_as_without_workers(options, data_dir, tmp_path, capsys):
    folder = tmp_path / "otb"
    folder.mkdir()
    for name in ("Deer", "Football1"):
        (folder / name).symlink_to(data_dir / "otb" / name)
    (folder / "Deer").unlink()
    images = folder / "Deer" / "img"
    images.mkdir(parents=True)
    for path in (data_dir / "otb" / "Deer" / "img").iterdir():
        (images / path.name).symlink_to(path)
    (images / "0003.jpg").unlink()
    (images / "0003.jpg").write_text("no image")
    (folder / "Deer" / "groundtruth_rect.txt").symlink_to(data_dir / "otb" / "Deer" / "groundtruth_rect.txt")
    where = without(options, "--data-dir")
    line = error_of(capsys, *where, f"--data-dir={folder}", "--workers=2", "--sequences=Deer")
    assert line == error_of(capsys, *where, f"--data-dir={folder}", "--sequences=Deer")
    assert "Deer" in line


def test_ctrl_c_ends_all_workers_and_the_next_call_goes_on(options, data_dir, tmp_path):
    process = start([*options, "--repeats=20", "--workers=2"], start_new_session=True)
    deadline = time.monotonic() + 120
    while not box_files(tmp_path / "results"):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: all of them hear it
    _, message = process.communicate(timeout=60)  # ends when no worker has the pipe any more
    assert process.returncode == 130
    assert message.strip().splitlines()[-1].endswith("run the same command again to go on")
    assert "Traceback" not in message
    stored = box_files(tmp_path / "results")
    assert 1 <= len(stored) < 40
    evaluate(data_dir, tmp_path / "results")
    assert stored.items() <= box_files(tmp_path / "results").items()


def test_workers_that_cannot_be(options, capsys, tmp_path):
    assert "--workers must be at least 1, not 0" in error_of(capsys, *options, "--workers=0")
    line = error_of(capsys, *options, "--workers=2", "--batch=4")
    assert "--workers is for CPUs and --batch for accelerators: take one of them" in line
    assert not (tmp_path / "results").exists()


def test_a_tracker_on_the_host_is_no_lane(options, capsys, tmp_path):
    assert "--batch: opencv-mil runs on the host" in error_of(capsys, *options, "--batch=4")
    assert not (tmp_path / "results").exists()


# --- several hosts ----------------------------------------------------------------------------------------------


def test_the_process_that_finds_everything_finished_prints_the_table(options, data_dir, tmp_path, capsys):
    assert run(*options, "--processes=2", "--process=0") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Process 0 of 2 has finished its part. Sequences of others that are still missing: 1. ")
    assert not (tmp_path / "results" / "reports").exists()
    assert [Path(path).name for path in box_files(tmp_path / "results")] == ["Football1.txt"]  # the longer one
    assert run(*options, "--processes=2", "--process=1") == 0
    assert "AUC" in capsys.readouterr().out
    evaluate(data_dir, tmp_path / "one")
    assert box_files(tmp_path / "results") == box_files(tmp_path / "one")


def test_two_processes_at_the_same_time_share_a_benchmark(options, tmp_path):
    short = ["--benchmark=procedural", "--sequences=procedural-sv,procedural-iv,procedural-fm"]
    both = [start([*options, *short, "--processes=2", f"--process={i}"]) for i in range(2)]
    outputs = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    names = sorted(Path(path).name for path in box_files(tmp_path / "results"))
    assert names == ["procedural-fm.txt", "procedural-iv.txt", "procedural-sv.txt"]
    assert any("AUC" in out for out, _ in outputs)
    assert all("AUC" in out or "still missing" in out for out, _ in outputs)
    assert len(info_of(tmp_path / "results")["environments"]) == 1


def test_repetitions_of_vot_are_shared_too(tmp_path, capsys):
    for name in ("bag", "birds1"):
        write_sequence(tmp_path / "data" / "vot2018" / name, 6)
    where = ["--benchmark=vot2018", f"--data-dir={tmp_path / 'data'}", f"--results={tmp_path / 'results'}", "--quiet"]
    mil = ["--tracker=opencv-mil", "--opencv-mil.search-radius-px=6", "--processes=2"]
    assert run(*where, *mil, "--process=1") == 0
    printed = capsys.readouterr().out
    assert "Process 1 of 2 has finished its part. Sequences of others that are still missing: 1. " in printed
    assert run(*where, *mil, "--process=0") == 0
    assert "EAO" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--workers=2", "--batch=4", "--check=results"])
def test_what_vot_does_not_have(option, tmp_path, capsys):
    write_sequence(tmp_path / "vot2018" / "bag", 6)
    (tmp_path / "results").mkdir()
    option = option.replace("=results", f"={tmp_path / 'results'}")
    assert run("--benchmark=vot2018", f"--data-dir={tmp_path}", "--tracker=opencv-mil", option) == 2
    line = capsys.readouterr().err.splitlines()[-1]  # before it stands what was not found
    assert f"error: {option.partition('=')[0]} is for one-pass evaluations" in line


def test_a_process_without_a_number_is_refused(options, capsys):
    assert "--processes needs --process" in error_of(capsys, *options, "--processes=2")


# --- the same again ---------------------------------------------------------------------------------------------


@pytest.fixture
def again(options, data_dir, tmp_path):
    """Options that run a stored evaluation of Deer again, into another folder, and compare."""
    evaluate(data_dir, tmp_path / "first", "Deer")
    return [*options, "--sequences=Deer", f"--check={tmp_path / 'first'}"]


def test_a_repeated_run_is_equal_bit_for_bit(again, tmp_path, capsys):
    assert run(*again) == 0
    [folder] = (tmp_path / "first" / "opencv-mil").glob("*/otb2013")
    line = f"opencv-mil, seed 0: equal, bit for bit, to {folder}; sequences compared: 1\n"
    assert capsys.readouterr().out == line


def test_a_run_that_differs_is_told_with_sequence_frame_and_boxes_and_exits_with_1(again, tmp_path, capsys):
    [path] = tmp_path.glob("first/opencv-mil/*/otb2013/Deer.txt")
    rows = path.read_text().splitlines()
    rows[9] = "3.0000,5.0000,8.0000,8.5000"
    path.write_text("\n".join(rows) + "\n")
    record = json.loads((path.parent / "run.json").read_text())
    record["environments"][0]["packages"]["opencv"] = "opencv-python 4.0"
    (path.parent / "run.json").write_text(json.dumps(record))
    assert run(*again) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("opencv-mil, seed 0: 1 sequence differs, first Deer in frame 9: box [2. , 4. , 8. , 8.5]")
    assert "largest difference is " in first
    assert first.endswith("px, in frame 9 of Deer")
    assert "computed in another environment: packages.opencv: opencv-python 4.0 stored, opencv-python-" in second


def test_what_cannot_be_compared_is_refused_before_anything_runs(again, tmp_path, capsys):
    line = error_of(capsys, *again, "--opencv-mil.track-radius-px=2.5")
    assert "holds no results of opencv-mil, seed 0, on otb2013 with this configuration: config.track_radius_px" in line
    assert "lacks Football1: name by --sequences" in error_of(capsys, *again, "--sequences=Deer,Football1")
    assert "on procedural, but of opencv-mil on otb2013" in error_of(
        capsys, *again, "--benchmark=procedural", "--sequences=procedural-sv"
    )
    assert "there is no folder nowhere" in error_of(capsys, *again, "--check=nowhere")
    same = f"--results={tmp_path / 'first'}"
    assert "is the folder of results itself: name by --results another one" in error_of(capsys, *again, same)
    none = ["--tracker=none", f"--published={tmp_path}"]
    others = without(without(again, "--tracker"), "--opencv-mil")
    assert "--check runs trackers again: name them by --tracker" in error_of(capsys, *others, *none)
    assert not (tmp_path / "results").exists()
