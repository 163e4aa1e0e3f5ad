"""Runs trackers on a benchmark, scores them, prints a table and writes a report."""

import dataclasses
import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import tyro
from rich.console import Console

from jaxtrack import trackers
from jaxtrack.commands import _benchmark_choice, _listing, _scale, _table_notes, _tracker_choice, _vot
from jaxtrack.commands._options import Switch, shown_as
from jaxtrack.compilation import disable_compilation_cache
from jaxtrack.data import otb, otb_table
from jaxtrack.data.naming import match_name
from jaxtrack.data.sequences import Benchmark
from jaxtrack.data.vot import VotBenchmark
from jaxtrack.errors import UserError
from jaxtrack.evaluation import (
    comparison,
    latex,
    parts,
    plots,
    progress,
    protocols,
    provenance,
    raw_results,
    runner,
    starts,
    tables,
    trained_on,
)
from jaxtrack.evaluation.report import one_pass, supervised
from jaxtrack.evaluation.store import StoredRun
from jaxtrack.evaluation.vot import plots as vot_plots
from jaxtrack.evaluation.vot import runner as vot_runner
from jaxtrack.evaluation.vot import tables as vot_tables

_FOLDER_NAME = re.compile(r"[\w.+-]{1,60}")  # sequences or trackers that a folder may be called after

_Stored = TypeVar("_Stored")


@dataclasses.dataclass(frozen=True)
class Options:
    """Runs trackers on a benchmark, scores them, prints the table and writes a report, plots and tables as files.

    Finished sequences are kept in the results folder: the same command, run again, goes on where it was
    interrupted, and prints the table at once when nothing is left to do.
    """

    tracker: Annotated[str, shown_as("NAME[,NAME]")] = f"{trackers.DEFAULT},opencv-mil"
    """Trackers, separated by commas: names (see --list) or config files (configs/NAME.py); none: only what --published
    names is scored."""
    benchmark: Annotated[str, shown_as("NAME")] = "procedural"
    """Benchmark (see --list)."""
    data_dir: Annotated[Path | None, shown_as("DIR")] = None
    """Folder of the benchmarks' files, or one benchmark's own; else the environment variable JAXTRACK_DATA."""
    sequences: Annotated[str | None, shown_as("A,B")] = None
    """Only these sequences, separated by commas."""
    protocol: Annotated[str, shown_as("NAME")] = ""
    """Rules to score by: otb, pysot, got10k or pytracking; by default the benchmark's own (docs/protocols.md)."""
    invalid_frames: Literal["protocol", "hit", "miss", "skip"] = "protocol"
    """What frames without a valid annotation are to precision, hits or misses, or whether they are not counted at all;
    by default what the protocol says."""
    runs: Literal["ope", "tre", "sre"] = "ope"
    """Runs of each sequence: one, or OTB's tests of robustness: 20 from different starts, 12 from moved first boxes."""
    seed: Annotated[int, shown_as("N")] = 0
    """Seed of the first run."""
    repeats: Annotated[int, shown_as("N")] = 1
    """Runs per tracker, with the seeds that follow; tables show mean and standard deviation."""
    results: Annotated[Path, shown_as("DIR")] = Path("results")
    """Folder of all results; what is finished there is not run again."""
    workers: Annotated[int, shown_as("N")] = 1
    """Processes that share the cores of this host, each with one sequence at a time; tables then show no fps."""
    batch: Annotated[int, shown_as("WIDTH")] = 0
    """Videos that run side by side in one program, split over the devices, of trackers in JAX; by default each alone.
    Part of the run id, for it changes the last bits."""
    processes: Annotated[str, shown_as("N|auto")] = ""
    """How many processes, on one or several hosts, share the sequences through the folder of results; auto: as many as
    Slurm or Open MPI has started."""
    process: Annotated[int | None, shown_as("I")] = None
    """Number of this process, from 0, with --processes N."""
    check: Annotated[Path | None, shown_as("DIR")] = None
    """A folder of earlier results: instead of a table, say whether those in --results are equal to them, bit for bit,
    or where they first differ (exit code 1)."""
    report: Annotated[Path | None, shown_as("DIR")] = None
    """Folder of the tables and plots; by default RESULTS/reports/BENCHMARK/TRACKERS, with --sequences RESULTS/reports/
    BENCHMARK-SEQUENCES/TRACKERS, so that reports of other comparisons stay as they are."""
    published: Annotated[str | None, shown_as("DIR[,DIR]")] = None
    """Folders of raw results that other trackers' authors published, separated by commas, one tracker each: files
    SEQUENCE.txt of 1-based boxes, for VOT EXPERIMENT/SEQUENCE/SEQUENCE_001.txt. They become rows of the table, called
    by the folder's name."""
    list_: Annotated[Switch, tyro.conf.arg(name="list")] = False
    """List trackers and benchmarks, or with --tracker its tuned settings, with --benchmark its sequences, and stop."""
    download: Switch = False
    """First fetch the benchmark's sequences that --data-dir lacks."""
    full: Switch = False
    """The full list of a benchmark that has a short one: procedural becomes procedural-full."""
    per_sequence: Switch = False
    """Also print the AUC of every sequence."""
    per_attribute: Switch = False
    """Also print the AUC by attribute, and draw the plots by attribute."""
    no_cache: Switch = False
    """Compile everything anew instead of keeping compiled programs in the user's cache folder."""
    quiet: Switch = False
    """No progress bar."""
    vot: _vot.Options = _vot.Options()


def run(argv: Sequence[str], *, prog: str) -> None:
    """Does what the command line `argv` asks for; usage texts call the program `prog`."""
    options, entries = _tracker_choice.parse(Options, argv, prog=prog)
    if options.list_:
        given = {argument.split("=")[0] for argument in argv}
        chosen = [entry.tracker for entry in entries] if "--tracker" in given else None
        named = "--benchmark" in given
        benchmark = _benchmark_choice.canonical_name(options.benchmark, full=options.full) if named else None
        _listing.print_lists(Console(), options.data_dir, chosen=chosen, benchmark=benchmark)
        return
    _check_numbers(options)
    if not entries and options.published is None:
        raise UserError("--tracker none runs nothing: name folders of results to score by --published")
    if options.no_cache:
        disable_compilation_cache()
    console = Console(stderr=True)
    _rules(options)
    part = parts.part_of(options.processes, options.process)
    if options.check is not None:
        _scale.check_folder(options.check, options.results, entries)
    benchmark = _load(options, console, images=bool(entries))
    if options.report is not None:
        _make_folder(options.report)  # now: a run of hours must not end in "cannot write"
    if isinstance(benchmark, VotBenchmark):
        _supervised(options, entries, benchmark, part, console)
    else:
        _one_pass(options, entries, benchmark, part, console)


def _one_pass(
    options: Options, entries: Sequence[runner.Entry], benchmark: Benchmark, part: parts.Part, console: Console
) -> None:
    published = _published(options, benchmark)  # now: a run of hours must not end in a refusal
    whole, way = starts.benchmark_of(benchmark, options.runs), _scale.way(options.workers, options.batch)
    seeds = {"seed": options.seed, "repeats": options.repeats}
    earlier = _scale.earlier(options.check, entries, whole, way, **seeds)
    evaluation = functools.partial(runner.evaluate, entries, part.of(whole), options.results, way=way)
    stores = _run(options, console, evaluation)
    missing = parts.unfinished(stores, whole) if part.processes > 1 else 0
    if missing:
        _scale.say_missing(part, missing, Console())
    elif options.check is not None:
        if not _scale.report_repeated(earlier, stores, whole, Console()):
            raise SystemExit(1)
    elif benchmark.annotated:
        _report(options, entries, benchmark, stores, published)
    else:
        where = ", ".join(str(stored.directory) for stored in stores)
        line = (
            f"The annotations of {benchmark.title} are not public, there is nothing to score by; boxes are in {where}"
        )
        Console().print(line, markup=False, highlight=False, soft_wrap=True)


def _rules(options: Options, benchmark: Benchmark | None = None) -> protocols.Protocol:
    """The rules to score by; without a benchmark just a check of the options."""
    named = options.protocol or (benchmark.protocol if benchmark is not None else protocols.OTB.name)
    rules = protocols.PROTOCOLS[match_name(named, protocols.PROTOCOLS, what="protocol")]
    rules = rules if benchmark is None else rules.on(benchmark.name)
    if options.invalid_frames != "protocol":
        rules = dataclasses.replace(rules, invalid=options.invalid_frames)
    return rules


def _supervised(
    options: Options, entries: Sequence[runner.Entry], benchmark: VotBenchmark, part: parts.Part, console: Console
) -> None:
    """VOT's protocol in the place of the one-pass evaluation."""
    for option in ("protocol", "invalid_frames", "runs", "workers", "batch", "check"):
        if getattr(options, option) != getattr(Options, option):
            shown = f"--{option.replace('_', '-')}"
            raise UserError(f"{shown} is for one-pass evaluations: leave it out for {benchmark.title} (see --vot.…)")
    options.vot.check(benchmark)
    published = _vot.published(_published_folders(options), benchmark, options.vot)
    settings = options.vot.settings(benchmark)
    evaluation = functools.partial(vot_runner.evaluate, entries, part.of(benchmark), options.results, settings)
    stored = _run(options, console, evaluation)
    missing = vot_runner.unfinished(stored, benchmark, settings, options.repeats) if part.processes > 1 else 0
    if missing:
        _scale.say_missing(part, missing, Console())
        return
    compared = _vot.compare(stored, published, benchmark, options.vot, options.repeats, entries)
    names = [row.name for row in compared[0].results]
    folder = options.report or options.results / "reports" / _report_name(options, benchmark, names)
    written = vot_tables.write_tables(compared, folder)
    written += supervised.write(compared, [each.store for each in stored], folder)
    written += vot_plots.write_plots(compared, folder)
    shown = Console()
    flags = {"per_sequence": options.per_sequence, "per_attribute": options.per_attribute}
    _vot.show(compared, options.vot, shown, **flags)
    _vot.show_repetitions(stored, benchmark, options.vot.experiment_names[0], options.repeats, shown)
    lines = [*_table_notes.weights(entries), f"Report, tables and plots are in {folder}: {_names(written, folder)}"]
    shown.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


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


def _load(options: Options, console: Console, *, images: bool) -> Benchmark:
    """The benchmark asked for; downloads it first if that is asked for too."""
    name = _benchmark_choice.canonical_name(options.benchmark, full=options.full)
    if options.download:
        _benchmark_choice.fetch(name, options.data_dir, options.sequences, quiet=options.quiet)
    return _benchmark_choice.load(name, options.data_dir, options.sequences, console, images=images)


def _published(options: Options, benchmark: Benchmark) -> list[comparison.TrackerResult]:
    """The scores of the folders of published results."""
    if options.published is not None and options.runs != starts.OPE:
        raise UserError(f"--published holds results of one run per sequence: leave it out with --runs {options.runs}")
    if options.published is not None and not benchmark.annotated:
        raise UserError(f"--published: the annotations of {benchmark.title} are not public, nothing can be scored")
    known = [sequence.name for sequence in benchmark.sequences]
    spelling = functools.partial(match_name, names=known, what=f"sequence of {benchmark.title}")
    if benchmark.name in otb.BENCHMARKS:
        spelling = otb_table.canonical_name  # also of sequences that are not scored now: their files are no strangers
    return [
        raw_results.tracker_result(f"{name} (published)", folder, benchmark, spelling, rules=_rules(options, benchmark))
        for name, folder in _published_folders(options).items()
    ]


def _published_folders(options: Options) -> dict[str, Path]:
    """The folders of published results by the names of their rows."""
    paths = [] if options.published is None else _tracker_choice.split_list(options.published, "folder")
    folders = {Path(path).resolve().name: Path(path) for path in paths}
    for path in folders.values():
        if not path.is_dir():
            raise UserError(f"--published: there is no folder {path}")
    if len(folders) < len(paths):
        raise UserError("--published: two folders have the same name, which rows are called by: rename one")
    return folders


def _run(options: Options, console: Console, evaluate: Callable[..., list[_Stored]]) -> list[_Stored]:
    """What a runner's `evaluate` returns, given the options that all of them have."""
    try:
        with progress.reporter(console, quiet=options.quiet) as reporter:
            return evaluate(seed=options.seed, repeats=options.repeats, reporter=reporter)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; finished sequences are kept in {options.results}: run the same command again to go on"
        ) from None


def _report(
    options: Options,
    entries: Sequence[runner.Entry],
    benchmark: Benchmark,
    stores: Sequence[StoredRun],
    published: Sequence[comparison.TrackerResult],
) -> None:
    """Scores what is stored, writes and prints tables, then writes plots and the report, which take seconds."""
    rules = _rules(options, benchmark)
    own = comparison.from_runs(benchmark, stores, rules=rules, kind=options.runs)
    rows = [*trained_on.marked(own, entries, benchmark), *published]
    compared = comparison.compare(benchmark, rows, protocol=options.runs.upper(), rules=rules)
    folder = options.report or options.results / "reports" / _report_name(
        options, benchmark, [tracker.name for tracker in compared.trackers]
    )
    written = [*tables.write_tables(compared, folder), *latex.write_table(compared, folder)]
    console = Console()
    tables.print_summary(compared, console)
    if options.per_sequence:
        console.print(tables.sequence_table(compared))
    if options.per_attribute:
        console.print(tables.attribute_table(compared))
    written += plots.write_plots(compared, folder, attributes=options.per_attribute)
    written = [*one_pass.write(compared, benchmark, stores, folder), *written]
    lines = [
        *_table_notes.weights(entries),
        *_table_notes.speeds(starts.benchmark_of(benchmark, options.runs), stores),
        f"Report, tables and plots are in {folder}: {_names(written, folder)}",
    ]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _report_name(options: Options, benchmark: Benchmark, rows: Sequence[str]) -> Path:
    """Of the folder, below that of all reports: the benchmark, the sequences where they were selected, the trackers."""
    name = starts.stored_name(benchmark.name, options.runs)
    if options.protocol or options.invalid_frames != "protocol":
        kept = (options.protocol, options.invalid_frames.removeprefix("protocol"))
        name += "".join(f"-{part}" for part in kept if part)
    if options.vot.changed:
        name += f"-{_joined(options.vot.changed, 'options')}"
    if options.sequences is not None:
        name += f"-{_joined([sequence.name for sequence in benchmark.sequences], 'sequences')}"
    # Rows of a tracker's several configurations, and those of published results, bear a remark in brackets.
    return Path(name) / _joined([row.partition(" (")[0] for row in rows], "trackers")


def _joined(names: Sequence[str], what: str) -> str:
    """Names as a part of a folder's; many of them, or names that no folder may have, by number and hash."""
    joined = "+".join(names)
    return joined if _FOLDER_NAME.fullmatch(joined) else f"{len(names)}-{what}-{provenance.short_hash(list(names))}"


def _names(paths: Sequence[Path], folder: Path) -> str:
    names = [path.relative_to(folder).as_posix() for path in paths]
    at_top = [name for name in names if "/" not in name]
    below = sorted({name.split("/")[0] for name in names if "/" in name})
    return ", ".join([*at_top, *(f"{name}/" for name in below)])
