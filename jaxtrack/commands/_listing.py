"""What `--list` prints: trackers, benchmarks, the settings of one tracker, and the sequences of one benchmark.

A tracker whose constants were chosen on a benchmark's test data (`tuned_on` of its configuration) belongs to the family
of the tracker that its name begins with: `siamban_otb` to `siamban`. The list of trackers folds it into that one's row,
unless it is of a network whose weights come with jaxtrack: whoever looks for something to try must see it.
"""

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxtrack import trackers
from jaxtrack.data import benchmarks
from jaxtrack.errors import MissingWeightsError, UserError
from jaxtrack.weights import places, store

_MISSING = "weights not imported"


def print_lists(
    console: Console, data_dir: Path | None, *, chosen: Sequence[str] | None = None, benchmark: str | None = None
) -> None:
    """Prints all trackers and benchmarks, or the families of chosen trackers and the sequences of a benchmark."""
    if chosen is not None:
        bases = families()
        wanted = {bases[tracker] for tracker in chosen}
        console.print(tracker_table([name for name, base in bases.items() if base in wanted]))
    if benchmark is not None:
        console.print(sequence_table(benchmark, data_dir))
        if note := benchmarks.unlisted(benchmark, data_dir):
            console.print(note, markup=False, highlight=False, soft_wrap=True)
    if chosen is None and benchmark is None:
        console.print(family_table())
        console.print(benchmark_table(data_dir))
        line = "--list --tracker NAME tells of a tracker's tuned settings, --list --benchmark NAME of its sequences"
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def families() -> dict[str, str]:
    """For every tracker the one into whose row it is folded; itself if there is none."""
    shipped = {store.read_meta(path).architecture for path in places.shipped()}
    tuned = [name for name in trackers.names() if _tuned_on(name)]
    folded = {name for name in tuned if trackers.default_config(name).architecture not in shipped}
    others = [name for name in trackers.names() if name not in tuned]

    def base(name: str) -> str:
        return max((other for other in others if name.startswith(f"{other}_")), key=len, default=name)

    return {name: base(name) if name in folded else name for name in trackers.names()}


def _tuned_on(name: str) -> str:
    return getattr(trackers.default_config(name), "tuned_on", "")


def family_table() -> Table:
    """One row per family: the tracker, a line on it, and the names of its tuned settings."""
    table, bases = _table("tracker", ""), families()
    for name in bases:
        if bases[name] == name:
            tuned = [other for other, base in bases.items() if base == name != other]
            more = f"\ntuned on test data: {', '.join(tuned)}" if tuned else ""
            table.add_row(name, Text(f"{_line_on(name)}{more}"))
    return _explained(table)


def tracker_table(names: Sequence[str]) -> Table:
    """One row per tracker: its name and a line on it."""
    table = _table("tracker", "")
    for name in names:
        table.add_row(name, Text(_line_on(name)))
    return _explained(table)


def _explained(table: Table) -> Table:
    """The table, with a line below it if a tracker lacks its weights."""
    if any(_MISSING in str(cell) for column in table.columns for cell in column.cells):
        table.caption, table.caption_justify = (
            f"{_MISSING}: see jaxtrack weights list, and docs for those that are yet to be trained",
            "left",
        )
    return table


def _line_on(name: str) -> str:
    """What a tracker is, or why it cannot run here."""
    try:
        method = trackers.build(name, trackers.default_config(name))
    except MissingWeightsError:
        return f"{trackers.description(name)} ({_MISSING})"
    except UserError as error:
        return f"cannot run here: {error}"
    chosen_on = places.chosen_on(getattr(method, "weights_sha256", None))
    return trackers.description(name) + (f", its weights chosen on {chosen_on}" if chosen_on else "")


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
        table.add_row(info.name, str(info.frames or "?"), size, " ".join(sorted(info.attributes)), Text(here))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=i == 0)
    return table
