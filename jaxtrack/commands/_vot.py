"""The part of `evaluate` that is about VOT's benchmarks: options, supervised runs, tables."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from rich.console import Console

from jaxtrack.commands._options import Switch, shown_as
from jaxtrack.commands._tracker_choice import split_list
from jaxtrack.data.naming import match_name
from jaxtrack.data.vot import VotBenchmark, VotSequence
from jaxtrack.errors import UserError
from jaxtrack.evaluation import trained_on
from jaxtrack.evaluation.runner import Entry
from jaxtrack.evaluation.vot import interval, measures, results, runner, supervised, tables
from jaxtrack.evaluation.vot.comparison import Comparison, Result, from_stored, score_all
from jaxtrack.evaluation.vot.results import StoredTrajectories


@dataclasses.dataclass(frozen=True)
class Options:
    """The supervised protocol of the VOT benchmarks (docs/protocols.md)."""

    experiments: Annotated[str, shown_as("A,B")] = "baseline"
    """Experiments, separated by commas: baseline, region_noise (first boxes moved by up to a tenth), grey."""
    eao_interval: Annotated[str, shown_as("LOW-HIGH|auto")] = ""
    """Lengths over which EAO is averaged; auto: from the sequences' lengths. By default the edition's, or auto where
    only a part of it is scored; VOT2013 and VOT2014 have no EAO by default."""
    start_box: Literal["area", "enclosing"] = "area"
    """Box that trackers start from where the annotation is a polygon: of the polygon's area, or around it."""
    overlap: Literal["edition", "bounded", "legacy"] = "edition"
    """How regions become pixels: bounded by the image (VOT2016 and later), or by the old rule, not bounded (until
    VOT2015)."""
    lanes: Annotated[int, shown_as("N")] = 1
    """Repetitions of a tracker in JAX that run side by side; part of the run id, for it changes the last bits."""
    ranks: Switch = False
    """Also rank by accuracy and robustness; VOT2013 and VOT2014 always have ranks."""
    practical: Annotated[float, shown_as("X")] = 0.0
    """Mean overlaps that differ by no more than this share a rank."""

    @property
    def experiment_names(self) -> tuple[str, ...]:
        """The experiments by their official names."""
        known = list(supervised.EXPERIMENTS)
        return tuple(match_name(x, known, what="experiment") for x in split_list(self.experiments, "experiment"))

    def rules(self, benchmark: VotBenchmark) -> measures.Rules:
        """The rules of the overlap."""
        own = {"bounded": measures.Rules(), "legacy": measures.Rules(bounded=False, drawing="legacy")}
        return own.get(self.overlap) or measures.rules_of(benchmark.edition)

    def settings(self, benchmark: VotBenchmark) -> runner.Settings:
        """How trackers are run."""
        return runner.Settings(self.experiment_names, self.start_box, self.rules(benchmark), self.lanes)

    def interval(self, benchmark: VotBenchmark) -> tuple[int, int] | None:
        """The interval of EAO; None for none."""
        lengths = [len(sequence) for sequence in benchmark.sequences]
        return interval.choose(self.eao_interval, benchmark.edition, lengths, complete=benchmark.complete)

    def practical_of(self, benchmark: VotBenchmark) -> float | None:
        """The difference of mean overlaps that share a rank; None where there are no ranks."""
        return self.practical if self.ranks or benchmark.edition not in interval.PRINTED else None

    @property
    def changed(self) -> list[str]:
        """What is not as by default, of the options that change what a report says."""
        fields = [field for field in dataclasses.fields(self) if field.name != "lanes"]  # which are in the run ids
        values = [(field.name, getattr(self, field.name), field.default) for field in fields]
        return [f"{name}-{value}".replace(",", "+") for name, value, default in values if value != default]

    def check(self, benchmark: VotBenchmark) -> None:
        """Refuses options now that would be refused after hours: `UserError`."""
        self.settings(benchmark)
        self.interval(benchmark)
        if self.lanes < 1:
            raise UserError(f"--vot.lanes must be at least 1, not {self.lanes}")
        if not self.practical >= 0:
            raise UserError(f"--vot.practical must be at least 0, not {self.practical:g}")


def published(folders: Mapping[str, Path], benchmark: VotBenchmark, options: Options) -> list[Result]:
    """The rows of folders of published raw results; experiments that a folder lacks are empty.

    Raises:
      UserError: a folder has no results of the first experiment, or damaged ones.
    """
    first, *others = options.experiment_names
    rows = []
    for name, folder in folders.items():
        names = [first, *(experiment for experiment in others if (folder / experiment).is_dir())]
        found = {experiment: results.read_published(folder, benchmark, experiment) for experiment in names}
        scores = {
            experiment: score_all(found.get(experiment, {}), benchmark, options.rules(benchmark))
            for experiment in options.experiment_names
        }
        rows.append(Result(f"{name} (published)", "published", scores, folder=str(folder)))
    return rows


def compare(
    stored: Sequence[StoredTrajectories],
    others: Sequence[Result],
    benchmark: VotBenchmark,
    options: Options,
    repeats: int,
    entries: Sequence[Entry],
) -> list[Comparison]:
    """What is stored of the trackers `entries` and what is published, a comparison for each experiment."""
    names, rules = options.experiment_names, options.rules(benchmark)
    own = [from_stored(each, benchmark, names, rules, repeats) for each in stored]
    rows = [*trained_on.marked(own, entries, benchmark), *others]
    settings = options.interval(benchmark), rows, options.practical_of(benchmark)
    return [Comparison(benchmark, name, *settings) for name in names]


def show(
    comparisons: Sequence[Comparison],
    options: Options,
    console: Console,
    *,
    per_sequence: bool,
    per_attribute: bool,
) -> None:
    """Prints the tables."""
    for comparison in comparisons:
        console.print(tables.summary_table(comparison))
        if per_sequence:
            console.print(tables.sequence_table(comparison))
        if per_attribute:
            console.print(tables.tag_table(comparison))
    if options.practical_of(comparisons[0].benchmark) is not None and len(comparisons[0].results) > 1:
        _show_ranks(comparisons, console)


def show_repetitions(
    stored: Sequence[StoredTrajectories], benchmark: VotBenchmark, experiment: str, repeats: int, console: Console
) -> None:
    """Says which trackers were not repeated as often as in a challenge, unless they are known to draw nothing."""
    sequences = [sequence for sequence in benchmark.sequences if isinstance(sequence, VotSequence)]
    few = [
        each.store.tracker
        for each in stored
        if not all(each.deterministic(experiment, sequence) for sequence in sequences)
    ]
    if few and repeats < results.TOOLKIT_REPETITIONS:
        line = (
            f"{repeats} repetition{'s' if repeats > 1 else ''} of {', '.join(dict.fromkeys(few))}: in a challenge a "
            f"tracker that draws random numbers has {results.TOOLKIT_REPETITIONS} (--repeats "
            f"{results.TOOLKIT_REPETITIONS}; no more than {results.REPETITIONS_OF_DETERMINISTIC} are run of one that "
            "does not)"
        )
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _show_ranks(comparisons: Sequence[Comparison], console: Console) -> None:
    """Prints the ranks of several trackers in the experiments in which there is something to rank by."""
    ranked = [comparison for comparison in comparisons if comparison.ranked]
    if ranked:
        console.print(tables.rank_table(ranked))
    without = ", ".join(comparison.experiment for comparison in comparisons if not comparison.shared)
    if without:
        line = f"No ranks in {without}: there is no sequence that all trackers have"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
