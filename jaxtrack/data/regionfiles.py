"""VOT's text files of regions, one a frame: rectangles, polygons of four corners, and codes in their place.

A row is one number (a code), `x,y,w,h`, or `x1,y1,x2,y2,x3,y3,x4,y4`. Coordinates are used as they stand in the files,
by VOT's toolkits and here: nothing is added or subtracted.
"""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from jaxtrack.errors import UserError
from jaxtrack.files import write_text

SKIPPED, STARTED, FAILED = 0, 1, 2
"""Codes of a result file: nothing known, (re-)initialised here, target lost here."""
REGION = -1
"""What `Regions.codes` has where there is a region and no code."""

StartBox = Literal["area", "enclosing"]

_CODES = (SKIPPED, STARTED, FAILED)
_SEPARATOR = re.compile(r"\s*,\s*|\s+")


@dataclasses.dataclass(frozen=True, eq=False)
class Regions:
    """The regions of a video's frames, as four corners each.

    Attributes:
      corners: `float32 [N, 4, 2]`, (x, y) of the corners in order; NaN where there is a code.
      codes: `int8 [N]`, `REGION`, or the code that stands in a region's place.
      rectangle: `bool [N]`, where the file has x, y, w, h.
    """

    corners: np.ndarray
    codes: np.ndarray
    rectangle: np.ndarray

    def __post_init__(self):
        if self.corners.shape != (len(self.codes), 4, 2):
            raise ValueError(f"{len(self.codes)} codes need corners [N, 4, 2], not {list(self.corners.shape)}")

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def present(self) -> np.ndarray:
        """`bool [N]`: where there is a region."""
        return self.codes == REGION

    def start_boxes(self, rule: StartBox = "area") -> np.ndarray:
        """The boxes that trackers start from, `float64 [N, 4]` (x, y, w, h): rectangles as they are; NaN for codes.

        Of a polygon the box of its area (see `area_boxes`), or the smallest box around it (`enclosing`).
        """
        outer = enclosing_boxes(self.corners)
        return outer if rule == "enclosing" else np.where(self.rectangle[:, None], outer, area_boxes(self.corners))

    def frames_with(self, code: int) -> np.ndarray:
        """Indices of the frames that have a code, ascending."""
        return np.flatnonzero(self.codes == code)


def corners_of_boxes(boxes: np.ndarray) -> np.ndarray:
    """`[N, 4]` boxes (x, y, w, h) to `float32 [N, 4, 2]` corners, added up in float32 as the toolkits do."""
    x, y, w, h = np.asarray(boxes, np.float32).T
    right, bottom = x + w, y + h
    return np.stack([np.stack(pair, -1) for pair in ((x, y), (right, y), (right, bottom), (x, bottom))], 1)


def regions(rows: Sequence[Sequence[float]]) -> Regions:
    """Rows of 1, 4 or 8 numbers as regions; a row with a NaN is one of which nothing is known.

    Raises:
      UserError: a row of another length, an unknown code or an infinite number; names the row.
    """
    corners = np.full((len(rows), 4, 2), np.nan, np.float32)
    codes = np.full(len(rows), REGION, np.int8)
    boxes = [i for i, row in enumerate(rows) if len(row) == 4]
    polygons = [i for i, row in enumerate(rows) if len(row) == 8]
    if boxes:
        corners[boxes] = corners_of_boxes(np.array([rows[i] for i in boxes]))
    if polygons:
        corners[polygons] = np.array([rows[i] for i in polygons], np.float32).reshape(-1, 4, 2)
    for i, row in enumerate(rows):
        if len(row) == 1 and row[0] in _CODES:
            codes[i] = int(row[0])
        elif len(row) not in (4, 8) or np.isinf(row).any():
            raise UserError(_row_sentence(f"row {i + 1}", ",".join(f"{x:g}" for x in row)))
    # NaN in the text, or so large that float32 has no such number.
    lost = (codes == REGION) & ~np.isfinite(corners).all(axis=(1, 2))
    corners[lost], codes[lost] = np.nan, SKIPPED
    rectangle = np.zeros(len(rows), np.bool_)
    rectangle[boxes] = True
    return Regions(corners, codes, rectangle & (codes == REGION))


def read_regions(path: Path, *, nan_allowed: bool = True) -> Regions:
    """Reads a file of regions separated by commas, tabs or blanks.

    Args:
      path: the file; blank lines are allowed at its end only.
      nan_allowed: whether a row may have a NaN, as annotations of absent targets have; else that is refused.

    Raises:
      UserError: no such file, nothing in it, or a row that is no region (names the line).
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise UserError(f"cannot read the regions of {path}: {error.strerror or error}") from error
    lines = text.rstrip().splitlines()
    if not lines:
        raise UserError(f"{path} is empty: expected one region per frame")
    rows = [_parse_row(line, f"{path}, line {number}", nan_allowed) for number, line in enumerate(lines, start=1)]
    try:
        return regions(rows)
    except UserError as error:
        raise UserError(f"{path}, {error}") from error


def write_results(path: Path, boxes: np.ndarray, codes: np.ndarray) -> None:
    """Writes a result file, whole or not at all: boxes with four decimals, codes where there is no region.

    Args:
      path: the file to create or replace.
      boxes: `[N, 4]`, (x, y, w, h), finite where `codes` is `REGION`.
      codes: `int8 [N]`.
    """
    given = codes == REGION
    if not np.isfinite(boxes[given]).all():
        raise ValueError(f"{path}: a box is not finite")
    rows = [
        ",".join(f"{x:.4f}" for x in box) if code == REGION else str(code)
        for box, code in zip(boxes, codes, strict=True)
    ]
    write_text(path, "".join(f"{row}\n" for row in rows))


def enclosing_boxes(corners: np.ndarray) -> np.ndarray:
    """`[N, 4, 2]` corners to the smallest boxes around them, `float64 [N, 4]` (x, y, w, h)."""
    corners = np.asarray(corners, np.float64)
    low, high = corners.min(axis=1), corners.max(axis=1)
    return np.concatenate([low, high - low], axis=1)


def area_boxes(corners: np.ndarray) -> np.ndarray:
    """`[N, 4, 2]` corners to boxes of the polygons' area and centre, `float64 [N, 4]` (x, y, w, h).

    The enclosing box is scaled by the root of |p1 p2| |p2 p3| over its area, and a side that ends in pixel b and begins
    in pixel a is b - a + 1 long: the box that PySOT's trackers, SiamFC's and most correlation filters start from.
    """
    corners = np.asarray(corners, np.float64)
    outer = enclosing_boxes(corners)[:, 2:]  # [N, 2]
    sides = np.linalg.norm(corners[:, :2] - corners[:, 1:3], axis=-1)  # [N, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.sqrt(np.prod(sides, axis=1) / np.prod(outer, axis=1))
    size = np.where(np.isfinite(scale), scale, 1.0)[:, None] * outer + 1
    return np.concatenate([corners.mean(axis=1) - (size - 1) / 2, size], axis=1)


def _parse_row(line: str, where: str, nan_allowed: bool) -> list[float]:
    try:
        row = [float(field) for field in _SEPARATOR.split(line.strip())]
    except ValueError:
        raise UserError(_row_sentence(where, line.strip())) from None
    if not nan_allowed and np.isnan(row).any():
        raise UserError(f"{where}: a result must not have NaN, write 0 where nothing is known: {line.strip()[:80]!r}")
    return row


def _row_sentence(where: str, text: str) -> str:
    return (
        f"{where}: expected a code (0, 1 or 2), x,y,w,h or the 8 numbers of four corners, all finite, "
        f"but found {text[:80]!r}"
    )
