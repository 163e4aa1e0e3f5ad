import dataclasses
from typing import Any

import jax
import numpy as np
import pytest
from toy_vot import Scripted, sequence
from walking import WALK

from jaxtrack import trackers
from jaxtrack.compilation import OutOfMemoryError
from jaxtrack.data.vot import VotBenchmark
from jaxtrack.errors import UserError
from jaxtrack.evaluation.progress import Reporter
from jaxtrack.evaluation.runner import Entry, session_seed
from jaxtrack.evaluation.vot import runner
from jaxtrack.tracker import Tracker

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


@pytest.fixture
def walk(monkeypatch):
    """A tracker in JAX that walks at random."""
    method = trackers.JaxMethod(WALK, lambda: np.float32(9))
    monkeypatch.setattr(trackers, "build", lambda name, config: method)


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


def test_sessions_have_seeds_of_their_own_in_each_sequence_too(tmp_path, log):
    evaluate(tmp_path, 3, 3)
    assert [entry for entry in log if isinstance(entry, int)] == [session_seed(0, "video0"), session_seed(0, "video1")]


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


def test_lanes_are_part_of_the_run_of_a_tracker_in_jax_and_repetitions_do_not_depend_on_them(tmp_path, walk):
    one = evaluate(tmp_path, 12, repeats=3)
    # Two lanes and three repetitions: the second batch has a lane to spare.
    two = evaluate(tmp_path, 12, repeats=3, settings=runner.Settings(lanes=2))
    assert one.store.id != two.store.id
    assert files(one) == files(two) == [f"baseline/video0/video0_00{i}.txt" for i in (1, 2, 3)]
    [video] = benchmark(12).sequences
    for a, b in zip(one.read("baseline", video, 3), two.read("baseline", video, 3), strict=True):
        assert a.codes.tolist() == b.codes.tolist()
        assert a.corners == pytest.approx(b.corners, abs=2e-3, nan_ok=True)


def test_lanes_that_were_killed_go_on_with_what_is_missing(tmp_path, walk):
    settings = runner.Settings(lanes=2)
    stored = evaluate(tmp_path, 12, repeats=2, settings=settings)
    path = stored.store.directory / "baseline/video0/video0_002.txt"
    content = path.read_bytes()
    path.unlink()
    evaluate(tmp_path, 12, repeats=2, settings=settings)
    assert path.read_bytes() == content


class Heard(Reporter):
    """Keeps how many frames were to be tracked, and how many of the last batch were."""

    total, done = 0, 0

    def begin(self, frames):
        self.total = frames

    def frames(self, done):
        self.done = done


def test_progress_counts_the_frames_of_all_repetitions_that_are_left(tmp_path, log):
    heard = Heard()
    evaluate(tmp_path, 5, 4, repeats=2, reporter=heard)
    assert (heard.total, heard.done) == (18, 4)
    evaluate(tmp_path, 5, 4, repeats=3, reporter=heard)
    assert (heard.total, heard.done) == (9, 4)


def test_progress_of_lanes_is_that_of_all_of_them(tmp_path, walk):
    heard = Heard()
    evaluate(tmp_path, 12, repeats=3, settings=runner.Settings(lanes=2), reporter=heard)
    assert (heard.total, heard.done) == (36, 12)  # in the second batch a single repetition is wanted
    evaluate(tmp_path, 12, repeats=2, seed=9, settings=runner.Settings(lanes=2), reporter=heard)
    assert (heard.total, heard.done) == (24, 24)


@pytest.mark.parametrize("width", [1, 2])
def test_what_compiling_takes_is_known_to_the_clock(width):
    walk = Tracker(WALK.init, lambda *arguments: WALK.step(*arguments))  # so that nothing is compiled yet
    runs = runner._maker(trackers.JaxMethod(walk, lambda: np.float32(9)), width)(list(range(width)))
    image = np.zeros((48, 64, 3), np.uint8)
    told = [runs.compile_seconds]
    for run in range(width):
        runs.start(run, image, np.array([20.0, 10, 8, 8]), "toy")
    told.append(runs.compile_seconds)
    runs.update(image, range(width))
    told.append(runs.compile_seconds)
    assert told[0] == 0 < told[1] < told[2]


def test_weights_are_part_of_the_run_and_refused_before_it_leaves_a_folder(tmp_path, monkeypatch):
    def unloadable():
        raise UserError("weights of another tracker")

    def with_weights(sha256, params):
        method = trackers.JaxMethod(WALK, params, sha256)
        monkeypatch.setattr(trackers, "build", lambda name, config: method)

    with_weights("ab" * 32, unloadable)
    with pytest.raises(UserError, match="weights of another tracker"):
        evaluate(tmp_path, 3)
    assert list(tmp_path.iterdir()) == []
    ids = set()
    for sha256 in ("ab" * 32, "cd" * 32):
        with_weights(sha256, lambda: np.float32(9))
        ids.add(evaluate(tmp_path, 3).store.id)
    assert len(ids) == 2


@pytest.mark.parametrize(
    "error",
    [jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory"), OutOfMemoryError("the program needs 9 GiB")],
)
def test_lanes_that_do_not_fit_into_memory_are_refused_with_what_to_do(tmp_path, walk, monkeypatch, error):
    def full(*_):
        raise error

    monkeypatch.setattr(runner.supervised.LaneRuns, "update", full)
    sentence = "^video0: 4 repetitions side by side do not fit into memory: take fewer by --vot.lanes$"
    with pytest.raises(UserError, match=sentence):
        evaluate(tmp_path, 3, repeats=4, settings=runner.Settings(lanes=4))


@pytest.mark.parametrize(("lanes", "text"), [(4, "INTERNAL: broken"), (1, "RESOURCE_EXHAUSTED: out of memory")])
def test_fewer_lanes_are_no_advice_for_other_errors_or_a_single_one(tmp_path, walk, monkeypatch, lanes, text):
    def broken(*_):
        raise jax.errors.JaxRuntimeError(text)

    for kind in (runner.supervised.LaneRuns, runner.supervised.SessionRuns):
        monkeypatch.setattr(kind, "update", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match=text):
        evaluate(tmp_path, 3, repeats=4, settings=runner.Settings(lanes=lanes))


def test_a_mistake_names_the_sequence(tmp_path, monkeypatch):
    class Broken(Scripted):
        def update(self, image):
            raise UserError("out of luck")

    monkeypatch.setattr(trackers, "build", lambda name, config: trackers.HostMethod(lambda seed: Broken([], [])))
    with pytest.raises(UserError, match=r"^video0: out of luck$"):
        evaluate(tmp_path, 3)
