import dataclasses
import json
import threading

import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack import compilation, trackers
from jaxtrack.data.sequences import Benchmark, Sequence
from jaxtrack.errors import UserError
from jaxtrack.evaluation import comparison, progress, runner
from jaxtrack.tracker import Prediction, Tracker

BOX = (10.0, 8.0, 6.0, 4.0)


@dataclasses.dataclass(frozen=True)
class Weighted(trackers.HostMethod):
    """A session that is said to have weights."""

    weights_sha256 = "cd" * 32


@dataclasses.dataclass(frozen=True)
class Config:
    step_px: float = 1.0


class Clock:
    """Time that passes only where a test says so."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Frames:
    """Grey images; reading one takes 10 seconds of the clock, and fails at frame `broken`."""

    def __init__(self, count, clock, broken=None):
        self.count, self.clock, self.broken = count, clock, broken

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if index == self.broken:
            raise UserError("frame 2 (0002.jpg) does not decode as an image")
        self.clock.now += 10
        return np.full((32, 48, 3), index, np.uint8)


class Session:
    """Moves the box by `step_px` a frame; starting takes 3 seconds of the clock, a frame 1."""

    def __init__(self, config, clock):
        self.config, self.clock = config, clock

    def init(self, image, box):
        self.clock.now += 3
        self.box = np.array(box)

    def update(self, image):
        self.clock.now += 1
        self.box = self.box + np.float32([self.config.step_px, 0, 0, 0])
        return Prediction(self.box, np.float32(0.5), {})


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(runner.time, "perf_counter", clock)
    return clock


@pytest.fixture
def seeds(monkeypatch, clock):
    """Makes every tracker a `Session` and returns the list of the seeds with which sessions were begun."""
    begun = []

    def build(name, config):
        def session(seed):
            begun.append(seed)
            return Session(config, clock)

        return trackers.HostMethod(session)

    monkeypatch.setattr(runner.trackers, "build", build)
    return begun


def sequence(name, clock, frames=3, broken=None):
    boxes = np.tile(np.array(BOX), (frames, 1))
    return Sequence(name, Frames(frames, clock, broken), boxes, np.ones(frames, bool))


def benchmark(*sequences):
    return Benchmark("toy", "Toy", sequences)


def entry(label="mover", step_px=1.0):
    return runner.Entry(label, "mover", Config(step_px))


def test_every_sequence_is_run_with_every_seed_and_stored(tmp_path, clock, seeds):
    toy = benchmark(sequence("A", clock), sequence("B", clock, frames=2))
    stores = runner.evaluate([entry()], toy, tmp_path, seed=5, repeats=2)
    assert [store.seed for store in stores] == [5, 6]
    for store in stores:
        assert store.sequences() == ["A", "B"]
        np.testing.assert_array_equal(store.read("A").boxes, [(10, 8, 6, 4), (11, 8, 6, 4), (12, 8, 6, 4)])
        np.testing.assert_array_equal(store.read("A").diagnostics["score"], np.float32([1, 0.5, 0.5]))
    info = json.loads((stores[1].directory / "run.json").read_text())
    assert info["identity"]["config"] == {"class": "Config", "step_px": 1.0}
    assert (info["repeat"], info["extra"]) == (1, {"method": "mover"})


def test_times_contain_the_tracker_but_not_the_reading_of_images(tmp_path, clock, seeds):
    [store] = runner.evaluate([entry()], benchmark(sequence("A", clock)), tmp_path)
    np.testing.assert_array_equal(store.read("A").seconds, [3, 1, 1])


def test_repeats_become_one_row_with_a_spread(tmp_path, clock, seeds):
    toy = benchmark(sequence("A", clock))
    stores = runner.evaluate([entry("one"), entry("two", 2.0)], toy, tmp_path, repeats=2)
    rows = comparison.from_runs(toy, stores)
    assert [(row.name, len(row.run_ids)) for row in rows] == [("one", 2), ("two", 2)]
    assert rows[0].fps == {"A": 1.0}


def test_stored_sequences_are_not_run_again(tmp_path, clock, seeds):
    runner.evaluate([entry()], benchmark(sequence("A", clock)), tmp_path)
    assert len(seeds) == 1
    runner.evaluate([entry()], benchmark(sequence("A", clock), sequence("B", clock)), tmp_path)
    assert len(seeds) == 2  # B alone


def test_another_config_is_another_run(tmp_path, clock, seeds):
    toy = benchmark(sequence("A", clock))
    [first] = runner.evaluate([entry(step_px=1.0)], toy, tmp_path)
    [second] = runner.evaluate([entry(step_px=2.0)], toy, tmp_path)
    assert first.directory != second.directory
    np.testing.assert_array_equal(second.read("A").boxes[:, 0], [10, 12, 14])


def test_a_session_s_seed_depends_on_seed_and_sequence_but_not_on_the_order_of_work(tmp_path, clock, seeds):
    a, b = sequence("A", clock), sequence("B", clock)
    runner.evaluate([entry()], benchmark(a, b), tmp_path / "1", seed=7)
    runner.evaluate([entry()], benchmark(b, a), tmp_path / "2", seed=7)
    assert seeds[:2] == seeds[:1:-1]
    assert len({runner.session_seed(s, name) for s in range(10) for name in ("A", "B")}) == 20
    assert all(0 <= runner.session_seed(s, "A") < 2**31 for s in range(100))


def test_a_broken_image_stops_with_a_sentence_that_names_the_sequence(tmp_path, clock, seeds):
    toy = benchmark(sequence("A", clock), sequence("B", clock, broken=1), sequence("C", clock))
    with pytest.raises(UserError, match=r"^B: frame 2 \(0002.jpg\) does not decode as an image$"):
        runner.evaluate([entry()], toy, tmp_path)
    assert [path.name for path in tmp_path.rglob("*.txt")] in (["A.txt", "A.times.txt"], ["A.times.txt", "A.txt"])


def test_an_interrupt_keeps_what_is_finished_and_the_next_run_goes_on(tmp_path, clock, seeds, monkeypatch):
    class Interrupted(progress.Reporter):
        def sequence(self, run, name, frames):
            if name == "B":
                raise KeyboardInterrupt

    toy = benchmark(sequence("A", clock), sequence("B", clock))
    with pytest.raises(KeyboardInterrupt):
        runner.evaluate([entry()], toy, tmp_path, reporter=Interrupted())
    [store] = runner.evaluate([entry()], toy, tmp_path)
    assert store.sequences() == ["A", "B"]
    assert len(seeds) == 2


def test_a_results_folder_that_cannot_be_written_is_told_before_anything_runs(tmp_path, clock, seeds):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write results"):
        runner.evaluate([entry()], benchmark(sequence("A", clock)), tmp_path / "file" / "results")
    assert seeds == []


def test_boxes_that_are_not_finite_become_the_box_before():
    nan, inf = np.nan, np.inf
    rows = np.array([[1, 1, 2, 2], [nan, 1, 2, 2], [1, 1, inf, 2], [5, 5, 2, 2], [5, 5, 2, -inf]])
    fixed, lost = runner.finite_boxes(rows)
    np.testing.assert_array_equal(fixed, [[1, 1, 2, 2], [1, 1, 2, 2], [1, 1, 2, 2], [5, 5, 2, 2], [5, 5, 2, 2]])
    assert lost == 3


def test_the_reporter_hears_how_many_boxes_were_not_finite(tmp_path, clock, seeds):
    notes = []
    reporter = progress.Reporter()
    reporter.note = notes.append
    runner.evaluate([entry(step_px=np.inf)], benchmark(sequence("A", clock)), tmp_path, reporter=reporter)
    assert notes == ["mover, seed 0: A: 2 frames without a finite box keep the one before"]


def test_the_reporter_hears_of_the_frames_that_are_left(tmp_path, clock, seeds):
    class Listener(progress.Reporter):
        def __init__(self):
            self.heard = []

        def begin(self, frames):
            self.heard.append(("begin", frames))

        def sequence(self, run, name, frames):
            self.heard.append((run, name, frames))

        def frames(self, done):
            self.heard.append(done)

        def finished(self):
            self.heard.append("finished")

    runner.evaluate([entry()], benchmark(sequence("A", clock)), tmp_path)
    listener = Listener()
    toy = benchmark(sequence("A", clock), sequence("B", clock, frames=6))
    runner.evaluate([entry()], toy, tmp_path, reporter=listener)
    assert listener.heard == [("begin", 6), ("mover, seed 0", "B", 6), 5, 6, "finished"]


def test_a_jax_tracker_runs_through_the_same_door(tmp_path, monkeypatch):
    def init(params, frame, box, key):
        return box

    def step(params, box, frame):
        box = box + params["shift"]
        return box, Prediction(box, jnp.float32(0.25), {"width": box[2], "steps": jnp.int32(7)})

    params = {"shift": jnp.array([2, 0, 0, 0], jnp.float32)}
    method = trackers.JaxMethod(Tracker(init, step), lambda: params)
    monkeypatch.setattr(runner.trackers, "build", lambda name, config: method)
    notes = []
    reporter = progress.Reporter()
    reporter.note = notes.append
    [store] = runner.evaluate([entry()], benchmark(sequence("A", Clock())), tmp_path, reporter=reporter)
    result = store.read("A")
    np.testing.assert_array_equal(result.boxes[:, 0], [10, 12, 14])
    np.testing.assert_array_equal(result.diagnostics["score"], np.float32([1, 0.25, 0.25]))
    # Frame 0 has no diagnostics.
    np.testing.assert_array_equal(result.diagnostics["width"], [np.nan, 6, 6])
    np.testing.assert_array_equal(result.diagnostics["steps"], [0, 7, 7])
    [note] = notes
    assert note.startswith("mover: compiling or loading programs took ")


def test_the_reporter_hears_of_it_while_compiling_takes_long(tmp_path, monkeypatch):
    """And once, however many programs there are."""
    notes, heard = [], threading.Event()
    reporter = progress.Reporter()
    reporter.note = lambda text: (notes.append(text), heard.set())
    compile_ = compilation._compile
    monkeypatch.setattr(compilation, "NOTICE_SECONDS", 0.01)
    monkeypatch.setattr(compilation, "_compile", lambda lowered: heard.wait(30) and compile_(lowered))

    def step(params, box, frame):
        return box, Prediction(box, jnp.float32(0.25), {})

    method = trackers.JaxMethod(Tracker(lambda params, frame, box, key: box, step), dict)
    monkeypatch.setattr(runner.trackers, "build", lambda name, config: method)
    runner.evaluate([entry()], benchmark(sequence("A", Clock())), tmp_path, reporter=reporter)
    assert notes[:-1] == ["compiling mover: up to minutes, where it was never compiled before"]


def test_weights_that_do_not_fit_are_refused_before_any_run_has_a_folder(tmp_path, monkeypatch, clock):
    def refused():
        raise UserError("weights of another network")

    loaded = []
    good = trackers.JaxMethod(Tracker(None, None), lambda: loaded.append(1), "cd" * 32)  # type: ignore[arg-type]
    bad = trackers.JaxMethod(Tracker(None, None), refused, "ab" * 32)  # type: ignore[arg-type]
    monkeypatch.setattr(runner.trackers, "build", lambda name, config: bad if config.step_px == 2 else good)
    with pytest.raises(UserError, match="weights of another network"):
        runner.evaluate([entry(), entry("other", 2.0)], benchmark(sequence("A", clock)), tmp_path / "results")
    assert loaded == [1]
    assert not (tmp_path / "results").exists()


def test_weights_of_a_run_that_is_stored_already_are_not_loaded(tmp_path, monkeypatch, clock, seeds):
    toy = benchmark(sequence("A", clock))
    build = runner.trackers.build
    monkeypatch.setattr(runner.trackers, "build", lambda *which: Weighted(build(*which).session))
    [before] = runner.evaluate([entry()], toy, tmp_path)
    unloadable = trackers.JaxMethod(None, None, Weighted.weights_sha256)  # type: ignore[arg-type]
    monkeypatch.setattr(runner.trackers, "build", lambda *_: unloadable)
    [again] = runner.evaluate([entry()], toy, tmp_path)
    assert again.directory == before.directory
