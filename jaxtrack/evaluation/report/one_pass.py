"""The report of a one-pass evaluation: tables, plots, failures and where every number came from."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxtrack.data.sequences import Benchmark
from jaxtrack.evaluation import figures, plots, tables
from jaxtrack.evaluation.comparison import ATTRIBUTES, Comparison, Spread, TrackerResult
from jaxtrack.evaluation.report import confidence, failures, page, sources
from jaxtrack.evaluation.report.failures import Failure
from jaxtrack.evaluation.report.page import Cell, Column, Section, Table
from jaxtrack.evaluation.store import StoredRun

_PICTURES_PER_TRACKER = 8
_PICTURES = 96  # about 20 kB each
_KINDS = {"success": "Success", "precision": "Precision", "norm_precision": "Normalised precision"}
_PER_SEQUENCE = 2  # numbers for each tracker
_CONFIDENCE = (
    "Each number is a mean over sequences{weight}; below it is its {level:.0%} confidence interval: the percentile "
    "bootstrap over sequences, {resamples:,} resamples, seed {seed}. It says how far the mean would move with other "
    "sequences. Where a tracker was run with several seeds, ± is the standard deviation over them. All trackers see "
    "the same sequences: intervals that overlap may still belong to a clear difference."
)


def write(comparison: Comparison, benchmark: Benchmark, runs: Iterable[StoredRun], folder: Path) -> list[Path]:
    """Writes `report.html`; returns its path.

    Args:
      comparison: the rows, scored.
      benchmark: its sequences, for annotations and pictures.
      runs: what the rows were scored from; rows without any are called published.
      folder: where to.

    Raises:
      UserError: the file cannot be written.
    """
    return page.write(html(comparison, benchmark, runs), folder)


def html(comparison: Comparison, benchmark: Benchmark, runs: Iterable[StoredRun]) -> str:
    """The report as HTML; arguments as in `write`."""
    by_id = {run.id: run for run in runs}
    rows = comparison.trackers
    count = f"{len(comparison.sequences)} sequence{'s' if len(comparison.sequences) != 1 else ''}"
    lead = f"{len(rows)} tracker{'s' if len(rows) != 1 else ''} on {count}; {comparison.protocol} protocol."
    sections = [
        Section("summary", "Summary", [page.Paragraph(_explained(comparison)), summary(comparison)]),
        Section("plots", "Plots", [_figures(comparison)]),
        Section("attributes", "Attributes", _attributes(comparison)),
        Section("sequences", "Sequences", [per_sequence(comparison, benchmark)]),
        Section("speed", "Speed", [speed(comparison, by_id)]),
        Section("failures", "Failures", _failures(comparison, benchmark)),
        Section(
            "sources",
            "Sources of the rows",
            [sources.facts(row.name, row.remark, row.run_ids, by_id, row.folder) for row in rows],
        ),
    ]
    return page.render(f"{comparison.protocol} on {comparison.title}", lead, sections)


def summary(comparison: Comparison) -> Table:
    """Rows are trackers, columns the headline numbers with their intervals, the speed and the number of sequences."""
    comparable = tables.comparable(comparison)
    columns = {metric: _headlines(comparison, metric) for metric in comparison.metrics}
    best = {metric: tables.best(values, comparable) for metric, values in columns.items()}
    rows = []
    for i, tracker in enumerate(comparison.trackers):
        cells = [
            _headline(values[i], intervals(comparison, tracker, metric), best=i in best[metric])
            for metric, values in columns.items()
        ]
        covered, fps = len(tracker.covered(comparison.sequences)), tracker.median_fps(comparison.sequences)
        part = () if covered == len(comparison.sequences) else (f"of {len(comparison.sequences)}",)
        runs = Cell(str(len(tracker.scores)), value=len(tracker.scores))
        name = _name(comparison, tracker)
        rows.append([name, *cells, page.number(fps, 1), Cell(str(covered), part, covered), runs])
    labels = [metric.label for metric in comparison.metrics.values()]
    numeric = [Column(label) for label in (*labels, "frames/s", "sequences", "runs")]
    caption = f"{comparison.protocol} on {comparison.title}; bold: the best."
    if not all(comparable):
        caption += f" {tables.NOT_COMPARED}"
    return _table(comparison, caption, [Column("tracker", numeric=False), *numeric], rows)


def intervals(comparison: Comparison, tracker: TrackerResult, metric: str) -> confidence.Interval:
    """The confidence interval of a headline number, each sequence's being the mean over the runs."""
    names = tracker.covered(comparison.sequences)
    values = np.array([tracker.on_sequence(metric, name).mean for name in names], np.float64)
    if metric == "mao":  # no mean over sequences but over classes
        values = values[:0]
    if not tracker.pooled:
        return confidence.interval(values)
    scores = [tracker.scores[0][name] for name in names[: len(values)]]
    frames = [score.valid_frames if metric == "ao" else score.frames for score in scores]
    return confidence.interval(values, np.maximum(frames, 1))


def per_sequence(comparison: Comparison, benchmark: Benchmark) -> Table:
    """Rows are sequences; for each tracker two headline numbers, the best of each row bold."""
    lengths = {sequence.name: len(sequence) for sequence in benchmark.sequences}
    shown = list(comparison.metrics)[:_PER_SEQUENCE]
    rows = []
    for name in comparison.sequences:
        cells = {metric: _on_sequence(comparison, metric, name) for metric in shown}
        labels = " ".join(sorted(comparison.attributes.get(name, ())))
        frames = Cell(str(lengths[name]), value=lengths[name])
        rows.append([Cell(name), frames, Cell(labels), *_interleaved(cells)])
    means = {metric: _cells(_headlines(comparison, metric), tables.comparable(comparison)) for metric in shown}
    total = Cell(str(sum(lengths[name] for name in comparison.sequences)))
    columns = [Column("sequence", numeric=False), Column("frames"), Column("attributes", numeric=False)]
    notes = tables.notes_of(comparison)
    columns += [
        Column(comparison.metrics[metric].label, mark=notes.mark(tracker.remark), group=tracker.name)
        for tracker in comparison.trackers
        for metric in shown
    ]
    foot = [[Cell("mean", ("of frames the sum",)), total, Cell(""), *_interleaved(means)]]
    caption = "Every sequence; a click on a column's head sorts."
    return _table(comparison, caption, columns, rows, foot)


def speed(comparison: Comparison, runs: Mapping[str, StoredRun]) -> Table:
    """Frames per second over the sequences, and the device that they were measured on."""
    rows = []
    for tracker in comparison.trackers:
        known = [tracker.fps[name] for name in comparison.sequences if np.isfinite(tracker.fps.get(name, np.nan))]
        ends = (min(known), max(known)) if known else (np.nan, np.nan)
        numbers = [page.number(value, 1) for value in (tracker.median_fps(comparison.sequences), *ends)]
        found = [e for run_id in tracker.run_ids if run_id in runs for e in runs[run_id].info.get("environments", [])]
        devices = sorted({str(e.get("devices", {}).get("kind", "unknown")) for e in found})
        rows.append([_name(comparison, tracker), *numbers, Cell(", ".join(devices) or "unknown")])
    columns = [Column("tracker", numeric=False), *map(Column, ("median", "slowest", "fastest"))]
    caption = "Frames per second of whole sequences; the first frame and the reading of images do not count."
    return _table(comparison, caption, [*columns, Column("device", numeric=False)], rows)


def _explained(comparison: Comparison) -> str:
    return _CONFIDENCE.format(
        weight=", weighed by their frames" if comparison.rules.pooled else " of equal weight",
        level=confidence.LEVEL,
        resamples=confidence.RESAMPLES,
        seed=confidence.SEED,
    )


def _figures(comparison: Comparison) -> page.Figures:
    drawings = []
    for kind, draw in plots.curves(comparison).items():
        svg = page.inline_svg(figures.svg_text(draw(comparison)), kind)
        drawings.append((f"{_KINDS.get(kind, kind)} plot, {comparison.title}.", svg))
    return page.Figures(drawings)


def _attributes(comparison: Comparison) -> list[page.Block]:
    """The radar, a table and, folded, the success plot of every attribute."""
    labels, number = comparison.labels(), comparison.metrics[comparison.primary].label
    if not labels:
        return [page.Paragraph("The benchmark does not label its sequences with attributes.")]
    radar = []
    if len(labels) > 2:
        svg = page.inline_svg(figures.svg_text(plots.attribute_radar(comparison)), "radar")
        radar = [page.Figures([(f"{number} by attribute, from the centre outwards.", svg)])]
    rows, drawings = [], []
    for i, label in enumerate(labels):
        part = comparison.with_attribute(label)
        values = _cells(_headlines(part, comparison.primary), tables.comparable(part))
        full = ATTRIBUTES.get(label, "")
        rows.append([Cell(label, (full,) if full else ()), _count(part), *values])
        # The other plots of an attribute are files of their own, on request: they would double the page and its time.
        svg = page.inline_svg(figures.svg_text(plots.success_plot(part)), f"attribute{i}")
        drawings.append((f"Success plot, {part.title}.", svg))
    columns = [Column("attribute", numeric=False), Column("sequences")]
    notes = tables.notes_of(comparison)
    columns += [Column(tracker.name, mark=notes.mark(tracker.remark)) for tracker in comparison.trackers]
    table = _table(comparison, f"{number} by attribute; bold: the best of a row.", columns, rows)
    return [*radar, table, page.Figures(drawings, folded="Success plots by attribute")]


def _failures(comparison: Comparison, benchmark: Benchmark) -> list[page.Block]:
    """How often each tracker lost the target, and pictures of the longest failures."""
    limit = min(_PICTURES_PER_TRACKER, max(1, _PICTURES // max(1, len(comparison.trackers))))
    found = [_found(tracker, benchmark) for tracker in comparison.trackers]
    shown = [failures.longest(own, limit) for own in found]
    drawn = _thumbnails([failure for own in shown for failure in own], benchmark)
    rows, galleries, missing = [], [], False
    for tracker, own, longest in zip(comparison.trackers, found, shown, strict=True):
        rows.append([_name(comparison, tracker), *_failure_cells(tracker, own)])
        pictures = [_picture(failure, source) for failure in longest if (source := drawn[failure])]
        missing |= len(pictures) < len(longest)
        if pictures:
            which = f"the longest {len(pictures)} of {len(own)}" if len(pictures) < len(own) else f"all {len(own)}"
            galleries.append(page.Gallery(f"{tracker.name}: {which}", pictures))
    caption = "Failures of the first run: frames in which the box has nothing in common with the annotation."
    columns = [Column("tracker", numeric=False), *map(Column, ("failures", "frames lost", "not found again"))]
    blocks: list[page.Block] = [_table(comparison, caption, columns, rows)]
    if galleries:
        text = "The first frame of a failure: the annotation is green, the tracker's box orange. Frames count from 0."
        blocks.append(page.Paragraph(text))
    if missing:
        blocks.append(page.Paragraph("Images of the benchmark are not at hand: failures without one have no picture."))
    return [*blocks, *galleries]


def _thumbnails(shown: Sequence[Failure], benchmark: Benchmark) -> dict[Failure, str | None]:
    """Their pictures, made sequence by sequence: those that are rendered share their scenes and frames."""
    return {
        failure: failures.thumbnail(failure, sequence.frames)
        for sequence in benchmark.sequences
        for failure in sorted(shown, key=lambda failure: failure.frame)
        if failure.sequence == sequence.name
    }


def _found(tracker: TrackerResult, benchmark: Benchmark) -> list[Failure]:
    known = [sequence for sequence in benchmark.sequences if sequence.name in tracker.boxes]
    each = [failures.find(sequence, tracker.boxes[sequence.name]) for sequence in known]
    return [failure for found in each for failure in found]


def _failure_cells(tracker: TrackerResult, found: Sequence[Failure]) -> list[Cell]:
    if not tracker.boxes:
        return [page.number(float("nan"))] * 3
    numbers = (len(found), sum(f.frames for f in found), sum(f.found_again is None for f in found))
    return [Cell(str(n), value=n) for n in numbers]


def _picture(failure: Failure, source: str) -> page.Picture:
    lasts = f"lost for {failure.frames} frame{'s' if failure.frames != 1 else ''}"
    more = f" ({failure.unannotated} more are not annotated)" if failure.unannotated else ""
    end = "to the end" if failure.found_again is None else f"found again in frame {failure.found_again}"
    return page.Picture(source, f"{failure.sequence}, frame {failure.frame}", f"{lasts}{more}, {end}")


def _headlines(comparison: Comparison, metric: str) -> list[Spread]:
    return [tracker.headline(metric, comparison.sequences) for tracker in comparison.trackers]


def _on_sequence(comparison: Comparison, metric: str, name: str) -> list[Cell]:
    return _cells(tables.on_sequence(comparison, metric, name), [True] * len(comparison.trackers))


def _cells(values: Sequence[Spread], comparable: Sequence[bool]) -> list[Cell]:
    best = tables.best(values, comparable)
    return [_headline(value, None, best=i in best) for i, value in enumerate(values)]


def _headline(value: Spread, interval: confidence.Interval | None, *, best: bool) -> Cell:
    number = page.number(value.mean)
    notes = [] if value.std is None or np.isnan(value.mean) else [f"± {value.std:.3f}"]
    if interval is not None and not np.isnan(interval.low):
        notes.append(str(interval))
    return Cell(number.text, tuple(notes), number.value, best)


def _interleaved(cells: Mapping[str, Sequence[Cell]]) -> list[Cell]:
    """For each tracker its cells of all metrics."""
    return [cell for one_tracker in zip(*cells.values(), strict=True) for cell in one_tracker]


def _count(part: Comparison) -> Cell:
    return Cell(str(len(part.sequences)), value=len(part.sequences))


def _name(comparison: Comparison, tracker: TrackerResult) -> Cell:
    return Cell(tracker.name, mark=tables.notes_of(comparison).mark(tracker.remark))


def _table(
    comparison: Comparison,
    caption: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    foot: Sequence[Sequence[Cell]] = (),
) -> Table:
    """A table that can be sorted, with the trackers' remarks below."""
    return Table(caption, columns, rows, foot, sortable=True, notes=tables.notes_of(comparison).pairs)
