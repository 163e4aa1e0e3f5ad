"""What a supervised evaluation prints and writes: one row per tracker with A, R, failures and EAO."""

import dataclasses
import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from jaxtrack.data.vot import TAGS
from jaxtrack.errors import UserError
from jaxtrack.evaluation.tables import csv_text, null_if_undefined, titled
from jaxtrack.evaluation.vot import measures, ranks
from jaxtrack.evaluation.vot.comparison import Comparison, Result
from jaxtrack.evaluation.vot.measures import SequenceScore
from jaxtrack.files import write_text

NOT_COMPARED = "Rows with fewer or other sequences are of those sequences and are not compared with the others."


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


def summary_table(comparison: Comparison) -> Table:
    """Rows are trackers; bold is the best of those that cover the same sequences."""
    rows = summary_rows(comparison)
    if comparison.interval is None:
        below = [f"{comparison.benchmark.title} has no EAO."]
    else:
        below = [f"EAO: mean of the expected overlaps of {comparison.interval[0]} to {comparison.interval[1]} frames."]
    compared = comparison.comparable
    if not all(compared):
        below.append(NOT_COMPARED)
    table = titled(comparison.title, [*below, *comparison.notes.lines])
    table.add_column("tracker", overflow="fold")
    shown = {**COLUMNS, "eao": EAO}
    for label in (*(column.label for column in shown.values()), "fps", "seqs", "reps"):
        table.add_column(label, justify="right", no_wrap=True)
    table.add_column("run", no_wrap=True)
    bests = {key: best([row[key] for row in rows], column, compared) for key, column in shown.items()}
    count = len(comparison.benchmark.sequences)
    for i, (result, row) in enumerate(zip(comparison.results, rows, strict=True)):
        cells = [Text(_number(row[key], c.digits), style="bold" if i in bests[key] else "") for key, c in shown.items()]
        seqs = f"{row['sequences']}" if row["sequences"] == count else f"{row['sequences']}/{count}"
        table.add_row(
            _label(comparison, result), *cells, _number(row["fps_median"], 1), seqs, row["repetitions"], result.run_id
        )
    return table


def sequence_table(comparison: Comparison) -> Table:
    """Rows are sequences, cells accuracy and failures of each tracker."""
    table = _tracker_columns(comparison, "sequence", f"A / lost, {comparison.title}")
    for sequence in comparison.benchmark.sequences:
        found = [result.scores[comparison.experiment].get(sequence.name) for result in comparison.results]
        cells = ["-" if s is None else f"{_number(measures.accuracy([s]))} / {s.lost:.1f}" for s in found]
        table.add_row(sequence.name, *cells)
    return table


def tag_table(comparison: Comparison) -> Table:
    """Rows are tags, cells the EAO of each tracker with segments weighed by their share of tagged frames."""
    table = _tracker_columns(comparison, "tag", f"EAO by tag, {comparison.title}")
    for tag in (*TAGS, "empty"):
        table.add_row(tag, *(_number(comparison.eao(result, tag)) for result in comparison.results))
    return table


def _tracker_columns(comparison: Comparison, first: str, title: str) -> Table:
    table = titled(title, comparison.notes.lines)
    table.add_column(first)
    for result in comparison.results:
        table.add_column(_label(comparison, result), justify="right")
    return table


def _label(comparison: Comparison, result: Result) -> Text:
    return Text(result.name + comparison.notes.raised(result.remark))


def rank_table(comparisons: Sequence[Comparison]) -> Table:
    """Rows are trackers, columns their accuracy and robustness ranks in each experiment, and the mean of all.

    Raises:
      UserError: there is an experiment without a sequence that all trackers have.
    """
    table = titled(f"A / R ranks on {comparisons[0].benchmark.title}", comparisons[0].notes.lines)
    table.add_column("tracker")
    for label in (*(comparison.experiment for comparison in comparisons), "mean"):
        table.add_column(label, justify="right")
    by_experiment = [rank_rows(comparison) for comparison in comparisons]
    for i, result in enumerate(comparisons[0].results):
        own = [found[i] for found in by_experiment]
        mean = statistics.fmean(each.mean for each in own)
        name = _label(comparisons[0], result)
        table.add_row(name, *(f"{r.accuracy:.2f} / {r.robustness:.2f}" for r in own), f"{mean:.2f}")
    return table


def rank_rows(comparison: Comparison) -> list[ranks.Ranks]:
    """Ranks of the trackers on the sequences that all of them have.

    Raises:
      UserError: there is no such sequence.
    """
    shared = comparison.shared
    if not shared:
        raise UserError(f"ranks: there is no sequence of {comparison.benchmark.title} that all trackers have")
    scores = [result.scores[comparison.experiment] for result in comparison.results]
    return ranks.rank([[found[name] for name in shared] for found in scores], practical=comparison.practical or 0.0)


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
            "trained_on": result.trained_on,
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
            "lost_by_length": measures.lost_by_length(scores) if scores else math.nan,
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
            "trained_on": result.trained_on,
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


def best(values: Sequence[float], column: Column, compared: Sequence[bool]) -> set[int]:
    """Indices of the best values as far as the printed digits tell; none where there is nothing to compare.

    Args:
      values: of the rows.
      column: what they are.
      compared: which of the rows are compared.
    """
    rounded = {
        i: round(value, column.digits)
        for i, (value, counts) in enumerate(zip(values, compared, strict=True))
        if counts and np.isfinite(value)
    }
    if len(rounded) < 2:
        return set()
    first = (max if column.higher else min)(rounded.values())
    return {i for i, value in rounded.items() if value == first}


def _number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"
