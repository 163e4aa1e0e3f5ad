"""Runs trackers on a benchmark, scores them, prints a table and writes plots."""

import dataclasses
import functools
import os
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from jaxtrack import trackers
from jaxtrack.commands import _listing, _tracker_choice
from jaxtrack.compilation import disable_compilation_cache
from jaxtrack.data import benchmarks, otb
from jaxtrack.data.download import download
from jaxtrack.data.naming import match_name
from jaxtrack.data.sequences import Benchmark
from jaxtrack.errors import UserError
from jaxtrack.evaluation import comparison, plots, progress, provenance, raw_results, runner, tables
from jaxtrack.evaluation.store import StoredRun

_FOLDER_NAME = re.compile(r"[\w.+-]{1,60}")  # sequences that a folder may be called after

_Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]


def _shown_as(metavar: str) -> Any:
    """What usage texts print for an option's value."""
    return tyro.conf.arg(metavar=metavar)


@dataclasses.dataclass(frozen=True)
class Options:
    """Runs trackers on a benchmark, scores them, prints the table and writes plots, CSV and JSON files.

    Finished sequences are kept in the results folder: the same command, run again, goes on where it was
    interrupted, and prints the table at once when nothing is left to do.
    """

    tracker: Annotated[str, _shown_as("NAME[,NAME]")] = f"{trackers.DEFAULT},opencv-mil"
    """Trackers, separated by commas: names (see --list) or config files (configs/NAME.py)."""
    benchmark: Annotated[str, _shown_as("NAME")] = "procedural"
    """Benchmark (see --list)."""
    data_dir: Annotated[Path | None, _shown_as("DIR")] = None
    """Folder of the benchmarks' files, or one benchmark's own; else the environment variable JAXTRACK_DATA."""
    sequences: Annotated[str | None, _shown_as("A,B")] = None
    """Only these sequences, separated by commas."""
    seed: Annotated[int, _shown_as("N")] = 0
    """Seed of the first run."""
    repeats: Annotated[int, _shown_as("N")] = 1
    """Runs per tracker, with the seeds that follow; tables show mean and standard deviation."""
    results: Annotated[Path, _shown_as("DIR")] = Path("results")
    """Folder of all results; what is finished there is not run again."""
    report: Annotated[Path | None, _shown_as("DIR")] = None
    """Folder of the tables and plots; by default RESULTS/reports/BENCHMARK, with --sequences RESULTS/reports/
    BENCHMARK-SEQUENCES, so that the whole benchmark's report stays as it is."""
    published: Annotated[str | None, _shown_as("DIR[,DIR]")] = None
    """Folders of raw results that other trackers' authors published, separated by commas, one tracker each: files
    SEQUENCE.txt of 1-based boxes. They become rows of the table, called by the folder's name."""
    list_: Annotated[_Switch, tyro.conf.arg(name="list")] = False
    """List trackers and benchmarks, or with --tracker its tuned settings, with --benchmark its sequences, and stop."""
    download: _Switch = False
    """First fetch the benchmark's sequences that --data-dir lacks."""
    full: _Switch = False
    """The full list of a benchmark that has a short one: procedural becomes procedural-full."""
    per_sequence: _Switch = False
    """Also print the AUC of every sequence."""
    per_attribute: _Switch = False
    """Also print the AUC by attribute, and draw the plots by attribute."""
    no_cache: _Switch = False
    """Compile everything anew instead of keeping compiled programs in the user's cache folder."""
    quiet: _Switch = False
    """No progress bar."""


def run(argv: Sequence[str], *, prog: str) -> None:
    """Does what the command line `argv` asks for; usage texts call the program `prog`."""
    options, entries = _tracker_choice.parse(Options, argv, prog=prog)
    if options.list_:
        given = {argument.split("=")[0] for argument in argv}
        chosen = [entry.tracker for entry in entries] if "--tracker" in given else None
        benchmark = _benchmark_name(options) if "--benchmark" in given else None
        _listing.print_lists(Console(), options.data_dir, chosen=chosen, benchmark=benchmark)
        return
    _check_numbers(options)
    if options.no_cache:
        disable_compilation_cache()
    console = Console(stderr=True)
    benchmark = _load(options, console)
    if options.report is not None:
        _make_folder(options.report)  # now: a run of hours must not end in "cannot write"
    published = _published(options, benchmark)  # now, for the same reason
    stores = _run(options, entries, benchmark, console)
    _report(options, benchmark, stores, published)


def _check_numbers(options: Options) -> None:
    if options.repeats < 1:
        raise UserError(f"--repeats must be at least 1, not {options.repeats}")
    if options.seed < 0 or options.seed + options.repeats > 2**31:
        raise UserError(f"--seed must be between 0 and 2147483647, not {options.seed}")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--report: cannot write to {folder}: {error.strerror or error}") from error


def _benchmark_name(options: Options) -> str:
    name = benchmarks.canonical_name(options.benchmark)
    full = f"{name}-full"
    if not options.full or name.endswith("-full"):
        return name
    if full not in benchmarks.names():
        raise UserError(f"--full: {name} has no short and full list, leave the option out")
    return full


def _load(options: Options, console: Console) -> Benchmark:
    """The benchmark asked for; downloads it first if that is asked for too, and says what is missing."""
    name = _benchmark_name(options)
    selected = None if options.sequences is None else _tracker_choice.split_list(options.sequences, "sequence")
    if options.download:
        _download(name, selected, options)
    benchmark = benchmarks.load(name, options.data_dir, selected)
    if benchmark.missing:
        names = ", ".join(benchmark.missing)
        console.print(f"Scoring {benchmark.title}; not found: {names}", markup=False, highlight=False, soft_wrap=True)
    return benchmark


def _download(name: str, selected: tuple[str, ...] | None, options: Options) -> None:
    if name not in otb.BENCHMARKS:
        raise UserError(f"--download: there is nothing to download for {name}, only for {', '.join(otb.BENCHMARKS)}")
    folder = options.data_dir or os.environ.get(benchmarks.DATA_VARIABLE)
    if not folder:
        raise UserError("--download: say by --data-dir where to put the sequences")
    names = selected or [info.name for info in benchmarks.catalogue(name, Path(folder))]
    download(names, Path(folder), progress=not options.quiet)


def _published(options: Options, benchmark: Benchmark) -> list[comparison.TrackerResult]:
    """The scores of the folders of published results."""
    paths = [] if options.published is None else _tracker_choice.split_list(options.published, "folder")
    folders = {Path(path).resolve().name: Path(path) for path in paths}
    if len(folders) < len(paths):
        raise UserError("--published: two folders have the same name, which rows are called by: rename one")
    known = [sequence.name for sequence in benchmark.sequences]
    spelling = functools.partial(match_name, names=known, what=f"sequence of {benchmark.title}")
    if benchmark.name in otb.BENCHMARKS:
        spelling = otb.canonical_name  # also of sequences that are not scored now: their files are no strangers
    return [
        raw_results.tracker_result(f"{name} (published)", folder, benchmark, spelling)
        for name, folder in folders.items()
    ]


def _run(
    options: Options, entries: Sequence[runner.Entry], benchmark: Benchmark, console: Console
) -> Sequence[StoredRun]:
    try:
        with progress.reporter(console, quiet=options.quiet) as reporter:
            return runner.evaluate(
                entries, benchmark, options.results, seed=options.seed, repeats=options.repeats, reporter=reporter
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; finished sequences are kept in {options.results}: run the same command again to go on"
        ) from None


def _report(
    options: Options,
    benchmark: Benchmark,
    stores: Sequence[StoredRun],
    published: Sequence[comparison.TrackerResult],
) -> None:
    """Scores what is stored, writes tables and plots, then prints: the files are there whoever reads the output."""
    compared = comparison.compare(benchmark, [*comparison.from_runs(benchmark, stores), *published])
    folder = options.report or options.results / "reports" / _report_name(options, benchmark)
    written = tables.write_tables(compared, folder)
    written += plots.write_plots(compared, folder, attributes=options.per_attribute)
    console = Console()
    tables.print_summary(compared, console)
    if options.per_sequence:
        console.print(tables.sequence_table(compared))
    if options.per_attribute:
        console.print(tables.attribute_table(compared))
    lines = [*_initialisation(benchmark, stores), f"Tables and plots are in {folder}: {_names(written, folder)}"]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _report_name(options: Options, benchmark: Benchmark) -> str:
    """Of the folder: the benchmark, and the sequences where they were selected; many of them by number and hash."""
    if options.sequences is None:
        return benchmark.name
    names = [sequence.name for sequence in benchmark.sequences]
    selected = "+".join(names)
    if not _FOLDER_NAME.fullmatch(selected):
        selected = f"{len(names)}-sequences-{provenance.short_hash(names)}"
    return f"{benchmark.name}-{selected}"


def _initialisation(benchmark: Benchmark, stores: Sequence[StoredRun]) -> list[str]:
    """For each tracker the median time of its first frames, which the frames per second do not contain."""
    seconds: dict[str, list[float]] = {}
    for stored in stores:
        times = [stored.read(sequence.name).seconds[0] for sequence in benchmark.sequences]
        seconds.setdefault(stored.tracker, []).extend(times)
    return [
        f"{name}: {statistics.median(times):.3f} s to start on a sequence (median); fps counts the frames after it"
        for name, times in seconds.items()
    ]


def _names(paths: Sequence[Path], folder: Path) -> str:
    names = [path.relative_to(folder).as_posix() for path in paths]
    at_top = [name for name in names if "/" not in name]
    below = sorted({name.split("/")[0] for name in names if "/" in name})
    return ", ".join([*at_top, *(f"{name}/" for name in below)])
