"""Searches the three constants of a Siamese tracker on a validation set."""

import dataclasses
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxtrack import trackers
from jaxtrack.commands import _tracker_choice
from jaxtrack.commands._options import Switch, shown_as
from jaxtrack.data import benchmarks, video_output
from jaxtrack.data.sequences import Benchmark
from jaxtrack.errors import UserError
from jaxtrack.evaluation import progress, provenance, replay, tuning
from jaxtrack.evaluation.runner import Entry
from jaxtrack.trackers import siamese


@dataclasses.dataclass(frozen=True)
class Options:
    """Searches the constants of a Siamese tracker (penalty, window_influence, smoothing) on a validation set.

    The tracker runs once and what its network says is recorded. Many triples, each a choice of the three constants, are
    replayed on the recording, which is cheap and a guess; the best few are run, as evaluate would run them. The one of
    the highest AUC becomes a config file.
    """

    tracker: Annotated[str, shown_as("NAME")] = "nanotrack"
    """A Siamese tracker, by name or config file; its constants are where the search begins."""
    benchmark: Annotated[str, shown_as("NAME")] = "procedural"
    """What to tune on; constants found on a test benchmark are labelled so."""
    data_dir: Annotated[Path | None, shown_as("DIR")] = None
    """Folder of the benchmarks' files, or one benchmark's own; else the environment variable JAXTRACK_DATA."""
    sequences: Annotated[str | None, shown_as("A,B")] = None
    """Only these sequences, separated by commas."""
    trials: Annotated[int, shown_as("N")] = 500
    """Number of triples of constants that are replayed, about half of them on a grid, the others random."""
    finalists: Annotated[int, shown_as("N")] = 8
    """Number of the best triples that are run; so are the present one and two for comparison."""
    seed: Annotated[int, shown_as("N")] = 0
    """Seed of the random triples."""
    out: Annotated[Path, shown_as("FILE")] = Path("tuned.py")
    """Config file that is written, with a JSON file of all trials beside it."""
    quiet: Switch = False
    """No progress bar."""


def run(argv: Sequence[str], *, prog: str) -> None:
    """Does what the command line `argv` asks for; usage texts call the program `prog`."""
    options, entries = _tracker_choice.parse(Options, argv, prog=prog)
    entry, out = _siamese(entries), _free_path(options.out)
    _check_numbers(options)
    parts = replay.parts_of(entry.config)
    method = trackers.build(entry.tracker, entry.config)
    assert isinstance(method, trackers.JaxMethod)
    weights = method.params()
    console = Console(stderr=True)
    benchmark = _load(options, console)
    with progress.reporter(console, quiet=options.quiet) as reporter:
        found = tuning.tune(
            parts,
            weights,
            benchmark.sequences,
            trials=options.trials,
            seed=options.seed,
            finalists=options.finalists,
            reporter=reporter,
        )
    written = tuning.write(
        out,
        found,
        entry.config,
        benchmark=benchmark.name,
        title=benchmark.title,
        command=f"{prog} {shlex.join(argv)}",
        details=_details(options, benchmark, method),
    )
    _report(found, entry, benchmark, written)


def _siamese(entries: Sequence[Entry]) -> Entry:
    if len(entries) != 1:
        raise UserError(f"--tracker: one tracker is tuned at a time, not {len(entries)}")
    [entry] = entries
    if not isinstance(entry.config, siamese.Config):
        raise UserError(
            f"--tracker: {entry.label} has no such constants, only Siamese trackers have: {', '.join(siamese.CONFIGS)}"
        )
    return entry


def _check_numbers(options: Options) -> None:
    for name in ("trials", "finalists"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name} must be at least 1, not {getattr(options, name)}")
    if not 0 <= options.seed < 2**31:
        raise UserError(f"--seed must be between 0 and 2147483647, not {options.seed}")


def _free_path(out: Path) -> Path:
    """The config file's path, with its ending; `UserError` now, not after the search, if it cannot be written."""
    if not out.name or out.is_dir():
        raise UserError(f"--out: {out} is a folder: name the config file to be written")
    path = out if out.suffix == ".py" else out.with_name(f"{out.name}.py")
    for taken in (path, path.with_suffix(".json")):
        if taken.exists():
            raise UserError(f"--out: {taken} is there already: choose another name, or move it away")
    video_output.check_folder_of(path, "--out")
    return path


def _load(options: Options, console: Console) -> Benchmark:
    names = None if options.sequences is None else _tracker_choice.split_list(options.sequences, "sequence")
    benchmark = benchmarks.load(options.benchmark, options.data_dir, names)
    lines = [f"Tuning on {benchmark.title}; not found: {', '.join(benchmark.missing)}"] if benchmark.missing else []
    for line in [*lines, tuning.warning(benchmark.name)]:
        if line:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    return benchmark


def _details(options: Options, benchmark: Benchmark, method: trackers.JaxMethod) -> dict[str, Any]:
    return {
        "sequences": [sequence.name for sequence in benchmark.sequences],
        "seed": options.seed,
        "weights_sha256": method.weights_sha256,
        "date": provenance.now(),
        "environment": provenance.environment(),
    }


def trials_table(found: tuning.Tuning, title: str) -> Table:
    """The triples that were run, the highest AUC first; the winner is bold."""
    table = Table(title=Text(title), box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for label in ("penalty", "window", "smoothing", "replayed\noverlap", "AUC"):
        table.add_column(label, justify="right", no_wrap=True)
    table.add_column("")
    for trial in found.run:
        cells = [f"{value:.4f}" for value in (*trial.constants.values(), trial.overlap, trial.auc)]
        remark = "current" if trial is found.current else ""
        if trial is found.winner:
            remark = f"{remark}, best".strip(", ")
        table.add_row(*cells, remark, style="bold" if trial is found.winner else "")
    return table


def _report(found: tuning.Tuning, entry: Entry, benchmark: Benchmark, written: Sequence[Path]) -> None:
    console = Console()
    console.print(trials_table(found, f"{entry.label} on {benchmark.title}: {len(found.run)} triples that were run"))
    known, kilobytes = math.isfinite(found.correlation), found.bytes_per_frame / 1e3
    seconds = ", ".join(f"{name} {value:.0f} s" for name, value in found.seconds.items())
    lines = [
        _outcome(found),
        "A triple is a choice of penalty, window influence and smoothing. Those that were run are the present one, the "
        "best by replayed overlap, and, to tell how good a guess that is, the middle and the last one.",
        f"Rank correlation of replayed overlap and AUC: {f'{found.correlation:.2f}' if known else 'undefined'}",
        f"{len(found.trials) - 1} triples replayed on {found.frames} frames ({kilobytes:.1f} kB each, "
        f"target lost {found.restarts} times); {seconds}",
        f"Written: {', '.join(map(str, written))}; evaluate it with --tracker {written[0]}",
    ]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _outcome(found: tuning.Tuning) -> str:
    """Whether the search was worth its while."""
    if not found.improved:
        return (
            f"Nothing better was found: no other triple reached more than the AUC of the present constants, "
            f"{found.current.auc:.4f}. The config file holds them unchanged."
        )
    return (
        f"The AUC rose from {found.current.auc:.4f} to {found.winner.auc:.4f}. It was chosen on the same sequences: "
        "expect less on others."
    )
