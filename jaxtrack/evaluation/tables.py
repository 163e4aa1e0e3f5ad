"""Tables of a comparison: for the terminal (rich), as CSV, and as one JSON file with everything.

Every table names the list of sequences that it is about and the runs that its rows came from. Rows are compared (the
best is bold) only where they cover the same sequences.
"""

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxtrack.errors import UserError
from jaxtrack.evaluation import metrics
from jaxtrack.evaluation.comparison import ATTRIBUTES, Comparison, Spread, TrackerResult
from jaxtrack.evaluation.footnotes import Footnotes
from jaxtrack.files import write_text

NOT_COMPARED = "Rows with fewer or other sequences are means over those sequences and are not compared with the others."

# Narrow, so that the summary with its run ids fits a terminal of 80 columns.
_LOOK: dict[str, Any] = {"box": box.SIMPLE_HEAD, "pad_edge": False, "padding": (0, 1, 0, 0)}


def summary_table(comparison: Comparison) -> Table:
    """Rows are trackers, columns the headline numbers, speed, number of sequences and the runs behind them."""
    names = comparison.sequences
    headlines = [[t.headline(metric, names) for metric in comparison.printed] for t in comparison.trackers]
    compared = comparable(comparison)
    notes = notes_of(comparison)
    table = titled(_headline(comparison), [*([] if all(compared) else [NOT_COMPARED]), *notes.lines])
    table.add_column("tracker", overflow="fold")
    for metric in comparison.printed.values():
        table.add_column(metric.label.replace(" ", "\n"), justify="right", no_wrap=True)
    for label in ("fps", "seqs"):
        table.add_column(label, justify="right", no_wrap=True)
    table.add_column("run", no_wrap=True)
    bests = [best(column, compared) for column in zip(*headlines, strict=True)]
    for i, (tracker, row) in enumerate(zip(comparison.trackers, headlines, strict=True)):
        cells = [_cell(value, bold=i in bests[k]) for k, value in enumerate(row)]
        covered = tracker.covered(names)
        count = f"{len(covered)}" if len(covered) == len(names) else f"{len(covered)}/{len(names)}"
        fps = tracker.median_fps(names)
        ids = "\n".join(tracker.run_ids)
        name = Text(tracker.name + notes.raised(tracker.remark))
        table.add_row(name, *cells, "-" if math.isnan(fps) else f"{fps:.1f}", count, Text(ids))
    return table


def sequence_table(comparison: Comparison, metric: str | None = None) -> Table:
    """Rows are sequences, columns trackers, cells one metric (mean over the runs); the last row is the mean."""
    metric = metric or comparison.primary
    table = _tracker_columns(comparison, "sequence", metric)
    for name in comparison.sequences:
        _add_row(table, name, on_sequence(comparison, metric, name))
    table.add_section()
    means = [tracker.headline(metric, comparison.sequences) for tracker in comparison.trackers]
    _add_row(table, "mean", means, comparable(comparison))
    return table


def attribute_table(comparison: Comparison, metric: str | None = None) -> Table:
    """Rows are attributes with their number of sequences, columns trackers, cells one metric."""
    metric = metric or comparison.primary
    table = _tracker_columns(comparison, "attribute", metric)
    for label in comparison.labels():
        part = comparison.with_attribute(label)
        values = [tracker.headline(metric, part.sequences) for tracker in part.trackers]
        full = f", {ATTRIBUTES[label]}" if label in ATTRIBUTES else ""
        _add_row(table, f"{label}{full} ({len(part.sequences)})", values, comparable(part))
    return table


def print_summary(comparison: Comparison, console: Console | None = None) -> None:
    """Prints the headline table."""
    (console or Console()).print(summary_table(comparison))


def write_tables(comparison: Comparison, folder: Path) -> list[Path]:
    """Writes `summary.csv`, `per_sequence.csv`, `per_attribute.csv` and `summary.json`; returns their paths.

    Undefined numbers are empty in the CSV files and null in the JSON file, which holds every curve as well.
    """
    contents = {
        "summary.csv": csv_text(summary_rows(comparison)),
        "per_sequence.csv": csv_text(sequence_rows(comparison)),
        "per_attribute.csv": csv_text(attribute_rows(comparison)),
        "summary.json": json.dumps(null_if_undefined(summary_json(comparison)), indent=1, allow_nan=False) + "\n",
    }
    paths = [Path(folder) / name for name in contents]
    try:
        for path, text in zip(paths, contents.values(), strict=True):
            write_text(path, text)
    except OSError as error:
        raise UserError(f"cannot write tables to {folder}: {error.strerror or error}") from error
    return paths


def summary_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One record per tracker: mean and standard deviation of each headline number over its runs."""
    return [_headline_record(comparison, tracker) for tracker in comparison.trackers]


def sequence_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One record per tracker, run and sequence."""
    return [
        {
            "benchmark": comparison.benchmark,
            "protocol": comparison.protocol,
            "sequence": name,
            "tracker": tracker.name,
            "tuned_on": tracker.tuned_on,
            "chosen_on": tracker.chosen_on,
            "trained_on": tracker.trained_on,
            "run": run_id,
            "frames": scores[name].frames,
            **{key: metric.of(scores[name]) for key, metric in comparison.metrics.items()},
        }
        for name in comparison.sequences
        for tracker in comparison.trackers
        for run_id, scores in zip(tracker.run_ids, tracker.scores, strict=True)
        if name in scores
    ]


def attribute_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One record per attribute and tracker: the headline numbers over the sequences with that attribute."""
    return [
        {"attribute": label, **_headline_record(part, tracker)}
        for label in comparison.labels()
        for part in [comparison.with_attribute(label)]
        for tracker in part.trackers
    ]


def summary_json(comparison: Comparison) -> dict[str, Any]:
    """Everything that tables and plots show, as JSON values except that undefined numbers are NaN."""
    return {
        "benchmark": comparison.benchmark,
        "title": comparison.title,
        "protocol": comparison.protocol,
        "sequences": {name: sorted(comparison.attributes.get(name, ())) for name in comparison.sequences},
        "success_thresholds": comparison.rules.success_thresholds.tolist(),
        "precision_thresholds_px": metrics.PRECISION_THRESHOLDS_PX.tolist(),
        "norm_precision_thresholds": metrics.NORM_PRECISION_THRESHOLDS.tolist(),
        "trackers": [_tracker_json(comparison, tracker) for tracker in comparison.trackers],
    }


def _tracker_json(comparison: Comparison, tracker: TrackerResult) -> dict[str, Any]:
    names = comparison.sequences
    averages = tracker.benchmark_scores(names) or [None] * len(tracker.scores)
    return {
        **_headline_record(comparison, tracker),
        "run_ids": list(tracker.run_ids),
        "missing_sequences": sorted(set(names) - set(tracker.covered(names))),
        "fps": {name: tracker.fps[name] for name in names if name in tracker.fps},
        "attributes": {
            label: _headline_record(comparison.with_attribute(label), tracker) for label in comparison.labels()
        },
        "runs": [
            {
                "run_id": run_id,
                "mean": average and _score_json(comparison, average),
                "sequences": {name: _score_json(comparison, scores[name]) for name in names if name in scores},
            }
            for run_id, scores, average in zip(tracker.run_ids, tracker.scores, averages, strict=True)
        ],
    }


def _headline_record(comparison: Comparison, tracker: TrackerResult) -> dict[str, Any]:
    names = comparison.sequences
    numbers = {}
    for metric in comparison.metrics:
        value = tracker.headline(metric, names)
        numbers |= {metric: value.mean, f"{metric}_std": value.std}
    return {
        "benchmark": comparison.benchmark,
        "title": comparison.title,
        "protocol": comparison.protocol,
        "tracker": tracker.name,
        "tuned_on": tracker.tuned_on,
        "chosen_on": tracker.chosen_on,
        "trained_on": tracker.trained_on,
        "runs": len(tracker.scores),
        "sequences": len(tracker.covered(names)),
        "sequences_in_list": len(names),
        **numbers,
        "fps_median": tracker.median_fps(names),
        "run_ids": " ".join(tracker.run_ids),
    }


def _score_json(comparison: Comparison, score: metrics.Score) -> dict[str, Any]:
    norm = {} if score.norm_precision is None else {"norm_precision": score.norm_precision.tolist()}
    return {
        "frames": score.frames,
        **norm,
        **{key: metric.of(score) for key, metric in comparison.metrics.items()},
        "success": score.success.tolist(),
        "precision": score.precision.tolist(),
    }


def null_if_undefined(value: Any) -> Any:
    """JSON values with None in the place of numbers that are not finite."""
    if isinstance(value, dict):
        return {key: null_if_undefined(item) for key, item in value.items()}
    if isinstance(value, list):
        return [null_if_undefined(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def csv_text(rows: list[dict[str, Any]]) -> str:
    """Records as CSV; undefined numbers are empty."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: "" if _is_undefined(x) else x for key, x in row.items()} for row in rows)
    return text.getvalue()


def _is_undefined(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _headline(comparison: Comparison) -> str:
    return f"{comparison.protocol} on {comparison.title}"


def _tracker_columns(comparison: Comparison, first: str, metric: str) -> Table:
    title = f"{metrics.metric_named(metric).label}, {_headline(comparison)}"
    notes = notes_of(comparison)
    table = titled(title, notes.lines)
    table.add_column(first)
    for tracker in comparison.trackers:
        table.add_column(Text(tracker.name + notes.raised(tracker.remark)), justify="right")
    return table


def notes_of(comparison: Comparison) -> Footnotes:
    """The remarks that readers must be shown of the trackers."""
    return Footnotes(tracker.remark for tracker in comparison.trackers)


def titled(title: str, below: Sequence[str]) -> Table:
    """An empty table with its title, and lines below it."""
    return Table(title=Text(title), caption=Text("\n".join(below)) if below else None, caption_justify="left", **_LOOK)


def _add_row(table: Table, name: str, values: Sequence[Spread], compared: Sequence[bool] | None = None) -> None:
    bold = best(values, compared or [True] * len(values))
    table.add_row(Text(name), *(_cell(value, bold=i in bold) for i, value in enumerate(values)))


def on_sequence(comparison: Comparison, metric: str, name: str) -> list[Spread]:
    """A metric of each tracker on one sequence; NaN where a tracker lacks it."""
    undefined = Spread(mean=float("nan"), std=None, runs=1)
    return [t.on_sequence(metric, name) if t.covered([name]) else undefined for t in comparison.trackers]


def comparable(comparison: Comparison) -> list[bool]:
    """Which trackers cover the largest set of sequences that any of them covers."""
    covered = [tracker.covered(comparison.sequences) for tracker in comparison.trackers]
    most = max(covered, key=len, default=())
    return [names == most for names in covered]


def best(values: Iterable[Spread], compared: Sequence[bool]) -> set[int]:
    """Indices of the best values as far as the printed digits tell; none where there is nothing to compare."""
    rounded = {
        i: round(value.mean, 3)
        for i, (value, is_compared) in enumerate(zip(values, compared, strict=True))
        if is_compared and not np.isnan(value.mean)
    }
    return {i for i, x in rounded.items() if x == max(rounded.values())} if len(rounded) > 1 else set()


def _cell(value: Spread, *, bold: bool) -> Text:
    # The deviation stands on a line of its own, so that eight columns fit a terminal of 80 characters.
    return Text(str(value).replace(" ± ", "\n±"), style="bold" if bold else "")
