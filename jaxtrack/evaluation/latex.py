"""The summary of a comparison as a LaTeX table, for the package `booktabs`."""

from pathlib import Path

import numpy as np

from jaxtrack.errors import UserError
from jaxtrack.evaluation import tables
from jaxtrack.evaluation.comparison import Comparison, Spread, TrackerResult
from jaxtrack.files import write_text

_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "$": r"\$",
        "&": r"\&",
        "#": r"\#",
        "%": r"\%",
        "_": r"\_",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "\n": " ",
        "\r": " ",
    }
)


def escape(text: str) -> str:
    r"""Text that LaTeX prints as it is.

    >>> print(escape("siamban_nano 50%"))
    siamban\_nano 50\%
    """
    return text.translate(_ESCAPES)


def write_table(comparison: Comparison, folder: Path) -> list[Path]:
    """Writes `summary.tex`; returns its path."""
    path = Path(folder) / "summary.tex"
    try:
        write_text(path, summary(comparison))
    except OSError as error:
        raise UserError(f"cannot write tables to {folder}: {error.strerror or error}") from error
    return [path]


def summary(comparison: Comparison) -> str:
    """A `table` with a row for each tracker: headline numbers, the best bold, and frames per second.

    Remarks on trackers stand below as numbered notes.
    """
    comparable = tables.comparable(comparison)
    columns = [[t.headline(metric, comparison.sequences) for t in comparison.trackers] for metric in comparison.metrics]
    best = [tables.best(column, comparable) for column in columns]
    heads = ["Tracker", *(escape(metric.label) for metric in comparison.metrics.values()), "fps"]
    caption = f"{comparison.protocol} on {comparison.title}."
    if not all(comparable):
        caption += f" {tables.NOT_COMPARED}"
    notes = tables.notes_of(comparison)
    rows = [
        [
            escape(tracker.name) + _raised(notes.mark(tracker.remark)) + _part(comparison, tracker),
            *(_number(column[i], bold=i in best[k]) for k, column in enumerate(columns)),
            _fps(tracker.median_fps(comparison.sequences)),
        ]
        for i, tracker in enumerate(comparison.trackers)
    ]
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{escape(caption)}}}",
        f"\\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
        "\\toprule",
        f"{' & '.join(heads)} \\\\",
        "\\midrule",
        *(f"{' & '.join(row)} \\\\" for row in rows),
        "\\bottomrule",
        "\\end{tabular}",
        *(f"\n{{\\footnotesize {_raised(mark)} {escape(text)}\\par}}" for mark, text in notes.pairs),
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _part(comparison: Comparison, tracker: TrackerResult) -> str:
    covered, total = len(tracker.covered(comparison.sequences)), len(comparison.sequences)
    return "" if covered == total else f", {covered} of {total} sequences"


def _raised(mark: str) -> str:
    return f"\\textsuperscript{{{mark}}}" if mark else ""


def _number(value: Spread, *, bold: bool) -> str:
    if np.isnan(value.mean):
        return "--"
    mean = f"\\textbf{{{value.mean:.3f}}}" if bold else f"{value.mean:.3f}"
    return mean if value.std is None else f"{mean} {{\\footnotesize $\\pm$ {value.std:.3f}}}"


def _fps(value: float) -> str:
    return "--" if np.isnan(value) else f"{value:.1f}"
