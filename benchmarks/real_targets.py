"""DeepTrack beside OpenCV's trackers on stored results: the targets on which options were chosen, and the others.

    python evaluate.py --tracker deeptrack,opencv-mil --benchmark otb100 --data-dir DATA --repeats 3 --results R
    python benchmarks/real_targets.py --data-dir DATA --results R

The second command runs nothing: it reads what the first one stored and prints, for both groups of targets, the means
over the sequences (with the standard deviation over the seeds), the number of first places and of sequences below 80 %
of the best, and the median speed.
"""

import dataclasses
from pathlib import Path

import tyro
from targets import APART, CHOICE

from jaxtrack.data import benchmarks
from jaxtrack.evaluation import comparison, store


@dataclasses.dataclass(frozen=True)
class Options:
    """Where things are."""

    data_dir: Path
    """The benchmark's data."""
    results: Path = Path("results")
    """The results store."""


def print_group(title: str, names: tuple[str, ...], options: Options) -> None:
    """One table."""
    benchmark = benchmarks.load("otb100", options.data_dir, names)
    runs = [run for run in store.list_runs(options.results, "otb100") if set(names) <= set(run.sequences())]
    compared = comparison.compare(benchmark, comparison.from_runs(benchmark, runs))
    standings = comparison.standings(compared)
    print(f"\n{title}\n")
    print("| tracker | AUC | P@20 | SR@0.6 | first places | below 80 % of the best | fps | runs |")
    print("|---|---|---|---|---|---|---|---|")
    for result in compared.trackers:
        numbers = [str(result.headline(metric, names)) for metric in ("auc", "precision_20", "success_60")]
        standing = standings[result.name]
        print(
            f"| {result.label} | {' | '.join(numbers)} | {standing.first} | {standing.far_behind} "
            f"| {result.median_fps(names):.1f} | {', '.join(result.run_ids)} |"
        )
    print("\n| AUC / P@20 | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 1) + "|")
    for result in compared.trackers:
        cells = [
            f"{result.on_sequence('auc', name).mean:.3f}/{result.on_sequence('precision_20', name).mean:.2f}"
            for name in names
        ]
        print(f"| {result.label} | {' | '.join(cells)} |")


def main(options: Options) -> None:
    """Prints the tables."""
    print_group("The six targets on which options were chosen", CHOICE, options)
    print_group("The seven others", APART, options)
    print_group("All thirteen", CHOICE + APART, options)


if __name__ == "__main__":
    main(tyro.cli(Options))
