"""Several processes on the cores of one host, each with one sequence at a time.

A worker is a fresh interpreter that is bound to its share of the cores, on which it leaves the same boxes, bit for bit,
as one process does on all of them. This process hands out the sequences, the longest first, and hears what becomes of
them; the workers store the results. A sequence whose worker is killed is given to another one, once. Ctrl-C reaches
this process alone, which then ends the workers.
"""

import collections
import contextlib
import dataclasses
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

import jax

from jaxtrack import trackers
from jaxtrack.errors import UserError
from jaxtrack.evaluation import provenance, runner
from jaxtrack.evaluation.progress import Reporter

_END_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Workers:
    """As many processes as `count`, at most one for each sequence."""

    count: int
    batch_width: int = 1

    def check(self, entries: Sequence[runner.Entry], methods: Sequence[trackers.Method]) -> None:
        """Refuses accelerators, which processes cannot share; `UserError`."""
        del entries, methods
        if self.count < 2:
            raise UserError(f"--workers must be at least 2, not {self.count}: leave it out to run in one process")
        if jax.default_backend() != "cpu":
            raise UserError(
                f"--workers shares out the cores of CPUs, and JAX uses a {jax.devices()[0].device_kind} here: take "
                "--batch for trackers in JAX, or set the environment variable JAX_PLATFORMS=cpu"
            )

    def run(self, work: Sequence[runner.Work], reporter: Reporter) -> None:
        """Runs all jobs; raises `UserError` after a sequence that cannot be tracked, or that killed two workers."""
        jobs = longest_first(work)
        if jobs:
            with _workers(self.count, len(jobs)) as team:
                _Handing(jobs, team, reporter).run()


def longest_first(work: Sequence[runner.Work]) -> list[runner.Job]:
    """The jobs of one tracker after the other, so that no worker is left with a long one in the end."""
    return [job for each in work for job in sorted(each.jobs, key=lambda job: -len(job.sequence))]


@dataclasses.dataclass(eq=False)
class _Worker:
    """A worker as this process sees it.

    Attributes:
      process: the process.
      connection: takes jobs there and what the worker tells back.
      job: what it is at; None if it has nothing to do.
      frames: how many of the job's frames are done.
    """

    process: Any
    connection: Connection
    job: runner.Job | None = None
    frames: int = 0


class _Handing:
    """Hands out jobs until all are done."""

    def __init__(self, jobs: Sequence[runner.Job], team: Sequence[_Worker], reporter: Reporter):
        self._waiting, self._team, self._reporter = collections.deque(jobs), list(team), reporter
        self._done = 0  # frames of finished sequences
        self._given_back: list[runner.Job] = []
        self._noted: set[str] = set()
        self._compiling: dict[str, tuple[runner.Job, float]] = {}
        frames = sum(len(job.sequence) for job in jobs)
        reporter.sequence(_counted(len(team), "worker"), _counted(len(jobs), "sequence"), frames)

    def run(self) -> None:
        for worker in self._team:
            self._give(worker)
        while busy := {worker.connection: worker for worker in self._team if worker.job is not None}:
            for connection in wait(list(busy)):
                worker = busy[connection]  # type: ignore[index]
                try:
                    kind, value = worker.connection.recv()
                except (EOFError, OSError):
                    self._lost(worker)
                else:
                    self._hear(worker, kind, value)
        self._reporter.finished()
        for job, seconds in self._compiling.values():
            runner.note_compiling(job, seconds, self._reporter)

    def _give(self, worker: _Worker) -> None:
        """The next job, if there is one."""
        worker.job, worker.frames = (self._waiting.popleft() if self._waiting else None), 0
        if worker.job is not None:
            try:
                worker.connection.send(worker.job)
            except (pickle.PicklingError, TypeError, AttributeError) as error:
                raise UserError(
                    f"--workers: {worker.job.entry.label} on {worker.job.sequence.name} cannot be handed to another "
                    f"process ({error}): leave the option out"
                ) from error
            except OSError:  # it has been killed meanwhile, as reading from it will tell
                pass
        self._show()

    def _hear(self, worker: _Worker, kind: str, value: Any) -> None:
        assert worker.job is not None
        if kind == "frames":
            worker.frames = value
            self._reporter.frames(self._done + sum(each.frames for each in self._team))
        elif kind == "note" and value not in self._noted:  # workers compile the same programs
            self._noted.add(value)
            self._reporter.note(value)
        elif kind == "refused":
            raise UserError(value)
        elif kind == "failed":
            raise RuntimeError(f"a worker process failed:\n{value}")
        elif kind == "finished":
            label = worker.job.entry.label
            self._compiling[label] = (worker.job, value + self._compiling.get(label, (None, 0.0))[1])
            self._done += len(worker.job.sequence)
            self._give(worker)

    def _show(self) -> None:
        names = ", ".join(worker.job.sequence.name for worker in self._team if worker.job is not None)
        self._reporter.beside(f"{_counted(len(self._team), 'worker')}: {names}")

    def _lost(self, worker: _Worker) -> None:
        """Another worker takes the job of one that is gone; `UserError` if nobody is left, or the job was taken so."""
        job = worker.job
        assert job is not None
        self._team.remove(worker)
        worker.process.join(_END_SECONDS)
        how = f"a worker process {_ending(worker.process.exitcode)} at {job.run}: {job.sequence.name}"
        if not self._team or any(job is other for other in self._given_back):
            raise UserError(
                f"{how}; finished sequences are kept: run the same command again to go on, with fewer workers if the "
                "memory did not suffice"
            )
        self._given_back.append(job)
        self._waiting.append(job)
        self._reporter.note(f"{how}; another worker runs that sequence again")
        for idle in [other for other in self._team if other.job is None]:
            self._give(idle)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _ending(code: int | None) -> str:
    """How a process ended, as a part of a sentence.

    >>> _ending(-9), _ending(1)
    ('was killed by SIGKILL', 'ended with the code 1')
    """
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with the code {code}"


# --- the workers ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _workers(count: int, jobs: int) -> Iterator[list[_Worker]]:
    """So many processes, but no more than there are jobs; they are ended at the end."""
    context = multiprocessing.get_context("spawn")  # not forked: this process may run JAX's threads
    team = []
    try:
        for cores in shares(count)[:jobs]:
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, count), daemon=True)
            with _bound_to(cores), _interrupts_ignored():
                process.start()
            theirs.close()  # so that its end is the end of what can be read here
            team.append(_Worker(process, ours))
        yield team
    finally:
        for worker in team:
            worker.connection.close()
            worker.process.terminate()
        for worker in team:
            worker.process.join(_END_SECONDS)
            worker.process.kill()


def shares(count: int) -> list[list[int]]:
    """The cores of each of `count` processes, equally many; of more processes than cores several have the same one.

    Empty lists where a process cannot be bound to cores.
    """
    if not hasattr(os, "sched_getaffinity"):
        return [[] for _ in range(count)]
    cores = sorted(os.sched_getaffinity(0))
    size = max(len(cores) // count, 1)
    return [[cores[(i * size + k) % len(cores)] for k in range(size)] for i in range(count)]


@contextlib.contextmanager
def _bound_to(cores: Sequence[int]) -> Iterator[None]:
    """A process that is started inside is bound to these cores from its first moment, with all its threads.

    On them XLA has as many threads as in this process. With fewer it would split its work, and round, otherwise.
    """
    threads, before = os.environ.get(provenance.XLA_THREADS), os.sched_getaffinity(0) if cores else set()
    os.environ[provenance.XLA_THREADS] = str(provenance.cpu_count())
    if cores:
        os.sched_setaffinity(0, cores)  # of this thread, from which the new process inherits it
    try:
        yield
    finally:
        if cores:
            os.sched_setaffinity(0, before)
        os.environ.pop(provenance.XLA_THREADS)
        if threads is not None:
            os.environ[provenance.XLA_THREADS] = threads


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """A process that is started inside does not hear Ctrl-C, not even while it starts."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(connection: Connection, count: int) -> None:
    """What a worker does: runs the jobs that it is given until nobody gives any more."""
    tracks: dict[str, runner.Tracking] = {}
    reporter = _Telling(connection)
    with contextlib.suppress(EOFError, ConnectionError):  # the process that handed out the work is gone
        while True:
            job = connection.recv()
            try:
                if job.entry.label not in tracks:
                    tracks[job.entry.label] = runner.tracking(trackers.build(job.entry.tracker, job.entry.config))
                track = tracks[job.entry.label]
                with runner.telling_compiling(job.entry, reporter):
                    seconds = runner.run_job(job, track, reporter, shared_by=f"{count} workers")
            except UserError as error:
                reporter.tell("refused", str(error))
            except ConnectionError:
                raise
            except Exception:
                reporter.tell("failed", traceback.format_exc())
            else:
                reporter.tell("finished", seconds)


class _Telling(Reporter):
    """Passes on to the process that hands out the work what it asks for."""

    def __init__(self, connection: Connection):
        self._connection = connection
        self._lock = threading.Lock()  # another thread tells that compiling takes long

    def tell(self, kind: str, value: Any) -> None:
        with self._lock:
            self._connection.send((kind, value))

    def frames(self, done: int) -> None:
        self.tell("frames", done)

    def note(self, text: str) -> None:
        self.tell("note", text)
