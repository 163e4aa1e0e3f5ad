"""One sequence by the supervised protocol: a tracker that has lost its target is started again five frames later.

A restart is a fresh tracker: nothing of what it has learnt is kept. Repetitions are run by a `Runs`: sessions one after
another (`SessionRuns`, any tracker), or lanes of one program (`LaneRuns`, trackers in JAX).
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import cv2
import numpy as np

from jaxtrack.data.regionfiles import FAILED, REGION, SKIPPED, STARTED, StartBox, corners_of_boxes
from jaxtrack.data.vot import VotSequence
from jaxtrack.evaluation.runner import session_seed
from jaxtrack.evaluation.vot.measures import SKIP, Rules
from jaxtrack.evaluation.vot.regions import overlaps
from jaxtrack.lanes import Lanes
from jaxtrack.tracker import Prediction, Tracker

_NOISE = 0.1
_DECIMALS = 4  # of the result files: what is judged is what will be read
_PROGRESS_EVERY_FRAMES = 4


class Runs(Protocol):
    """Repetitions that are run together, frame by frame; run number i has the seed `seeds[i]`."""

    seeds: Sequence[int]

    @property
    def compile_seconds(self) -> float:
        """What compiling has taken so far."""
        ...

    def start(self, run: int, image: np.ndarray, box: np.ndarray, name: str) -> None:
        """Starts a run afresh; `name` takes part in its random key."""
        ...

    def update(self, image: np.ndarray, running: Sequence[int]) -> np.ndarray:
        """The boxes of the next frame, `[runs, 4]`; only rows of `running` mean something."""
        ...


class SessionRuns:
    """Runs as sessions: `begin(seed, name)` makes a fresh one, with `init(image, box)` and `update(image)`."""

    def __init__(
        self,
        begin: Callable[[int, str], Any],
        seeds: Sequence[int],
        compiled: Callable[[], float] = lambda: 0.0,
    ):
        self.seeds = seeds
        self._begin, self._compiled = begin, compiled
        self._sessions: dict[int, Any] = {}

    @property
    def compile_seconds(self) -> float:
        """See `Runs`."""
        return self._compiled()

    def start(self, run: int, image: np.ndarray, box: np.ndarray, name: str) -> None:
        """See `Runs`."""
        self._sessions[run] = self._begin(self.seeds[run], name)
        self._sessions[run].init(image, box)

    def update(self, image: np.ndarray, running: Sequence[int]) -> np.ndarray:
        """See `Runs`."""
        boxes = np.full((len(self.seeds), 4), np.nan)
        for run in running:
            prediction: Prediction = self._sessions[run].update(image)
            boxes[run] = prediction.box
        return boxes


class LaneRuns:
    """Runs as lanes of one program; lanes whose run waits for its restart move on too, and are not looked at."""

    def __init__(self, tracker: Tracker, params: Any, seeds: Sequence[int]):
        self.seeds = seeds
        self._lanes = Lanes(tracker, params, len(seeds))

    @property
    def compile_seconds(self) -> float:
        """See `Runs`."""
        return self._lanes.compile_seconds

    def start(self, run: int, image: np.ndarray, box: np.ndarray, name: str) -> None:
        """See `Runs`."""
        self._lanes.init(run, image, box, seed=self.seeds[run], name=name)

    def update(self, image: np.ndarray, running: Sequence[int]) -> np.ndarray:
        """See `Runs`."""
        del running
        return np.asarray(self._lanes.update(image).box, np.float64)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What trackers are shown: `image` changes the images, `box` the boxes they start from, given a generator.

    A box that would leave the image altogether is not changed.
    """

    image: Callable[[np.ndarray], np.ndarray] = lambda image: image
    box: Callable[[np.ndarray, np.random.Generator], np.ndarray] = lambda box, random: box


def _grey(image: np.ndarray) -> np.ndarray:
    return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=-1)


def _noisy(box: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Position and size moved by up to a tenth of the size, uniformly."""
    shift = random.uniform(-_NOISE, _NOISE, 4) * np.tile(box[2:], 2)
    return box + shift


EXPERIMENTS: Mapping[str, Experiment] = MappingProxyType(
    {"baseline": Experiment(), "region_noise": Experiment(box=_noisy), "grey": Experiment(image=_grey)}
)


@dataclasses.dataclass(frozen=True, eq=False)
class Trajectory:
    """A run over N frames.

    Attributes:
      boxes: `float64 [N, 4]`, (x, y, w, h), four decimals; NaN where there is a code.
      codes: `int8 [N]`, see `jaxtrack.data.regionfiles`.
      seconds: `float64 [N]`, time of each frame without decoding and compiling; 0 where the tracker waited.
    """

    boxes: np.ndarray
    codes: np.ndarray
    seconds: np.ndarray


def run(
    sequence: VotSequence,
    runs: Runs,
    *,
    experiment: str = "baseline",
    start_box: StartBox = "area",
    rules: Rules | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> list[Trajectory]:
    """Runs a tracker over a sequence, as often as `runs` says, side by side.

    A run fails in the frame in which its box and the annotation share no pixel. It starts again `measures.SKIP` frames
    later, or in the first frame after that whose target is annotated and inside the image.

    Args:
      sequence: the video.
      runs: the repetitions.
      experiment: one of `EXPERIMENTS`.
      start_box: how polygons become boxes to start from, see `Regions.start_boxes`.
      rules: of the overlap.
      on_progress: called with the number of frames done.

    Returns:
      A trajectory for each run; a function of (tracker, sequence, seed, number of runs and these options).
    """
    rules = rules or Rules()
    shown, overlap = EXPERIMENTS[experiment], functools.partial(_overlap, sequence, rules)
    starts, inside = sequence.regions.start_boxes(start_box), functools.partial(_inside, sequence.size)
    startable = sequence.regions.present & inside(starts)
    count = len(sequence)
    done = [
        Trajectory(np.full((count, 4), np.nan), np.full(count, SKIPPED, np.int8), np.zeros(count)) for _ in runs.seeds
    ]
    restart: dict[int, int] = dict.fromkeys(range(len(done)), 0)  # runs that wait -> the frame for which they do
    for t in range(count):
        running = [i for i in range(len(done)) if i not in restart]
        due = [i for i, frame in restart.items() if frame <= t and startable[t]]
        if running or due:
            image = shown.image(sequence[t])
            boxes, seconds = _timed(runs, functools.partial(runs.update, image, running)) if running else (None, 0.0)
            for i in running:
                assert boxes is not None
                done[i].seconds[t] = seconds / len(running)
                if _judge(done[i], t, np.round(boxes[i], _DECIMALS), overlap):
                    restart[i] = t + SKIP
            for i in due:
                del restart[i]
                name = sequence.name if t == 0 else f"{sequence.name}@{t}"
                random = np.random.default_rng(session_seed(runs.seeds[i], f"{experiment}/{name}"))
                changed = shown.box(starts[t], random)
                begin = functools.partial(runs.start, i, image, changed if inside(changed) else starts[t], name)
                _, done[i].seconds[t] = _timed(runs, begin)
                done[i].codes[t] = STARTED
        if on_progress is not None and (t % _PROGRESS_EVERY_FRAMES == 0 or t == count - 1):
            on_progress(t + 1)
    return done


def _judge(trajectory: Trajectory, t: int, box: np.ndarray, overlap: Callable[[np.ndarray, int], float | None]) -> bool:
    """Notes what a tracker says of frame t; whether it has failed."""
    value = overlap(box, t)
    failed = value is not None and not value > 0  # NaN, of a box that is not finite, is a failure
    if failed:
        trajectory.codes[t] = FAILED
    elif np.isfinite(box).all():
        trajectory.codes[t], trajectory.boxes[t] = REGION, box
    return failed


def _overlap(sequence: VotSequence, rules: Rules, box: np.ndarray, t: int) -> float | None:
    """Overlap with the annotation of frame t; None where it has none."""
    if not sequence.regions.present[t]:
        return None
    bounds = sequence.size if rules.bounded else None
    truth = sequence.regions.corners[t : t + 1]
    return float(overlaps(corners_of_boxes(box[None]), truth, bounds, rules.drawing)[0])


def _inside(size: tuple[int, int], boxes: np.ndarray) -> np.ndarray:
    """`bool [...]`: which of the boxes `[..., 4]` a tracker can start from in images of a size (width, height)."""
    x, y, w, h = np.moveaxis(np.asarray(boxes, np.float32).astype(np.float64), -1, 0)  # as trackers are given them
    return (x < size[0]) & (y < size[1]) & (x + w > 0) & (y + h > 0) & (w > 0) & (h > 0)


def _timed(runs: Runs, work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` returns and the seconds that it took, compiling left out."""
    compiled, start = runs.compile_seconds, time.perf_counter()
    value = work()
    return value, max(time.perf_counter() - start - (runs.compile_seconds - compiled), 0.0)
