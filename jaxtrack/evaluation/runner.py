"""Runs trackers over the sequences of a benchmark, storing each as it ends and passing over what is stored.

Whatever interrupts a run, finished sequences stay; the same call later goes on with the first unfinished one. A
sequence's boxes are a function of (config, sequence, seed), so a resumed run leaves the same boxes as any other.
"""

import contextlib
import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxtrack import trackers
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
class _Job:
    """One sequence of one run that is not stored yet."""

    entry: Entry
    results: store.RunStore
    sequence: VideoSequence


def evaluate(
    entries: Sequence[Entry],
    benchmark: Benchmark,
    results_dir: Path,
    *,
    seed: int = 0,
    repeats: int = 1,
    reporter: Reporter | None = None,
) -> list[store.RunStore]:
    """Runs every tracker with the seeds `seed`, ..., `seed + repeats - 1` on every sequence that is not stored.

    Args:
      entries: the trackers.
      benchmark: the sequences.
      results_dir: the folder of all results.
      seed: the first seed.
      repeats: how many seeds.
      reporter: hears of the progress.

    Returns:
      The stored runs, seed after seed for one tracker after the other.

    Raises:
      UserError: a tracker cannot be built, the results cannot be written, or a sequence cannot be tracked; in the last
        case the message names the sequence, and those before it are stored.
    """
    reporter = reporter or Reporter()
    methods = [trackers.build(entry.tracker, entry.config) for entry in entries]
    asked = [
        [_identified(entry, method, seed, repeat) for repeat in range(repeats)]
        for entry, method in zip(entries, methods, strict=True)
    ]
    opened = open_runs(methods, asked, results_dir, benchmark.name)
    work = [_unfinished(entry, runs, benchmark) for entry, runs in zip(entries, opened, strict=True)]
    reporter.begin(sum(len(job.sequence) for jobs in work for job in jobs))
    for method, jobs in zip(methods, work, strict=True):
        if jobs:
            _run_jobs(method, jobs, reporter)
    return [results for runs in opened for results in runs]


def _identified(entry: Entry, method: trackers.Method, seed: int, repeat: int) -> Run:
    return Run(
        entry.label,
        entry.config,
        seed + repeat,
        weights_sha256=getattr(method, "weights_sha256", None),
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


def _unfinished(entry: Entry, runs: Sequence[store.RunStore], benchmark: Benchmark) -> list[_Job]:
    return [
        _Job(entry, results, sequence)
        for results in runs
        for sequence in benchmark.sequences
        if not results.done(sequence.name, len(sequence))
    ]


def _run_jobs(method: trackers.Method, jobs: Sequence[_Job], reporter: Reporter) -> None:
    track = _tracking(method)
    compile_seconds = 0.0
    for job in jobs:
        name, seed = job.sequence.name, job.results.seed
        reporter.sequence(f"{job.entry.label}, seed {seed}", name, len(job.sequence))
        with naming(name):
            result = track(job.sequence, seed, reporter.frames)
        boxes, lost = finite_boxes(result.boxes)
        if lost:
            reporter.note(
                f"{job.entry.label}, seed {seed}: {name}: {lost} frames without a finite box keep the one before"
            )
        job.results.write(name, boxes, result.seconds, _per_frame(result))
        compile_seconds += result.compile_seconds
        reporter.finished()
    if compile_seconds:
        reporter.note(f"{jobs[0].entry.label}: compiling took {compile_seconds:.1f} s, which fps does not contain")


def _tracking(method: trackers.Method) -> Callable[[VideoSequence, int, Callable[[int], None]], Track]:
    if isinstance(method, trackers.HostMethod):
        return lambda sequence, seed, report: run_session(method, sequence, seed, report)
    params = method.params()
    return lambda sequence, seed, report: run(method.tracker, params, sequence, sequence.boxes[0], seed, report)


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
