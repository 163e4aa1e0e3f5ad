"""Plots of a supervised evaluation, as the challenges' reports have them: EAO curves, A-R plots, A-R rank plots."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxtrack.evaluation import figures
from jaxtrack.evaluation.vot import measures
from jaxtrack.evaluation.vot.comparison import Comparison, Result
from jaxtrack.evaluation.vot.tables import rank_rows

_MARKERS = "os^Dv<>pPX"


def eao_plot(comparison: Comparison) -> Figure:
    """The expected overlap against the length of a sequence, the interval of EAO shaded; the best EAO comes first.

    Lengths count from 1, as in the challenges' reports (see `measures.average_overlap`).

    Args:
      comparison: has an interval.
    """
    assert comparison.interval is not None
    low, high = comparison.interval
    curves = {index: measures.expected_overlaps(_scores(comparison, row)) for index, row in _shown(comparison)}
    shown = sorted(_shown(comparison), key=lambda item: -np.nan_to_num(comparison.eao(item[1]), nan=-1.0))
    with _figure(1 + len(shown)) as figure:
        axes = figure.subplots()
        axes.axvspan(low, high, color="#888888", alpha=0.18, linewidth=0, label=f"EAO: {low} to {high} frames")
        for rank, (index, result) in enumerate(shown):
            axes.plot(
                np.arange(1, len(curves[index]) + 1),
                curves[index],
                color=figures.colour(index),
                linestyle=figures.line(index),
                linewidth=2.0,
                label=f"{_name(comparison, result)} [{comparison.eao(result):.3f}]",
                zorder=2 + len(shown) - rank,
            )
        axes.set_xlim(1, max([high, 2, *map(len, curves.values())]))
        axes.set_ylim(0, 1)
        axes.set_yticks(np.linspace(0, 1, 11))
        axes.set_xlabel("Sequence length (frames)")
        axes.set_ylabel("Expected overlap")
        _finish(figure, axes, f"EAO curves - {comparison.title}")
    return figure


def ar_plot(comparison: Comparison) -> Figure:
    """Accuracy against reliability, the chance to track 30 frames without a failure; the best is at the top right."""
    points = []
    for index, result in _shown(comparison):
        scores = _scores(comparison, result)
        points.append((index, result, measures.reliability(scores), measures.accuracy(scores)))
    with _figure(len(points)) as figure:
        axes = figure.subplots()
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xticks(np.linspace(0, 1, 11))
        axes.set_yticks(np.linspace(0, 1, 11))
        for index, result, x, y in points:
            _point(axes, index, x, y, _name(comparison, result))
        axes.set_xlabel(f"Robustness (S = {measures.RELIABILITY_FRAMES})")
        axes.set_ylabel("Accuracy")
        _finish(figure, axes, f"A-R plot - {comparison.title}")
    return figure


def rank_plot(comparison: Comparison) -> Figure:
    """Accuracy rank against robustness rank on the sequences that all rows have; the best is at the top right.

    Args:
      comparison: has such sequences.
    """
    found = rank_rows(comparison)
    with _figure(len(found)) as figure:
        axes = figure.subplots()
        worst = len(found) + 0.5
        axes.set_xlim(worst, 0.5)
        axes.set_ylim(worst, 0.5)
        axes.locator_params(integer=True)
        for index, (result, rank) in enumerate(zip(comparison.results, found, strict=True)):
            _point(axes, index, rank.robustness, rank.accuracy, figures.legend_text(_label(result)))
        axes.set_xlabel("Robustness rank")
        axes.set_ylabel("Accuracy rank")
        _finish(figure, axes, f"A-R ranks - {comparison.title}")
    return figure


def kinds(comparison: Comparison) -> dict[str, Callable[[Comparison], Figure]]:
    """The plots that a comparison has, by the ends of their files' names; files and reports follow."""
    found: dict[str, Callable[[Comparison], Figure]] = {} if comparison.interval is None else {"eao": eao_plot}
    return {**found, "ar": ar_plot, **({"ranks": rank_plot} if comparison.ranked else {})}


def write_plots(comparisons: Sequence[Comparison], folder: Path) -> list[Path]:
    """Writes the plots of each experiment as PNG and SVG, `baseline_eao.png`, ...; returns the paths.

    Raises:
      UserError: a file cannot be written.
    """
    return [
        path
        for comparison in comparisons
        for kind, plot in kinds(comparison).items()
        for path in figures.save(plot(comparison), folder / f"{comparison.experiment}_{kind}")
    ]


def _shown(comparison: Comparison) -> list[tuple[int, Result]]:
    """The rows with at least a sequence, and their places among all, which tell their colours."""
    return [(index, result) for index, result in enumerate(comparison.results) if comparison.covered(result)]


def _scores(comparison: Comparison, result: Result) -> list[measures.SequenceScore]:
    return [result.scores[comparison.experiment][name] for name in comparison.covered(result)]


def _label(result: Result) -> str:
    return f"{result.name} ({result.remark})" if result.remark else result.name


def _name(comparison: Comparison, result: Result) -> str:
    covered, total = len(comparison.covered(result)), len(comparison.benchmark.sequences)
    part = "" if covered == total else f" on {covered}/{total} sequences"
    return figures.legend_text(_label(result)) + part


def _figure(entries: int) -> AbstractContextManager[Figure]:
    """With axes of one size and room for a legend below: points lie anywhere, and none must be covered."""
    return figures.new(width=6.4, height=4.9 + 0.2 * entries)


def _point(axes: Axes, index: int, x: float, y: float, label: str) -> None:
    """A marker; none for a tracker without a number, which no legend names either."""
    if np.isfinite([x, y]).all():
        marker = _MARKERS[index % len(_MARKERS)]
        # Not cut at the frame, on which the best ones lie.
        axes.plot([x], [y], marker, color=figures.colour(index), markersize=9, label=label, clip_on=False, zorder=3)


def _finish(figure: Figure, axes: Axes, title: str) -> None:
    axes.set_title(figures.wrapped(title))
    if axes.get_legend_handles_labels()[1]:
        figure.legend(loc="outside lower center")
