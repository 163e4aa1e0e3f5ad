import dataclasses
import json
import logging
import os
import threading
import time

import numpy as np
import pytest

from jaxtrack.errors import UserError
from jaxtrack.evaluation import store
from jaxtrack.evaluation.run_record import Run

BOXES = np.array([[0.0, 0.0, 10.0, 10.0], [1.25, 2.5, 10.0, 10.00004]])
SECONDS = np.array([0.5, 0.03125])
HERE = {"packages": {"jax": "1.0"}, "devices": {"kind": "cpu", "count": 4}}
ELSEWHERE = {"packages": {"jax": "2.0"}, "devices": {"kind": "cpu", "count": 4}}
RUN = Run("mdnet", {"learning_rate": 0.1, "sizes": [107, 107]}, seed=3, weights_sha256="ab" * 32)


def open_run(folder, run=RUN, benchmark="otb100", environment=HERE):
    return store.open_run(folder, benchmark, run, environment=environment)


def test_files_lie_where_the_documentation_says(tmp_path):
    open_run(tmp_path).write("Deer", BOXES, SECONDS, {"score": np.array([1.0, 0.5])})
    folder = tmp_path / "mdnet" / RUN.id / "otb100"
    assert sorted(path.name for path in folder.iterdir()) == [
        "Deer.diagnostics.npz",
        "Deer.times.txt",
        "Deer.txt",
        "run.json",
    ]
    assert (folder / "Deer.txt").read_text().splitlines()[0] == "1.0000,1.0000,10.0000,10.0000"
    assert (folder / "Deer.times.txt").read_text() == "0.500000\n0.031250\n"


def test_what_was_written_is_read_back(tmp_path):
    open_run(tmp_path).write("Deer", BOXES, SECONDS, {"score": np.array([1.0, 0.5], np.float32)})
    [run] = store.list_runs(tmp_path)
    result = run.read("Deer")
    np.testing.assert_allclose(result.boxes, np.round(BOXES, 4), atol=1e-12)
    np.testing.assert_array_equal(result.seconds, SECONDS)
    np.testing.assert_array_equal(result.diagnostics["score"], np.array([1.0, 0.5], np.float32))
    assert run.sequences() == ["Deer"]
    assert (run.tracker, run.seed, run.benchmark, run.id) == ("mdnet", 3, "otb100", RUN.id)


def test_run_json_records_identity_and_provenance(tmp_path):
    run = dataclasses.replace(RUN, repeat=2, extra={"padded_lanes": 1})
    results = open_run(tmp_path, run)
    results.write("Deer", BOXES, SECONDS)
    info = json.loads((results.directory / "run.json").read_text())
    assert info["identity"] == {
        "tracker": "mdnet",
        "config": {"learning_rate": 0.1, "sizes": [107, 107]},
        "seed": 3,
        "weights_sha256": "ab" * 32,
        "batch_width": 1,
    }
    assert (info["id"], info["repeat"], info["extra"]) == (RUN.id, 2, {"padded_lanes": 1})
    [environment] = info["environments"]
    assert environment.pop("since").endswith("+00:00")
    assert environment == HERE


def test_a_run_is_new_until_its_folder_was_begun(tmp_path):
    assert store.is_new(tmp_path, "otb100", RUN)
    assert not list(tmp_path.iterdir())
    open_run(tmp_path)
    assert not store.is_new(tmp_path, "otb100", RUN)
    assert store.is_new(tmp_path, "tb50", RUN)
    assert store.is_new(tmp_path, "otb100", dataclasses.replace(RUN, seed=4))


def test_runs_of_one_group_differ_in_nothing_but_the_seed(tmp_path):
    for run in (RUN, dataclasses.replace(RUN, seed=4), dataclasses.replace(RUN, seed=4, batch_width=2)):
        open_run(tmp_path, run)
    groups = {}
    for run in store.list_runs(tmp_path):
        groups.setdefault(run.group, []).append((run.identity["batch_width"], run.seed))
    assert sorted(groups.values()) == [[(1, 3), (1, 4)], [(2, 4)]]


def test_a_sequence_is_done_only_when_its_boxes_are_whole(tmp_path):
    results = open_run(tmp_path)
    assert not results.done("Deer", 2)
    results.write("Deer", BOXES, SECONDS)
    assert results.done("Deer", 2)
    assert not results.done("Deer", 3)
    (results.directory / "Deer.txt").write_text("1,1,10,10\n1,1,10\n")
    assert not results.done("Deer", 2)


def test_a_process_killed_before_the_boxes_are_there_leaves_the_sequence_to_be_done(tmp_path, monkeypatch):
    results = open_run(tmp_path)

    def killed(path, boxes):
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "write_boxes", killed)
    with pytest.raises(KeyboardInterrupt):
        results.write("Deer", BOXES, SECONDS, {"score": SECONDS})
    assert (results.directory / "Deer.times.txt").exists()
    assert not open_run(tmp_path).done("Deer", 2)
    assert results.sequences() == []


def test_a_run_is_resumed_with_what_it_has(tmp_path):
    open_run(tmp_path).write("Deer", BOXES, SECONDS)
    created = (tmp_path / "mdnet" / RUN.id / "otb100" / "run.json").read_text()
    resumed = open_run(tmp_path)
    assert resumed.done("Deer", 2)
    resumed.write("Coke", BOXES, SECONDS)
    assert (resumed.directory / "run.json").read_text() == created
    assert resumed.sequences() == ["Coke", "Deer"]


def test_boxes_without_good_times_are_read_with_unknown_times(tmp_path):
    results = open_run(tmp_path)
    results.write("Deer", BOXES, SECONDS)
    for damage in ("0.5\n", "0.5\nquick\n"):
        (results.directory / "Deer.times.txt").write_text(damage)
        assert np.isnan(results.read("Deer").seconds).tolist() == [True, True]
    (results.directory / "Deer.times.txt").unlink()
    assert np.isnan(results.read("Deer").seconds).tolist() == [True, True]


def test_times_on_a_shared_machine_are_kept_and_are_no_speed(tmp_path):
    results = open_run(tmp_path)
    results.write("Deer", BOXES, SECONDS, shared_by="2 workers")
    results.write("Coke", BOXES, SECONDS)
    text = (results.directory / "Deer.times.txt").read_text()
    assert text == "# shared by 2 workers\n0.500000\n0.031250\n"
    shared, alone = results.read("Deer"), results.read("Coke")
    np.testing.assert_array_equal(shared.seconds, SECONDS)
    assert (shared.shared_by, alone.shared_by) == ("2 workers", "")
    assert np.isnan(shared.fps)
    assert alone.fps == 32


def slowly(function):
    def slow(*arguments):
        time.sleep(0.1)
        return function(*arguments)

    return slow


def at_once(*functions):
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)


def test_environments_that_two_processes_add_at_once_are_both_kept(tmp_path, monkeypatch):
    one, other = open_run(tmp_path), open_run(tmp_path, environment=ELSEWHERE)
    monkeypatch.setattr(store.run_record, "write", slowly(store.run_record.write))
    at_once(lambda: one.write("Deer", BOXES, SECONDS), lambda: other.write("Coke", BOXES, SECONDS))
    info = json.loads((one.directory / "run.json").read_text())
    assert sorted(each["packages"]["jax"] for each in info["environments"]) == ["1.0", "2.0"]


def test_of_two_processes_that_begin_a_run_at_once_one_writes_the_record(tmp_path, monkeypatch):
    written, write = [], store.run_record.write
    monkeypatch.setattr(store.run_record, "write", slowly(lambda *record: written.append(write(*record))))
    at_once(lambda: open_run(tmp_path), lambda: open_run(tmp_path))
    assert len(written) == 1


def test_results_of_another_run_in_the_folder_are_refused_in_words(tmp_path):
    path = open_run(tmp_path).directory / "run.json"
    info = json.loads(path.read_text())
    info["identity"]["config"]["learning_rate"] = 0.7
    path.write_text(json.dumps(info))
    with pytest.raises(UserError, match=r"another run \(config\.learning_rate: 0\.7 stored, 0\.1 now\)"):
        open_run(tmp_path)


def test_results_without_a_record_are_refused(tmp_path):
    results = open_run(tmp_path)
    results.write("Deer", BOXES, SECONDS)
    (results.directory / "run.json").unlink()
    with pytest.raises(UserError, match=r"holds results but no run\.json"):
        open_run(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"format": 1, "identity": {}}', '{"identity": null}'])
def test_a_damaged_record_is_refused_and_left_out_of_the_list(tmp_path, caplog, content):
    good = open_run(tmp_path, dataclasses.replace(RUN, seed=4))
    bad = open_run(tmp_path)
    (bad.directory / "run.json").write_text(content)
    with pytest.raises(UserError, match=r"run\.json is damaged or of another version"):
        open_run(tmp_path)
    assert [run.id for run in store.list_runs(tmp_path)] == [good.id]
    assert "damaged" in caplog.text


def test_another_environment_is_warned_about_and_kept_beside_the_first(tmp_path, caplog):
    open_run(tmp_path).write("Deer", BOXES, SECONDS)
    resumed = open_run(tmp_path, environment=ELSEWHERE)
    assert caplog.text == ""  # reading alone changes nothing
    with caplog.at_level(logging.WARNING):
        resumed.write("Coke", BOXES, SECONDS)
        resumed.write("Dog", BOXES, SECONDS)
    assert caplog.text.count("packages.jax: 1.0 stored, 2.0 now") == 1
    open_run(tmp_path).write("Girl", BOXES, SECONDS)
    [run] = store.list_runs(tmp_path)
    assert [e["packages"]["jax"] for e in run.info["environments"]] == ["1.0", "2.0"]


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(tmp_path):
    (tmp_path / "results").write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"cannot write results to .*: Not a directory; choose another"):
        open_run(tmp_path / "results")


def test_a_disk_that_is_full_later_is_told_in_words_and_leaves_the_sequence_to_be_done(tmp_path, monkeypatch):
    run = open_run(tmp_path / "results")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match=r"cannot write the results of Deer to .*: No space left on device"):
        run.write("Deer", np.ones((2, 4)), np.ones(2))
    assert not run.done("Deer", 2)


def test_temporary_files_of_killed_processes_are_removed_but_not_those_of_living_ones(tmp_path):
    directory = open_run(tmp_path).directory
    stale, fresh = directory / ".Deer.txt.1.tmp", directory / ".Coke.txt.2.tmp"
    for path in (stale, fresh):
        path.write_text("half")
    an_hour_ago = time.time() - 3600
    os.utime(stale, (an_hour_ago, an_hour_ago))
    open_run(tmp_path)
    assert (stale.exists(), fresh.exists()) == (False, True)


TRICKY_NAMES = ["../escape", "a/b", "a_b", "a.times", "a", ".hidden", "..", "100%", "café", "x.diagnostics", "C:\\d"]


def test_names_of_sequences_never_leave_the_folder_nor_meet_each_other(tmp_path):
    results = open_run(tmp_path)
    for i, name in enumerate(TRICKY_NAMES):
        results.write(name, BOXES + i, SECONDS)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "run.json"]
    assert {path.parent for path in files} == {results.directory}
    assert len(files) == 2 * len(TRICKY_NAMES)
    assert results.sequences() == sorted(TRICKY_NAMES)
    for i, name in enumerate(TRICKY_NAMES):
        np.testing.assert_allclose(results.read(name).boxes, np.round(BOXES + i, 4), atol=1e-12)


def test_names_of_trackers_and_benchmarks_never_leave_the_folder(tmp_path):
    run = dataclasses.replace(RUN, tracker="../mine")
    results = open_run(tmp_path / "results", run, benchmark="../x")
    assert results.directory.resolve().is_relative_to((tmp_path / "results").resolve())
    [listed] = store.list_runs(tmp_path / "results", "../x")
    assert listed.tracker == "../mine"


def test_list_runs_can_be_limited_to_a_benchmark_and_is_empty_without_results(tmp_path):
    for benchmark in ("otb100", "tb50"):
        open_run(tmp_path, benchmark=benchmark)
    assert [run.benchmark for run in store.list_runs(tmp_path, "tb50")] == ["tb50"]
    assert len(store.list_runs(tmp_path)) == 2
    assert store.list_runs(tmp_path / "absent") == []


@pytest.mark.parametrize(
    ("seconds", "diagnostics", "complaint"),
    [
        (SECONDS[:1], None, r"2 boxes but times of shape \[1\]"),
        (SECONDS, {"score": np.zeros(3)}, r"'score' must be numbers \[2, \.\.\.\], got float64 \[3\]"),
        (SECONDS, {"score": np.array(1.0)}, r"got float64 \[\]"),
        (SECONDS, {"score": np.array([None, 1])}, "got object"),
    ],
)
def test_arrays_of_unequal_length_are_refused_and_nothing_is_done(tmp_path, seconds, diagnostics, complaint):
    results = open_run(tmp_path)
    with pytest.raises(ValueError, match=complaint):
        results.write("Deer", BOXES, seconds, diagnostics)
    assert not results.done("Deer", 2)
    assert not list(results.directory.glob(".*"))


@pytest.mark.parametrize("damage", ["no archive", "cut off", "an array"])
def test_damaged_diagnostics_are_reported_with_their_file(tmp_path, damage):
    results = open_run(tmp_path)
    results.write("Deer", BOXES, SECONDS, {"score": SECONDS})
    path = results.directory / "Deer.diagnostics.npz"
    if damage == "an array":
        with path.open("wb") as file:
            np.save(file, BOXES)
    else:
        path.write_bytes(path.read_bytes()[:60] if damage == "cut off" else b"text")
    with pytest.raises(UserError, match=r"cannot read the diagnostics in .*Deer\.diagnostics\.npz"):
        results.read("Deer")


def test_an_empty_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match="empty name"):
        open_run(tmp_path).write("", BOXES, SECONDS)
