"""Which benchmark a command line asks for, and getting it ready."""

import os
from pathlib import Path

from rich.console import Console

from jaxtrack.commands._tracker_choice import split_list
from jaxtrack.data import benchmarks, otb
from jaxtrack.data.download import download
from jaxtrack.data.sequences import Benchmark
from jaxtrack.errors import UserError

_NAMES_IN_A_MESSAGE = 10


def canonical_name(spelling: str, *, full: bool) -> str:
    """The benchmark's name, on request that of its full list; `UserError` if there is none."""
    name = benchmarks.canonical_name(spelling)
    longer = f"{name}-full"
    if not full or name.endswith("-full"):
        return name
    if longer not in benchmarks.names():
        raise UserError(f"--full: {name} has no short and full list, leave the option out")
    return longer


def load(name: str, data_dir: Path | None, sequences: str | None, console: Console, *, images: bool) -> Benchmark:
    """The benchmark, or its sequences of a list separated by commas; says what is missing."""
    benchmark = benchmarks.load(name, data_dir, _selected(sequences), images=images)
    if benchmark.missing or benchmark.unnamed:
        line = f"Scoring {benchmark.title}; not found: {shortened(benchmark)}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return benchmark


def shortened(benchmark: Benchmark) -> str:
    """The names of the missing sequences; of many the first ones and how to see all."""
    shown = benchmark.missing[:_NAMES_IN_A_MESSAGE]
    more = len(benchmark.missing) - len(shown) + benchmark.unnamed
    if not shown:
        return f"{more} sequences"
    return f"{', '.join(shown)}" + (f" and {more} more (--list --benchmark {benchmark.name} names all)" if more else "")


def fetch(name: str, data_dir: Path | None, sequences: str | None, *, quiet: bool) -> None:
    """Downloads what the folder lacks of a benchmark, or of its sequences of a list; `UserError` where nobody can."""
    if name not in otb.BENCHMARKS:
        raise UserError(f"--download: there is nothing to download for {name}, only for {', '.join(otb.BENCHMARKS)}")
    folder = data_dir or os.environ.get(benchmarks.DATA_VARIABLE)
    if not folder:
        raise UserError("--download: say by --data-dir where to put the sequences")
    names = _selected(sequences) or [info.name for info in benchmarks.catalogue(name, Path(folder))]
    download(names, Path(folder), progress=not quiet)


def _selected(sequences: str | None) -> tuple[str, ...] | None:
    return None if sequences is None else split_list(sequences, "sequence")
