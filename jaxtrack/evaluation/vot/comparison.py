"""Trackers side by side on a supervised benchmark: their scores, and over which sequences these can be compared."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from jaxtrack.data.regionfiles import Regions
from jaxtrack.data.vot import VotBenchmark, VotSequence
from jaxtrack.evaluation.comparison import remark
from jaxtrack.evaluation.footnotes import Footnotes
from jaxtrack.evaluation.vot import measures
from jaxtrack.evaluation.vot.measures import Rules, SequenceScore
from jaxtrack.evaluation.vot.results import StoredTrajectories
from jaxtrack.weights import places


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """One tracker: one row.

    Attributes:
      name: how tables call it.
      run_id: where the numbers come from.
      scores: for each experiment the score of each sequence, by name.
      fps: frames per second by sequence; empty if unknown.
      tuned_on: the benchmark on whose test data the tracker's constants were chosen; empty if none.
      chosen_on: the test data on which its weights were chosen among others; empty if none.
      trained_on: which of the scored sequences its weights were trained on; empty if none.
      folder: that of published results, as it was given; empty for runs of jaxtrack's own.
    """

    name: str
    run_id: str
    scores: Mapping[str, Mapping[str, SequenceScore]]
    fps: Mapping[str, float] = dataclasses.field(default_factory=dict)
    tuned_on: str = ""
    chosen_on: str = ""
    trained_on: str = ""
    folder: str = ""

    @property
    def remark(self) -> str:
        """On which test data the tracker was tuned, or its weights were chosen or trained; empty if on none."""
        return remark(self.tuned_on, self.chosen_on, self.trained_on)


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """Trackers on one benchmark, or the part of it that is at hand.

    Attributes:
      benchmark: the sequences.
      experiment: name of the experiment.
      interval: of EAO; None where there is none.
      results: the rows.
      practical: where ranks are asked for, mean overlaps that differ by no more than this share one; else None.
    """

    benchmark: VotBenchmark
    experiment: str
    interval: tuple[int, int] | None
    results: Sequence[Result]
    practical: float | None = None

    @property
    def title(self) -> str:
        """What headlines print."""
        return f"supervised ({self.experiment}) on {self.benchmark.title}"

    def covered(self, result: Result) -> list[str]:
        """The sequences that a tracker has, in the benchmark's order."""
        return [s.name for s in self.benchmark.sequences if s.name in result.scores[self.experiment]]

    @property
    def comparable(self) -> list[bool]:
        """Which rows cover the largest set of sequences that any of them covers."""
        covered = [self.covered(result) for result in self.results]
        most = max(covered, key=len, default=[])
        return [names == most for names in covered]

    @property
    def notes(self) -> Footnotes:
        """The remarks that readers must be shown of the rows."""
        return Footnotes(result.remark for result in self.results)

    @property
    def ranked(self) -> bool:
        """Whether ranks are asked for and there is something to rank by."""
        return self.practical is not None and len(self.results) > 1 and bool(self.shared)

    @property
    def shared(self) -> list[str]:
        """The sequences that all trackers have, in the benchmark's order."""
        found = [result.scores[self.experiment] for result in self.results]
        return [s.name for s in self.benchmark.sequences if all(s.name in scores for scores in found)]

    def eao(self, result: Result, tag: str | None = None) -> float:
        """Expected average overlap of a tracker, NaN without an interval; with a tag, segments weighed by it."""
        names = self.covered(result)
        if self.interval is None or not names:
            return float("nan")
        sequences = [s for s in self.benchmark.sequences if s.name in names and isinstance(s, VotSequence)]
        tagged = None if tag is None else [sequence.tagged(tag) for sequence in sequences]
        scores = [result.scores[self.experiment][name] for name in names]
        return measures.average_overlap(measures.expected_overlaps(scores, tagged), self.interval)


def score_all(
    trajectories: Mapping[str, Sequence[Regions]], benchmark: VotBenchmark, rules: Rules
) -> dict[str, SequenceScore]:
    """The scores of the sequences that have a trajectory."""
    return {
        sequence.name: measures.score(
            trajectories[sequence.name],
            sequence.regions,
            # Where nothing is bounded by it, it may be unknown: results are scored without images, too.
            sequence.size if rules.bounded else (0, 0),
            rules,
        )
        for sequence in benchmark.sequences
        if isinstance(sequence, VotSequence) and trajectories.get(sequence.name)
    }


def from_stored(
    stored: StoredTrajectories, benchmark: VotBenchmark, experiments: Iterable[str], rules: Rules, repeats: int
) -> Result:
    """The row of one of our own runs."""
    experiments = tuple(experiments)
    sequences = [sequence for sequence in benchmark.sequences if isinstance(sequence, VotSequence)]
    scores = {
        experiment: score_all(
            {sequence.name: stored.read(experiment, sequence, repeats) for sequence in sequences}, benchmark, rules
        )
        for experiment in experiments
    }
    return Result(
        stored.store.tracker,
        stored.store.id,
        scores,
        {sequence.name: stored.frames_per_second(experiments[0], sequence) for sequence in sequences},
        stored.store.identity["config"].get("tuned_on", ""),
        places.chosen_on(stored.store.identity.get("weights_sha256")),
    )
