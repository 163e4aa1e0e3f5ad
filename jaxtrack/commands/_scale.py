"""The part of `evaluate` that is about running at scale, and about running again."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from jaxtrack.data.sequences import Benchmark
from jaxtrack.errors import UserError
from jaxtrack.evaluation import batches, repeated, runner, workers
from jaxtrack.evaluation.parts import Part
from jaxtrack.evaluation.store import StoredRun


def way(number_of_workers: int, batch: int) -> runner.Way:
    """How sequences are run: one after the other, by several processes, or side by side in one program."""
    if number_of_workers < 1:
        raise UserError(f"--workers must be at least 1, not {number_of_workers}")
    if number_of_workers > 1 and batch:
        raise UserError("--workers is for CPUs and --batch for accelerators: take one of them")
    if batch:
        return batches.Batches(batch)
    return workers.Workers(number_of_workers) if number_of_workers > 1 else runner.InTurn()


def say_missing(part: Part, missing: int, console: Console) -> None:
    """Instead of a table while other processes are not ready."""
    _say(
        console,
        f"Process {part.process} of {part.processes} has finished its part. Sequences of others that are still missing:"
        f" {missing}. The table is printed by the process that finds everything finished: the last one, or this "
        "command when it is run again.",
    )


def check_folder(folder: Path, results: Path, entries: Sequence[runner.Entry]) -> None:
    """Refuses what cannot be compared, before anything is run."""
    if not entries:
        raise UserError("--check runs trackers again: name them by --tracker")
    if not folder.is_dir():
        raise UserError(f"--check: there is no folder {folder}")
    if folder.resolve() == results.resolve():
        raise UserError(
            f"--check: {folder} is the folder of results itself: name by --results another one, for the results that "
            "are to be compared with it"
        )


def earlier(
    folder: Path | None,
    entries: Sequence[runner.Entry],
    benchmark: Benchmark,
    how: runner.Way,
    *,
    seed: int,
    repeats: int,
) -> list[StoredRun]:
    """The runs in the folder of `--check` that those asked for are compared with; `UserError` now if there are none."""
    if folder is None:
        return []
    return repeated.counterparts(folder, runner.asked(entries, how, seed=seed, repeats=repeats), benchmark)


def report_repeated(
    before: Sequence[StoredRun], now: Sequence[StoredRun], benchmark: Benchmark, console: Console
) -> bool:
    """Prints for each run whether it was repeated bit for bit; returns whether all were."""
    found = [repeated.compare(old, new, benchmark) for old, new in zip(before, now, strict=True)]
    for old, new, difference in zip(before, now, found, strict=True):
        same = f"equal, bit for bit, to {old.directory}; sequences compared: {len(benchmark.sequences)}"
        _say(console, f"{new.tracker}, seed {new.seed}: {difference or same}")
        if elsewhere := repeated.elsewhere(old, new):
            _say(console, f"    computed in another environment: {elsewhere}")
    return not any(found)


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
