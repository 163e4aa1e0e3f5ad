"""The search for a Siamese tracker's three constants: many triples are replayed, the best few really run.

1. The tracker runs once over every sequence with its current constants and records what its network says.
2. Triples of constants, half of them on a grid and half drawn at random from `RANGES`, track through the recording
   (`jaxtrack.evaluation.replay`); the mean overlap that they reach is a guess.
3. The best few by that guess, and the current constants, run over all sequences as `jaxtrack evaluate` would run them.
   The highest AUC wins, the current constants where nothing is better. The middle one and the worst of the guess run
   too: without them the rank correlation of guess and AUC would be that of triples that the guess takes for equal.

Constants are to be found on a validation set (`VALIDATION_SETS`). Whatever else they are found on is a test benchmark:
their configuration says so in `tuned_on`, and results on that benchmark are no fair test any more. The AUC of the
winner is optimistic on any set that it was chosen on.
"""

import dataclasses
import json
import math
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from jaxtrack import running, trackers
from jaxtrack.data.sequences import Sequence as VideoSequence
from jaxtrack.errors import UserError
from jaxtrack.evaluation import metrics, protocols, provenance, replay
from jaxtrack.evaluation.progress import Reporter
from jaxtrack.evaluation.replay import RANGES
from jaxtrack.evaluation.runner import finite_boxes
from jaxtrack.files import replacing
from jaxtrack.tracker import Tracker
from jaxtrack.trackers.siamese import Config, Parts

VALIDATION_SETS = frozenset({"procedural", "procedural-full"})
"""Benchmarks that no paper reports: what is tuned on them is not tuned on a test."""

_DECIMALS = 4  # of the constants, so that a file shows those that were run, and of boxes, as they are stored
_LINE = 118


@dataclasses.dataclass(frozen=True)
class Trial:
    """One triple of constants.

    Attributes:
      penalty: as in `Config`.
      window_influence: as in `Config`.
      smoothing: as in `Config`.
      origin: `current`, `grid` or `random`.
      overlap: mean overlap in the replay, the guess.
      auc: AUC of the true run; None if it was not run.
    """

    penalty: float
    window_influence: float
    smoothing: float
    origin: str
    overlap: float
    auc: float | None = None

    @property
    def constants(self) -> dict[str, float]:
        """The fields of `Config` that were tried."""
        return {name: getattr(self, name) for name in RANGES}


@dataclasses.dataclass(frozen=True)
class Tuning:
    """A finished search.

    Attributes:
      trials: the current constants, then all triples.
      chosen: which of them won.
      correlation: Spearman's rank correlation of overlap and AUC over the triples that were run; NaN for equal ranks.
      frames: frames that were recorded.
      restarts: how often the tracker had lost the target while they were.
      bytes_per_frame: memory of the recording.
      seconds: wall time of the stages `record`, `replay`, `run`, compiling included.
    """

    trials: tuple[Trial, ...]
    chosen: int
    correlation: float
    frames: int
    restarts: int
    bytes_per_frame: float
    seconds: dict[str, float]

    @property
    def winner(self) -> Trial:
        """The trial that won."""
        return self.trials[self.chosen]

    @property
    def current(self) -> Trial:
        """The constants that the search began with."""
        return self.trials[0]

    @property
    def improved(self) -> bool:
        """Whether a triple had a higher AUC than the current constants."""
        return self.chosen != 0

    @property
    def run(self) -> list[Trial]:
        """The trials that were run, the highest AUC first."""
        return sorted((trial for trial in self.trials if trial.auc is not None), key=lambda trial: -(trial.auc or 0))


# --- the search ----------------------------------------------------------------------------------------------------


def draw_triples(count: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """Triples (penalty, window_influence, smoothing) and whether each is of the grid or random.

    Args:
      count: how many; the grid is the finest cube of cells' middles that has at most half of them.
      seed: of the random ones.

    Returns:
      `float64 [count, 3]` within `RANGES`, four decimals; `grid` or `random` for each.
    """
    low, high = np.asarray(list(RANGES.values())).T
    edge = next(n for n in range(count + 1) if (n + 1) ** 3 > count // 2)
    middles = (np.arange(edge) + 0.5) / max(edge, 1)
    shares = np.stack(np.meshgrid(middles, middles, middles, indexing="ij"), axis=-1).reshape(-1, 3)
    drawn = np.random.default_rng(seed).random((count - len(shares), 3))
    triples = low + np.concatenate([shares, drawn]) * (high - low)
    return np.round(triples, _DECIMALS), ["grid"] * len(shares) + ["random"] * len(drawn)


def tune(
    parts: Parts,
    weights: Any,
    sequences: Sequence[VideoSequence],
    *,
    trials: int,
    seed: int = 0,
    finalists: int = 8,
    reporter: Reporter | None = None,
) -> Tuning:
    """Searches the constants (see the module's docstring).

    Args:
      parts: the tracker with its current constants.
      weights: what its network is applied with.
      sequences: the annotated videos.
      trials: number of triples besides the current one, at least 1.
      seed: of the random triples.
      finalists: how many of the best triples are run.
      reporter: hears of the progress; a replay counts as one pass over the frames.

    Raises:
      UserError: a sequence cannot be tracked, or none shows its target after the first frame.
    """
    reporter, seconds = reporter or Reporter(), {}
    drawn, origins = draw_triples(trials, seed)
    triples = np.concatenate([[[getattr(parts.config, name) for name in RANGES]], drawn])  # [1 + trials, 3]
    frames = sum(len(sequence) for sequence in sequences)
    reporter.begin(frames * (2 + len(_to_run(np.arange(len(triples)), finalists))))
    with _timed(seconds, "record"):
        variable = replay.Variable(weights, replay.as_constants(triples[0]))
        recording = replay.record(parts, variable, sequences, reporter)
    with _timed(seconds, "replay"):
        overlaps = _replayed(parts, recording, triples, frames, reporter)
    with _timed(seconds, "run"):
        chosen = _to_run(overlaps, finalists)
        aucs = dict(zip(chosen, _aucs(parts, weights, triples[chosen], sequences, reporter), strict=True))
    made = tuple(
        Trial(float(triple[0]), float(triple[1]), float(triple[2]), origin, float(overlap), aucs.get(i))
        for i, (triple, origin, overlap) in enumerate(zip(triples, ["current", *origins], overlaps, strict=True))
    )
    return _tuning(made, chosen, recording, seconds)


def _aucs(
    parts: Parts, weights: Any, triples: np.ndarray, sequences: Sequence[VideoSequence], reporter: Reporter
) -> list[float]:
    """The AUC of the true run of each of some triples, `[count, 3]`."""
    tracker = replay.variable_tracker(parts)
    variables = [replay.Variable(weights, replay.as_constants(triple)) for triple in triples]
    return [_auc(tracker, each, sequences, f"triple {i}", reporter) for i, each in enumerate(variables, start=1)]


def _tuning(
    made: tuple[Trial, ...], ran: Sequence[int], recording: replay.Recording, seconds: dict[str, float]
) -> Tuning:
    """The search in which these trials were made; `ran` says which were run, in their order."""
    overlaps, aucs = zip(*((made[i].overlap, made[i].auc or 0.0) for i in ran), strict=True)
    return Tuning(
        made,
        ran[int(np.argmax(aucs))],  # of equals the first, which is the current one
        metrics.rank_correlation(overlaps, aucs),
        recording.frames,
        int(np.sum(recording.restarted)),
        recording.bytes_per_frame,
        seconds,
    )


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start


def _to_run(overlaps: np.ndarray, finalists: int) -> list[int]:
    """The current triple (0), the best of the others by their overlap, and the middle and the last one."""
    order = [int(i) for i in np.argsort(-overlaps, kind="stable") if i != 0]
    return list(dict.fromkeys([0, *order[:finalists], order[len(order) // 2], order[-1]]))


def _replayed(
    parts: Parts, recording: replay.Recording, triples: np.ndarray, frames: int, reporter: Reporter
) -> np.ndarray:
    """The replay of all triples, reported as one pass over the frames."""

    def advance(done: int) -> None:
        reporter.frames(frames * done // len(triples))

    reporter.sequence("replaying", f"{len(triples)} triples", frames)
    overlaps = replay.replayed_overlap(parts, recording, triples, advance)
    reporter.finished()
    return overlaps


def _auc(
    tracker: Tracker, variable: replay.Variable, sequences: Sequence[VideoSequence], label: str, reporter: Reporter
) -> float:
    """AUC over the sequences, of boxes as they would be stored."""
    scores = []
    for sequence in sequences:
        reporter.sequence(label, sequence.name, len(sequence))
        track = running.run(tracker, variable, sequence, sequence.boxes[0], on_progress=reporter.frames)
        rows = np.round(finite_boxes(track.boxes)[0].astype(np.float64), _DECIMALS)
        scores.append(protocols.score(rows, sequence))
        reporter.finished()
    return metrics.average(scores).auc


# --- the result ----------------------------------------------------------------------------------------------------


def tuned_on(tuning: Tuning, config: Config, benchmark: str) -> str:
    """The label of the winner's configuration: the test benchmarks that it was chosen on, "" if there are none."""
    before = config.tuned_on if tuning.chosen == 0 else ""
    return ", ".join(filter(None, [before, "" if benchmark in VALIDATION_SETS else benchmark]))


def winning_config(tuning: Tuning, config: Config, benchmark: str) -> Config:
    """The configuration with the constants that won, labelled."""
    return dataclasses.replace(config, **tuning.winner.constants, tuned_on=tuned_on(tuning, config, benchmark))


def warning(benchmark: str) -> str:
    """A sentence on constants that were found on a test benchmark; "" for a validation set."""
    if benchmark in VALIDATION_SETS:
        return ""
    return f"{benchmark} is a test benchmark: with constants that were chosen on it, results there are no fair test."


def write(
    out: Path, tuning: Tuning, config: Config, *, benchmark: str, title: str, command: str, details: dict[str, Any]
) -> list[Path]:
    """Writes `OUT.py`, a config file, and `OUT.json` with all trials, both or neither; returns their paths.

    Args:
      out: path of the config file, ending in `.py`.
      tuning: the search.
      config: the configuration that it began with.
      benchmark: the name of what it was tuned on.
      title: its title, which says how much of it that was.
      command: the command line.
      details: more for the JSON file, as JSON values.

    Raises:
      UserError: the files cannot be written.
    """
    beside = out.with_suffix(".json")
    text = config_text(tuning, config, benchmark=benchmark, title=title, command=command, record=beside.name)
    record = {
        "command": command,
        "benchmark": benchmark,
        "title": title,
        "tuned_on": tuned_on(tuning, config, benchmark),
        "config": provenance.to_json(winning_config(tuning, config, benchmark)),
        "started_from": provenance.to_json(config),
        "ranges": RANGES,
        "replay": {"kept": replay.KEPT, "sync_frames": replay.SYNC_FRAMES},
        **details,
        **dataclasses.asdict(tuning),
        "correlation": tuning.correlation if math.isfinite(tuning.correlation) else None,
    }
    content = json.dumps(record, indent=1, allow_nan=False) + "\n"
    try:
        # Both are complete on the disk before the first takes its place.
        with replacing(out) as file, replacing(beside) as second:
            file.write(text.encode("utf-8"))
            second.write(content.encode("utf-8"))
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror or error}") from error
    return [out, beside]


def _source(value: Any) -> str:
    """A value of a configuration as Python source, with double quotes as the formatter has them."""
    if dataclasses.is_dataclass(value):
        return f"siamese.{value!r}"
    return json.dumps(value) if isinstance(value, str) else repr(value)


def config_text(tuning: Tuning, config: Config, *, benchmark: str, title: str, command: str, record: str) -> str:
    """The config file's text; `record` is the name of the file with all trials, the rest is as in `write`."""
    name, won = trackers.name_of(config), winning_config(tuning, config, benchmark)
    default = trackers.default_config(name)
    fields = ((f.name, getattr(won, f.name), getattr(default, f.name)) for f in dataclasses.fields(won))
    lines = "".join(f"        {key}={_source(value)},\n" for key, value, other in fields if value != other)
    first, about = _told(tuning, name, benchmark, title)
    about = f"{about} All trials are in {record}. {warning(benchmark)}".strip()
    body = textwrap.fill(about, _LINE, break_long_words=False, break_on_hyphens=False)
    docstring = "\n\n".join([first, command, body]).replace("\\", "\\\\").replace('"', '\\"')
    return (
        f'"""{docstring}\n"""\n\n'
        "import dataclasses\n\nfrom jaxtrack.trackers import siamese\n\n\n"
        'def config() -> siamese.Config:\n    """The configuration with the constants that were found."""\n'
        f"    return dataclasses.replace(\n        siamese.CONFIGS[{json.dumps(name)}],\n{lines}    )\n"
    )


def _told(tuning: Tuning, name: str, benchmark: str, title: str) -> tuple[str, str]:
    """What came of the search, in a line and in full."""
    best, before = f"{tuning.winner.auc:.4f}", f"{tuning.current.auc:.4f}"
    if tuning.improved:
        first = f"{name} with constants tuned on {benchmark}: AUC {tuning.winner.auc:.3f} there."
        outcome = f"this one had the highest AUC, {best} after {before}; chosen on the same videos, it is optimistic"
    else:
        first = f"{name} with its constants as they were: a search on {benchmark} found nothing better."
        outcome = f"none had a higher AUC than the {before} of the constants before"
    return first, (
        f"Of {len(tuning.trials) - 1} triples of constants that were replayed on {title}, the best were run beside the "
        f"constants before, {len(tuning.run)} in all: {outcome}. Rank correlation of the replay's overlap and AUC: "
        f"{tuning.correlation:.2f}."
    )
