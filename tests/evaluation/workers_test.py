"""Handing out work, with workers that threads play; processes are in tests/commands/evaluate_scale_test.py."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import types

import jax
import numpy as np
import pytest

from jaxtrack import trackers
from jaxtrack.data.sequences import Sequence
from jaxtrack.errors import UserError
from jaxtrack.evaluation import progress, runner, workers


def sequence(name, frames):
    images = np.zeros((frames, 2, 2, 3), np.uint8)
    return Sequence(name, images, np.ones((frames, 4)), np.ones(frames, np.bool_))  # type: ignore[arg-type]


def job(name, frames=4, label="mover", config=None):
    return runner.Job(runner.Entry(label, label, config), types.SimpleNamespace(seed=0), sequence(name, frames))  # type: ignore[arg-type]


class Listener(progress.Reporter):
    def __init__(self):
        self.notes, self.counts, self.shown, self.begun, self.ended = [], [], [], [], 0

    def sequence(self, run, name, frames):
        self.begun.append((run, name, frames))

    def frames(self, done):
        self.counts.append(done)

    def beside(self, what):
        self.shown.append(what)

    def note(self, text):
        self.notes.append(text)

    def finished(self):
        self.ended += 1


class Played:
    """A worker that a thread plays: `play(job, tell)` for each job; it goes when that returns something else than None.

    `ran` has the names of what it was given.
    """

    def __init__(self, play, exitcode=None):
        self.ran, self.exitcode = [], exitcode
        ours, theirs = multiprocessing.Pipe()
        self.worker = workers._Worker(self, ours)

        def work():
            with theirs, contextlib.suppress(EOFError, OSError):
                while True:
                    job = theirs.recv()
                    self.ran.append(job.sequence.name)
                    if play(job, lambda kind, value: theirs.send((kind, value))) is not None:
                        return

        self._thread = threading.Thread(target=work)
        self._thread.start()

    def join(self, timeout):
        self._thread.join(timeout)

    def end(self):
        self.worker.connection.close()
        self._thread.join(5)
        assert not self._thread.is_alive()


@pytest.fixture
def hand():
    """Hands jobs to workers that are played so; returns those and what the reporter has heard."""
    played = []

    def hand(jobs, *plays, exitcode=None, listener=None):
        played.extend(Played(play, exitcode) for play in plays)
        listener = listener or Listener()
        workers._Handing(jobs, [each.worker for each in played], listener).run()
        return played, listener

    hand.team = played
    yield hand
    for each in played:
        each.end()


def diligent(job, tell):
    tell("frames", len(job.sequence))
    tell("finished", 1.5)


def killed(job, tell):
    return "gone"


def killed_by_a(job, tell):
    return killed(job, tell) if job.sequence.name == "A" else diligent(job, tell)


def test_every_job_is_done_once(hand):
    team, listener = hand([job(name) for name in "ABCDE"], diligent, diligent)
    assert sorted(team[0].ran + team[1].ran) == list("ABCDE")
    assert listener.begun == [("2 workers", "5 sequences", 20)]
    assert listener.ended == 1


def test_the_frames_of_all_workers_are_added_up(hand):
    def halfway(job, tell):
        tell("frames", 3)
        tell("frames", len(job.sequence))
        tell("finished", 0.0)

    _, listener = hand([job("A", 10), job("B", 6)], halfway)
    assert listener.counts == [3, 10, 13, 16]


def test_what_is_under_way_is_shown(hand):
    _, listener = hand([job("A"), job("B")], diligent)
    assert listener.shown == ["1 worker: A", "1 worker: B", "1 worker: "]


def test_the_seconds_of_compiling_are_added_up_over_the_workers(hand):
    _, listener = hand([job("A"), job("B"), job("C", label="other")], diligent, diligent)
    assert listener.notes == [
        "mover: compiling or loading programs took 3.0 s, which fps does not contain",
        "other: compiling or loading programs took 1.5 s, which fps does not contain",
    ]


def test_what_a_worker_notes_is_passed_on(hand):
    def noting(job, tell):
        tell("note", f"{job.sequence.name} is grey")
        tell("finished", 0.0)

    _, listener = hand([job("A")], noting)
    assert listener.notes == ["A is grey"]


def test_another_worker_runs_what_a_killed_one_had(hand):
    team, listener = hand([job("A"), job("B"), job("C")], killed, diligent, exitcode=-9)
    assert team[0].ran == ["A"]
    assert sorted(team[1].ran) == ["A", "B", "C"]
    line = "a worker process was killed by SIGKILL at mover, seed 0: A; another worker runs that sequence again"
    assert line in listener.notes


def test_a_worker_that_was_idle_takes_it_too(hand):
    idle = threading.Event()

    class Watching(Listener):
        def beside(self, what):
            if what == "2 workers: A":
                idle.set()

    def killed_later(job, tell):
        assert idle.wait(10)
        return "gone"

    team, _ = hand([job("A"), job("B")], killed_later, diligent, exitcode=1, listener=Watching())
    assert team[1].ran == ["B", "A"]


def test_a_sequence_that_kills_two_workers_is_named(hand):
    with pytest.raises(UserError, match="ended with the code 1 at mover, seed 0: A; finished sequences are kept: run"):
        hand([job(name) for name in "ABCDE"], *[killed_by_a] * 4, exitcode=1)
    assert sum("A" in each.ran for each in hand.team) == 2  # and not all four


def test_when_no_worker_is_left_the_sequence_is_named(hand):
    with pytest.raises(UserError, match="with fewer workers if the memory did not suffice"):
        hand([job("A"), job("B")], killed, exitcode=-9)


def test_a_sequence_that_cannot_be_tracked_stops_all(hand):
    with pytest.raises(UserError, match=r"^A: frame 2 does not decode$"):
        hand([job("A")], lambda job, tell: tell("refused", "A: frame 2 does not decode"))


def test_a_defect_is_shown_with_the_worker_s_traceback(hand):
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        hand([job("A")], lambda job, tell: tell("failed", "Traceback ...\nZeroDivisionError"))


def test_what_no_other_process_could_read_is_refused(hand):
    with pytest.raises(UserError, match="--workers: mover on A cannot be handed to another process"):
        hand([job("A", config=lambda: None)], diligent)


def test_the_longest_sequences_of_a_tracker_come_first():
    method = trackers.HostMethod(None)  # type: ignore[arg-type]
    first = runner.Work(method, [job("A", 3), job("B", 9), job("C", 5)])
    second = runner.Work(method, [job("D", 2), job("E", 4)])
    assert [each.sequence.name for each in workers.longest_first([first, second])] == ["B", "C", "A", "E", "D"]


# --- cores ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "shares"),
    [(1, [[0, 1, 2, 3, 6]]), (2, [[0, 1], [2, 3]]), (3, [[0], [1], [2]]), (7, [[0], [1], [2], [3], [6], [0], [1]])],
)
def test_every_worker_has_as_many_cores(count, shares, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {6, 3, 2, 1, 0}, raising=False)
    assert workers.shares(count) == shares


def test_where_processes_cannot_be_bound_they_are_not(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert workers.shares(2) == [[], []]


# What a sum of a million numbers is depends on how many threads share it.
SUM = """
import os, jax, numpy as np
from jaxtrack.evaluation import provenance
x = np.random.default_rng(0).normal(size=1 << 20).astype(np.float32)
print(sorted(os.sched_getaffinity(0)), float(jax.jit(jax.numpy.sum)(x)).hex(), provenance.environment()["cpu_count"])
"""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="processes cannot be bound to cores here")
def test_a_worker_is_bound_to_its_cores_and_computes_the_same_bits_as_one_that_has_all():
    def run():
        return subprocess.Popen([sys.executable, "-c", SUM], stdout=subprocess.PIPE, text=True)

    before, environment = os.sched_getaffinity(0), dict(os.environ)
    with workers._bound_to([min(before)]):
        bound = run()
    assert (os.sched_getaffinity(0), dict(os.environ)) == (before, environment)
    free = run()
    (bound_line, _), (free_line, _) = bound.communicate(timeout=60), free.communicate(timeout=60)
    assert bound_line == free_line.replace(str(sorted(before)), str([min(before)]))
    assert free_line.split()[-1] == str(len(before))


def test_a_worker_does_not_hear_ctrl_c():
    code = "import signal; print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    before = signal.getsignal(signal.SIGINT)
    with workers._interrupts_ignored():
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.communicate(timeout=60)[0] == "True\n"
    assert signal.getsignal(signal.SIGINT) is before


def test_accelerators_are_refused(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.raises(
        UserError, match="--workers shares out the cores of CPUs, and JAX uses a cpu here: take --batch"
    ):
        workers.Workers(2).check([], [])
