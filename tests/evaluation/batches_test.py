import types

import numpy as np
import pytest
from contract import BOX, WANDERING_PARAMS, Clip, wandering

from jaxtrack import run_batch, trackers
from jaxtrack.data.sequences import Benchmark, Sequence
from jaxtrack.errors import UserError
from jaxtrack.evaluation import batches, progress, runner

WIDTH = 4  # as many as there are devices
LENGTHS = {"A": 5, "B": 3, "C": 7, "D": 3, "E": 6}
ENTRY = runner.Entry("wander", "wander", {"rate": 0.5})


def sequence(name, frames, size=(120, 160)):
    boxes = np.tile(np.asarray(BOX, np.float64), (frames, 1))
    return Sequence(name, Clip(name, ord(name), frames, size), boxes, np.ones(frames, np.bool_))


def benchmark(names="ABCDE"):
    return Benchmark("toy", "Toy", [sequence(name, LENGTHS[name]) for name in names])


@pytest.fixture(autouse=True)
def method(monkeypatch):
    """Every tracker is the wandering one of the contract's tests."""
    method = trackers.JaxMethod(wandering, lambda: WANDERING_PARAMS)
    monkeypatch.setattr(runner.trackers, "build", lambda name, config: method)
    return method


def evaluate(names, folder, **options):
    return runner.evaluate([ENTRY], benchmark(names), folder, way=batches.Batches(WIDTH), **options)


def test_boxes_are_those_of_run_batch_and_scores_too(tmp_path):
    one, two = evaluate("ABCDE", tmp_path, repeats=2)
    clips = [sequence(name, LENGTHS[name]) for name in "ABCDE"]
    for stored in (one, two):
        tracks = run_batch(wandering, WANDERING_PARAMS, clips, [BOX] * 5, stored.seed, width=WIDTH)
        for clip, track in zip(clips, tracks, strict=True):
            result = stored.read(clip.name)
            np.testing.assert_allclose(result.boxes, track.boxes, atol=5.1e-5)  # four decimals are stored
            np.testing.assert_array_equal(result.diagnostics["score"], track.scores)
    assert not np.array_equal(one.read("C").boxes, two.read("C").boxes)


def test_a_resumed_run_leaves_the_same_boxes(tmp_path):
    evaluate("BD", tmp_path / "resumed")
    [resumed], [whole] = evaluate("ABCDE", tmp_path / "resumed"), evaluate("ABCDE", tmp_path / "whole")
    for name in LENGTHS:
        np.testing.assert_array_equal(resumed.read(name).boxes, whole.read(name).boxes)


def test_the_width_is_part_of_the_run_and_the_times_say_that_lanes_shared_the_devices(tmp_path):
    [stored], [alone] = evaluate("A", tmp_path), runner.evaluate([ENTRY], benchmark("A"), tmp_path)
    assert stored.identity["batch_width"] == WIDTH
    assert alone.id != stored.id
    result = stored.read("A")
    assert result.shared_by == "4 lanes"
    assert np.isnan(result.fps)
    assert np.isfinite(alone.read("A").fps)


def jobs(*sequences, seeds=(0,)):
    return [
        runner.Job(ENTRY, types.SimpleNamespace(seed=seed), each)  # type: ignore[arg-type]
        for seed in seeds
        for each in sequences
    ]


def test_batches_have_one_canvas_and_like_lengths_together():
    large = sequence("L", 4, (400, 496))
    found = batches.batches(jobs(sequence("A", 3), large, sequence("B", 9), sequence("C", 5), seeds=(0, 1)), 4)
    assert [[(job.sequence.name, job.results.seed) for job in each] for each in found] == [
        [("B", 0), ("B", 1), ("C", 0), ("C", 1)],
        [("A", 0), ("A", 1)],
        [("L", 0), ("L", 1)],
    ]


def test_the_reporter_hears_of_batches(tmp_path):
    class Listener(progress.Reporter):
        def __init__(self):
            self.heard, self.notes = [], []

        def sequence(self, run, name, frames):
            self.heard.append((run, name, frames))

        def frames(self, done):
            self.heard.append(done)

        def finished(self):
            self.heard.append("finished")

        def note(self, text):
            self.notes.append(text)

    listener = Listener()
    evaluate("ABCDE", tmp_path, reporter=listener)
    assert listener.heard == [("wander", "C and 3 more", 21), 21, "finished", ("wander", "D", 3), 3, "finished"]


class Broken(Clip):
    """Its third image cannot be read."""

    def __getitem__(self, index):
        if index == 2:
            raise UserError("frame 2 does not decode")
        return super().__getitem__(index)


def test_a_broken_image_is_told_with_its_sequence_and_finished_batches_stay(tmp_path):
    broken = Sequence("B", Broken("B", 1, 3), np.tile(np.asarray(BOX, np.float64), (3, 1)), np.ones(3, np.bool_))
    four = [sequence(name, 4) for name in "WXYZ"]
    toy = Benchmark("toy", "Toy", [*four, broken])
    with pytest.raises(UserError, match=r"^B: frame 2 does not decode$"):
        runner.evaluate([ENTRY], toy, tmp_path, way=batches.Batches(WIDTH))
    assert sorted(path.name for path in tmp_path.rglob("?.txt")) == ["W.txt", "X.txt", "Y.txt", "Z.txt"]


def test_trackers_on_the_host_are_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(runner.trackers, "build", lambda name, config: trackers.HostMethod(None))
    with pytest.raises(UserError, match="--batch: wander runs on the host, one video at a time"):
        evaluate("A", tmp_path / "results")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("width", "sentence"), [(1, "--batch must be at least 2, not 1"), (6, "width 6 does not divide over 4 devices")]
)
def test_a_width_that_cannot_be_is_refused_before_anything_is_written(width, sentence, tmp_path):
    with pytest.raises(UserError, match=sentence):
        runner.evaluate([ENTRY], benchmark("A"), tmp_path / "results", way=batches.Batches(width))
    assert not (tmp_path / "results").exists()
