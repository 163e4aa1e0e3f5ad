"""Whether an evaluation, repeated, left the same results, bit for bit."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxtrack.data.sequences import Benchmark
from jaxtrack.errors import UserError
from jaxtrack.evaluation import provenance, store
from jaxtrack.evaluation.run_record import Run
from jaxtrack.evaluation.store import SequenceResult, StoredRun

_BOX = "box"
_NAMED = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Difference:
    """Where the results of one sequence, or of several, differ.

    Attributes:
      what: `box`, or the name of a diagnostic of a sequence whose boxes are equal.
      sequence: the first sequence that differs, in the benchmark's order.
      frame: the first frame there that differs, 0-based.
      before: what was stored of that frame.
      now: what is there now.
      largest: the largest difference of two numbers; NaN where one of them is none, or where the shapes differ.
      largest_at: sequence and frame of the largest.
      sequences: how many sequences differ.
    """

    what: str
    sequence: str
    frame: int
    before: np.ndarray
    now: np.ndarray
    largest: float
    largest_at: tuple[str, int]
    sequences: int = 1

    def __str__(self) -> str:
        before, now = (np.array2string(np.asarray(value), separator=", ") for value in (self.before, self.now))
        count = "1 sequence differs" if self.sequences == 1 else f"{self.sequences} sequences differ"
        unit, (sequence, frame) = " px" if self.what == _BOX else "", self.largest_at
        return (
            f"{count}, first {self.sequence} in frame {self.frame}: {self.what} {before} stored, {now} now; the "
            f"largest difference is {self.largest:.4g}{unit}, in frame {frame} of {sequence}"
        )


def counterparts(folder: Path, asked: Sequence[Run], benchmark: Benchmark) -> list[StoredRun]:
    """The run in a folder of results that each of those asked for repeats.

    Raises:
      UserError: there is none with the same identity, or it lacks a sequence.
    """
    stored = store.list_runs(folder)
    return [_counterpart(folder, stored, run, benchmark) for run in asked]


def _counterpart(folder: Path, stored: Sequence[StoredRun], run: Run, benchmark: Benchmark) -> StoredRun:
    # Not by the id: a configuration that says 6 has another one than if it says 6.0.
    same = [other for other in stored if (other.identity, other.benchmark) == (run.identity(), benchmark.name)]
    if not same:
        what = f"{run.tracker}, seed {run.seed}, on {benchmark.name}"
        raise UserError(f"--check: {folder} holds no results of {what}{_instead(stored, run, benchmark.name)}")
    missing = [sequence.name for sequence in benchmark.sequences if not same[0].done(sequence.name, len(sequence))]
    if missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        named = f"{', '.join(missing[:_NAMED])}{more}"
        raise UserError(f"--check: {same[0].directory} lacks {named}: name by --sequences those to be compared")
    return same[0]


def _instead(stored: Sequence[StoredRun], run: Run, benchmark: str) -> str:
    """What there is in the place of a run's counterpart, as the rest of a sentence."""
    others = [other for other in stored if (other.tracker, other.benchmark) == (run.tracker, benchmark)]
    if others:
        changes = [provenance.differences(other.identity, run.identity()) for other in others]
        return f" with this configuration: {min(changes, key=len)}"
    found = sorted({f"{other.tracker} on {other.benchmark}" for other in stored})
    return f", but of {', '.join(found)}" if found else ", and of nothing else: name a folder that --results has filled"


def compare(before: StoredRun, now: StoredRun, benchmark: Benchmark) -> Difference | None:
    """Where two stored runs differ that both have all sequences; None if they do not.

    Boxes are compared as they are stored, with four decimals, scores and other diagnostics to the last bit.
    """
    names = [sequence.name for sequence in benchmark.sequences]
    all_found = (_difference(name, before.read(name), now.read(name)) for name in names)
    found = [difference for difference in all_found if difference is not None]
    if not found:
        return None
    # That of a score is of another unit.
    largest = max((each for each in found if each.what == found[0].what), key=lambda each: each.largest)
    return dataclasses.replace(found[0], largest=largest.largest, largest_at=largest.largest_at, sequences=len(found))


def _difference(name: str, before: SequenceResult, now: SequenceResult) -> Difference | None:
    unknown = np.full(len(before.boxes), np.nan)
    pairs = {_BOX: (before.boxes, now.boxes)}
    for key in sorted(before.diagnostics.keys() | now.diagnostics.keys()):
        pairs[key] = before.diagnostics.get(key, unknown), now.diagnostics.get(key, unknown)
    for what, (old, new) in pairs.items():
        sizes = _sizes(old, new)
        frames = np.flatnonzero(sizes != 0)
        if frames.size:
            first, largest = int(frames[0]), int(np.argmax(sizes))
            return Difference(what, name, first, old[first], new[first], float(sizes[largest]), (name, largest))
    return None


def _sizes(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """For each frame the largest difference of two numbers, `float64 [N]`; NaN where one of them is none."""
    if old.shape != new.shape:
        return np.full(len(old), np.nan)
    with np.errstate(invalid="ignore"):  # of two infinite numbers
        sizes = np.abs(old.astype(np.float64) - new.astype(np.float64))
    same = (old == new) | (np.isnan(old) & np.isnan(new))
    return np.where(same, 0.0, sizes).reshape(len(old), -1).max(axis=1)


def elsewhere(before: StoredRun, now: StoredRun) -> str:
    """What differs between the environments that two runs were computed in; empty if nothing does."""
    old, new = store.environments(before.info), store.environments(now.info)
    changes = [provenance.differences(each, new[-1]) for each in old if new and each not in new]
    return "; ".join(dict.fromkeys(changes))
