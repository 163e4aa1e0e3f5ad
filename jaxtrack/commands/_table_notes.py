"""Lines below the table of an evaluation: where weights came from, and what fps does not tell."""

import math
import statistics
from collections.abc import Sequence

from jaxtrack import trackers
from jaxtrack.data.sequences import Benchmark
from jaxtrack.evaluation.runner import Entry
from jaxtrack.evaluation.store import StoredRun


def weights(entries: Sequence[Entry]) -> list[str]:
    """For each tracker with weights their file: a name may mean one of the user's, or one that comes with jaxtrack."""
    files = {entry.label: trackers.weights_file(entry.config) for entry in entries}
    return [f"{label}: weights {path}" for label, path in files.items() if path is not None]


def speeds(benchmark: Benchmark, stores: Sequence[StoredRun]) -> list[str]:
    """For each tracker the median time of its first frames, which fps does not contain, and whose fps is not known."""
    seconds: dict[str, list[float]] = {}
    shared: dict[str, list[str]] = {}
    for stored in stores:
        for result in map(stored.read, [sequence.name for sequence in benchmark.sequences]):
            if result.shared_by:
                shared.setdefault(stored.tracker, []).append(result.shared_by)
            elif math.isfinite(result.seconds[0]):
                seconds.setdefault(stored.tracker, []).append(result.seconds[0])
    lines = [
        f"{name}: {statistics.median(times):.3f} s to start on a sequence (median); fps counts the frames after it"
        for name, times in seconds.items()
    ]
    return lines + [
        f"{name}: no fps of sequences that shared the machine, {len(each)} ({', '.join(sorted(set(each)))})"
        for name, each in shared.items()
    ]
