"""Raw results that other trackers' authors published: a folder with one file of boxes per sequence.

The files spell names in their own ways (`jogging_1`, `Faceocc1`, `human4-2`); `jaxtrack.evaluation.result_files` reads
them. Scored by the same functions as our own runs, they are the rows that a table compares with.
"""

import contextlib
import functools
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from jaxtrack.data import otb_table
from jaxtrack.data.naming import plain
from jaxtrack.data.sequences import Benchmark
from jaxtrack.errors import UserError
from jaxtrack.evaluation import metrics, protocols, result_files
from jaxtrack.evaluation.comparison import TrackerResult

_log = logging.getLogger(__name__)
_PREFIXES = ("nfs_", "uav_", "tpl_")  # of pytracking's names: NFS, UAV123 and TC-128


def read_folder(folder: Path, canonical_name: Callable[[str], str] = otb_table.canonical_name) -> dict[str, np.ndarray]:
    """The boxes of every sequence in a folder of raw results; of several repetitions those of the first.

    Arguments and errors are those of `read_repetitions`.
    """
    return {name: boxes[0] for name, boxes in read_repetitions(folder, canonical_name).items()}


def read_repetitions(
    folder: Path, canonical_name: Callable[[str], str] = otb_table.canonical_name
) -> dict[str, list[np.ndarray]]:
    """The boxes of every sequence in a folder of raw results.

    Args:
      folder: holds `<sequence>.txt`, `.mat` or `.json`, or folders of them (`<benchmark>/<sequence>.txt`), or as
        GOT-10k's toolkit writes them `<sequence>/<sequence>_001.txt`, ...; or one JSON file with all sequences. Files
        of times are passed over.
      canonical_name: the benchmark's spelling of a name in any spelling; raises `UserError` for no sequence of it.

    Returns:
      The benchmark's name -> repetitions, each `float64 [N, 4]`, (x, y, w, h), 0-based pixels; NaN where a file has it.

    Raises:
      UserError: no file is named after a sequence, two are named after the same one, or one is damaged.
    """
    files: dict[tuple[str, int], Path] = {}
    strangers = []
    for path in result_files.in_folder(Path(folder)):
        name, repetition = _owner(path, Path(folder), canonical_name)
        if not name:
            strangers.append(path)
        elif (name, repetition) in files:
            first = files[name, repetition].relative_to(folder)
            raise UserError(
                f"{first} and {path.relative_to(folder)} in {folder} are both results of {name}: keep one, or name the "
                "folder of each tracker"
            )
        else:
            files[name, repetition] = path
    found: dict[str, list[np.ndarray]] = {}
    for (name, _), path in sorted(files.items()):
        found.setdefault(name, []).append(result_files.read(path))
    strangers = [path for path in strangers if "time" not in path.name.casefold()]
    known = functools.partial(_known, canonical_name=canonical_name)
    for path in [path for path in strangers if path.suffix == ".json"]:
        rows = {name: [boxes] for name, boxes in result_files.read_all(path, lambda name: known([name])).items()}
        strangers = [stranger for stranger in strangers if stranger != path] if rows else strangers
        found = {**rows, **found}
    if not found:
        raise UserError(
            f"{folder} holds no result file <sequence>.txt (or .mat, .json) named after a sequence of the benchmark"
        )
    if strangers:
        names = ", ".join(path.name for path in strangers)
        _log.warning("not named after a sequence, passed over in %s: %s", folder, names)
    return found


def _owner(path: Path, folder: Path, canonical_name: Callable[[str], str]) -> tuple[str, int]:
    """The sequence that a file is a result of and the repetition, counted from 1; "" if it is of none."""
    below = path.parent != folder
    repeated = re.fullmatch(r"(.+)_(\d{3})", path.stem)
    if below and repeated and plain(repeated[1]) == plain(path.parent.name):
        return _known([repeated[1]], canonical_name), int(repeated[2])
    spellings = [path.stem, *([f"{path.parent.name}/{path.stem}"] if below else [])]
    if path.suffix in (".mat", ".json"):  # Deer_KCF.mat
        spellings.append(path.stem.rpartition("_")[0])
    return _known(spellings, canonical_name), 1


def _known(spellings: Sequence[str], canonical_name: Callable[[str], str]) -> str:
    shortened = [name.removeprefix(prefix) for name in spellings for prefix in _PREFIXES if name.startswith(prefix)]
    for spelling in (*spellings, *shortened):
        with contextlib.suppress(UserError):
            return canonical_name(spelling)
    return ""


def tracked_rows(name: str, boxes: np.ndarray, frames: int) -> np.ndarray:
    """The rows that belong to the frames that are scored, for the OTB sequences whose files differ in that.

    Trackers start on image 6 of Tiger1: some published files begin there, others have a row for each image. Board and
    Twinnings have an annotation beyond the last image, which some files have a row for.

    Args:
      name: the OTB name of the sequence, or any other.
      boxes: `[N, 4]`, as published.
      frames: number of frames that are scored.
    """
    entry = next((entry for entry in otb_table.table() if entry.name == name), None)
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
    canonical_name: Callable[[str], str] = otb_table.canonical_name,
    *,
    rules: protocols.Protocol = protocols.OTB,
) -> TrackerResult:
    """Scores of a folder of raw results on the sequences of a benchmark.

    Sequences without a file are left out. Files of other lengths, and NaN in files, are repaired where the rules say
    how, and named in a warning; otherwise they are refused. Repetitions are pooled.

    Args:
      name: how tables shall call the tracker.
      folder: see `read_folder`.
      benchmark: the sequences to score.
      canonical_name: see `read_folder`.
      rules: how to score.
    """
    results = read_repetitions(folder, canonical_name)
    scores, kept = {}, {}
    unequal, broken = [], []
    for sequence in benchmark.sequences:
        if sequence.name not in results:
            continue
        runs = [tracked_rows(sequence.name, boxes, len(sequence)) for boxes in results[sequence.name]]
        unequal += [
            f"{sequence.name} ({len(x)} rows for {len(sequence)} frames)" for x in runs if len(x) != len(sequence)
        ]
        broken += [f"{sequence.name} ({_broken(x)} rows)" for x in runs if _broken(x)]
        try:
            scores[sequence.name] = metrics.pool(protocols.score(boxes, sequence, rules) for boxes in runs)
        except UserError as error:
            raise UserError(f"{folder}: {error}") from error
        kept[sequence.name] = runs[0]
    if unequal:
        _log.warning("%s: padded or cut to the sequence's length: %s", name, ", ".join(unequal))
    if broken:
        _log.warning("%s: boxes with NaN replaced by those before: %s", name, ", ".join(broken))
    return TrackerResult(
        name=name, run_ids=("published",), scores=(scores,), folder=str(folder), boxes=kept, pooled=rules.pooled
    )


def _broken(boxes: np.ndarray) -> int:
    """Number of rows with NaN, the first one not counted, which scoring does not look at or takes from the file."""
    return int(np.sum(~np.isfinite(boxes[1:]).all(axis=1)))
