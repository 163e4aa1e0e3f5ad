"""Trajectories on disk, in the form that VOT's toolkits write and read:

    <folder>/<experiment>/<sequence>/<sequence>_001.txt         a region or a code per frame
                                    /<sequence>_001_time.value  seconds per frame

with `_002`, ... for the further repetitions. Our own runs lie in results/<tracker>/<run id>/<benchmark>/, beside the
`run.json` that says what they came from; each file appears whole, the trajectory last.
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxtrack.data.regionfiles import FAILED, REGION, STARTED, Regions, read_regions, write_results
from jaxtrack.data.vot import VotBenchmark, VotSequence
from jaxtrack.errors import UserError
from jaxtrack.evaluation.store import RunStore
from jaxtrack.evaluation.vot.supervised import Trajectory
from jaxtrack.files import write_text

TOOLKIT_REPETITIONS = 15
"""Repetitions of a challenge's experiment; of other numbers of files PySOT's toolkit takes the first."""
REPETITIONS_OF_DETERMINISTIC = 3
"""Equal repetitions after which a toolkit runs no more."""

_log = logging.getLogger(__name__)


def path_of(folder: Path, experiment: str, sequence: str, repetition: int) -> Path:
    """The file of a trajectory; repetitions count from 0."""
    return folder / experiment / sequence / f"{sequence}_{repetition + 1:03d}.txt"


def read_trajectory(path: Path, sequence: VotSequence) -> Regions:
    """One repetition on a sequence, checked against the number of its frames.

    Raises:
      UserError: there is no such file, or it is no trajectory of this sequence.
    """
    found = read_regions(path, nan_allowed=False)
    if len(found) != len(sequence):
        much = "short" if len(found) < len(sequence) else "long"
        raise UserError(f"{path} is too {much}: {len(found)} rows, but {sequence.name} has {len(sequence)} frames")
    if not len(found.frames_with(STARTED)):
        raise UserError(f"{path} has no row 1, which marks an initialisation: it is no result of a supervised run")
    return found


class StoredTrajectories:
    """Trajectories of one run of a tracker, on disk."""

    def __init__(self, store: RunStore):
        self.store = store

    def path(self, experiment: str, sequence: str, repetition: int) -> Path:
        """The file of a trajectory."""
        return path_of(self.store.directory, experiment, sequence, repetition)

    def done(self, experiment: str, sequence: VotSequence, repetition: int) -> bool:
        """Whether a trajectory is stored: a file with a line for each frame."""
        try:
            return self.path(experiment, sequence.name, repetition).read_bytes().count(b"\n") == len(sequence)
        except OSError:
            return False

    def deterministic(self, experiment: str, sequence: VotSequence) -> bool:
        """Whether the first repetitions are stored and equal, so that the others would be, too."""
        if not all(self.done(experiment, sequence, i) for i in range(REPETITIONS_OF_DETERMINISTIC)):
            return False
        paths = [self.path(experiment, sequence.name, i) for i in range(REPETITIONS_OF_DETERMINISTIC)]
        return len({path.read_bytes() for path in paths}) == 1

    def write(self, experiment: str, sequence: str, repetition: int, trajectory: Trajectory) -> None:
        """Stores a trajectory; it counts as done when this returns, and not before."""
        path = self.path(experiment, sequence, repetition)
        try:
            self.store.record_environment()
            write_text(_times(path), "".join(f"{seconds:.6f}\n" for seconds in trajectory.seconds))
            write_results(path, trajectory.boxes, trajectory.codes)
        except OSError as error:
            raise UserError(f"cannot write the results of {sequence} to {path}: {error.strerror or error}") from error

    def read(self, experiment: str, sequence: VotSequence, repeats: int) -> list[Regions]:
        """The stored ones of the first `repeats` repetitions, up to the first that is not."""
        found = []
        for repetition in range(repeats):
            if not self.done(experiment, sequence, repetition):
                break
            found.append(read_trajectory(self.path(experiment, sequence.name, repetition), sequence))
        return found

    def frames_per_second(self, experiment: str, sequence: VotSequence) -> float:
        """Speed of the first repetition, initialisations left out; NaN if unknown."""
        path = self.path(experiment, sequence.name, 0)
        if not self.done(experiment, sequence, 0):
            return float("nan")
        try:
            seconds = np.array([float(x) for x in _times(path).read_text("utf-8").split()])
        except (OSError, ValueError):
            return float("nan")
        codes = read_trajectory(path, sequence).codes
        if len(seconds) != len(codes):
            return float("nan")
        tracked = seconds[(codes == REGION) | (codes == FAILED)]
        return len(tracked) / float(tracked.sum()) if tracked.sum() > 0 else float("nan")


def read_published(folder: Path, benchmark: VotBenchmark, experiment: str = "baseline") -> dict[str, list[Regions]]:
    """Raw results that other trackers' authors published.

    Args:
      folder: holds `<experiment>/<sequence>/<sequence>_001.txt`, or the folders of the sequences themselves.
      benchmark: whose sequences are read; those that the folder lacks are named in a warning.
      experiment: name of the experiment's folder.

    Returns:
      Name of the sequence -> its repetitions: of 15 files all, else the first, as PySOT's toolkit does.

    Raises:
      UserError: the folder has no result of any sequence, or a file is damaged.
    """
    base = folder / experiment if (folder / experiment).is_dir() else folder
    found = {}
    for sequence in benchmark.sequences:
        assert isinstance(sequence, VotSequence)
        paths = _repetitions(base / sequence.name, sequence.name)
        if paths:
            taken = paths if len(paths) == TOOLKIT_REPETITIONS else paths[:1]
            found[sequence.name] = [read_trajectory(path, sequence) for path in taken]
    names = [sequence.name for sequence in benchmark.sequences]
    missing = [name for name in names if name not in found]
    if len(missing) == len(names):
        raise UserError(
            f"{folder} holds no results on {benchmark.title}: expected {experiment}/{names[0]}/{names[0]}_001.txt "
            "and the like"
        )
    if missing:
        _log.warning("%s has no results of %s: scored without", folder, ", ".join(missing))
    return found


def _repetitions(folder: Path, sequence: str) -> Sequence[Path]:
    if not folder.is_dir():
        return []
    pattern = re.compile(rf"{re.escape(sequence)}_\d{{3}}\.txt")
    return sorted(path for path in folder.iterdir() if pattern.fullmatch(path.name))


def _times(path: Path) -> Path:
    return path.with_name(f"{path.stem}_time.value")
