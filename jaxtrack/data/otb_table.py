"""What is known of each sequence of OTB-100: the file `otb_sequences.csv`.

Numbers of its images, its annotation file, its labels and the lists that it belongs to stand there, every oddity
included; no code knows a sequence by name. Columns:

* `folder`, `annotation`: two targets of one video share a folder and have an annotation file each.
* `first_image`, `last_image`: the first row of the annotation belongs to image `first_image`; images after
  `last_image` and rows after the last image are not part of the benchmark.
* `first_tracked`: the image that trackers start on; rows and images before it are dropped.
* `spare_rows`: rows at the end of the annotation that may have no image.
* `attributes`: the MATLAB toolkit's labels, whose counts the published plots print;
  `attributes_python_toolkit`: those of the Python toolkit, which differ in 15 sequences.
* `init_omit`: intervals of image numbers, inclusive, in which a TRE run must not start.
* `aliases`: names of the sequence in other toolkits that differ in more than punctuation and case.
"""

import csv
import dataclasses
import functools
import importlib.resources
from collections.abc import Collection
from pathlib import Path

import numpy as np

from jaxtrack.data.naming import match_name


@dataclasses.dataclass(frozen=True)
class Entry:
    """One row of the table (see the module's docstring); image numbers are those of the file names."""

    name: str
    folder: str
    annotation: str
    first_image: int
    last_image: int
    first_tracked: int
    digits: int
    extension: str
    spare_rows: int
    lists: frozenset[str]
    attributes: frozenset[str]
    attributes_python_toolkit: frozenset[str]
    init_omit: tuple[tuple[int, int], ...]
    aliases: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Number of rows that the annotation file must have."""
        return self.last_image - self.first_image + 1

    @property
    def frames(self) -> int:
        """Number of frames that are tracked and scored."""
        return self.last_image - self.first_tracked + 1

    @property
    def image_names(self) -> list[str]:
        """File names of the images, one per row of the annotation."""
        numbers = range(self.first_image, self.last_image + 1)
        return [f"{number:0{self.digits}d}.{self.extension}" for number in numbers]


@functools.cache
def table() -> tuple[Entry, ...]:
    """All sequences of OTB-100 in the benchmark's order."""
    text = importlib.resources.files("jaxtrack.data").joinpath("otb_sequences.csv").read_text("utf-8")
    return tuple(_entry(row) for row in csv.DictReader(text.splitlines()))


def training_warning(where: Path, names: Collection[str]) -> str:
    """What to tell somebody who makes training data of folders in OTB's layout, with sequences of these names."""
    known = {entry.name for entry in table()}
    count = sum(name in known for name in names)
    return (
        f"{where} has the layout of a test benchmark, and {count} of its {len(names)} sequences have names of "
        "OTB-100's: results on what a tracker was trained on say nothing"
    )


def canonical_name(spelling: str) -> str:
    """The benchmark's name for any toolkit's spelling of it; `UserError` with a suggestion if there is none.

    >>> canonical_name("jogging_1"), canonical_name("Jogging.1"), canonical_name("Faceocc1")
    ('Jogging-1', 'Jogging-1', 'FaceOcc1')
    """
    aliases = {alias: entry.name for entry in table() for alias in entry.aliases}
    return match_name(spelling, [entry.name for entry in table()], what="sequence of OTB-100", aliases=aliases)


def omitted_frames(entry: Entry) -> np.ndarray:
    """`bool [N]`: the tracked frames of a sequence in which a run of TRE must not start."""
    omitted = np.zeros(entry.frames, np.bool_)
    for first, last in entry.init_omit:
        omitted[max(first - entry.first_tracked, 0) : max(last + 1 - entry.first_tracked, 0)] = True
    return omitted


def entry_named(name: str) -> Entry:
    """The row of a sequence by its official name."""
    return next(entry for entry in table() if entry.name == name)


def _entry(row: dict[str, str]) -> Entry:
    numbers = ("first_image", "last_image", "first_tracked", "digits", "spare_rows")
    sets = ("lists", "attributes", "attributes_python_toolkit")
    intervals = [interval.split("-") for interval in row["init_omit"].split()]
    return Entry(
        name=row["name"],
        folder=row["folder"],
        annotation=row["annotation"],
        extension=row["extension"],
        init_omit=tuple((int(first), int(last)) for first, last in intervals),
        aliases=tuple(row["aliases"].split()),
        **{column: int(row[column]) for column in numbers},  # pyright: ignore[reportArgumentType]
        **{column: frozenset(row[column].split()) for column in sets},  # pyright: ignore[reportArgumentType]
    )
