"""A page of HTML that needs nothing beside itself: its parts as data, and the template that shows them.

Every text is escaped by the template; only SVG that matplotlib drew goes in as it is. The page loads nothing, neither
from the network nor from the disk, and its security policy forbids it.
"""

import dataclasses
import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import jinja2
import markupsafe

from jaxtrack.errors import UserError
from jaxtrack.files import write_text
from jaxtrack.version import version

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("jaxtrack", "evaluation/report"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_BEFORE_SVG = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>\s*", re.DOTALL)
_ID = re.compile(r' id="([^"]*)"')
_REFERENCE = re.compile(r'(url\(#|href="#)([^")]*)')


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
      text: what is shown.
      notes: shown small, each on a line of its own.
      value: what the column is sorted by; by default the text. NaN sorts last in either direction.
      best: whether the text is bold.
      mark: number of a footnote of the table.
    """

    text: str
    notes: tuple[str, ...] = ()
    value: float | None = None
    best: bool = False
    mark: str = ""

    @property
    def key(self) -> str:
        """What the script sorts by; empty for what has no value."""
        if self.value is None:
            return self.text
        return "" if math.isnan(self.value) else repr(float(self.value))


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
      label: its head.
      numeric: whether it holds numbers.
      mark: number of a footnote of the table, beside the label, or beside the common head if there is one.
      group: what neighbouring columns have as a common head.
    """

    label: str
    numeric: bool = True
    mark: str = ""
    group: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """A table; the first cell of each row is the row's head.

    Attributes:
      caption: says what it is, to those too who do not see it.
      columns: as many as each row has cells.
      rows: the cells.
      foot: rows that stay below when the others are sorted.
      sortable: whether a click on a column's head sorts the rows.
      notes: footnotes, number and text of each.
    """

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    foot: Sequence[Sequence[Cell]] = ()
    sortable: bool = False
    notes: Sequence[tuple[str, str]] = ()

    def groups(self) -> list[tuple[str, str, int]]:
        """The heads over several columns, their marks and numbers of columns; empty if there are none."""
        grouped = itertools.groupby(self.columns, key=lambda column: (column.group, column.group and column.mark))
        found = [(name, mark, len(list(columns))) for (name, mark), columns in grouped]
        return found if any(name for name, _, _ in found) else []


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """A paragraph of text."""

    kind: ClassVar[str] = "paragraph"
    text: str


@dataclasses.dataclass(frozen=True)
class Figures:
    """Drawings side by side, as far as there is room.

    Attributes:
      drawings: what each one shows, in words, and its SVG, as `inline_svg` gives it.
      folded: what stands in the place of the drawings until somebody wants to see them; empty to show them.
    """

    kind: ClassVar[str] = "figures"
    drawings: Sequence[tuple[str, markupsafe.Markup]]
    folded: str = ""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture with what it shows: `source` is a `data:` address, `where` its name, `text` the words below."""

    source: str
    where: str
    text: str


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Pictures under a title."""

    kind: ClassVar[str] = "gallery"
    title: str
    pictures: Sequence[Picture]


@dataclasses.dataclass(frozen=True)
class Facts:
    """Facts under a title: pairs of a term and its descriptions, and a table below."""

    kind: ClassVar[str] = "facts"
    title: str
    pairs: Sequence[tuple[str, Sequence[str]]]
    table: Table | None = None


Block = Table | Paragraph | Figures | Gallery | Facts


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page with a title of its own.

    Attributes:
      anchor: its address within the page.
      title: its headline.
      blocks: what stands in it.
    """

    anchor: str
    title: str
    blocks: Sequence[Block]


def render(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The page as HTML.

    Args:
      title: its headline.
      lead: a sentence below.
      sections: in order; those without any block are left out.
    """
    template = _ENVIRONMENT.get_template("page.html")
    shown = [section for section in sections if section.blocks]
    return template.render(title=title, lead=lead, sections=shown, version=version())


def write(text: str, folder: Path) -> list[Path]:
    """Writes a page as `report.html`, whole or not at all; returns its path.

    Raises:
      UserError: the file cannot be written.
    """
    path = Path(folder) / "report.html"
    try:
        write_text(path, text)
    except OSError as error:
        raise UserError(f"cannot write the report to {folder}: {error.strerror or error}") from error
    return [path]


def number(value: float, digits: int = 3) -> Cell:
    """A cell with a number; a dash for NaN."""
    return Cell(f"{value:.{digits}f}" if math.isfinite(value) else "-", value=float(value))


def inline_svg(text: str, name: str) -> markupsafe.Markup:
    """A file of SVG made fit to stand in a page.

    Args:
      text: what matplotlib wrote; every text in it is escaped there.
      name: letters and digits, different for each drawing of a page: identifiers begin with it, as they are shared by
        all of a page.
    """
    text = _METADATA.sub("", _BEFORE_SVG.sub("", text, count=1))
    used = {found for _, found in _REFERENCE.findall(text)}
    text = _ID.sub(lambda match: f' id="{name}-{match[1]}"' if match[1] in used else "", text)
    text = _REFERENCE.sub(lambda match: f"{match[1]}{name}-{match[2]}", text)
    return markupsafe.Markup(text.strip().replace("<svg ", '<svg aria-hidden="true" ', 1))  # the caption says it
