"""Raw results that other trackers' authors published: a folder with one text file of boxes per sequence.

The files spell names in their own ways (`jogging_1`, `Faceocc1`, `human4-2`) and separate numbers by commas, tabs or
blanks; boxes are 1-based. Scored by the same functions as our own runs, they are the rows that a table compares with.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from jaxtrack.data import otb
from jaxtrack.data.boxfiles import read_boxes
from jaxtrack.data.sequences import Benchmark
from jaxtrack.errors import UserError
from jaxtrack.evaluation import metrics
from jaxtrack.evaluation.comparison import TrackerResult

_log = logging.getLogger(__name__)


def read_folder(folder: Path, canonical_name: Callable[[str], str] = otb.canonical_name) -> dict[str, np.ndarray]:
    """The boxes of every sequence in a folder of raw results.

    Args:
      folder: holds `<sequence>.txt`; files of times that some toolkits put beside them are passed over.
      canonical_name: the benchmark's spelling of a name in any spelling; raises `UserError` for no sequence of it.

    Returns:
      The benchmark's name -> `float64 [N, 4]`, (x, y, w, h), 0-based pixels.

    Raises:
      UserError: no file is named after a sequence, two are named after the same one, or one is damaged.
    """
    files: dict[str, Path] = {}
    strangers = []
    for path in sorted(Path(folder).glob("*.txt")):
        try:
            name = canonical_name(path.stem)
        except UserError:
            strangers.append(path.name)
            continue
        if name in files:
            raise UserError(f"{files[name].name} and {path.name} in {folder} are both results of {name}: keep one")
        files[name] = path
    if not files:
        raise UserError(f"{folder} holds no result file <sequence>.txt named after a sequence of the benchmark")
    unexplained = [name for name in strangers if "time" not in name.casefold()]
    if unexplained:
        _log.warning("not named after a sequence, passed over in %s: %s", folder, ", ".join(unexplained))
    return {name: read_boxes(path) for name, path in files.items()}


def tracked_rows(name: str, boxes: np.ndarray, frames: int) -> np.ndarray:
    """The rows that belong to the frames that are scored, for the OTB sequences whose files differ in that.

    Trackers start on image 6 of Tiger1: some published files begin there, others have a row for each image. Board and
    Twinnings have an annotation beyond the last image, which some files have a row for.

    Args:
      name: the OTB name of the sequence, or any other.
      boxes: `[N, 4]`, as published.
      frames: number of frames that are scored.
    """
    entry = next((entry for entry in otb.table() if entry.name == name), None)
    if entry is None or len(boxes) <= frames:
        return boxes
    untracked = entry.first_tracked - entry.first_image
    if len(boxes) - frames in (untracked, untracked + entry.spare_rows):
        boxes = boxes[untracked:]
    return boxes[:frames] if len(boxes) - frames <= entry.spare_rows else boxes


def tracker_result(
    name: str,
    folder: Path,
    benchmark: Benchmark,
    canonical_name: Callable[[str], str] = otb.canonical_name,
    *,
    invalid_error: float = metrics.OFFICIAL_INVALID_ERROR,
) -> TrackerResult:
    """Scores of a folder of raw results on the sequences of a benchmark.

    Sequences without a file are left out; files of other lengths are padded or cut as the toolkits do, and named in a
    warning.

    Args:
      name: how tables shall call the tracker.
      folder: see `read_folder`.
      benchmark: the sequences to score.
      canonical_name: see `read_folder`.
      invalid_error: see `metrics.frame_scores`.
    """
    results = read_folder(folder, canonical_name)
    scores = {}
    unequal = []
    for sequence in benchmark.sequences:
        if sequence.name not in results:
            continue
        boxes = tracked_rows(sequence.name, results[sequence.name], len(sequence))
        if len(boxes) != len(sequence):
            unequal.append(f"{sequence.name} ({len(boxes)} rows for {len(sequence)} frames)")
        scores[sequence.name] = metrics.score(boxes, sequence.boxes, sequence.valid, invalid_error=invalid_error)
    if unequal:
        _log.warning("%s: padded or cut to the sequence's length: %s", name, ", ".join(unequal))
    return TrackerResult(name=name, run_ids=("published",), scores=(scores,))
