"""Text files of boxes, one row per frame: OTB's annotations and every tracker's results.

On disk the corner is 1-based (MATLAB's first pixel is 1), in memory it is 0-based. This module is the one
place where that is converted.
"""

import re
from pathlib import Path

import numpy as np

from jaxtrack.errors import UserError
from jaxtrack.files import write_text

# OTB's files are separated by comma, by tab or by blanks, some by a mixture.
_SEPARATOR = re.compile(r"\s*,\s*|\s+")
_FILE_ORIGIN = np.array([1.0, 1.0, 0.0, 0.0])  # a file's (x, y, w, h) of the box that memory calls (0, 0, 0, 0)


def read_boxes(path: Path) -> np.ndarray:
    """Reads a file of 1-based boxes separated by commas, tabs or blanks.

    Args:
      path: the file; blank lines are allowed at its end only.

    Returns:
      `float64 [N, 4]`, (x, y, w, h), 0-based, in pixels, N > 0.

    Raises:
      UserError: no such file, nothing in it, or a row that is not four finite numbers (names the line).
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise UserError(f"Cannot read the boxes of {path}: {error.strerror or error}") from error
    lines = text.rstrip().splitlines()
    if not lines:
        raise UserError(f"{path} is empty: expected one row x,y,w,h per frame")
    rows = [_parse_row(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]
    return np.array(rows, np.float64) - _FILE_ORIGIN


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
    rows = (",".join(f"{value:.4f}" for value in row) for row in boxes + _FILE_ORIGIN)
    write_text(path, "".join(f"{row}\n" for row in rows))


def annotated_rows(boxes: np.ndarray) -> np.ndarray:
    """OTB's rule for a valid annotation: x, y, w and h of the file are all greater than 0.

    A box that touches the left or top border from outside (x or y of 0 in the file) therefore counts as not
    annotated, as in the MATLAB toolkit.

    Args:
      boxes: `float [N, 4]`, 0-based, as `read_boxes` returns them.

    Returns:
      `bool [N]`.
    """
    return np.all(boxes + _FILE_ORIGIN > 0, axis=1)


def _parse_row(line: str, where: str) -> list[float]:
    fields = _SEPARATOR.split(line.strip())
    try:
        row = [float(field) for field in fields]
    except ValueError:
        row = []
    if len(row) != 4 or not np.isfinite(row).all():
        raise UserError(f"{where}: expected four finite numbers x,y,w,h but found {line.strip()[:80]!r}")
    return row
