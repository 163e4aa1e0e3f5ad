"""Success and precision plots in the style of the OTB papers, and traces of a tracker's diagnostics over a clip."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxtrack.evaluation import figures, metrics
from jaxtrack.evaluation.comparison import Comparison, TrackerResult


def success_plot(comparison: Comparison) -> Figure:
    """Fraction of frames above each overlap threshold; the legend is sorted by AUC."""
    return _curves_plot(
        comparison,
        name="Success",
        metric="auc",
        thresholds=metrics.SUCCESS_THRESHOLDS,
        curve=lambda score: score.success,
        xlabel="Overlap threshold",
        legend_corner="lower left",
    )


def precision_plot(comparison: Comparison) -> Figure:
    """Fraction of frames within each distance of the true centre; the legend is sorted by the value at 20 pixels."""
    return _curves_plot(
        comparison,
        name="Precision",
        metric="precision_20",
        thresholds=metrics.PRECISION_THRESHOLDS_PX,
        curve=lambda score: score.precision,
        xlabel="Centre error threshold (pixels)",
        legend_corner="lower right",
    )


def norm_precision_plot(comparison: Comparison) -> Figure:
    """Fraction of frames within each distance of the true centre, measured in widths and heights of the annotation.

    The legend is sorted by the value at 0.2. Every score must have it.
    """
    return _curves_plot(
        comparison,
        name="Normalised precision",
        metric="norm_precision_20",
        thresholds=metrics.NORM_PRECISION_THRESHOLDS,
        curve=lambda score: score.norm_precision,
        xlabel="Normalised centre error threshold",
        legend_corner="lower right",
    )


def curves(comparison: Comparison) -> dict[str, Callable[[Comparison], Figure]]:
    """The plots of curves that a comparison has, by their files' names; files and reports follow."""
    usual = {"success": success_plot, "precision": precision_plot}
    return {**usual, "norm_precision": norm_precision_plot} if "norm_precision_20" in comparison.metrics else usual


def attribute_radar(comparison: Comparison) -> Figure:
    """The primary metric: a ray for each attribute, a closed line for each tracker that has sequences of all.

    Args:
      comparison: has at least three attributes.
    """
    labels = comparison.labels()
    if len(labels) < 3:
        raise ValueError(f"a radar needs at least three attributes, not {labels}")
    parts = [comparison.with_attribute(label) for label in labels]
    angles = np.linspace(0, 2 * np.pi, len(labels), endpoint=False)
    with figures.new(width=6.4, height=5.6) as figure:
        axes: Any = figure.add_subplot(projection="polar")
        axes.set_theta_zero_location("N")
        axes.set_theta_direction(-1)
        for index, tracker in enumerate(comparison.trackers):
            values = np.array([tracker.headline(comparison.primary, part.sequences).mean for part in parts])
            if not np.isfinite(values).all():
                continue
            closed = [np.append(x, x[0]) for x in (angles, values)]
            colour = figures.colour(index)
            axes.plot(
                *closed,
                color=colour,
                linestyle=figures.line(index),
                linewidth=2.0,
                label=figures.legend_text(tracker.label),
            )
        axes.set_ylim(0, 1.05 * max([0.1, *(y for line in axes.get_lines() for y in line.get_ydata())]))
        axes.set_rlabel_position(180 / len(labels))
        axes.tick_params(axis="x", pad=5)
        axes.set_xticks(angles, [f"{x} ({len(part.sequences)})" for x, part in zip(labels, parts, strict=True)])
        for angle, text in zip(angles, axes.get_xticklabels(), strict=True):  # beside the circle, not into it
            text.set_horizontalalignment(("right", "center", "left")[round(np.sign(round(np.sin(angle), 3))) + 1])
        axes.tick_params(axis="y", labelsize=8, labelcolor="#555555")
        if axes.get_lines():
            figure.legend(loc="outside lower center", ncols=2)
        title = f"{comparison.metrics[comparison.primary].label} by attribute - {comparison.title}"
        axes.set_title(figures.wrapped(title))
    return figure


def plot_trace(
    traces: Mapping[str, np.ndarray],
    *,
    title: str = "",
    levels: Mapping[str, float] | None = None,
) -> Figure:
    """Diagnostics of one clip over its frames, one panel each, one below the other (as Fig. 4 of the DeepTrack paper).

    Args:
      traces: label of a panel -> numbers `[N]`, or `[N, K]` for K lines in it; NaN leaves a gap.
      title: above the panels.
      levels: label of a panel -> a value to be marked in it by a dashed line, e.g. a threshold.

    Returns:
      The figure; the x axis counts frames from 0.
    """
    if not traces:
        raise ValueError("nothing to plot")
    levels = levels or {}
    with figures.new(width=8.0, height=0.8 + 1.7 * len(traces)) as figure:
        rows = figure.subplots(len(traces), 1, sharex=True, squeeze=False)[:, 0]
        for i, (axes, (label, values)) in enumerate(zip(rows, traces.items(), strict=True)):
            _draw_trace(axes, label, np.asarray(values, np.float64), levels.get(label), i)
        rows[-1].set_xlabel("frame")
        figure.align_ylabels(list(rows))
        if title:
            rows[0].set_title(figures.wrapped(title, 80))
    return figure


def _draw_trace(axes: Axes, label: str, values: np.ndarray, level: float | None, panel: int) -> None:
    """One panel: a line in the panel's colour, or several in colours of their own."""
    if values.ndim not in (1, 2):
        raise ValueError(f"{label}: expected [N] or [N, K], got {list(values.shape)}")
    lines = values[:, None] if values.ndim == 1 else values  # [N, K]
    for k in range(lines.shape[1]):
        colour = figures.colour(panel if values.ndim == 1 else k)
        axes.plot(lines[:, k], color=colour, linewidth=1.2, solid_joinstyle="round")
    if level is not None:
        axes.axhline(level, color="#555555", linewidth=1.0, linestyle=(0, (4, 3)))
    axes.set_ylabel(label)
    axes.margins(x=0)


def write_plots(comparison: Comparison, folder: Path, *, attributes: bool = False) -> list[Path]:
    """Writes the plots of `curves`, on request those of each attribute too; returns the paths.

    Files are `success.png`, `success.svg`, `precision.png`, ..., `attributes/OCC_success.png`, ...
    """
    folder = Path(folder)
    paths = []
    for name, plot in curves(comparison).items():
        paths += figures.save(plot(comparison), folder / name)
    for label in comparison.labels() if attributes else ():
        part = comparison.with_attribute(label)
        for name, plot in curves(comparison).items():
            paths += figures.save(plot(part), folder / "attributes" / f"{label}_{name}")
    return paths


def _curves_plot(
    comparison: Comparison,
    *,
    name: str,
    metric: str,
    thresholds: np.ndarray,
    curve: Callable[[metrics.Score], np.ndarray | None],
    xlabel: str,
    legend_corner: Literal["lower left", "lower right"],
) -> Figure:
    shown = _ranked(comparison, metric)
    outside = len(shown) > figures.LEGEND_INSIDE
    with figures.new(width=9.2 if outside else 6.4, height=5.2) as figure:
        axes = figure.subplots()
        for rank, (tracker, index) in enumerate(shown):
            found = [curve(score) for score in tracker.benchmark_scores(comparison.sequences)]
            runs = np.stack([values for values in found if values is not None])
            label = _legend_entry(comparison, tracker, metric)
            _draw(axes, thresholds, runs, label, index, above=len(shown) - rank)
        _dress(axes, thresholds, xlabel, f"{name} rate" if name == "Success" else name)
        title = f"{name} plots of {comparison.protocol} - {comparison.title}"
        axes.set_title(figures.wrapped(title))
        if outside:
            axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
        elif shown:
            axes.legend(loc=legend_corner)
    return figure


def _ranked(comparison: Comparison, metric: str) -> list[tuple[TrackerResult, int]]:
    """The trackers that have a curve, the best first, and the index of each one's colour, the same in every plot."""
    shown = [
        (tracker, index) for index, tracker in enumerate(comparison.trackers) if tracker.covered(comparison.sequences)
    ]
    return sorted(shown, key=lambda item: -item[0].headline(metric, comparison.sequences).mean)


def _draw(axes: Axes, thresholds: np.ndarray, curves: np.ndarray, label: str, index: int, *, above: int) -> None:
    """The mean of `curves` `[runs, thresholds]` with a band of one standard deviation if there are several."""
    colour = figures.colour(index)
    mean = curves.mean(axis=0)
    axes.plot(
        thresholds,
        mean,
        color=colour,
        linestyle=figures.line(index),
        linewidth=2.0,
        label=label,
        zorder=2 + above,
    )
    if len(curves) > 1:
        std = curves.std(axis=0, ddof=1)
        axes.fill_between(thresholds, mean - std, mean + std, color=colour, alpha=0.2, linewidth=0, zorder=2)


def _dress(axes: Axes, thresholds: np.ndarray, xlabel: str, ylabel: str) -> None:
    axes.set_xlim(0, thresholds[-1])
    axes.set_ylim(0, 1)
    axes.set_xticks(np.linspace(0, thresholds[-1], 11))
    axes.set_yticks(np.linspace(0, 1, 11))
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)


def _legend_entry(comparison: Comparison, tracker: TrackerResult, metric: str) -> str:
    covered, total = len(tracker.covered(comparison.sequences)), len(comparison.sequences)
    part = "" if covered == total else f" on {covered}/{total} sequences"
    return f"{figures.legend_text(tracker.label)} [{tracker.headline(metric, comparison.sequences)}]{part}"
