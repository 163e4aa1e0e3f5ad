"""Archives of results for the servers of GOT-10k and TrackingNet: written, read again, and checked.

    GOT-10k       NAME/NAME_001.txt, up to _003: x,y,w,h per frame with three decimals, pixels counted from 1
                  NAME/NAME_time.txt: seconds per frame, a column for each of those
    TrackingNet   NAME.txt: x,y,w,h per frame with two decimals, pixels counted from 0

The first row of every sequence is the given box. An archive is checked as it would be uploaded, before it takes its
place on the disk.
"""

import dataclasses
import io
import re
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np

from jaxtrack.boxes import as_in_files
from jaxtrack.data.sequences import Benchmark
from jaxtrack.data.sequences import Sequence as VideoSequence
from jaxtrack.errors import UserError
from jaxtrack.evaluation.store import StoredRun

_TIME_DECIMALS = 8
_FLOAT32 = 1e-6  # stored boxes are rounded to float32: this much of a coordinate


@dataclasses.dataclass(frozen=True)
class Format:
    """What a server takes.

    Attributes:
      title: the benchmark's name.
      sequences: their official number.
      runs: how many runs of a tracker it takes at most.
      decimals: of a coordinate.
      nested: whether each sequence has a folder, and numbered runs and times in it.
    """

    title: str
    sequences: int
    runs: int
    decimals: int
    nested: bool

    def files(self, name: str, runs: int) -> list[str]:
        """The names of a sequence's files of boxes, one for each run."""
        return [f"{name}/{name}_{i:03d}.txt" for i in range(1, runs + 1)] if self.nested else [f"{name}.txt"]

    def time_file(self, name: str) -> str:
        """The name of a sequence's file of times."""
        return f"{name}/{name}_time.txt"


FORMATS = {
    "got10k_test": Format("GOT-10k", sequences=180, runs=3, decimals=3, nested=True),
    "trackingnet": Format("TrackingNet", sequences=511, runs=1, decimals=2, nested=False),
}


def pack(benchmark: Benchmark, runs: Sequence[StoredRun]) -> bytes:
    """The archive of a tracker's stored runs, checked.

    Args:
      benchmark: one of `FORMATS`, with all of its sequences.
      runs: runs that differ in nothing but the seed.

    Raises:
      UserError: a sequence or its times are missing or incomplete, begin with another box, or there are too many runs.
    """
    kind = FORMATS[benchmark.name]
    if not 0 < len(runs) <= kind.runs:
        raise UserError(f"{kind.title} takes {'one run' if kind.runs == 1 else f'1 to {kind.runs} runs'}: {len(runs)}")
    _check_names(kind, [sequence.name for sequence in benchmark.sequences])
    for run in runs:
        _check_complete(run, benchmark)
    files = {name: text for sequence in benchmark.sequences for name, text in _files(kind, sequence, runs).items()}
    archive = _zipped(files)
    check(archive, benchmark, len(runs))
    return archive


def check(archive: bytes, benchmark: Benchmark, runs: int) -> None:
    """Reads an archive as a server would.

    Args:
      archive: the zip file's bytes.
      benchmark: one of `FORMATS`, with all of its sequences.
      runs: how many runs it has.

    Raises:
      UserError: it is damaged; a file is missing, too many, too short, too long, not finite or of other decimals; or a
        sequence does not begin with the given box.
    """
    kind = FORMATS[benchmark.name]
    files = _unzipped(archive)
    _check_names(kind, [sequence.name for sequence in benchmark.sequences])
    for sequence in benchmark.sequences:
        for name in kind.files(sequence.name, runs):
            boxes = _numbers(files, name, len(sequence), 4, kind.decimals)
            _check_first(boxes[0], sequence, name, tolerance=0.5 * 10**-kind.decimals)
        if kind.nested:
            _numbers(files, kind.time_file(sequence.name), len(sequence), runs, _TIME_DECIMALS)
    if files:
        raise UserError(f"the archive has files that {kind.title} does not know, such as {min(files)}")


def _check_names(kind: Format, names: Sequence[str]) -> None:
    if len(names) != kind.sequences:
        raise UserError(
            f"{kind.title} takes results of all its {kind.sequences} sequences, but {len(names)} are at hand: give the "
            "folder of all of them by --data-dir"
        )
    odd = next((name for name in names if not re.fullmatch(r"[\w.-]+", name) or name.startswith(".")), None)
    if odd is not None:
        raise UserError(f"{odd!r} cannot name a file of an archive: no sequence of {kind.title} is called so")


def _check_complete(run: StoredRun, benchmark: Benchmark) -> None:
    missing = [sequence.name for sequence in benchmark.sequences if not run.done(sequence.name, len(sequence))]
    if missing:
        raise UserError(
            f"{len(missing)} of the {len(benchmark.sequences)} sequences are not finished in {run.directory}, such as "
            f"{missing[0]}: run jaxtrack evaluate --benchmark {benchmark.name} to the end first"
        )


def _files(kind: Format, sequence: VideoSequence, runs: Sequence[StoredRun]) -> dict[str, str]:
    """Name and text of each of a sequence's files."""
    files, times = {}, []
    for run, name in zip(runs, kind.files(sequence.name, len(runs)), strict=True):
        stored = run.read(sequence.name)
        where = f"{run.directory}: {sequence.name}"
        boxes = as_in_files(stored.boxes, sequence.origin)
        _check_first(boxes[0], sequence, where, tolerance=1e-4 + _FLOAT32 * np.abs(boxes[0]).max())
        boxes[0] = as_in_files(sequence.boxes[0], sequence.origin)
        if kind.nested and not np.isfinite(stored.seconds).all():
            raise UserError(
                f"{where} has no times, which {kind.title} asks for: move its file of boxes away, run it again"
            )
        times.append(stored.seconds)
        files[name] = _text(boxes, kind.decimals)
    if kind.nested:
        files[kind.time_file(sequence.name)] = _text(np.stack(times, 1), _TIME_DECIMALS)
    return files


def _check_first(box: np.ndarray, sequence: VideoSequence, where: str, *, tolerance: float) -> None:
    """Refuses a file's first box that is not the given one, both as the benchmark's files count pixels."""
    given = as_in_files(sequence.boxes[0], sequence.origin)
    if np.abs(box - given).max() > tolerance + 1e-9:
        shown = [",".join(f"{value:g}" for value in row) for row in (box, given)]
        raise UserError(
            f"{where} begins with the box {shown[0]}, but the given one is {shown[1]}: results of other annotations"
        )


def _text(rows: np.ndarray, decimals: int) -> str:
    return "".join(",".join(f"{value:.{decimals}f}" for value in row) + "\n" for row in rows)


def _zipped(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            info = zipfile.ZipInfo(name)  # of 1980: the same results make the same archive, byte for byte
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, text)
    return buffer.getvalue()


def _unzipped(archive: bytes) -> dict[str, str]:
    """Name and text of each file."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            return {name: opened.read(name).decode("ascii") for name in opened.namelist()}
    except (zipfile.BadZipFile, UnicodeDecodeError, OSError, EOFError) as error:
        raise UserError(f"the archive is damaged: {error}") from error


def _numbers(files: dict[str, str], name: str, frames: int, columns: int, decimals: int) -> np.ndarray:
    """Takes a file out of `files` and reads it, `float64 [frames, columns]`."""
    if name not in files:
        raise UserError(f"the archive lacks {name}")
    lines = files.pop(name).splitlines()
    if len(lines) != frames:
        raise UserError(f"{name} has {len(lines)} lines for {frames} frames")
    row = re.compile(",".join([rf"-?\d+\.\d{{{decimals}}}"] * columns))
    wrong = next((i for i, line in enumerate(lines) if not row.fullmatch(line)), None)
    if wrong is not None:
        raise UserError(
            f"{name}, line {wrong + 1}: expected {columns} finite numbers of {decimals} decimals, separated by commas, "
            f"but found {lines[wrong][:80]!r}"
        )
    return np.array([line.split(",") for line in lines], np.float64)
