"""Files of result boxes in the forms that trackers' authors publish them.

    .txt   a row x,y,w,h per frame, separated by commas, tabs or blanks; complex numbers, as MATLAB writes, are NaN
    .mat   MATLAB's, version 5 to 7: `results`, a cell of structures with the field `res` `[N, 4]` as OTB's toolkit
           saves it (the first is taken) of the type `rect`, or one variable `res`, `boxes` or `bboxes` `[N, 4]`
    .json  rows, or an object (or a list of them) with `res` as OTB's Python toolkit has it; or an object that maps each
           sequence to its rows

Boxes of all of them are 1-based, (x, y, w, h).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxtrack import files
from jaxtrack.boxes import zero_based
from jaxtrack.data.boxfiles import read_boxes
from jaxtrack.errors import UserError
from jaxtrack.weights import matlab

SUFFIXES = (".txt", ".mat", ".json")
_VARIABLES = ("res", "boxes", "bboxes")


def in_folder(folder: Path) -> list[Path]:
    """The result files in a folder and in those in it, sorted; hidden ones are left out."""
    paths = (*folder.glob("*"), *folder.glob("*/*"))
    return sorted(path for path in paths if path.suffix in SUFFIXES and not path.name.startswith("."))


def read(path: Path) -> np.ndarray:
    """The boxes of a file, `float64 [N, 4]`, (x, y, w, h), 0-based pixels; NaN where the file has it.

    Raises:
      UserError: the file cannot be read, or has not four numbers per frame (names the line).
    """
    readers = {".txt": lambda: read_boxes(path, nan_allowed=True, complex_allowed=True), ".mat": lambda: _of_mat(path)}
    return readers.get(path.suffix, lambda: _as_boxes(_of_json(files.read_json(path), str(path)), str(path)))()


def read_all(path: Path, known: Callable[[str], str]) -> Mapping[str, np.ndarray]:
    """The boxes of each sequence of a JSON file that maps sequences to rows; empty if it is no such file.

    Args:
      path: the file.
      known: the benchmark's spelling of a sequence's name; "" for a name of none, which is passed over.
    """
    content = files.read_json(path)
    rows = {known(name): rows for name, rows in content.items()} if isinstance(content, dict) else {}
    where = {name: f"{path}, {name}" for name in rows if name}
    return {name: _as_boxes(_of_json(rows[name], where[name]), where[name]) for name in where}


def _of_mat(path: Path) -> np.ndarray:
    content = matlab.read(path, ("results", *_VARIABLES))
    found: Any = next((content[name] for name in _VARIABLES if name in content), content.get("results"))
    while isinstance(found, list | tuple) and found:
        found = found[0]
    if isinstance(found, dict):
        found = _rectangles(found, str(path))
    if not isinstance(found, np.ndarray):
        raise UserError(f"{path} has no results{{1}}.res and none of the variables {', '.join(_VARIABLES)}")
    return _as_boxes(found, str(path))


def _of_json(content: Any, where: str) -> Any:
    """The rows in an object with `res`, or in the first of a list of such objects."""
    if isinstance(content, list) and content and isinstance(content[0], dict):
        content = content[0]
    return _rectangles(content, where) if isinstance(content, dict) else content


def _rectangles(result: dict[str, Any], where: str) -> Any:
    """`res` of a result of OTB's toolkits, which also know corners (two rows of four numbers a frame) and others."""
    kind = result.get("type", "rect")
    if isinstance(kind, str) and kind not in ("", "rect"):
        raise UserError(f"{where}: results of the type {kind[:20]!r} are not read, only those of the type 'rect'")
    return result.get("res")


def _as_boxes(rows: Any, where: str) -> np.ndarray:
    try:
        boxes = np.array(rows, np.float64)
    except (TypeError, ValueError, OverflowError):  # the last by whole numbers that no float can hold
        boxes = np.zeros((0, 0))
    if boxes.ndim != 2 or boxes.shape[1:] != (4,) or not len(boxes):
        shown = "x".join(map(str, boxes.shape)) if boxes.size else "no rectangular table of numbers"
        raise UserError(f"{where}: expected a row x, y, w, h per frame, found {shown}")
    if np.isinf(boxes).any():
        raise UserError(f"{where}: row {np.flatnonzero(np.isinf(boxes).any(axis=1))[0] + 1} has an infinite number")
    return zero_based(boxes)
