"""How all plots look, and their files.

Figures are drawn on their own Agg canvas: no window, no pyplot, and the user's matplotlib settings neither matter nor
change. The same numbers give the same file, byte for byte, with one version of matplotlib.
"""

import contextlib
import io
import textwrap
from collections.abc import Iterator
from pathlib import Path

import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from jaxtrack.errors import UserError
from jaxtrack.files import replacing

# Okabe and Ito's colours that are told apart with colour-blind eyes, less yellow (too pale on white), plus three
# that differ from them in lightness. Lines of similar lightness have different styles, so that print in grey works.
_COLOURS = (
    "#D55E00",
    "#0072B2",
    "#009E73",
    "#000000",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#332288",
    "#8C5A2B",
    "#7F7F7F",
)
_LINES = ("-", (0, (6, 2)), (0, (6, 2, 1.5, 2)), (0, (1.5, 1.5)))
_LINE_OF_COLOUR = (0, 1, 2, 3, 0, 1, 2, 0, 3, 1)
_STYLE = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.titlesize": 12,
    "font.size": 11,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.7,
    "legend.fontsize": 9,
    "legend.framealpha": 0.85,
    "legend.handlelength": 3.2,
    "legend.labelspacing": 0.35,
    "svg.hashsalt": "jaxtrack",
}
LEGEND_INSIDE = 10
"""With more entries a legend would cover the curves."""

_TITLE_WIDTH = 62


@contextlib.contextmanager
def new(*, width: float, height: float) -> Iterator[Figure]:
    """An empty figure, its sides in inches, to draw in; its parts get their places at the end of the context."""
    with _style():
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        yield figure
        # Once, and not whenever it is written: a figure that keeps the engine is drawn twice for each of its files.
        ConstrainedLayoutEngine().execute(figure)


@contextlib.contextmanager
def _style() -> Iterator[None]:
    """Matplotlib's defaults and ours; the user's settings are back afterwards."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


def colour(index: int) -> str:
    """The colour of row `index` of a comparison, in all its plots."""
    return _COLOURS[index % len(_COLOURS)]


def line(index: int) -> str | tuple[int, tuple[float, ...]]:
    """The line style of row `index`; from the eleventh on colours come again, with the next line style."""
    turn, place = divmod(index, len(_COLOURS))
    return _LINES[(_LINE_OF_COLOUR[place] + turn) % len(_LINES)]


def legend_text(text: str) -> str:
    """A name as legends print it: matplotlib hides what begins with an underscore and reads $...$ as mathematics."""
    return text.lstrip("_").replace("$", r"\$")


def wrapped(title: str, width: int = _TITLE_WIDTH) -> str:
    """A title in lines of at most `width` letters."""
    return textwrap.fill(title, width, break_on_hyphens=False)


def save(figure: Figure, stem: Path) -> list[Path]:
    """Writes the figure as `<stem>.png` and `<stem>.svg`, each whole or not at all; returns the two paths."""
    stem = Path(stem)
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg")]
    try:
        for path, metadata in zip(paths, ({"Software": None}, {"Date": None}), strict=True):
            with _style(), replacing(path) as file:
                figure.savefig(file, format=path.suffix[1:], dpi=150, metadata=metadata)
    except OSError as error:
        raise UserError(f"cannot write plots to {stem.parent}: {error.strerror or error}") from error
    return paths


def svg_text(figure: Figure) -> str:
    """The figure as SVG on no ground, its letters as text, to stand in a page."""
    file = io.BytesIO()
    with _style(), matplotlib.style.context({"svg.fonttype": "none"}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return file.getvalue().decode()
