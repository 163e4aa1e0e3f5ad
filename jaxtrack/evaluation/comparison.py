"""What tables and plots show: the scores of several trackers on the sequences of one benchmark."""

import dataclasses
import statistics
from collections.abc import Iterable, Mapping

import numpy as np

from jaxtrack.data.sequences import Benchmark
from jaxtrack.evaluation import metrics, protocols, provenance, starts
from jaxtrack.evaluation.store import StoredRun
from jaxtrack.weights import places

_DIGITS = 12  # of a sha256, as of a run's id
# Full names of the attribute labels, as the OTB papers print them in the titles of their plots.
ATTRIBUTES: Mapping[str, str] = {
    "IV": "illumination variation",
    "SV": "scale variation",
    "OCC": "occlusion",
    "DEF": "deformation",
    "MB": "motion blur",
    "FM": "fast motion",
    "IPR": "in-plane rotation",
    "OPR": "out-of-plane rotation",
    "OV": "out of view",
    "BC": "background clutter",
    "LR": "low resolution",
    # UAV123 and LaSOT.
    "ARC": "aspect ratio change",
    "FOC": "full occlusion",
    "POC": "partial occlusion",
    "VC": "viewpoint change",
    "CM": "camera motion",
    "SOB": "similar object",
    "ROT": "rotation",
    # UAVDT.
    "CR": "camera rotation",
    "OR": "object rotation",
    "SO": "small object",
    "OB": "object blur",
    "LO": "large occlusion",
}


@dataclasses.dataclass(frozen=True)
class Spread:
    """Mean and spread of one number over repeated runs (seeds).

    Attributes:
      mean: the mean; NaN if the number is not defined.
      std: sample standard deviation (n - 1 in the denominator); None for a single run.
      runs: how many runs.
    """

    mean: float
    std: float | None
    runs: int

    def __str__(self) -> str:
        if np.isnan(self.mean):
            return "-"
        return f"{self.mean:.3f}" if self.std is None else f"{self.mean:.3f} ± {self.std:.3f}"


def spread(values: Iterable[float]) -> Spread:
    """Mean and sample standard deviation of one number per run."""
    values = [float(v) for v in values]
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(mean=float(np.mean(values)), std=std, runs=len(values))


def remark(tuned_on: str, chosen_on: str, trained_on: str) -> str:
    """What readers must be told of a tracker: on which test data it was tuned, or its weights chosen or trained."""
    remarks = {"tuned on": tuned_on, "weights chosen on": chosen_on, "weights trained on": trained_on}
    return "; ".join(f"{how} {what}" for how, what in remarks.items() if what)


@dataclasses.dataclass(frozen=True, eq=False)
class TrackerResult:
    """One tracker, run once or with several seeds: one row of a table, one curve of a plot.

    Attributes:
      name: how tables and plots call it.
      run_ids: where each run's numbers come from, e.g. the config hash; as many as `scores`.
      scores: for each run the score of each sequence, by the sequence's name.
      fps: median over the runs of the frames per second, by the sequence's name; without those that are unknown, such
        as of sequences that shared the machine with others.
      tuned_on: the benchmark on whose test data the tracker's constants were chosen; empty if none.
      chosen_on: the test data on which its weights were chosen among others; empty if none.
      trained_on: which of the scored sequences its weights were trained on (`trained_on.remark`); empty if none.
      folder: that of published results, as it was given; empty for runs of jaxtrack's own.
      boxes: of the first run, `[M, 4]`, (x, y, w, h), pixels, by the sequence's name; empty where they are not kept.
      pooled: whether sequences weigh as much as they have frames, see `metrics.average`.
    """

    name: str
    run_ids: tuple[str, ...]
    scores: tuple[Mapping[str, metrics.SequenceScore], ...]
    fps: Mapping[str, float] = dataclasses.field(default_factory=dict)
    tuned_on: str = ""
    chosen_on: str = ""
    trained_on: str = ""
    folder: str = ""
    boxes: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    pooled: bool = False

    def __post_init__(self):
        if not self.scores or len(self.scores) != len(self.run_ids):
            raise ValueError(f"{self.name}: {len(self.scores)} runs with {len(self.run_ids)} run ids")

    @property
    def remark(self) -> str:
        """On which test data the tracker was tuned, or its weights were chosen or trained; empty if on none."""
        return remark(self.tuned_on, self.chosen_on, self.trained_on)

    @property
    def label(self) -> str:
        """The name with the remark: what readers must be shown of the tracker."""
        return f"{self.name} ({self.remark})" if self.remark else self.name

    def covered(self, sequences: Iterable[str]) -> tuple[str, ...]:
        """Those of `sequences` that every run has, in the given order."""
        return tuple(name for name in sequences if all(name in run for run in self.scores))

    def benchmark_scores(self, sequences: Iterable[str]) -> list[metrics.BenchmarkScore]:
        """For each run the average over those of `sequences` that every run has; empty if there is none."""
        covered = self.covered(sequences)
        if not covered:
            return []
        return [metrics.average((run[name] for name in covered), pooled=self.pooled) for run in self.scores]

    def headline(self, metric: str, sequences: Iterable[str]) -> Spread:
        """Spread over the runs of the benchmark's mean of `metric` (see `metrics.metric_named`)."""
        values = [metrics.metric_named(metric).of(score) for score in self.benchmark_scores(sequences)]
        return spread(values) if values else Spread(mean=float("nan"), std=None, runs=len(self.scores))

    def on_sequence(self, metric: str, sequence: str) -> Spread:
        """Spread over the runs of `metric` on one sequence that every run has."""
        return spread(metrics.metric_named(metric).of(run[sequence]) for run in self.scores)

    def median_fps(self, sequences: Iterable[str]) -> float:
        """Median over the sequences of the frames per second; NaN if unknown."""
        known = [self.fps[name] for name in sequences if np.isfinite(self.fps.get(name, np.nan))]
        return statistics.median(known) if known else float("nan")


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """Trackers on the sequences of one benchmark, or of the part of it that is at hand.

    Attributes:
      benchmark: the benchmark's short name, e.g. `otb100`.
      title: what headlines print; says so when the list is only a part of the benchmark.
      sequences: the names of the list, in the benchmark's order.
      attributes: the labels of each sequence, by its name.
      trackers: the rows, in the caller's order.
      protocol: e.g. `OPE`.
      rules: how the trackers were scored.
      norm_precision: whether the printed table has normalised precision, too; files have it where it was measured.
    """

    benchmark: str
    title: str
    sequences: tuple[str, ...]
    attributes: Mapping[str, frozenset[str]]
    trackers: tuple[TrackerResult, ...]
    protocol: str = "OPE"
    rules: protocols.Protocol = protocols.OTB
    norm_precision: bool = False

    @property
    def printed(self) -> Mapping[str, metrics.Metric]:
        """The headline numbers of the printed table, which is 80 columns wide."""
        return {
            key: metric
            for key, metric in self.metrics.items()
            if self.norm_precision or key not in metrics.NORM_METRICS
        }

    @property
    def metrics(self) -> Mapping[str, metrics.Metric]:
        """The headline numbers of the files."""
        if self.rules.pooled:
            return metrics.GOT10K_METRICS
        scores = [score for tracker in self.trackers for run in tracker.scores for score in run.values()]
        measured = bool(scores) and all(score.norm_precision is not None for score in scores)
        return {**metrics.METRICS, **(metrics.NORM_METRICS if measured else {})}

    @property
    def primary(self) -> str:
        """The metric that tables of sequences and attributes show."""
        return "ao" if self.rules.pooled else "auc"

    def labels(self) -> list[str]:
        """The attribute labels that occur, in the papers' order, others after them alphabetically."""
        found = set().union(*(self.attributes.get(name, frozenset()) for name in self.sequences))
        return [x for x in ATTRIBUTES if x in found] + sorted(found - ATTRIBUTES.keys())

    def with_attribute(self, label: str) -> "Comparison":
        """The same trackers on the sequences that carry `label`."""
        names = tuple(x for x in self.sequences if label in self.attributes.get(x, frozenset()))
        title = f"{self.title}, {ATTRIBUTES.get(label, label)} ({len(names)})"
        return dataclasses.replace(self, title=title, sequences=names)

    def shared(self) -> tuple[str, ...]:
        """The sequences that every tracker has: only on these are all rows comparable."""
        names = self.sequences
        for tracker in self.trackers:
            names = tracker.covered(names)
        return names


@dataclasses.dataclass(frozen=True)
class Standing:
    """How a tracker stands among others, sequence by sequence as the DeepTrack paper counts it.

    Attributes:
      first: on how many sequences no other tracker is better; ties count for each tracker.
      far_behind: on how many sequences it stays below the given fraction of the best.
      sequences: how many sequences were compared: those that every tracker has.
    """

    first: int
    far_behind: int
    sequences: int


def standings(comparison: Comparison, metric: str = "auc", *, fraction: float = 0.8) -> dict[str, Standing]:
    """First places and sequences below `fraction` of the best, for each tracker, by a metric's mean over its runs.

    A sequence on which every tracker scores 0 (or whose metric is undefined) gives neither.
    """
    shared = comparison.shared()
    # [trackers, sequences]
    values = np.array([[t.on_sequence(metric, name).mean for name in shared] for t in comparison.trackers])
    best = values.max(axis=0, initial=0.0)
    first = (values == best) & (best > 0)
    behind = values < fraction * best
    return {
        tracker.name: Standing(int(first[i].sum()), int(behind[i].sum()), len(shared))
        for i, tracker in enumerate(comparison.trackers)
    }


def compare(
    benchmark: Benchmark,
    results: Iterable[TrackerResult],
    *,
    protocol: str = "OPE",
    rules: protocols.Protocol = protocols.OTB,
) -> Comparison:
    """Results on the sequences of `benchmark`, ready for tables and plots; `rules` are those they were scored by."""
    return Comparison(
        benchmark=benchmark.name,
        title=benchmark.title,
        sequences=tuple(s.name for s in benchmark.sequences),
        attributes={s.name: s.attributes for s in benchmark.sequences},
        trackers=tuple(results),
        protocol=protocol if rules == protocols.OTB else f"{protocol} ({rules.name})",
        rules=rules,
        norm_precision=benchmark.norm_precision,
    )


def from_runs(
    benchmark: Benchmark,
    runs: Iterable[StoredRun],
    *,
    rules: protocols.Protocol = protocols.OTB,
    kind: str = starts.OPE,
) -> list[TrackerResult]:
    """Scores of stored runs; runs that differ in nothing but the seed become one tracker's repeats.

    A tracker stored under several configs gives several results, told apart by the first run's id in the name, or by
    the weights' sha256 where they differ in nothing else.

    Args:
      benchmark: the sequences to score; those that a run lacks are left out of its scores.
      runs: stored runs; those on other benchmarks are passed over.
      rules: how to score.
      kind: which runs of a sequence, see `starts`.
    """
    groups: dict[str, list[StoredRun]] = {}
    for run in (run for run in runs if run.benchmark == starts.stored_name(benchmark.name, kind)):
        groups.setdefault(run.group, []).append(run)
    for group in groups.values():
        group.sort(key=lambda run: run.seed)
    firsts = [group[0] for group in groups.values()]
    return [_tracker_result(_shown(group[0], firsts), group, benchmark, rules, kind) for group in groups.values()]


def _shown(run: StoredRun, others: Iterable[StoredRun]) -> str:
    """What tables call a run: its tracker, and where `others` have the same one, what tells it from them."""
    same = [other.identity for other in others if other.tracker == run.tracker]
    if len(same) == 1:
        return run.tracker
    weights = run.identity.get("weights_sha256")
    besides = {provenance.short_hash({**each, "seed": None, "weights_sha256": None}) for each in same}
    return f"{run.tracker} ({f'weights {weights[:_DIGITS]}' if weights and len(besides) == 1 else run.id})"


def _tracker_result(
    name: str, group: list[StoredRun], benchmark: Benchmark, rules: protocols.Protocol, kind: str
) -> TrackerResult:
    scores: list[dict[str, metrics.SequenceScore]] = []
    speeds: dict[str, list[float]] = {}
    boxes: dict[str, np.ndarray] = {}
    for run in group:
        scores.append({})
        for sequence in benchmark.sequences:
            begun = starts.starts(sequence, kind)
            if not all(run.done(start.name, len(sequence) - start.frame) for start in begun):
                continue
            found = [run.read(start.name) for start in begun]
            parts = [
                protocols.score(result.boxes, starts.from_frame(sequence, start.frame), rules)
                for start, result in zip(begun, found, strict=True)
            ]
            scores[-1][sequence.name] = metrics.pool(parts)
            known = [result.fps for result in found if np.isfinite(result.fps)]
            if known:
                speeds.setdefault(sequence.name, []).append(statistics.median(known))
            if run is group[0] and kind == starts.OPE:
                boxes[sequence.name] = found[0].boxes
    return TrackerResult(
        name=name,
        run_ids=tuple(run.id for run in group),
        scores=tuple(scores),
        fps={sequence: statistics.median(values) for sequence, values in speeds.items()},
        tuned_on=group[0].identity["config"].get("tuned_on", ""),
        chosen_on=places.chosen_on(group[0].identity.get("weights_sha256")),
        boxes=boxes,
        pooled=rules.pooled,
    )
