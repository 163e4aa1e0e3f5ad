"""Text files of boxes, one row per frame: OTB's annotations and every tracker's results.

On disk the corner is 1-based (MATLAB's first pixel is 1), in memory it is 0-based.
"""

import functools
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from jaxtrack.boxes import as_in_files, zero_based
from jaxtrack.errors import UserError
from jaxtrack.files import write_text

# OTB's files are separated by comma, by tab or by blanks, some by a mixture.
_SEPARATOR = re.compile(r"\s*,\s*|\s+")
_BLANKS = r"[^\S\n]"
_FIELDS = rf"{_BLANKS}*[^\s,]+(?:(?:{_BLANKS}*,{_BLANKS}*|{_BLANKS}+)[^\s,]+){{3}}{_BLANKS}*"
_FOUR_FIELDS = re.compile(rf"{_FIELDS}(?:\n{_FIELDS})*")


def read_boxes(
    path: Path, *, origin: float = 1.0, nan_allowed: bool = False, complex_allowed: bool = False
) -> np.ndarray:
    """Reads a file of boxes separated by commas, tabs or blanks.

    Args:
      path: the file; blank lines are allowed at its end only.
      origin: what the file calls the first pixel.
      nan_allowed: whether NaN may stand for a number.
      complex_allowed: whether MATLAB's complex numbers (`12.5+0.3i`) may, too: they become NaN, as LaSOT's toolkit
        treats rows of results that have one.

    Returns:
      `float64 [N, 4]`, (x, y, w, h), 0-based, in pixels, N > 0.

    Raises:
      UserError: no such file, nothing in it, or a row that is not four finite numbers (names the line).
    """
    return zero_based(_read_rows(path, nan_allowed, complex_allowed), origin)


def _read_rows(path: Path, nan_allowed: bool, complex_allowed: bool) -> np.ndarray:
    """The numbers of a file, `float64 [N, 4]`."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig", errors="replace").rstrip()
    except OSError as error:
        raise UserError(f"Cannot read the boxes of {path}: {error.strerror or error}") from error
    if not text:
        raise UserError(f"{path} is empty: expected one row x,y,w,h per frame")
    if _FOUR_FIELDS.fullmatch(text):  # 700,000 rows take a second, row by row they would take ten
        try:
            rows = np.array(text.replace(",", " ").split(), np.float64).reshape(-1, 4)
            if np.isfinite(rows).all():
                return rows
        except ValueError:
            pass  # the row that is to blame is named below
    lines = enumerate(text.splitlines(), start=1)
    parse = functools.partial(_parse_row, nan_allowed=nan_allowed, number=_real if complex_allowed else float)
    return np.array([parse(line, f"{path}, line {number}") for number, line in lines], np.float64)


def write_boxes(path: Path, boxes: np.ndarray) -> None:
    """Writes 0-based boxes as 1-based rows `x,y,w,h` with four decimals; the file appears whole or not at all.

    Args:
      path: the file to create or replace; its folder is created if needed.
      boxes: `float [N, 4]`, (x, y, w, h), 0-based, in pixels, all finite.
    """
    boxes = np.asarray(boxes, np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes must be [N, 4], not {list(boxes.shape)}")
    broken = np.flatnonzero(~np.isfinite(boxes).all(axis=1))
    if broken.size:
        raise ValueError(f"{path}: the box of frame {broken[0]} is not finite: {boxes[broken[0]]}")
    rows = (",".join(f"{value:.4f}" for value in row) for row in as_in_files(boxes))
    write_text(path, "".join(f"{row}\n" for row in rows))


def annotated_rows(boxes: np.ndarray, origin: float = 1.0) -> np.ndarray:
    """OTB's rule for a valid annotation: x, y, w and h of the file are all greater than 0.

    A box that touches the left or top border from outside (x or y of 0 in the file) therefore counts as not
    annotated, as in the MATLAB toolkit.

    Args:
      boxes: `float [N, 4]`, 0-based, as `read_boxes` returns them; rows with NaN are no annotations.
      origin: what the file calls the first pixel.

    Returns:
      `bool [N]`.
    """
    return np.all(as_in_files(boxes, origin) > 0, axis=1)


def _real(field: str) -> float:
    """The number that MATLAB wrote; NaN for one with an imaginary part."""
    value = complex(field[:-1] + "j" if field.endswith("i") else field)
    return math.nan if value.imag else value.real


def _parse_row(line: str, where: str, *, nan_allowed: bool, number: Callable[[str], float]) -> list[float]:
    fields = _SEPARATOR.split(line.strip())
    try:
        row = [number(field) for field in fields]
    except ValueError:
        row = []
    if len(row) != 4 or not all(math.isfinite(x) or (nan_allowed and math.isnan(x)) for x in row):
        raise UserError(f"{where}: expected four finite numbers x,y,w,h but found {line.strip()[:80]!r}")
    return row
