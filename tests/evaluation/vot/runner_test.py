import dataclasses
from typing import Any

import numpy as np
import pytest
from toy_vot import Scripted, sequence
from walking import WALK

from jaxtrack import trackers
from jaxtrack.data.vot import VotBenchmark
from jaxtrack.errors import UserError
from jaxtrack.evaluation.progress import Reporter
from jaxtrack.evaluation.runner import Entry
from jaxtrack.evaluation.vot import runner

HIT = (101, 100, 40, 40)


@dataclasses.dataclass(frozen=True)
class Config:
    """No constants."""


ENTRY = Entry("toy", "toy", Config())


@pytest.fixture
def log(monkeypatch):
    """What a tracker on the host is asked; its answers depend on its seed."""
    asked: list[Any] = []

    def session(seed):
        asked.append(seed)
        return Scripted([(100 + seed % 7, 100, 40, 40)] * 99, asked)

    monkeypatch.setattr(trackers, "build", lambda name, config: trackers.HostMethod(session))
    return asked


@pytest.fixture
def steady(monkeypatch):
    """A tracker on the host that draws nothing; returns the frames in which it is started."""
    asked: list[Any] = []
    method = trackers.HostMethod(lambda seed: Scripted([HIT] * 99, asked))
    monkeypatch.setattr(trackers, "build", lambda name, config: method)
    return asked


def benchmark(*lengths):
    videos = [sequence(length, name=f"video{i}") for i, length in enumerate(lengths)]
    return VotBenchmark("vot2018", "VOT2018", videos, edition=2018, complete=True)


def evaluate(folder, *lengths, settings=None, **options):
    [stored] = runner.evaluate([ENTRY], benchmark(*lengths), folder, settings or runner.Settings(), **options)
    return stored


def files(stored):
    return sorted(
        path.relative_to(stored.store.directory).as_posix() for path in stored.store.directory.rglob("*_???.txt")
    )


def test_every_experiment_sequence_and_repetition_is_stored(tmp_path, log):
    settings = runner.Settings(experiments=("baseline", "grey"))
    stored = evaluate(tmp_path, 3, 4, settings=settings, repeats=2)
    assert files(stored) == [
        f"{experiment}/{name}/{name}_00{i}.txt"
        for experiment in ("baseline", "grey")
        for name in ("video0", "video1")
        for i in (1, 2)
    ]


def test_what_is_stored_is_not_run_again(tmp_path, log):
    stored = evaluate(tmp_path, 3, 4, repeats=2)
    content = {name: (stored.store.directory / name).read_bytes() for name in files(stored)}
    log.clear()
    evaluate(tmp_path, 3, 4, repeats=2)
    assert log == []
    (stored.store.directory / "baseline/video1/video1_002.txt").unlink()
    evaluate(tmp_path, 3, 4, repeats=2)
    assert len([entry for entry in log if isinstance(entry, int)]) == 1
    assert {name: (stored.store.directory / name).read_bytes() for name in files(stored)} == content


def test_repetitions_have_seeds_of_their_own(tmp_path, log):
    stored = evaluate(tmp_path, 9, repeats=4)
    contents = {(stored.store.directory / name).read_bytes() for name in files(stored)}
    assert len(contents) > 1
    assert len(set(filter(lambda entry: isinstance(entry, int), log))) == 4


def test_after_three_equal_repetitions_a_sequence_is_done(tmp_path, steady):
    stored = evaluate(tmp_path, 3, repeats=15)
    assert files(stored) == [f"baseline/video0/video0_00{i}.txt" for i in (1, 2, 3)]
    steady.clear()
    evaluate(tmp_path, 3, repeats=15)
    assert steady == []


def test_fewer_repetitions_are_run_as_asked(tmp_path, steady):
    assert len(files(evaluate(tmp_path, 3, repeats=3))) == 3


def test_other_rules_make_another_run(tmp_path, steady):
    ids = {
        evaluate(tmp_path, 3, settings=settings).store.id
        for settings in (
            runner.Settings(),
            runner.Settings(start_box="enclosing"),
            runner.Settings(rules=runner.Rules(bounded=False)),
        )
    }
    assert len(ids) == 3


def test_lanes_are_part_of_the_run_of_a_tracker_in_jax_and_repetitions_do_not_depend_on_them(tmp_path, monkeypatch):
    method = trackers.JaxMethod(WALK, lambda: np.float32(9))
    monkeypatch.setattr(trackers, "build", lambda name, config: method)
    one = evaluate(tmp_path, 12, repeats=3)
    # Two lanes and three repetitions: the second batch has a lane to spare.
    two = evaluate(tmp_path, 12, repeats=3, settings=runner.Settings(lanes=2))
    assert one.store.id != two.store.id
    assert files(one) == files(two) == [f"baseline/video0/video0_00{i}.txt" for i in (1, 2, 3)]
    [video] = benchmark(12).sequences
    for a, b in zip(one.read("baseline", video, 3), two.read("baseline", video, 3), strict=True):
        assert a.codes.tolist() == b.codes.tolist()
        assert a.corners == pytest.approx(b.corners, abs=2e-3, nan_ok=True)


def test_lanes_that_were_killed_go_on_with_what_is_missing(tmp_path, monkeypatch):
    method = trackers.JaxMethod(WALK, lambda: np.float32(9))
    monkeypatch.setattr(trackers, "build", lambda name, config: method)
    settings = runner.Settings(lanes=2)
    stored = evaluate(tmp_path, 12, repeats=2, settings=settings)
    path = stored.store.directory / "baseline/video0/video0_002.txt"
    content = path.read_bytes()
    path.unlink()
    evaluate(tmp_path, 12, repeats=2, settings=settings)
    assert path.read_bytes() == content


def test_progress_counts_the_frames_of_all_repetitions(tmp_path, log):
    class Heard(Reporter):
        total, done = 0, 0

        def begin(self, frames):
            self.total = frames

        def frames(self, done):
            self.done = done

    heard = Heard()
    evaluate(tmp_path, 5, 4, repeats=2, reporter=heard)
    assert heard.total == 18
    assert heard.done == 4


def test_a_mistake_names_the_sequence(tmp_path, monkeypatch):
    class Broken(Scripted):
        def update(self, image):
            raise UserError("out of luck")

    monkeypatch.setattr(trackers, "build", lambda name, config: trackers.HostMethod(lambda seed: Broken([], [])))
    with pytest.raises(UserError, match=r"^video0: out of luck$"):
        evaluate(tmp_path, 3)
