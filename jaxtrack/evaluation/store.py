"""Results on disk: boxes, times and diagnostics of every sequence, beside a record of what they came from.

    results/<tracker>/<run id>/<benchmark>/run.json
                                           <sequence>.txt              x,y,w,h per frame, 1-based
                                           <sequence>.times.txt        seconds per frame; "# shared by …" comes first
                                                                       where other work took from the speed
                                           <sequence>.diagnostics.npz  optional: named arrays, a row per frame

The run id and `run.json` are those of `jaxtrack.evaluation.run_record`. A sequence is finished when its box file is
there: that file is written last, and no file ever appears half-written, so a run that was killed at any moment
continues with the first unfinished sequence. Several processes, on several hosts, may add to one run.
"""

import contextlib
import dataclasses
import logging
import time
import urllib.parse
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxtrack.data.boxfiles import read_boxes, write_boxes
from jaxtrack.errors import UserError
from jaxtrack.evaluation import metrics, provenance, run_record
from jaxtrack.evaluation.run_record import Run
from jaxtrack.files import beside, locked, replacing, write_text

# Writing a file takes milliseconds: a temporary file older than this belongs to a process that was killed.
_STALE_SECONDS = 10.0
_SHARED = "# shared by "
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class SequenceResult:
    """What is stored of one sequence.

    Attributes:
      boxes: `float64 [N, 4]`, (x, y, w, h), 0-based pixels, as rounded to four decimals in the file.
      seconds: `float64 [N]`, wall time of each frame, the first being the initialisation; NaN if unknown.
      diagnostics: named arrays `[N, ...]`; empty if none were stored.
      shared_by: who had the machine at that time, such as `2 workers`, where `seconds` do not tell the tracker's speed;
        empty if the tracker had it alone.
    """

    boxes: np.ndarray
    seconds: np.ndarray
    diagnostics: Mapping[str, np.ndarray]
    shared_by: str = ""

    @property
    def fps(self) -> float:
        """The tracker's frames per second; NaN if unknown, or if the machine was shared."""
        return float("nan") if self.shared_by else metrics.frames_per_second(self.seconds)


class StoredRun:
    """A stored run, for reading.

    Attributes:
      directory: the folder of the run's files for one benchmark.
      info: the content of its `run.json`.
    """

    def __init__(self, directory: Path, info: dict[str, Any]):
        self.directory = directory
        self.info = info

    @property
    def id(self) -> str:
        """12 hexadecimal digits that name the run."""
        return self.info["id"]

    @property
    def benchmark(self) -> str:
        """The benchmark's short name."""
        return self.info["benchmark"]

    @property
    def identity(self) -> dict[str, Any]:
        """What determines the boxes; see `Run.identity`."""
        return self.info["identity"]

    @property
    def tracker(self) -> str:
        """The tracker's name."""
        return self.identity["tracker"]

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return self.identity["seed"]

    @property
    def group(self) -> str:
        """Equal for runs that differ in nothing but the seed."""
        return provenance.short_hash({**self.identity, "seed": None})

    def sequences(self) -> list[str]:
        """The names of the sequences that have a box file, sorted."""
        files = (path.name for path in self.directory.glob("*.txt") if not path.name.startswith("."))
        stems = (name.removesuffix(".txt") for name in files if not name.endswith(".times.txt"))
        return sorted(urllib.parse.unquote(stem) for stem in stems)

    def done(self, sequence: str, frames: int) -> bool:
        """Whether the sequence is finished: its box file can be read and has `frames` rows."""
        path = self._path(sequence, ".txt")
        try:
            return path.is_file() and len(read_boxes(path)) == frames
        except UserError:
            return False

    def read(self, sequence: str) -> SequenceResult:
        """The stored boxes, times and diagnostics of a finished sequence.

        Raises:
          UserError: the box file is missing or damaged.
        """
        boxes = read_boxes(self._path(sequence, ".txt"))
        seconds, shared_by = self._read_seconds(sequence, len(boxes))
        return SequenceResult(boxes, seconds, self._read_diagnostics(sequence), shared_by)

    def _read_seconds(self, sequence: str, frames: int) -> tuple[np.ndarray, str]:
        """The times, and who shared the machine."""
        # Times are a measurement beside the result: without them (deleted, foreign) the boxes are still good.
        unknown, shared_by = np.full(frames, np.nan), ""
        try:
            text = self._path(sequence, ".times.txt").read_text(encoding="utf-8")
            if text.startswith(_SHARED):
                shared_by, _, text = text.removeprefix(_SHARED).partition("\n")
            seconds = np.array([float(x) for x in text.split()], np.float64)
        except (OSError, ValueError):
            return unknown, shared_by
        return seconds if len(seconds) == frames else unknown, shared_by

    def _read_diagnostics(self, sequence: str) -> dict[str, np.ndarray]:
        path = self._path(sequence, ".diagnostics.npz")
        if not path.exists():
            return {}
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        # A file that is no zip archive, one that is cut off, and an array in the place of an archive.
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, TypeError) as error:
            raise UserError(f"cannot read the diagnostics in {path}: {error}") from error

    def _path(self, sequence: str, suffix: str) -> Path:
        return self.directory / f"{_file_stem(sequence)}{suffix}"


class RunStore(StoredRun):
    """A stored run that is being added to; made by `open_run`."""

    def __init__(self, directory: Path, info: dict[str, Any], environment: dict[str, Any]):
        super().__init__(directory, info)
        self._environment = environment

    def write(
        self,
        sequence: str,
        boxes: np.ndarray,
        seconds: np.ndarray,
        diagnostics: Mapping[str, np.ndarray] | None = None,
        *,
        shared_by: str = "",
    ) -> None:
        """Stores a sequence; it counts as done when this returns, and not before.

        Args:
          sequence: its name.
          boxes: `[N, 4]`, (x, y, w, h), 0-based pixels, finite.
          seconds: `[N]`, wall time of each frame.
          diagnostics: named numeric arrays `[N, ...]`.
          shared_by: who had the machine at that time, see `SequenceResult`.

        Raises:
          UserError: the files cannot be written (any more).
        """
        boxes, seconds = np.asarray(boxes, np.float64), np.asarray(seconds, np.float64)
        if seconds.shape != (len(boxes),):
            raise ValueError(f"{sequence}: {len(boxes)} boxes but times of shape {list(seconds.shape)}")
        try:
            self.record_environment()
            remark = f"{_SHARED}{shared_by}\n" if shared_by else ""
            write_text(self._path(sequence, ".times.txt"), remark + "".join(f"{s:.6f}\n" for s in seconds))
            if diagnostics:
                _write_arrays(self._path(sequence, ".diagnostics.npz"), diagnostics, len(boxes))
            write_boxes(self._path(sequence, ".txt"), boxes)
        except OSError as error:  # a full disk, a share that went away
            reason = error.strerror or str(error)
            raise UserError(f"cannot write the results of {sequence} to {self.directory}: {reason}") from error

    def record_environment(self) -> None:
        """Notes in `run.json` where results are computed now; warns if others were computed elsewhere."""
        if self._environment in environments(run_record.read(self.directory)):
            return
        with _alone(self.directory):
            info = run_record.read(self.directory)  # again: another process may have added its environment meanwhile
            known = environments(info)
            if self._environment in known:
                return
            if known:
                _log.warning(
                    "the stored results in %s were computed in another environment: %s",
                    self.directory,
                    provenance.differences(known[-1], self._environment),
                )
            info["environments"].append({"since": provenance.now(), **self._environment})
            run_record.write(self.directory, info)
        self.info = info


def open_run(
    results_dir: Path,
    benchmark: str,
    run: Run,
    *,
    environment: dict[str, Any] | None = None,
) -> RunStore:
    """Opens the folder of a run, new or to be resumed, and makes sure that it can be written.

    Args:
      results_dir: the folder of all results; created if needed.
      benchmark: the benchmark's short name.
      run: what is to be run.
      environment: where it runs; found out by default.

    Raises:
      UserError: the folder cannot be written, or holds results of something else.
    """
    directory = _directory(results_dir, benchmark, run)
    _make_writable(directory)
    _remove_stale(directory)
    store = RunStore(directory, {}, environment if environment is not None else provenance.environment())
    with _alone(directory):
        _identify(store, benchmark, run)
    return store


def _identify(store: RunStore, benchmark: str, run: Run) -> None:
    """Gives a run its `info`, from its `run.json`, which is written if the run is new."""
    directory, new = store.directory, run_record.new(benchmark, run)
    if (directory / "run.json").exists():
        store.info = run_record.read(directory)
        if store.info["identity"] != new["identity"] or store.benchmark != benchmark:
            difference = provenance.differences(store.info["identity"], new["identity"])
            raise _not_ours(
                f"the results in {directory} belong to another run ({difference or f'benchmark {store.benchmark}'})"
            )
    elif store.sequences():
        raise _not_ours(f"{directory} holds results but no run.json that says what they came from")
    else:
        store.info = new
        run_record.write(directory, new)


def _alone(directory: Path) -> contextlib.AbstractContextManager[None]:
    """Inside, no other process looks at a run's `run.json` or changes it."""
    return locked(directory / ".run.lock")


def environments(info: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What `run.json` says of where the run was computed, in the order of time, without the dates."""
    return [{key: value for key, value in each.items() if key != "since"} for each in info["environments"]]


def is_new(results_dir: Path, benchmark: str, run: Run) -> bool:
    """Whether nothing of a run is stored yet, so that `open_run` would begin its folder."""
    return not (_directory(results_dir, benchmark, run) / "run.json").exists()


def _directory(results_dir: Path, benchmark: str, run: Run) -> Path:
    return Path(results_dir) / _file_stem(run.tracker) / run.id / _file_stem(benchmark)


def _not_ours(what: str) -> UserError:
    return UserError(f"{what}: move that folder away or choose another results folder")


def list_runs(results_dir: Path, benchmark: str | None = None) -> list[StoredRun]:
    """All runs stored under `results_dir` (on one benchmark), sorted by tracker, config and seed.

    Folders whose `run.json` cannot be understood are left out with a warning.
    """
    runs = []
    for path in sorted(Path(results_dir).glob("*/*/*/run.json")):
        try:
            runs.append(StoredRun(path.parent, run_record.read(path.parent)))
        except UserError as error:
            _log.warning("%s", error)
    chosen = [run for run in runs if benchmark is None or run.benchmark == benchmark]
    return sorted(chosen, key=lambda run: (run.tracker, run.group, run.seed, run.benchmark))


def _file_stem(name: str) -> str:
    """A file name without path separators or other traps, different for different names."""
    if not name:
        raise ValueError("an empty name cannot name a file")
    stem = urllib.parse.quote(name, safe=" ()+,=@")
    if stem.startswith("."):
        stem = "%2E" + stem[1:]
    if stem.endswith((".times", ".diagnostics")):  # else the boxes of `a.times` would be the times of `a`
        stem = "%2E".join(stem.rsplit(".", 1))
    return stem


def _make_writable(directory: Path) -> None:
    probe = beside(directory / "probe")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe.write_text("probe", encoding="utf-8")
        probe.unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot write results to {directory}: {reason}; choose another results folder") from error


def _remove_stale(directory: Path) -> None:
    for path in directory.glob(".*.tmp"):
        with contextlib.suppress(OSError):  # somebody else may have removed it
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                path.unlink()


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray], frames: int) -> None:
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in arrays.items():
        if array.ndim == 0 or len(array) != frames or array.dtype.kind not in "biuf":
            raise ValueError(
                f"diagnostic {name!r} must be numbers [{frames}, ...], got {array.dtype} {list(array.shape)}"
            )
    with replacing(path) as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
