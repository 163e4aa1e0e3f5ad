import dataclasses
import zipfile

import pytest
from command_line import error_of
from dataset_folders import write_got10k

from jaxtrack.__main__ import main
from jaxtrack.evaluation import store, submission


@pytest.fixture
def where(tmp_path, monkeypatch):
    """GOT-10k's test set in miniature, and its options; servers take two sequences."""
    monkeypatch.delenv("JAXTRACK_DATA", raising=False)
    small = {name: dataclasses.replace(kind, sequences=2) for name, kind in submission.FORMATS.items()}
    monkeypatch.setattr(submission, "FORMATS", small)
    write_got10k(tmp_path / "got10k", [3, 4], split="test")
    for path in (tmp_path / "got10k").rglob("groundtruth.txt"):
        path.write_text("10.0,12.0,20.0,10.0\n")
    return [f"--results={tmp_path / 'results'}", f"--data-dir={tmp_path}"]


@pytest.fixture
def evaluate(where):
    """Runs OpenCV's MIL with the given seed and options."""
    fast = ["search-radius-px=6", "init-max-negatives=8", "track-max-negatives=8"]

    def run(seed, *more):
        options = [f"--opencv-mil.{each}" for each in fast] + [f"--seed={seed}", *more, "--quiet"]
        # Its table has no scores: only the first boxes of the test set are public.
        assert main(["evaluate", "--tracker=opencv-mil", "--benchmark=got10k_test", *where, *options]) == 0

    return run


def submit(where, out, *more, benchmark="got10k"):
    return ["--tracker=opencv-mil", f"--benchmark={benchmark}", f"--out={out}", *where, *more]


def test_stored_runs_become_an_archive(where, evaluate, tmp_path, capsys):
    evaluate(0)
    evaluate(1)
    capsys.readouterr()
    out = tmp_path / "new" / "mine.zip"
    assert main(["submit", *submit(where, out)]) == 0
    said = capsys.readouterr().out
    assert f"{out}: {out.stat().st_size:,} bytes, 2 sequences, 7 frames, run " in said
    with zipfile.ZipFile(out) as archive:
        names = archive.namelist()
        rows = archive.read("GOT-10k_Test_000002/GOT-10k_Test_000002_002.txt").decode().splitlines()
    assert len(names) == 2 * 3
    assert rows[0] == "10.000,12.000,20.000,10.000"
    assert len(rows) == 4

    first, second = store.list_runs(tmp_path / "results")
    assert main(["submit", *submit(where, out, f"--run={second.id},{first.id}")]) == 0
    assert f"run {first.id} (seed 0), {second.id} (seed 1) of opencv-mil" in capsys.readouterr().out
    assert main(["submit", *submit(where, out, f"--run={first.id}", benchmark="GOT-10k test")]) == 0
    with zipfile.ZipFile(out) as archive:
        assert len(archive.namelist()) == 2 * 2

    evaluate(0, "--opencv-mil.init-radius-px=2")
    capsys.readouterr()
    assert "differ in more than the seed, choose by --run" in error_of("submit", capsys, *submit(where, out))


def test_more_seeds_than_a_server_takes_are_refused_by_their_ids(where, evaluate, tmp_path, capsys):
    evaluate(0, "--repeats=4")
    capsys.readouterr()
    line = error_of("submit", capsys, *submit(where, tmp_path / "mine.zip"))
    assert "at most 3 runs can be submitted to got10k_test, choose by --run: " in line
    assert "(seed 3)" in line


def test_what_is_not_complete_leaves_no_archive(where, evaluate, tmp_path, capsys):
    evaluate(0, "--sequences=GOT-10k_Test_000001")
    capsys.readouterr()
    out = tmp_path / "mine.zip"
    line = error_of("submit", capsys, *submit(where, out))
    assert "1 of the 2 sequences are not finished" in line
    assert "such as GOT-10k_Test_000002" in line
    assert not out.exists()


@pytest.mark.parametrize(
    ("out", "benchmark", "sentence"),
    [
        ("mine.tar", "got10k", "--out: mine.tar must end in .zip"),
        ("mine.zip", "otb100", "There is no benchmark with a server called 'otb100': did you mean got10k_test?"),
        ("mine.zip", "trackingnet", "there are no results of opencv-mil on trackingnet in "),
    ],
)
def test_what_cannot_be_submitted_is_refused(where, capsys, out, benchmark, sentence):
    assert sentence in error_of("submit", capsys, *submit(where, out, benchmark=benchmark))
