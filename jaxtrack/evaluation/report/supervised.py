"""The report of a supervised evaluation: plots and tables of each experiment, ranks, and where numbers came from."""

import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from jaxtrack.data.vot import TAGS
from jaxtrack.evaluation import figures
from jaxtrack.evaluation.report import page, sources
from jaxtrack.evaluation.report.page import Cell, Column, Section, Table
from jaxtrack.evaluation.store import StoredRun
from jaxtrack.evaluation.vot import measures, plots
from jaxtrack.evaluation.vot.comparison import Comparison, Result
from jaxtrack.evaluation.vot.tables import COLUMNS, EAO, NOT_COMPARED, best, rank_rows, summary_rows

_CAPTIONS = {
    "eao": "Expected overlap by length of the sequence, {}; EAO is the mean over the shaded lengths.",
    "ar": "Accuracy and robustness, the chance to track 30 frames without a failure, {}; the best is at the top right.",
    "ranks": "Ranks by accuracy and robustness, {}; the best is at the top right.",
}


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
        Section(f"experiment-{i}", f"Experiment {each.experiment}", _experiment(each, f"experiment{i}"))
        for i, each in enumerate(comparisons)
    ]
    ranked = [each for each in comparisons if each.ranked]
    sections.append(Section("ranks", "Ranks", [_ranks(ranked)] if ranked else []))
    facts = [sources.facts(row.name, row.remark, [row.run_id], by_id, row.folder) for row in first.results]
    names = ", ".join(each.experiment for each in comparisons)
    lead = f"Trackers that fail are started again. Sequences: {len(first.benchmark.sequences)}; experiments: {names}."
    title = f"Supervised evaluation on {first.benchmark.title}"
    return page.render(title, lead, [*sections, Section("sources", "Sources of the rows", facts)])


def _experiment(comparison: Comparison, prefix: str) -> list[page.Block]:
    """The blocks of an experiment; identifiers within its drawings begin with `prefix`."""
    drawings = [
        (_CAPTIONS[kind].format(comparison.title), page.inline_svg(figures.svg_text(draw(comparison)), prefix + kind))
        for kind, draw in plots.kinds(comparison).items()
    ]
    blocks: list[page.Block] = [summary(comparison), page.Figures(drawings), _per_sequence(comparison)]
    return blocks if comparison.interval is None else [*blocks, _by_tag(comparison)]


def summary(comparison: Comparison) -> Table:
    """Rows are trackers, columns accuracy, robustness, failures and EAO; bold is the best of comparable rows."""
    records = summary_rows(comparison)
    compared, shown = comparison.comparable, {**COLUMNS, "eao": EAO}
    bold = {key: best([record[key] for record in records], column, compared) for key, column in shown.items()}
    rows = []
    for i, (result, record) in enumerate(zip(comparison.results, records, strict=True)):
        numbers = [page.number(record[key], column.digits) for key, column in shown.items()]
        cells = [
            Cell(cell.text, value=cell.value, best=i in bold[key]) for key, cell in zip(shown, numbers, strict=True)
        ]
        count = Cell(str(record["sequences"]), value=record["sequences"])
        speed, repetitions = page.number(record["fps_median"], 1), Cell(record["repetitions"])
        rows.append([_name(comparison, result), *cells, speed, count, repetitions])
    labels = [column.label for column in shown.values()]
    columns = [Column("tracker", numeric=False), *map(Column, (*labels, "frames/s", "sequences"))]
    caption = f"{comparison.title}; bold: the best. A: accuracy, R: robustness (lower is better), lost: failures."
    if comparison.interval is not None:
        caption += f" EAO is of {comparison.interval[0]} to {comparison.interval[1]} frames."
    if not all(compared):
        caption += f" {NOT_COMPARED}"
    return _table(comparison, caption, [*columns, Column("repetitions", numeric=False)], rows)


def _ranks(comparisons: Sequence[Comparison]) -> Table:
    """Rows are trackers, columns their ranks in each experiment and the mean of all."""
    found, first = [rank_rows(each) for each in comparisons], comparisons[0]
    rows = []
    for i, result in enumerate(first.results):
        own = [ranks[i] for ranks in found]
        cells = [page.number(value, 2) for rank in own for value in (rank.accuracy, rank.robustness)]
        mean = page.number(statistics.fmean(rank.mean for rank in own), 2)
        rows.append([_name(first, result), *cells, mean])
    columns = [Column("tracker", numeric=False)]
    columns += [Column(label, group=each.experiment) for each in comparisons for label in ("A", "R")]
    counts = ", ".join(str(len(each.shared)) for each in comparisons)
    caption = (
        f"Ranks by accuracy and robustness, lower is better, over the sequences that all trackers have ({counts})."
    )
    if first.practical:
        caption += f" Mean overlaps that differ by no more than {first.practical:g} share a rank."
    return _table(first, caption, [*columns, Column("mean")], rows)


def _per_sequence(comparison: Comparison) -> Table:
    rows = []
    for sequence in comparison.benchmark.sequences:
        found = [result.scores[comparison.experiment].get(sequence.name) for result in comparison.results]
        pairs = [(math.nan, math.nan) if s is None else (measures.accuracy([s]), float(s.lost)) for s in found]
        cells = [cell for accuracy, lost in pairs for cell in (page.number(accuracy), page.number(lost, 1))]
        rows.append([Cell(sequence.name), Cell(str(len(sequence)), value=len(sequence)), *cells])
    columns = [Column("sequence", numeric=False), Column("frames")]
    columns += [
        Column(label, mark=comparison.notes.mark(result.remark), group=result.name)
        for result in comparison.results
        for label in ("A", "lost")
    ]
    return _table(comparison, "Every sequence; a click on a column's head sorts.", columns, rows)


def _by_tag(comparison: Comparison) -> Table:
    tags = (*TAGS, "empty")
    rows = [[Cell(tag), *(page.number(comparison.eao(each, tag)) for each in comparison.results)] for tag in tags]
    columns = [Column(result.name, mark=comparison.notes.mark(result.remark)) for result in comparison.results]
    return _table(comparison, "EAO by tag.", [Column("tag", numeric=False), *columns], rows)


def _name(comparison: Comparison, result: Result) -> Cell:
    return Cell(result.name, mark=comparison.notes.mark(result.remark))


def _table(comparison: Comparison, caption: str, columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> Table:
    """A table that can be sorted, with the trackers' remarks below."""
    return Table(caption, columns, rows, sortable=True, notes=comparison.notes.pairs)
