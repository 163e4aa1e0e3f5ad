"""TADT's Table 5: channels at random, by the regression, by regression and ranking, from either map or both.

    python benchmarks/tadt_ablation.py --data-dir DATA --hours
    python benchmarks/tadt_ablation.py --data-dir DATA --out ablation
    python benchmarks/tadt_ablation.py --data-dir DATA --out ablation --tracker tadt_random --sequences short
    python benchmarks/tadt_ablation.py --data-dir DATA --overlap --sequences choice

The last line runs nothing: it says how far regression and ranking learn in the first frames, and what rules and
trainings of other lengths have in common.

A row in which something is random is run with three seeds, the others with one. What is finished is not run again:
killed at any moment, the same command goes on. The tables are printed after each row, in the paper's words: "first" is
the map that the paper takes conv4_1 for, "second" that of conv4_3. The paper: .597, .610, .646, .644, .651, .660 AUC on
OTB-2015.
"""

import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from targets import APART, CHOICE, beginning

from jaxtrack import images, trackers
from jaxtrack.compilation import Program
from jaxtrack.data import benchmarks
from jaxtrack.data.sequences import Benchmark, Sequence
from jaxtrack.evaluation import comparison
from jaxtrack.evaluation.runner import Entry, evaluate
from jaxtrack.models import tadt as models
from jaxtrack.online import channel_regression, scale_ranking
from jaxtrack.online.channels import Rule
from jaxtrack.trackers import tadt

# Of the 13 targets those with few frames: a network of 36 GFLOP a frame tracks them in an hour or so.
SHORT = ("Deer", "Football1", "Skiing", "Crossing", "Couple")
LONGER = 5000  # iterations of the ranking, a hundred times the paper's
GROUPS = {"short": SHORT, "choice": CHOICE, "apart": APART, "all": CHOICE + APART}
ROWS: dict[str, tuple[Rule, Rule]] = {
    "first_random": ("random", "none"),
    "second_random": ("none", "random"),
    "first_regression": ("regression", "none"),
    "second_regression": ("none", "regression"),
    "both_regression": ("regression", "regression"),
    "regression_ranking": ("ranking", "regression"),
    "all": ("all", "all"),
}
"""The rules of the first and of the second map; the last row is not the paper's."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Run the ablation, or say how long it takes."""

    data_dir: Path
    """The data of OTB100."""
    out: Path = Path("ablation")
    """The results store."""
    tracker: str = "tadt_nano"
    """Which of TADT's configurations, and with it the network."""
    profile: Literal["paper", "code"] = "paper"
    """As the paper has it, or as released."""
    sequences: Literal["short", "choice", "apart", "all"] = "all"
    """Which of the real targets."""
    rows: tuple[str, ...] = tuple(ROWS)
    """Which rows."""
    seeds: int = 3
    """How many where something is random."""
    frames: int = 0
    """Only the first frames of each sequence, to try the script; 0 for all."""
    hours: bool = False
    """Only time the first frame and another one, and print how long all of it takes."""
    overlap: bool = False
    """Only print how far the paper's profile has learned in the first frames; which share of the better half of each
    map's channels other rules of the regression share with its own; and how many channels keep the sign that the
    ranking gives them if it goes on for 5000 iterations."""

    def __post_init__(self) -> None:
        """Refuses rows that there are not."""
        if set(self.rows) - set(ROWS):
            raise SystemExit(f"rows are {', '.join(ROWS)}")


def profiled(options: Options) -> tadt.Config:
    """The configuration under the profile that is asked for."""
    base = tadt.CONFIGS[options.tracker]
    if options.profile == "paper" or base.regression.solver == "released":
        return base
    changed = tadt.released(base)
    if base.architecture == "vgg16":
        return changed
    # The program's step sizes are for the activations of Oxford's VGG-16, its numbers of channels for 512.
    changed = dataclasses.replace(changed, regression=dataclasses.replace(changed.regression, activation=20.0))
    if base.architecture.startswith("vgg16"):
        return changed
    selection = dataclasses.replace(base.selection, fewest=base.selection.target.channels, balance=6)
    return dataclasses.replace(changed, selection=selection)


def config_of(options: Options, row: str) -> tadt.Config:
    """The tracker of a row, with as many channels as the others have."""
    base = profiled(options)
    rules = dict(zip(("scale", "target"), ROWS[row], strict=True))
    groups = {name: dataclasses.replace(getattr(base.selection, name), rule=rule) for name, rule in rules.items()}
    return dataclasses.replace(base, selection=dataclasses.replace(base.selection, **groups))


def is_random(config: tadt.Config) -> bool:
    """Whether a run depends on its seed."""
    rules = {config.selection.scale.rule, config.selection.target.rule}
    return "random" in rules or ("ranking" in rules and config.ranking.predictor == "untrained")


def first_frames(sequence: Sequence, count: int) -> Sequence:
    """The beginning of a sequence, under another name."""
    return dataclasses.replace(beginning(sequence, count), name=f"{sequence.name}-{count}")


def targets(options: Options) -> Benchmark:
    """The sequences."""
    benchmark = benchmarks.load("otb100", options.data_dir, GROUPS[options.sequences])
    if not options.frames:
        return benchmark
    some = tuple(first_frames(sequence, options.frames) for sequence in benchmark.sequences)
    return dataclasses.replace(benchmark, name=f"otb100-{options.frames}", sequences=some)


def label(options: Options, row: str) -> str:
    """What the store calls a row."""
    return f"{options.tracker}_{options.profile}_{row}"


def run_row(options: Options, benchmark: Benchmark, row: str) -> comparison.TrackerResult:
    """A row's result, from the store as far as it is there."""
    config = config_of(options, row)
    repeats = options.seeds if is_random(config) else 1
    entry = Entry(label(options, row), options.tracker, config)
    [result] = comparison.from_runs(benchmark, evaluate([entry], benchmark, options.out, repeats=repeats))
    return result


def print_row(benchmark: Benchmark, row: str, result: comparison.TrackerResult, names: dict[str, list[str]]) -> None:
    """One line."""
    cells = [str(result.headline(metric, group)) for group in names.values() for metric in ("auc", "precision_20")]
    everything = [sequence.name for sequence in benchmark.sequences]
    print(f"| {row} | {len(result.scores)} | {' | '.join(cells)} | {result.median_fps(everything):.1f} |", flush=True)


def groups_of(benchmark: Benchmark) -> dict[str, list[str]]:
    """All sequences; and apart those on which options are chosen and the others, where there are both."""
    everything = [sequence.name for sequence in benchmark.sequences]
    found = {"all": everything}
    for title, names in (("the six", CHOICE), ("the others", APART)):
        some = [name for name in everything if name in names]
        if some and len(some) < len(everything):
            found[title] = some
    return found


def print_hours(options: Options) -> None:
    """How long everything takes, from one first frame of each row and a later one."""
    benchmark = targets(options)
    sequence = benchmark.sequences[0]
    frame = jax.tree.map(jnp.asarray, images.make_frame(sequence[0]))
    box = jnp.asarray(sequence.boxes[0], jnp.float32)
    frames = sum(len(sequence) - 1 for sequence in benchmark.sequences)
    total = 0.0
    for row in options.rows:
        config = config_of(options, row)
        method = trackers.build(options.tracker, config)
        assert isinstance(method, trackers.JaxMethod)
        first, later = _seconds(method, frame, box)
        repeats = options.seeds if is_random(config) else 1
        hours = repeats * (len(benchmark.sequences) * first + frames * later) / 3600
        total += hours
        print(
            f"{row}: first frame {first:.2f} s, another {1e3 * later:.0f} ms, {repeats} runs: {hours:.2f} h", flush=True
        )
    print(f"{options.tracker}, {len(benchmark.sequences)} sequences, {frames} frames: {total:.1f} h, compiling apart")


def _seconds(method: trackers.JaxMethod, frame: images.Frame, box: jax.Array) -> tuple[float, float]:
    """Of the first frame and of a later one."""
    params = method.params()
    begin, step = Program(method.tracker.init), Program(method.tracker.step)
    state: Any = jax.block_until_ready(begin(params, frame, box, jax.random.key(0)))

    def timed(call: Any) -> float:
        start = time.perf_counter()
        jax.block_until_ready(call())
        return time.perf_counter() - start

    jax.block_until_ready(step(params, state, frame))
    first = timed(functools.partial(begin, params, frame, box, jax.random.key(0)))
    return first, min(timed(functools.partial(step, params, state, frame)) for _ in range(3))


def better_half(importance: Any) -> set[int]:
    """The more important half of the channels."""
    order = np.argsort(-np.asarray(importance), kind="stable")
    return set(order[: len(order) // 2].tolist())


def compared(options: Options, architecture: models.Architecture) -> Callable[..., Any]:
    """What learns from the first frame around a state: three rules from each map, two lengths from the first one."""
    paper = tadt.CONFIGS[options.tracker]
    code = profiled(dataclasses.replace(options, profile="code"))
    rules = (paper.regression, dataclasses.replace(paper.regression, importance="gradient"), code.regression)
    lengths = (paper.ranking, dataclasses.replace(paper.ranking, iterations=LONGER))

    def learn(params: Any, state: tadt.State, frame: images.Frame) -> tuple[list[Any], list[Any]]:
        x = models.image(architecture, frame, state.centre, state.side_px / state.rescale)
        problems = []
        for one in models.maps(architecture, params, x):
            given = tadt.problem(jnp.moveaxis(one, 2, 0), state.sides, state.cells)
            problems.append(given._replace(maps=jnp.where(given.where[None], given.maps, 0.0)))
        samples = scale_ranking.samples(problems[0].maps, state.cells, problems[0].sides)
        regressed = [[channel_regression.learn(rule, given) for rule in rules] for given in problems]
        return regressed, [scale_ranking.learn_scale(length, samples) for length in lengths]

    return learn


def overlap_rows(names: tuple[str, str], regressed: list[Any], ranked: list[Any]) -> list[list[str]]:
    """The cells of both maps' rows, from what `compared` has learned."""
    signs = [np.asarray(importance) > 0 for _, importance in ranked]
    scale = [*(f"{float(learned.loss):.2f}" for learned, _ in ranked), f"{np.mean(signs[0] == signs[1]):.0%}"]
    rows = []
    for name, found, more in zip(names, regressed, (scale, [""] * len(scale)), strict=True):
        first, *others = (better_half(importance) for _, importance in found)
        learned = found[0][0]
        shares = [f"{len(first & other) / len(first):.0%}" for other in others]
        rows.append([name, f"{float(learned.error):.2f}", str(int(learned.iterations)), *shares, *more])
    return rows


def print_overlap(options: Options) -> None:
    """How far is learned in the first frames, and what other rules and a longer training have in common with it."""
    config = tadt.CONFIGS[options.tracker]
    architecture = models.ARCHITECTURES[config.architecture]
    method = trackers.build(options.tracker, config)
    assert isinstance(method, trackers.JaxMethod)
    params, begin, learn = method.params(), Program(method.tracker.init), Program(compared(options, architecture))
    heads = ("error", "iterations", "by the gradient", "as released", "ranking loss", f"after {LONGER}", "signs kept")
    print(f"| first frame | map | {' | '.join(heads)} |\n|---|---" + "|---" * len(heads) + "|")
    for sequence in targets(options).sequences:
        frame = jax.tree.map(jnp.asarray, images.make_frame(sequence[0]))
        state = begin(params, frame, jnp.asarray(sequence.boxes[0], jnp.float32), jax.random.key(0))
        for cells in overlap_rows(architecture.names, *learn(params, state, frame)):
            print(f"| {sequence.name} | {' | '.join(cells)} |", flush=True)


def main(options: Options) -> None:
    """Runs the ablation, or says how long it takes."""
    if options.overlap:
        print_overlap(options)
        return
    if options.hours:
        print_hours(options)
        return
    benchmark = targets(options)
    names = groups_of(benchmark)
    heads = [f"{metric}, {group}" for group in names for metric in ("AUC", "P@20")]
    print(
        f"| {options.tracker}, {options.profile} | runs | {' | '.join(heads)} | fps |\n|---"
        + "|---" * (len(heads) + 2)
        + "|"
    )
    for row in options.rows:
        print_row(benchmark, row, run_row(options, benchmark, row), names)


if __name__ == "__main__":
    main(tyro.cli(Options))
