"""Everything that is measured of MDNet, RankLoc and RPN2T on real targets, by one command that can be stopped.

    python benchmarks/online_study.py --data-dir DATA --hours
    python benchmarks/online_study.py --data-dir DATA --out online_study
    python benchmarks/online_study.py --data-dir DATA --out online_study --small --only trackers parts
    python benchmarks/online_study.py --data-dir DATA --out online_study --reduced
    python benchmarks/online_study.py --data-dir DATA --out online_study --tables

The trackers once on all 13 targets; on five of them (486 frames) RankLoc's parts with three seeds, backbones with
random weights, RPN2T's losses, thresholds and the teacher at half the input; what the papers leave open, RankLoc's
margin and box regression of both; the teacher on two clips of 50 frames.
What is stored is not run again: killed at any moment, the same command goes on. `--hours` measures a frame of each
network, with random weights, and says how long all of it takes here; `--reduced` is a selection for an hour or so;
`--tables` runs nothing and prints what there is.

Tables: AUC and P@20, means over the sequences; `size`, by how much sides of boxes are too long, the median over the
frames; milliseconds of a frame, the first one apart. Where there are several seeds, mean and standard deviation.
"""

import dataclasses
import math
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from online_arms import Arm, Group, Weights, groups
from targets import beginning

from jaxtrack import images, trackers
from jaxtrack.__main__ import guarded
from jaxtrack.data import benchmarks
from jaxtrack.data.sequences import Benchmark
from jaxtrack.errors import MissingWeightsError, UserError
from jaxtrack.evaluation import comparison, store
from jaxtrack.evaluation.progress import Reporter
from jaxtrack.evaluation.run_record import Run
from jaxtrack.evaluation.runner import Entry, evaluate
from jaxtrack.evaluation.store import StoredRun
from jaxtrack.online.loading import RANDOM
from jaxtrack.running import programs


@dataclasses.dataclass(frozen=True)
class Options:
    """Run the study, print its tables, or say how long it takes."""

    data_dir: Path
    """The data of OTB100."""
    out: Path = Path("online_study")
    """Where results are stored."""
    weights: Weights = Weights()
    """Other weights than the trackers' own."""
    small: bool = False
    """MDNet, RankLoc and RPN2T on the narrow networks whose weights come with jaxtrack."""
    only: tuple[str, ...] = ()
    """These tables alone, of trackers, parts, backbones, losses, half, margins, boxes, student_boxes and teacher."""
    reduced: bool = False
    """Less of everything."""
    hours: bool = False
    """Only measure a frame of each network and print how long all of it takes."""
    tables: bool = False
    """Only print the tables of what is stored."""

    def groups(self) -> tuple[Group, ...]:
        """What is asked for."""
        return groups(self.weights, reduced=self.reduced, small=self.small, only=self.only)


class Progress(Reporter):
    """A line for each sequence."""

    def sequence(self, run: str, name: str, frames: int) -> None:
        """See `Reporter`."""
        print(f"{time.strftime('%H:%M')} {run}: {name}, {frames} frames", flush=True)

    def note(self, text: str) -> None:
        """See `Reporter`."""
        print(text, flush=True)


# --- targets -------------------------------------------------------------------------------------------------------


def benchmark_of(group: Group, data_dir: Path) -> Benchmark:
    """The targets of a group; clips are results of another name than whole sequences."""
    whole = benchmarks.load("otb100", data_dir, group.targets)
    if group.frames is None:
        return whole
    clips = [beginning(sequence, group.frames) for sequence in whole.sequences]
    return dataclasses.replace(whole, name=f"{whole.name}-first-{group.frames}", sequences=clips)


# --- tables --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Row:
    """What is known of an arm: spreads over its seeds, and how many of its runs' sequences are finished."""

    name: str
    auc: comparison.Spread
    precision: comparison.Spread
    size: comparison.Spread
    ms: comparison.Spread
    done: int
    asked: int

    def cells(self) -> list[str]:
        """Of a line of the table."""
        seeds = f"{self.auc.runs}" if self.done == self.asked else f"{self.done} of {self.asked} tracks"
        ms = "-" if math.isnan(self.ms.mean) else f"{self.ms.mean:.0f}"
        ms += "" if self.ms.std is None or ms == "-" else f" ± {self.ms.std:.0f}"
        return [self.name, seeds, str(self.auc), str(self.precision), str(self.size), ms]


def size_ratio(boxes: np.ndarray, truth: np.ndarray, valid: np.ndarray) -> float:
    """Median of sqrt(area / true area) over the annotated frames after the first; `[N, 4]`, `[N, 4]`, `bool [N]`."""
    counted = valid[1:]
    areas = boxes[1:][counted, 2] * boxes[1:][counted, 3], truth[1:][counted, 2] * truth[1:][counted, 3]
    return float(np.median(np.sqrt(areas[0] / areas[1]))) if counted.any() else math.nan


def row_of(name: str, benchmark: Benchmark, runs: list[StoredRun], seeds: int) -> Row:
    """A line from stored runs; sequences that a run lacks do not count in it."""
    names = [sequence.name for sequence in benchmark.sequences]
    done = [[s for s in benchmark.sequences if run.done(s.name, len(s))] for run in runs]
    count = sum(map(len, done))
    runs = [run for run, found in zip(runs, done, strict=True) if found]
    done = [found for found in done if found]
    if not runs:
        nothing = comparison.Spread(math.nan, None, 0)
        return Row(name, nothing, nothing, nothing, nothing, 0, seeds * len(names))
    [result] = comparison.from_runs(benchmark, runs)
    sizes, ms = [], []
    for run, found in zip(runs, done, strict=True):
        results = [(sequence, run.read(sequence.name)) for sequence in found]
        sizes.append(np.mean([size_ratio(r.boxes, s.boxes, s.valid) for s, r in results]))
        ms.append(1e3 * np.mean(np.concatenate([r.seconds[1:] for _, r in results])))
    auc, precision = (result.headline(metric, names) for metric in ("auc", "precision_20"))
    return Row(name, auc, precision, comparison.spread(sizes), comparison.spread(ms), count, seeds * len(names))


def stored_runs(arm: Arm, benchmark: Benchmark, results: Path) -> list[StoredRun]:
    """The runs of an arm that are stored, seed by seed; none of other weights or constants."""
    there = store.list_runs(results, benchmark.name) if results.is_dir() else []
    try:
        method: Any = trackers.build(arm.tracker, arm.config)
    except MissingWeightsError:  # which weights the stored runs have cannot be told
        return []
    wanted = {Run(arm.name, arm.config, seed, method.weights_sha256).id for seed in range(arm.seeds)}
    return sorted((run for run in there if run.id in wanted), key=lambda run: run.seed)


def print_table(title: str, benchmark: Benchmark, rows: Iterable[Row]) -> None:
    """One table, in Markdown."""
    frames = sum(map(len, benchmark.sequences))
    print(f"\n{title}: {', '.join(s.name for s in benchmark.sequences)} ({frames} frames)\n")
    print("| tracker | seeds | AUC | P@20 | size | ms/frame |\n|---|---|---|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row.cells())} |")


# --- hours ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Cost:
    """Seconds of a tracker's parts."""

    compiling: float
    start: float
    frame: float
    update: float
    interval: int

    def seconds(self, lengths: Iterable[int]) -> float:
        """Of sequences of so many frames, the target being found in all of them; compiled once."""
        per_frame = self.frame + max(self.update - self.frame, 0.0) / self.interval
        return self.compiling + sum(self.start + (length - 1) * per_frame for length in lengths)


def certain(config: Any, state: Any) -> Any:
    """The state with scores that say target whatever is seen, so that an update comes only when it is due."""
    head = dict(state.head)
    for name in config.framework.mining.fast_layers:
        bias = head[name]["bias"]
        head[name] = {**head[name], "bias": bias.at[..., 1].add(jnp.asarray(1e6, bias.dtype))}
    return dataclasses.replace(state, head=head)


def measure(arm: Arm) -> Cost:
    """The cost of an arm's network with random weights: its start, a frame, and a frame with an update."""
    config = dataclasses.replace(arm.config, weights=RANDOM)
    method: Any = trackers.build(arm.tracker, config)
    params, parts = method.params(), programs(method.tracker)
    frame = images.make_frame(np.random.default_rng(0).integers(0, 256, (360, 640, 3), np.uint8))
    box = np.asarray([300, 150, 60, 80], np.float32)
    arguments = (params, frame, box, jax.random.key(0))
    parts.init.compiled(*arguments)
    state, start = _timed(lambda: parts.init(*arguments))
    parts.step.compiled(params, state, frame)
    interval, seconds = config.framework.memory.interval, []
    for number in (1, 2, interval):  # the first one is not counted
        state = dataclasses.replace(certain(config, state), frame=jnp.asarray(number, jnp.int32))
        (state, _), spent = _timed(lambda state=state: parts.step(params, state, frame))
        seconds.append(spent)
    compiling = parts.init.compile_seconds + parts.step.compile_seconds
    return Cost(compiling, start, seconds[1], seconds[2], interval)


def _timed(call: Any) -> tuple[Any, float]:
    begun = time.perf_counter()
    result = jax.block_until_ready(call())
    return result, time.perf_counter() - begun


def network_of(arm: Arm) -> tuple[str, Any]:
    """What the speed of an arm depends on."""
    return arm.config.architecture, arm.config.framework


def tracks_of(group: Group, arm: Arm) -> list[tuple[str, str, int | None, int]]:
    """What is run for an arm: its name, a target, how many frames of it, and a seed."""
    return [(arm.name, target, group.frames, seed) for target in group.targets for seed in range(arm.seeds)]


def print_hours(options: Options) -> None:
    """How long everything takes; what is stored is not taken off."""
    wanted = options.groups()
    names = tuple(sorted({name for group in wanted for name in group.targets}))
    lengths = {s.name: len(s) for s in benchmarks.load("otb100", options.data_dir, names).sequences}
    costs: dict[Any, Cost] = {}
    seen: set[Any] = set()  # what stands in two tables runs once
    total = 0.0
    print("| tracker | network | start, s | frame, s | with an update, s | tracks | frames | hours |")
    print("|---" * 8 + "|")
    for tracks, arm in [(tracks_of(group, arm), arm) for group in wanted for arm in group.arms]:
        new = [track for track in tracks if track not in seen]
        each = [min(lengths[name], frames or lengths[name]) for _, name, frames, _ in new]
        seen.update(tracks)
        if not each:
            continue
        if network_of(arm) not in costs:
            costs[network_of(arm)] = measure(arm)
        cost = costs[network_of(arm)]
        total += cost.seconds(each)
        numbers = f"{cost.start:.1f} | {cost.frame:.2f} | {cost.update:.2f} | {len(each)} | {sum(each)}"
        hours = cost.seconds(each) / 3600
        print(f"| {arm.name} | {arm.config.architecture} | {numbers} | {hours:.2f} |", flush=True)
    print(f"\nall of it: {total / 3600:.1f} hours")


# --- the study -----------------------------------------------------------------------------------------------------


def check(wanted: Iterable[Group]) -> None:
    """`UserError` that names all weights that are missing, before anything runs."""
    missing: dict[str, str] = {}
    for arm in (arm for group in wanted for arm in group.arms):
        try:
            trackers.build(arm.tracker, arm.config)
        except MissingWeightsError:
            missing.setdefault(arm.config.weights or arm.config.architecture, arm.name)
    if missing:
        some = ", ".join(f"{weights} for {name}" for weights, name in missing.items())
        raise UserError(
            f"there are no weights {some}: train or import them (docs/mdnet.md), or name others by --weights"
        )


def run(options: Options) -> None:
    """Runs what is not stored, table after table, and prints each as it is complete."""
    results, wanted = options.out / "results", options.groups()
    if not options.tables:
        check(wanted)
    for group in wanted:
        benchmark = benchmark_of(group, options.data_dir)
        if not options.tables:
            for arm in group.arms:
                entry = Entry(arm.name, arm.tracker, arm.config)
                evaluate([entry], benchmark, results, repeats=arm.seeds, reporter=Progress())
        rows = [row_of(arm.name, benchmark, stored_runs(arm, benchmark, results), arm.seeds) for arm in group.arms]
        print_table(group.title, benchmark, rows)


def main(options: Options) -> None:
    """Runs the study, or says how long it takes."""
    if options.hours:
        print_hours(options)
    else:
        run(options)


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(tyro.cli(Options))))
