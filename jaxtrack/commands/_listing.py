"""What `--list` prints: trackers, benchmarks, and the sequences of one benchmark."""

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxtrack import trackers
from jaxtrack.data import benchmarks
from jaxtrack.errors import MissingWeightsError, UserError


def print_lists(console: Console, data_dir: Path | None, benchmark: str | None) -> None:
    """Prints all trackers and benchmarks, or what is known of one benchmark's sequences."""
    if benchmark is None:
        console.print(tracker_table())
        console.print(benchmark_table(data_dir))
        console.print("--list --benchmark NAME tells of its sequences", markup=False, highlight=False)
    else:
        console.print(sequence_table(benchmark, data_dir))


def tracker_table() -> Table:
    """One row per tracker: its name and a line on it, or why it cannot run here."""
    table = _table("tracker", "")
    for name in trackers.names():
        try:
            trackers.build(name, trackers.default_config(name))
            line = trackers.description(name)
        except MissingWeightsError:
            line = f"{trackers.description(name)} (not imported yet: see jaxtrack weights list)"
        except UserError as error:
            line = f"cannot run here: {error}"
        table.add_row(name, Text(line))
    return table


def benchmark_table(data_dir: Path | None) -> Table:
    """One row per benchmark: its name, its title, and how many of its sequences are at hand."""
    table = _table("benchmark", "title", "sequences here")
    for line in benchmarks.summaries(data_dir):
        table.add_row(line.name, line.title, f"{line.found} of {line.sequences}")
    return table


def sequence_table(benchmark: str, data_dir: Path | None) -> Table:
    """One row per sequence of a benchmark."""
    table = _table("sequence", "frames", "first box", "attributes", "here")
    for info in benchmarks.catalogue(benchmark, data_dir):
        size = "" if info.box_size is None else " x ".join(f"{round(side, 1):g}" for side in info.box_size)
        here = info.problem or ("yes" if info.found else "no")
        table.add_row(info.name, str(info.frames), size, " ".join(sorted(info.attributes)), Text(here))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=i == 0)
    return table
