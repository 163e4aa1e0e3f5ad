"""Prepares a dataset for training: crops in files that are read at random."""

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from jaxtrack.commands._options import Switch, shown_as
from jaxtrack.data import otb_table
from jaxtrack.data.preparation import Preparation, Summary, prepare, registry
from jaxtrack.data.preparation.registry import DATASETS

_LINE_EVERY_SECONDS = 20.0
_DATASETS = ", ".join(f"{name} ({dataset.title})" for name, dataset in DATASETS.items())
_SPLITS = "; ".join(f"{name}: {', '.join(each.splits)}" for name, each in DATASETS.items() if len(each.splits) > 1)


@dataclasses.dataclass(frozen=True)
class Options:
    """Cuts a crop of 511 pixels around every annotated target and stores the crops for training.

    A run that was interrupted goes on when the same command is given again.
    """

    dataset: Annotated[str, tyro.conf.arg(metavar="NAME", help=f"The dataset: {_DATASETS}.")]
    data_dir: Annotated[Path, shown_as("DIR")]
    """The folder that holds the dataset as it is shipped, unpacked."""
    out: Annotated[Path, shown_as("OUT")]
    """Folder of prepared datasets; this one goes to OUT/NAME/SPLIT. A frame takes about 40 kB."""
    split: Annotated[
        str, tyro.conf.arg(metavar="SPLIT", help=f"Part of the dataset, where it has several. {_SPLITS}.")
    ] = "train"
    visible_only: Switch = False
    """Leave out frames whose target is annotated as hidden, absent, occluded, difficult or a crowd. The published
    Siamese trackers were trained with them."""
    workers: Annotated[int, shown_as("N")] = 0
    """Number of processes that cut crops; 0 does it in this one."""


def run(argv: Sequence[str], *, prog: str) -> None:
    """Prepares the dataset that the command line `argv` names; usage texts call the program `prog`."""
    options = tyro.cli(Options, args=list(argv), prog=prog)
    config = Preparation(**vars(options))
    _warn_of_test_data(config)
    try:
        with _progress() as show:
            summary = prepare(config, show)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted: the same command goes on where this one stopped") from None
    for line in lines_of(summary):
        Console().print(line, markup=False, highlight=False, soft_wrap=True)


def _warn_of_test_data(config: Preparation) -> None:
    name, _ = registry.find(config.dataset)
    if name == "otb":
        names = [video.name for video in registry.videos_of(name, config.data_dir, config.split)]
        print(f"warning: {otb_table.training_warning(config.data_dir, names)}", file=sys.stderr, flush=True)


def lines_of(summary: Summary) -> list[str]:
    """The lines that tell what was made."""
    lines = [
        f"{summary.folder}: {summary.videos:,} videos, {summary.tracks:,} tracks, {summary.frames:,} frames "
        f"in {summary.seconds:.1f} s"
    ]
    if summary.reused:
        lines.append(f"{summary.reused} files were there already, from an earlier call")
    total = sum(summary.dropped.values())
    if total:
        lines.append(f"{total:,} annotations were dropped ({summary.folder / 'report.json'} names some):")
        lines += [f"  {count:,} {reason}" for reason, count in summary.dropped.items()]
    return lines


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, else a line now and then, on stderr."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (TextColumn("videos"), BarColumn(), MofNCompleteColumn(), TextColumn("ETA"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("videos", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _Lines:
    """Writes how many videos are done, at most once in a while."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._last = clock, clock()

    def __call__(self, done: int, total: int) -> None:
        if self._clock() - self._last >= _LINE_EVERY_SECONDS:
            self._last = self._clock()
            print(f"{done}/{total} videos", file=sys.stderr, flush=True)
