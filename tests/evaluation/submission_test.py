import dataclasses
import io
import zipfile

import numpy as np
import pytest

from jaxtrack.data.sequences import Benchmark, Sequence
from jaxtrack.errors import UserError
from jaxtrack.evaluation import store, submission
from jaxtrack.evaluation.run_record import Run

FRAMES = {"one": 2, "two_0": 3}
FIRST = np.array([9.25, 19.5, 30.0, 40.0])


@pytest.fixture(autouse=True)
def two_sequences(monkeypatch):
    """Servers that take two sequences."""
    small = {name: dataclasses.replace(kind, sequences=2) for name, kind in submission.FORMATS.items()}
    monkeypatch.setattr(submission, "FORMATS", small)


def benchmark(name, origin, frames=FRAMES):
    sequences = []
    for sequence, n in frames.items():
        boxes = np.full((n, 4), np.nan)
        boxes[0] = FIRST
        sequences.append(Sequence(sequence, [None] * n, boxes, np.arange(n) == 0, origin=origin))
    return Benchmark(name, name, sequences)


GOT10K, TRACKINGNET = benchmark("got10k_test", 1.0), benchmark("trackingnet", 0.0)


def stored(folder, which, seed=0, frames=FRAMES, first=FIRST):
    """A run whose box of frame i is i / 16 pixels right of the first."""
    run = store.open_run(folder, which.name, Run("mine", {}, seed), environment={})
    for name, n in frames.items():
        boxes = first + np.outer(np.arange(n) / 16, [1, 0, 0, 0])
        run.write(name, boxes, np.arange(n) / 8 + 0.5 + seed)
    return run


def contents(archive):
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name).decode() for name in opened.namelist()}


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def test_got10k_takes_a_folder_for_each_sequence_with_runs_and_times(tmp_path):
    runs = [stored(tmp_path, GOT10K, seed) for seed in (0, 1)]
    files = contents(submission.pack(GOT10K, runs))
    assert sorted(files) == [
        *(f"one/one_{what}.txt" for what in ("001", "002", "time")),
        *(f"two_0/two_0_{what}.txt" for what in ("001", "002", "time")),
    ]
    # Pixels from 1, three decimals; 9.25 + 1/16 + 1 = 10.3125.
    assert files["one/one_001.txt"] == "10.250,20.500,30.000,40.000\n10.312,20.500,30.000,40.000\n"
    assert files["one/one_time.txt"] == "0.50000000,1.50000000\n0.62500000,1.62500000\n"


def test_trackingnet_takes_one_flat_file_for_each_sequence(tmp_path):
    files = contents(submission.pack(TRACKINGNET, [stored(tmp_path, TRACKINGNET)]))
    assert sorted(files) == ["one.txt", "two_0.txt"]
    assert files["two_0.txt"] == "9.25,19.50,30.00,40.00\n9.31,19.50,30.00,40.00\n9.38,19.50,30.00,40.00\n"


def test_the_same_results_make_the_same_archive(tmp_path):
    run = stored(tmp_path, GOT10K)
    assert submission.pack(GOT10K, [run]) == submission.pack(GOT10K, [run])


# Results are stored in float32, which has 1234.56494 in the place of the first, and with four decimals.
@pytest.mark.parametrize(("x", "row"), [(1234.565, "1234.57,"), (9.12345, "9.12,")])
def test_the_first_row_is_the_given_box_and_not_what_is_left_of_it_in_the_store(tmp_path, x, row):
    which = benchmark("trackingnet", 0.0)
    for sequence in which.sequences:
        sequence.boxes[0, 0] = x
    first = which.sequences[0].boxes[0].astype(np.float32).astype(np.float64)
    assert contents(submission.pack(which, [stored(tmp_path, which, first=first)]))["one.txt"].startswith(row)


def test_an_unfinished_run_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"1 of the 2 sequences are not finished in .*such as two_0: run jaxtrack eval"):
        submission.pack(GOT10K, [stored(tmp_path / "a", GOT10K, frames={"one": 2})])
    with pytest.raises(UserError, match=r"1 of the 2 sequences are not finished in .*such as one"):
        submission.pack(GOT10K, [stored(tmp_path / "b", GOT10K, frames={"one": 1, "two_0": 3})])


def test_a_part_of_a_benchmark_is_refused(tmp_path):
    part = benchmark("got10k_test", 1.0, {"one": 2})
    with pytest.raises(UserError, match="takes results of all its 2 sequences, but 1 are at hand"):
        submission.pack(part, [stored(tmp_path, part)])


def test_results_that_begin_with_another_box_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"one begins with the box 11.25,20.5,30,40, but the given one is 10.25,20.5,"):
        submission.pack(GOT10K, [stored(tmp_path, GOT10K, first=FIRST + np.array([1, 0, 0, 0]))])


def test_got10k_asks_for_times_and_trackingnet_does_not(tmp_path):
    for which in (GOT10K, TRACKINGNET):
        run = stored(tmp_path, which)
        (run.directory / "one.times.txt").unlink()
        if which is GOT10K:
            with pytest.raises(UserError, match="one has no times, which GOT-10k asks for"):
                submission.pack(which, [run])
        else:
            submission.pack(which, [run])


def test_more_runs_than_a_server_takes_are_refused(tmp_path):
    runs = [stored(tmp_path, TRACKINGNET, seed) for seed in range(2)]
    with pytest.raises(UserError, match="TrackingNet takes one run: 2"):
        submission.pack(TRACKINGNET, runs)
    with pytest.raises(UserError, match="GOT-10k takes 1 to 3 runs: 4"):
        submission.pack(GOT10K, [stored(tmp_path, GOT10K, seed) for seed in range(4)])


def test_a_name_that_leads_out_of_the_archive_is_refused(tmp_path):
    odd = benchmark("trackingnet", 0.0, {"../one": 2, "two_0": 3})
    with pytest.raises(UserError, match="cannot name a file of an archive"):
        submission.pack(odd, [stored(tmp_path, odd, frames={"../one": 2, "two_0": 3})])


GOOD = {"one.txt": "9.25,19.50,30.00,40.00\n" * 2, "two_0.txt": "9.25,19.50,30.00,40.00\n" * 3}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"one.txt": None}, "the archive lacks one.txt"),
        ({"three.txt": "1"}, "has files that TrackingNet does not know, such as three.txt"),
        ({"one.txt": "9.25,19.50,30.00,40.00\n"}, "one.txt has 1 lines for 2 frames"),
        ({"one.txt": GOOD["two_0.txt"]}, "one.txt has 3 lines for 2 frames"),
        ({"one.txt": "9.25,19.50,30.00,40.00\nnan,19.50,30.00,40.00\n"}, "one.txt, line 2: expected 4 finite numbers"),
        ({"one.txt": "9.25,19.50,30.00,40.00\n9.250,19.50,30.00,40.00\n"}, "one.txt, line 2: .* of 2 decimals"),
        ({"one.txt": "9.25,19.50,30.00,40.00\n9.25,19.50,30.00\n"}, "one.txt, line 2"),
        ({"one.txt": "9.26,19.50,30.00,40.00\n" * 2}, "one.txt begins with the box 9.26,19.5,30,40"),
    ],
)
def test_an_archive_that_a_server_would_refuse_is_refused(changes, sentence):
    submission.check(zipped(GOOD), TRACKINGNET, 1)
    files = {name: text for name, text in {**GOOD, **changes}.items() if text is not None}
    with pytest.raises(UserError, match=sentence):
        submission.check(zipped(files), TRACKINGNET, 1)


def test_a_damaged_archive_is_refused():
    with pytest.raises(UserError, match="the archive is damaged"):
        submission.check(zipped(GOOD)[:-30], TRACKINGNET, 1)
