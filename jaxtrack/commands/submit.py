"""Packs stored results of a tracker for the server of GOT-10k or TrackingNet."""

import dataclasses
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from jaxtrack.commands._options import shown_as
from jaxtrack.commands._tracker_choice import split_list
from jaxtrack.data import benchmarks
from jaxtrack.data.naming import match_name, plain
from jaxtrack.errors import UserError
from jaxtrack.evaluation import store, submission
from jaxtrack.evaluation.store import StoredRun
from jaxtrack.files import replacing

_TEST_SETS = {"got10k": "got10k_test"}  # what has a validation set too; servers take the test set


@dataclasses.dataclass(frozen=True)
class Options:
    """Packs stored results of a tracker for the server of GOT-10k or TrackingNet.

    The results are those that evaluate has stored, of all sequences of the test set. The archive is read again and
    checked: every sequence, every frame, the decimals, the given first boxes.
    """

    tracker: Annotated[str, shown_as("NAME")]
    """The tracker, as the results folder calls it."""
    benchmark: Annotated[str, shown_as("NAME")]
    """got10k or trackingnet."""
    out: Annotated[Path, shown_as("FILE")]
    """The archive to write, a .zip file."""
    data_dir: Annotated[Path | None, shown_as("DIR")] = None
    """Folder of the benchmark's files; else the environment variable JAXTRACK_DATA."""
    results: Annotated[Path, shown_as("DIR")] = Path("results")
    """Folder of all results."""
    run: Annotated[str | None, shown_as("ID[,ID]")] = None
    """The runs to pack, by their ids, where the tracker has several. GOT-10k takes up to three that differ in their
    seeds, TrackingNet one."""


def run(argv: Sequence[str], *, prog: str) -> None:
    """Does what the command line `argv` asks for; usage texts call the program `prog`."""
    options = tyro.cli(Options, args=list(argv), prog=prog, description=inspect.getdoc(Options))
    if options.out.suffix.lower() != ".zip":
        raise UserError(f"--out: {options.out} must end in .zip")
    name = _benchmark_name(options.benchmark)
    runs = _runs(options, name)
    benchmark = benchmarks.load(name, options.data_dir)
    archive = submission.pack(benchmark, runs)
    with replacing(options.out) as file:
        file.write(archive)
    frames = sum(map(len, benchmark.sequences))
    ids = ", ".join(f"{each.id} (seed {each.seed})" for each in runs)
    line = (
        f"{options.out}: {len(archive):,} bytes, {len(benchmark.sequences)} sequences, {frames:,} frames, run {ids} of "
        f"{options.tracker}; read again and checked"
    )
    Console().print(line, markup=False, highlight=False, soft_wrap=True)


def _benchmark_name(spelling: str) -> str:
    aliases = {**_TEST_SETS, **{plain(name): name for name in submission.FORMATS}}
    return match_name(spelling, submission.FORMATS, what="benchmark with a server", aliases=aliases)


def _runs(options: Options, benchmark: str) -> list[StoredRun]:
    """The stored runs asked for, by their seeds; without ids those of the tracker if there is no doubt."""
    stored = [run for run in store.list_runs(options.results, benchmark) if run.tracker == options.tracker]
    if not stored:
        raise UserError(
            f"there are no results of {options.tracker} on {benchmark} in {options.results}: run jaxtrack evaluate "
            f"--tracker {options.tracker} --benchmark {benchmark} first"
        )
    if options.run is not None:
        ids = split_list(options.run, "run")
        stored = [_with_id(stored, each) for each in ids]
    described = ", ".join(f"{run.id} (seed {run.seed})" for run in stored)
    if len({run.group for run in stored}) > 1:
        raise UserError(f"these runs of {options.tracker} differ in more than the seed, choose by --run: {described}")
    most = submission.FORMATS[benchmark].runs
    if len(stored) > most:
        raise UserError(f"at most {most} runs can be submitted to {benchmark}, choose by --run: {described}")
    return sorted(stored, key=lambda run: run.seed)


def _with_id(stored: Sequence[StoredRun], name: str) -> StoredRun:
    known = {run.id: run for run in stored}
    return known[match_name(name, known, what="run")]
