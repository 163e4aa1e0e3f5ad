"""Runs trackers over a VOT benchmark by the supervised protocol, keeping every repetition of a sequence as it ends.

Repetition i of a run with the seed s has the seed s + i. After three equal repetitions of a sequence no more are run,
as in VOT's toolkits: the tracker draws nothing. With `lanes` greater than 1 that many repetitions of a tracker in JAX
are run side by side; trackers on the host are run one repetition after the other.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import jax

from jaxtrack import trackers
from jaxtrack.compilation import OutOfMemoryError, out_of_memory
from jaxtrack.data.regionfiles import StartBox
from jaxtrack.data.vot import VotBenchmark, VotSequence
from jaxtrack.errors import UserError
from jaxtrack.evaluation.progress import Reporter
from jaxtrack.evaluation.run_record import Run
from jaxtrack.evaluation.runner import Entry, naming, open_runs, session_seed, telling_compiling
from jaxtrack.evaluation.vot import supervised
from jaxtrack.evaluation.vot.measures import Rules
from jaxtrack.evaluation.vot.results import REPETITIONS_OF_DETERMINISTIC, StoredTrajectories
from jaxtrack.running import programs
from jaxtrack.session import Session


@dataclasses.dataclass(frozen=True)
class Settings:
    """How trackers are run.

    Attributes:
      experiments: names of `supervised.EXPERIMENTS`.
      start_box: how polygons become boxes to start from.
      rules: of the overlap that decides about failures.
      lanes: repetitions side by side.
    """

    experiments: tuple[str, ...] = ("baseline",)
    start_box: StartBox = "area"
    rules: Rules = dataclasses.field(default_factory=Rules)
    lanes: int = 1


@dataclasses.dataclass(frozen=True)
class _Job:
    """One sequence of one experiment, of which not all repetitions are stored."""

    results: StoredTrajectories
    experiment: str
    sequence: VotSequence


def evaluate(
    entries: Sequence[Entry],
    benchmark: VotBenchmark,
    results_dir: Path,
    settings: Settings,
    *,
    seed: int = 0,
    repeats: int = 1,
    reporter: Reporter | None = None,
) -> list[StoredTrajectories]:
    """Runs every tracker on everything that is not stored.

    Args:
      entries: the trackers.
      benchmark: the sequences.
      results_dir: the folder of all results.
      settings: of the protocol.
      seed: of the first repetition.
      repeats: how many repetitions.
      reporter: hears of the progress.

    Returns:
      What is stored of each tracker.

    Raises:
      UserError: a tracker cannot be built, results cannot be written, or a sequence cannot be tracked.
    """
    reporter = reporter or Reporter()
    methods = [trackers.build(entry.tracker, entry.config) for entry in entries]
    asked = [[_identified(entry, method, settings, seed)] for entry, method in zip(entries, methods, strict=True)]
    opened = [StoredTrajectories(run) for [run] in open_runs(methods, asked, results_dir, benchmark.name)]
    work = [_unfinished(results, benchmark, settings, repeats) for results in opened]
    reporter.begin(sum(len(job.sequence) * len(_left(job, repeats)) for jobs in work for job in jobs))
    for entry, method, jobs in zip(entries, methods, work, strict=True):
        if jobs:
            with telling_compiling(entry, reporter):
                _run_jobs(entry, method, jobs, settings, seed, repeats, reporter)
    return opened


def unfinished(stored: Sequence[StoredTrajectories], benchmark: VotBenchmark, settings: Settings, repeats: int) -> int:
    """How many sequences, of all trackers and experiments, lack a repetition."""
    return sum(len(_unfinished(results, benchmark, settings, repeats)) for results in stored)


def _identified(entry: Entry, method: trackers.Method, settings: Settings, seed: int) -> Run:
    return Run(
        entry.label,
        entry.config,
        seed,
        weights_sha256=getattr(method, "weights_sha256", None),
        batch_width=_lanes(method, settings),
        protocol={"start_box": settings.start_box, "rules": settings.rules},
        extra={"method": entry.tracker},
    )


def _lanes(method: trackers.Method, settings: Settings) -> int:
    return 1 if isinstance(method, trackers.HostMethod) else settings.lanes


def _unfinished(results: StoredTrajectories, benchmark: VotBenchmark, settings: Settings, repeats: int) -> list[_Job]:
    jobs = [
        _Job(results, experiment, sequence)
        for experiment in settings.experiments
        for sequence in benchmark.sequences
        if isinstance(sequence, VotSequence)
    ]
    return [job for job in jobs if _left(job, repeats)]


def _left(job: _Job, repeats: int) -> list[int]:
    """The repetitions of a job that are still to be run."""
    if repeats > REPETITIONS_OF_DETERMINISTIC and job.results.deterministic(job.experiment, job.sequence):
        return []
    return [i for i in range(repeats) if not job.results.done(job.experiment, job.sequence, i)]


def _run_jobs(
    entry: Entry,
    method: trackers.Method,
    jobs: Sequence[_Job],
    settings: Settings,
    seed: int,
    repeats: int,
    reporter: Reporter,
) -> None:
    width = _lanes(method, settings)
    make = _maker(method, width)
    for job in jobs:
        for first in range(0, repeats, width):
            lanes = range(first, first + width)  # also beyond the last one: another width would be another program
            left = _left(job, repeats)
            wanted = [i for i in lanes if i in left]
            if not wanted:
                continue
            shown = f"{wanted[0] + 1}" if len(wanted) == 1 else f"{wanted[0] + 1}-{wanted[-1] + 1}"
            title = f"{entry.label}, {job.experiment}, repetition {shown}"
            reporter.sequence(title, job.sequence.name, len(job.sequence) * len(wanted))
            report = functools.partial(_scaled, reporter, len(wanted))
            with naming(job.sequence.name):
                done = _run_one(job, make([seed + i for i in lanes]), settings, report)
            for i in wanted:
                job.results.write(job.experiment, job.sequence.name, i, done[i - first])
            reporter.finished()


def _run_one(
    job: _Job, runs: supervised.Runs, settings: Settings, report: "functools.partial[None]"
) -> list[supervised.Trajectory]:
    try:
        return supervised.run(
            job.sequence,
            runs,
            experiment=job.experiment,
            start_box=settings.start_box,
            rules=settings.rules,
            on_progress=report,
        )
    except (OutOfMemoryError, jax.errors.JaxRuntimeError) as error:
        if settings.lanes == 1 or not out_of_memory(error):
            raise
        raise UserError(
            f"{settings.lanes} repetitions side by side do not fit into memory: take fewer by --vot.lanes"
        ) from error


def _scaled(reporter: Reporter, repetitions: int, frames: int) -> None:
    reporter.frames(frames * repetitions)


def _maker(method: trackers.Method, width: int):
    """A function from seeds to `supervised.Runs`."""
    if isinstance(method, trackers.HostMethod):
        host = method  # narrowed for the lambda
        return lambda seeds: supervised.SessionRuns(lambda seed, name: host.session(session_seed(seed, name)), seeds)
    params, tracker = method.params(), method.tracker
    if width > 1:
        return lambda seeds: supervised.LaneRuns(tracker, params, seeds)
    compiled = programs(tracker)

    def begin(seed: int, name: str) -> Session:
        return Session(tracker, params, seed=seed, name=name)

    def compile_seconds() -> float:
        return compiled.init.compile_seconds + compiled.step.compile_seconds

    return lambda seeds: supervised.SessionRuns(begin, seeds, compile_seconds)
