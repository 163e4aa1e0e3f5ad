"""The report of a supervised evaluation: tables of each experiment, and where every number came from."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from jaxtrack.data.vot import TAGS
from jaxtrack.evaluation.comparison import remark
from jaxtrack.evaluation.report import page, sources
from jaxtrack.evaluation.report.page import Cell, Column, Section, Table
from jaxtrack.evaluation.store import StoredRun
from jaxtrack.evaluation.vot import measures
from jaxtrack.evaluation.vot.tables import COLUMNS, EAO, Comparison, Result, best, summary_rows


def write(comparisons: Sequence[Comparison], runs: Iterable[StoredRun], folder: Path) -> list[Path]:
    """Writes `report.html`; returns its path.

    Args:
      comparisons: one for each experiment, with the same rows.
      runs: what the rows were scored from; rows without any are called published.
      folder: where to.

    Raises:
      UserError: the file cannot be written.
    """
    return page.write(html(comparisons, runs), folder)


def html(comparisons: Sequence[Comparison], runs: Iterable[StoredRun]) -> str:
    """The report as HTML; arguments as in `write`."""
    by_id = {run.id: run for run in runs}
    first = comparisons[0]
    sections = [
        Section(f"experiment-{i}", f"Experiment {each.experiment}", _experiment(each))
        for i, each in enumerate(comparisons)
    ]
    facts = [sources.facts(row.name, _remark(row), [row.run_id], by_id) for row in first.results]
    names = ", ".join(each.experiment for each in comparisons)
    lead = f"Trackers that fail are started again. Sequences: {len(first.benchmark.sequences)}; experiments: {names}."
    title = f"Supervised evaluation on {first.benchmark.title}"
    return page.render(title, lead, [*sections, Section("sources", "Sources of the rows", facts)])


def _experiment(comparison: Comparison) -> list[page.Block]:
    blocks: list[page.Block] = [summary(comparison), _per_sequence(comparison)]
    return blocks if comparison.interval is None else [*blocks, _by_tag(comparison)]


def summary(comparison: Comparison) -> Table:
    """Rows are trackers, columns accuracy, robustness, failures and EAO; bold is the best of comparable rows."""
    records = summary_rows(comparison)
    most = max((record["sequences"] for record in records), default=0)
    shown = {**COLUMNS, "eao": EAO}
    bold = {
        key: best([record[key] if record["sequences"] == most else math.nan for record in records], column)
        for key, column in shown.items()
    }
    rows = []
    for i, (result, record) in enumerate(zip(comparison.results, records, strict=True)):
        numbers = [page.number(record[key], column.digits) for key, column in shown.items()]
        cells = [
            Cell(cell.text, value=cell.value, best=i in bold[key]) for key, cell in zip(shown, numbers, strict=True)
        ]
        count = Cell(str(record["sequences"]), value=record["sequences"])
        rows.append([_name(result), *cells, page.number(record["fps_median"], 1), count, Cell(record["repetitions"])])
    labels = [column.label for column in shown.values()]
    columns = [Column("tracker", numeric=False), *map(Column, (*labels, "frames/s", "sequences"))]
    caption = f"{comparison.title}; bold: the best. A: accuracy, R: robustness (lower is better), lost: failures."
    if comparison.interval is not None:
        caption += f" EAO is of {comparison.interval[0]} to {comparison.interval[1]} frames."
    return Table(caption, [*columns, Column("repetitions", numeric=False)], rows, sortable=True)


def _per_sequence(comparison: Comparison) -> Table:
    rows = []
    for sequence in comparison.benchmark.sequences:
        found = [result.scores[comparison.experiment].get(sequence.name) for result in comparison.results]
        pairs = [(math.nan, math.nan) if s is None else (measures.accuracy([s]), float(s.lost)) for s in found]
        cells = [cell for accuracy, lost in pairs for cell in (page.number(accuracy), page.number(lost, 1))]
        rows.append([Cell(sequence.name), Cell(str(len(sequence)), value=len(sequence)), *cells])
    columns = [Column("sequence", numeric=False), Column("frames")]
    columns += [
        Column(label, note=_remark(result), group=result.name)
        for result in comparison.results
        for label in ("A", "lost")
    ]
    return Table("Every sequence; a click on a column's head sorts.", columns, rows, sortable=True)


def _by_tag(comparison: Comparison) -> Table:
    tags = (*TAGS, "empty")
    rows = [[Cell(tag), *(page.number(comparison.eao(each, tag)) for each in comparison.results)] for tag in tags]
    columns = [Column(result.name, note=_remark(result)) for result in comparison.results]
    return Table("EAO by tag.", [Column("tag", numeric=False), *columns], rows, sortable=True)


def _remark(result: Result) -> str:
    return remark(result.tuned_on, result.chosen_on)


def _name(result: Result) -> Cell:
    told = _remark(result)
    return Cell(result.name, (told,) if told else ())
