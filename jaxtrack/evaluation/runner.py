"""Runs trackers over the sequences of a benchmark, storing each as it ends and passing over what is stored.

Whatever interrupts a run, finished sequences stay; the same call later goes on with the first unfinished one. A
sequence's boxes are a function of (config, sequence, seed), so a resumed run leaves the same boxes as any other. So
the order of work is free: `evaluate` finds out what is to be done, a `Way` does it, one sequence after the other or
several at a time (`jaxtrack.evaluation.batches`, `jaxtrack.evaluation.workers`).
"""

import contextlib
import dataclasses
import functools
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from jaxtrack import trackers
from jaxtrack.compilation import compiling, starting, telling
from jaxtrack.data.sequences import Benchmark
from jaxtrack.data.sequences import Sequence as VideoSequence
from jaxtrack.errors import UserError
from jaxtrack.evaluation import provenance, store
from jaxtrack.evaluation.progress import Reporter
from jaxtrack.evaluation.run_record import Run
from jaxtrack.running import run
from jaxtrack.tracker import Track

_PROGRESS_EVERY_FRAMES = 4


@dataclasses.dataclass(frozen=True)
class Entry:
    """A tracker to be evaluated.

    Attributes:
      label: what tables and the results folder call it: the tracker's name, or that of a config file.
      tracker: the tracker's name, as `jaxtrack.trackers` has it.
      config: its configuration.
    """

    label: str
    tracker: str
    config: Any


@dataclasses.dataclass(frozen=True)
class Job:
    """One sequence of one run that is not stored yet."""

    entry: Entry
    results: store.RunStore
    sequence: VideoSequence

    @property
    def run(self) -> str:
        """What messages call the run."""
        return f"{self.entry.label}, seed {self.results.seed}"


@dataclasses.dataclass(frozen=True)
class Work:
    """What is to be done with one tracker; `jobs` are seed after seed, each in the benchmark's order."""

    method: trackers.Method
    jobs: Sequence[Job]


class Way(Protocol):
    """How work is done."""

    @property
    def batch_width(self) -> int:
        """How many videos share one program; part of the identity of a run."""
        ...

    def check(self, entries: Sequence[Entry], methods: Sequence[trackers.Method]) -> None:
        """Refuses trackers that cannot be run so, before anything is; `UserError`."""
        ...

    def run(self, work: Sequence[Work], reporter: Reporter) -> None:
        """Runs all jobs and stores what comes out."""
        ...


def evaluate(
    entries: Sequence[Entry],
    benchmark: Benchmark,
    results_dir: Path,
    *,
    seed: int = 0,
    repeats: int = 1,
    reporter: Reporter | None = None,
    way: Way | None = None,
) -> list[store.RunStore]:
    """Runs every tracker with the seeds `seed`, ..., `seed + repeats - 1` on every sequence that is not stored.

    Args:
      entries: the trackers.
      benchmark: the sequences.
      results_dir: the folder of all results.
      seed: the first seed.
      repeats: how many seeds.
      reporter: hears of the progress.
      way: how they are run; by default one sequence after the other.

    Returns:
      The stored runs, seed after seed for one tracker after the other.

    Raises:
      UserError: a tracker cannot be built or not be run that way, the results cannot be written, or a sequence cannot
        be tracked; in the last case the message names the sequence, and those before it are stored.
    """
    reporter, way = reporter or Reporter(), way or InTurn()
    methods, runs = _prepared(entries, way, seed, repeats)
    opened = open_runs(methods, runs, results_dir, benchmark.name)
    work = [
        Work(method, _unfinished(entry, results, benchmark))
        for entry, method, results in zip(entries, methods, opened, strict=True)
    ]
    reporter.begin(sum(len(job.sequence) for each in work for job in each.jobs))
    way.run([each for each in work if each.jobs], reporter)
    return [results for runs in opened for results in runs]


def asked(entries: Sequence[Entry], way: Way, *, seed: int = 0, repeats: int = 1) -> list[Run]:
    """What `evaluate` would run, in its order, or `UserError` as there; nothing is run or stored."""
    return [run for runs in _prepared(entries, way, seed, repeats)[1] for run in runs]


def _prepared(
    entries: Sequence[Entry], way: Way, seed: int, repeats: int
) -> tuple[list[trackers.Method], list[list[Run]]]:
    """For each tracker what runs it, and its runs."""
    methods = [trackers.build(entry.tracker, entry.config) for entry in entries]
    way.check(entries, methods)
    return methods, [
        [_identified(entry, method, seed, repeat, way.batch_width) for repeat in range(repeats)]
        for entry, method in zip(entries, methods, strict=True)
    ]


def _identified(entry: Entry, method: trackers.Method, seed: int, repeat: int, batch_width: int) -> Run:
    return Run(
        entry.label,
        entry.config,
        seed + repeat,
        weights_sha256=getattr(method, "weights_sha256", None),
        batch_width=batch_width,
        repeat=repeat,
        extra={"method": entry.tracker},
    )


def open_runs(
    methods: Sequence[trackers.Method], asked: Sequence[Sequence[Run]], results_dir: Path, benchmark: str
) -> list[list[store.RunStore]]:
    """The stored runs that are asked of each method; none is begun before the weights of all are known to fit.

    Raises:
      UserError: weights do not fit, or the results cannot be written.
    """
    for method, runs in zip(methods, asked, strict=True):
        # What is stored already was computed with them; what is drawn always fits.
        new = any(store.is_new(results_dir, benchmark, run) for run in runs)
        if new and isinstance(method, trackers.JaxMethod) and method.weights_sha256 is not None:
            method.params()
    environment = provenance.environment()
    return [[store.open_run(results_dir, benchmark, run, environment=environment) for run in runs] for runs in asked]


@contextlib.contextmanager
def naming(sequence: str) -> Iterator[None]:
    """Every `UserError` from inside names the sequence."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error) if sequence in str(error) else f"{sequence}: {error}") from error


def _unfinished(entry: Entry, runs: Sequence[store.RunStore], benchmark: Benchmark) -> list[Job]:
    return [
        Job(entry, results, sequence)
        for results in runs
        for sequence in benchmark.sequences
        if not results.done(sequence.name, len(sequence))
    ]


@dataclasses.dataclass(frozen=True)
class InTurn:
    """One sequence after the other, in this process."""

    batch_width: int = 1

    def check(self, entries: Sequence[Entry], methods: Sequence[trackers.Method]) -> None:
        """Every tracker can be run so."""

    def run(self, work: Sequence[Work], reporter: Reporter) -> None:
        """Runs all jobs."""
        for each in work:
            track = tracking(each.method)
            with telling_compiling(each.jobs[0].entry, reporter):
                seconds = sum(run_job(job, track, reporter) for job in each.jobs)
            note_compiling(each.jobs[0], seconds, reporter)


Tracking = Callable[[VideoSequence, int, Callable[[int], None]], Track]


def tracking(method: trackers.Method) -> Tracking:
    """A function from a sequence, a seed and what is told of the progress to the track."""
    if isinstance(method, trackers.HostMethod):
        return lambda sequence, seed, report: run_session(method, sequence, seed, report)
    params = method.params()
    return lambda sequence, seed, report: run(method.tracker, params, sequence, sequence.boxes[0], seed, report)


def run_job(job: Job, track: Tracking, reporter: Reporter, *, shared_by: str = "") -> float:
    """Tracks one sequence and stores it; returns the seconds that compiling took.

    Args:
      job: what is to be run.
      track: the tracker, from `tracking`.
      reporter: hears of the progress.
      shared_by: what shares the machine meanwhile, see `store.SequenceResult`.
    """
    name = job.sequence.name
    reporter.sequence(job.run, name, len(job.sequence))
    with naming(name):
        result = track(job.sequence, job.results.seed, reporter.frames)
    keep(job, result, reporter, shared_by=shared_by)
    reporter.finished()
    return result.compile_seconds


def keep(job: Job, track: Track, reporter: Reporter, *, shared_by: str = "") -> None:
    """Stores a job's track."""
    boxes, lost = finite_boxes(track.boxes)
    if lost:
        reporter.note(f"{job.run}: {job.sequence.name}: {lost} frames without a finite box keep the one before")
    job.results.write(job.sequence.name, boxes, track.seconds, _per_frame(track), shared_by=shared_by)


def telling_compiling(entry: Entry, reporter: Reporter) -> contextlib.AbstractContextManager[None]:
    """Inside, the reporter hears of it while compiling a tracker's programs, or its start, takes long."""
    return telling(*(functools.partial(reporter.note, each(entry.label)) for each in (compiling, starting)))


def note_compiling(job: Job, seconds: float, reporter: Reporter) -> None:
    """Says how long a tracker's programs took until they were there, compiled or from the cache, if any were made."""
    if seconds:
        line = f"compiling or loading programs took {seconds:.1f} s, which fps does not contain"
        reporter.note(f"{job.entry.label}: {line}")


def run_session(
    method: trackers.HostMethod,
    sequence: VideoSequence,
    seed: int,
    on_progress: Callable[[int], None] | None = None,
) -> Track:
    """Tracks one sequence with a tracker on the host; `jaxtrack.run` for its kind.

    Args:
      method: begins the sessions.
      sequence: the video and its first box.
      seed: the run's seed; the session's is a function of it and the sequence's name.
      on_progress: called with the number of frames done.

    Returns:
      The track; `seconds` do not contain the decoding.
    """
    session = method.session(session_seed(seed, sequence.name))
    boxes, scores, seconds = [np.asarray(sequence.boxes[0], np.float32)], [np.float32(1)], []
    for i in range(len(sequence)):
        image = sequence[i]
        start = time.perf_counter()
        if i == 0:
            session.init(image, boxes[0])
            seconds.append(time.perf_counter() - start)
            continue
        prediction = session.update(image)
        seconds.append(time.perf_counter() - start)
        boxes.append(np.asarray(prediction.box, np.float32))
        scores.append(np.float32(prediction.score))
        if on_progress is not None and (i % _PROGRESS_EVERY_FRAMES == 0 or i == len(sequence) - 1):
            on_progress(i + 1)
    return Track(np.stack(boxes), np.asarray(scores), np.asarray(seconds), {}, 0.0)


def session_seed(seed: int, sequence: str) -> int:
    """31 bits from the run's seed and the sequence's name: what a host-side tracker may draw from."""
    digest = hashlib.sha256(f"{seed}/{sequence}".encode()).digest()
    return int.from_bytes(digest[:4], "little") >> 1


def finite_boxes(boxes: np.ndarray) -> tuple[np.ndarray, int]:
    """Rows that are not finite replaced by the row before, as the OTB toolkit does, and how many they were.

    Args:
      boxes: `[N, 4]`, the first row finite.
    """
    good = np.isfinite(boxes).all(axis=1)
    last_good = np.maximum.accumulate(np.where(good, np.arange(len(boxes)), 0))
    return boxes[last_good], int(np.sum(~good))


def _per_frame(track: Track) -> dict[str, np.ndarray]:
    """Scores and diagnostics with a row for every frame; frame 0, which has no diagnostics, gets NaN or 0."""
    rows = {}
    for name, values in track.diagnostics.items():
        first = np.full((1, *values.shape[1:]), np.nan if values.dtype.kind == "f" else 0, values.dtype)
        rows[name] = np.concatenate([first, values])
    return {"score": track.scores, **rows}
