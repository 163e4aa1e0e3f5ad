"""What a supervised evaluation prints and writes: one row per tracker with A, R, failures and EAO."""

import dataclasses
import json
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from jaxtrack.data.regionfiles import Regions
from jaxtrack.data.vot import TAGS, VotBenchmark, VotSequence
from jaxtrack.errors import UserError
from jaxtrack.evaluation.comparison import remark
from jaxtrack.evaluation.tables import csv_text, null_if_undefined
from jaxtrack.evaluation.vot import measures, ranks
from jaxtrack.evaluation.vot.measures import Rules, SequenceScore
from jaxtrack.evaluation.vot.results import StoredTrajectories
from jaxtrack.files import write_text
from jaxtrack.weights import places

_LOOK: dict[str, Any] = {"box": box.SIMPLE_HEAD, "pad_edge": False, "padding": (0, 1, 0, 0)}


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """One tracker: one row.

    Attributes:
      name: how tables call it.
      run_id: where the numbers come from.
      scores: for each experiment the score of each sequence, by name.
      fps: frames per second by sequence; empty if unknown.
      tuned_on: the benchmark on whose test data the tracker's constants were chosen; empty if none.
      chosen_on: the test data on which its weights were chosen among others; empty if none.
    """

    name: str
    run_id: str
    scores: Mapping[str, Mapping[str, SequenceScore]]
    fps: Mapping[str, float] = dataclasses.field(default_factory=dict)
    tuned_on: str = ""
    chosen_on: str = ""

    @property
    def label(self) -> str:
        """The name with the remark that readers must be shown, on a line of its own."""
        told = remark(self.tuned_on, self.chosen_on)
        return f"{self.name}\n({told})" if told else self.name


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """Trackers on one benchmark, or the part of it that is at hand.

    Attributes:
      benchmark: the sequences.
      experiment: name of the experiment.
      interval: of EAO; None where there is none.
      results: the rows.
    """

    benchmark: VotBenchmark
    experiment: str
    interval: tuple[int, int] | None
    results: Sequence[Result]

    @property
    def title(self) -> str:
        """What headlines print."""
        return f"supervised ({self.experiment}) on {self.benchmark.title}"

    def covered(self, result: Result) -> list[str]:
        """The sequences that a tracker has, in the benchmark's order."""
        return [s.name for s in self.benchmark.sequences if s.name in result.scores[self.experiment]]

    @property
    def shared(self) -> list[str]:
        """The sequences that all trackers have, in the benchmark's order."""
        found = [result.scores[self.experiment] for result in self.results]
        return [s.name for s in self.benchmark.sequences if all(s.name in scores for scores in found)]

    def eao(self, result: Result, tag: str | None = None) -> float:
        """Expected average overlap of a tracker, NaN without an interval; with a tag, segments weighed by it."""
        names = self.covered(result)
        if self.interval is None or not names:
            return float("nan")
        sequences = [s for s in self.benchmark.sequences if s.name in names and isinstance(s, VotSequence)]
        tagged = None if tag is None else [sequence.tagged(tag) for sequence in sequences]
        scores = [result.scores[self.experiment][name] for name in names]
        return measures.average_overlap(measures.expected_overlaps(scores, tagged), self.interval)


@dataclasses.dataclass(frozen=True)
class Column:
    """A number of the table: its label, how many digits are shown, and whether higher is better."""

    label: str
    of: Callable[[Sequence[SequenceScore]], float]
    higher: bool = True
    digits: int = 3


COLUMNS: Mapping[str, Column] = MappingProxyType(
    {
        "accuracy": Column("A", measures.accuracy),
        "robustness": Column("R", measures.robustness, higher=False),
        "lost": Column("lost", measures.lost, higher=False, digits=1),
    }
)

EAO = Column("EAO", lambda _: math.nan)
"""Of a comparison, which knows the interval; see `Comparison.eao`."""


def score_all(
    trajectories: Mapping[str, Sequence[Regions]], benchmark: VotBenchmark, rules: Rules
) -> dict[str, SequenceScore]:
    """The scores of the sequences that have a trajectory."""
    return {
        sequence.name: measures.score(trajectories[sequence.name], sequence.regions, sequence.size, rules)
        for sequence in benchmark.sequences
        if isinstance(sequence, VotSequence) and trajectories.get(sequence.name)
    }


def from_stored(
    stored: StoredTrajectories, benchmark: VotBenchmark, experiments: Iterable[str], rules: Rules, repeats: int
) -> Result:
    """The row of one of our own runs."""
    experiments = tuple(experiments)
    sequences = [sequence for sequence in benchmark.sequences if isinstance(sequence, VotSequence)]
    scores = {
        experiment: score_all(
            {sequence.name: stored.read(experiment, sequence, repeats) for sequence in sequences}, benchmark, rules
        )
        for experiment in experiments
    }
    return Result(
        stored.store.tracker,
        stored.store.id,
        scores,
        {sequence.name: stored.frames_per_second(experiments[0], sequence) for sequence in sequences},
        stored.store.identity["config"].get("tuned_on", ""),
        places.chosen_on(stored.store.identity.get("weights_sha256")),
    )


def summary_table(comparison: Comparison) -> Table:
    """Rows are trackers; bold is the best of those that cover the same sequences."""
    rows = summary_rows(comparison)
    if comparison.interval is None:
        caption = f"{comparison.benchmark.title} has no EAO."
    else:
        caption = f"EAO: mean of the expected overlaps of {comparison.interval[0]} to {comparison.interval[1]} frames."
    most = max((row["sequences"] for row in rows), default=0)
    if any(row["sequences"] != most for row in rows):
        caption += " Rows with fewer sequences are of those sequences and are not compared with the others."
    table = Table(title=Text(comparison.title), caption=caption, **_LOOK)
    table.add_column("tracker", overflow="fold")
    shown = {**COLUMNS, "eao": EAO}
    for label in (*(column.label for column in shown.values()), "fps", "seqs", "reps"):
        table.add_column(label, justify="right", no_wrap=True)
    table.add_column("run", no_wrap=True)
    bests = {
        key: best([row[key] if row["sequences"] == most else math.nan for row in rows], column)
        for key, column in shown.items()
    }
    count = len(comparison.benchmark.sequences)
    for i, (result, row) in enumerate(zip(comparison.results, rows, strict=True)):
        cells = [Text(_number(row[key], c.digits), style="bold" if i in bests[key] else "") for key, c in shown.items()]
        seqs = f"{row['sequences']}" if row["sequences"] == count else f"{row['sequences']}/{count}"
        table.add_row(
            Text(result.label), *cells, _number(row["fps_median"], 1), seqs, row["repetitions"], result.run_id
        )
    return table


def sequence_table(comparison: Comparison) -> Table:
    """Rows are sequences, cells accuracy and failures of each tracker."""
    table = Table(title=Text(f"A / lost, {comparison.title}"), **_LOOK)
    table.add_column("sequence")
    for result in comparison.results:
        table.add_column(Text(result.label), justify="right")
    for sequence in comparison.benchmark.sequences:
        found = [result.scores[comparison.experiment].get(sequence.name) for result in comparison.results]
        cells = ["-" if s is None else f"{_number(measures.accuracy([s]))} / {s.lost:.1f}" for s in found]
        table.add_row(sequence.name, *cells)
    return table


def tag_table(comparison: Comparison) -> Table:
    """Rows are tags, cells the EAO of each tracker with segments weighed by their share of tagged frames."""
    table = Table(title=Text(f"EAO by tag, {comparison.title}"), **_LOOK)
    table.add_column("tag")
    for result in comparison.results:
        table.add_column(Text(result.label), justify="right")
    for tag in (*TAGS, "empty"):
        table.add_row(tag, *(_number(comparison.eao(result, tag)) for result in comparison.results))
    return table


def rank_table(comparisons: Sequence[Comparison], practical: float) -> Table:
    """Rows are trackers, columns their accuracy and robustness ranks in each experiment, and the mean of all.

    Raises:
      UserError: there is an experiment without a sequence that all trackers have.
    """
    table = Table(title=Text(f"A / R ranks on {comparisons[0].benchmark.title}"), **_LOOK)
    table.add_column("tracker")
    for label in (*(comparison.experiment for comparison in comparisons), "mean"):
        table.add_column(label, justify="right")
    by_experiment = [rank_rows(comparison, practical) for comparison in comparisons]
    for i, result in enumerate(comparisons[0].results):
        own = [found[i] for found in by_experiment]
        mean = statistics.fmean(each.mean for each in own)
        table.add_row(Text(result.label), *(f"{r.accuracy:.2f} / {r.robustness:.2f}" for r in own), f"{mean:.2f}")
    return table


def rank_rows(comparison: Comparison, practical: float) -> list[ranks.Ranks]:
    """Ranks of the trackers on the sequences that all of them have.

    Raises:
      UserError: there is no such sequence.
    """
    shared = comparison.shared
    if not shared:
        raise UserError(f"ranks: there is no sequence of {comparison.benchmark.title} that all trackers have")
    scores = [result.scores[comparison.experiment] for result in comparison.results]
    return ranks.rank([[found[name] for name in shared] for found in scores], practical=practical)


def summary_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One record per tracker."""
    low, high = comparison.interval or (None, None)
    rows = []
    for result in comparison.results:
        scores = [result.scores[comparison.experiment][name] for name in comparison.covered(result)]
        known = [
            result.fps[name] for name in comparison.covered(result) if math.isfinite(result.fps.get(name, math.nan))
        ]
        runs = sorted({score.runs for score in scores})
        record: dict[str, Any] = {
            "benchmark": comparison.benchmark.name,
            "title": comparison.benchmark.title,
            "experiment": comparison.experiment,
            "tracker": result.name,
            "tuned_on": result.tuned_on,
            "chosen_on": result.chosen_on,
            "sequences": len(scores),
            "sequences_in_list": len(comparison.benchmark.sequences),
            "frames": sum(score.frames for score in scores),
            "repetitions": "-".join(str(n) for n in dict.fromkeys((runs[0], runs[-1]))) if runs else "",
        }
        record |= {key: column.of(scores) if scores else math.nan for key, column in COLUMNS.items()}
        record |= {
            "eao": comparison.eao(result),
            "eao_low": low,
            "eao_high": high,
            "accuracy_by_sequence": measures.weighted_accuracy(scores) if scores else math.nan,
            "lost_per_sequence": measures.lost(scores) / len(scores) if scores else math.nan,
            "reliability": measures.reliability(scores) if scores else math.nan,
            "fps_median": statistics.median(known) if known else math.nan,
            "run_id": result.run_id,
        }
        rows.append(record)
    return rows


def sequence_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One record per sequence and tracker."""
    return [
        {
            "benchmark": comparison.benchmark.name,
            "experiment": comparison.experiment,
            "sequence": name,
            "tracker": result.name,
            "tuned_on": result.tuned_on,
            "chosen_on": result.chosen_on,
            "run": result.run_id,
            "frames": score.frames,
            "repetitions": score.runs,
            "accuracy": measures.accuracy([score]),
            "lost": score.lost,
        }
        for result in comparison.results
        for name in comparison.covered(result)
        for score in [result.scores[comparison.experiment][name]]
    ]


def write_tables(comparisons: Sequence[Comparison], folder: Path) -> list[Path]:
    """Writes `summary.csv`, `per_sequence.csv` and `summary.json` (with the curves of EAO); returns their paths."""
    contents = {
        "summary.csv": csv_text([row for comparison in comparisons for row in summary_rows(comparison)]),
        "per_sequence.csv": csv_text([row for comparison in comparisons for row in sequence_rows(comparison)]),
        "summary.json": json.dumps(null_if_undefined([_json(c) for c in comparisons]), indent=1, allow_nan=False)
        + "\n",
    }
    paths = [folder / name for name in contents]
    try:
        for path, text in zip(paths, contents.values(), strict=True):
            write_text(path, text)
    except OSError as error:
        raise UserError(f"cannot write tables to {folder}: {error.strerror or error}") from error
    return paths


def _json(comparison: Comparison) -> dict[str, Any]:
    trackers = []
    for result, row in zip(comparison.results, summary_rows(comparison), strict=True):
        scores = [result.scores[comparison.experiment][name] for name in comparison.covered(result)]
        tags = {tag: comparison.eao(result, tag) for tag in (*TAGS, "empty")}
        curve = measures.expected_overlaps(scores).tolist() if scores else []
        trackers.append({**row, "eao_by_tag": tags, "expected_overlaps": curve})
    return {"title": comparison.title, "trackers": trackers, "sequences": sequence_rows(comparison)}


def best(values: Sequence[float], column: Column) -> set[int]:
    """Indices of the best values as far as the printed digits tell; none where there is nothing to compare."""
    rounded = {i: round(value, column.digits) for i, value in enumerate(values) if np.isfinite(value)}
    if len(rounded) < 2:
        return set()
    first = (max if column.higher else min)(rounded.values())
    return {i for i, value in rounded.items() if value == first}


def _number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"
