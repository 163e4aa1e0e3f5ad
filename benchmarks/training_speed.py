"""How fast networks train on rendered pairs: pairs per second, and what of it is rendering.

    python benchmarks/training_speed.py
    python benchmarks/training_speed.py --architecture siamban_r50 --batch 4 --rounds 2
    python benchmarks/training_speed.py --objective ce rbo

A step is what `train.py` runs: pairs, labels, losses, gradients, update, on all devices. `rbo` are the losses with both
ranking losses, `ce` those without any; the objectives of a network are timed in turn, step by step. Rendering is timed
as a program of its own. GFLOP are those that XLA counts in the compiled step, rendering included; the peak is that of
a large float32 matrix product in the same process.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Literal

import jax
import tyro
from siamese_parts import matrix_peak, timed

from jaxtrack.training import loop, presets
from jaxtrack.training.config import TrainConfig
from jaxtrack.training.optimiser import Optimiser
from jaxtrack.training.siamese import make_recipe
from jaxtrack.training.sources import sample_numbers
from jaxtrack.training.step import make_step, on_each

OBJECTIVES = {"ce": presets.BASELINE, "rbo": presets.CR_IGR}


@dataclasses.dataclass(frozen=True)
class Options:
    """What to time."""

    architecture: tuple[str, ...] = ("siamban_pico", "siamban_nano")
    """Networks; large ones train all of their parts that ever are trained."""
    objective: tuple[Literal["ce", "rbo"], ...] = ("rbo",)
    """What they are trained for."""
    batch: int = 32
    """Pairs in a step."""
    rounds: int = 5
    """Steps that are timed; the median counts."""


def configuration(architecture: str, objective: str, batch: int) -> TrainConfig:
    """A training of a network on rendered pairs."""
    config = presets.nano("timed", OBJECTIVES[objective])
    small = architecture in ("siamban_pico", "siamban_nano")
    optimiser = config.optimiser if small else Optimiser(frozen_epochs=0)
    return dataclasses.replace(config, architecture=architecture, batch=batch, optimiser=optimiser)


@dataclasses.dataclass
class Timed:
    """Seconds of the steps of a training so far, of which the first is left out, and GFLOP of each."""

    step: Callable[[int], None]
    gflop: float
    seconds: list[float] = dataclasses.field(default_factory=list)

    def go(self, number: int) -> None:
        """Times a step."""
        start = time.perf_counter()
        self.step(number)
        self.seconds.append(time.perf_counter() - start)


def prepare(config: TrainConfig) -> Timed:
    """A training that has taken its first step."""
    recipe, devices = make_recipe(config), jax.devices()
    state, stage = loop.first_state(config, recipe)
    program = make_step(recipe, stage, loop.updates_of(config, stage), devices)

    def step(number: int) -> None:
        nonlocal state
        numbers = sample_numbers(number, config.batch, 0, 1).reshape(len(devices), -1)
        state, metrics = program(state, numbers, numbers)
        jax.block_until_ready(metrics)

    step(0)
    numbers = sample_numbers(0, config.batch, 0, 1).reshape(len(devices), -1)
    flops = program.compiled(state, numbers, numbers).cost_analysis().get("flops", 0.0)
    return Timed(step, len(devices) * flops / 1e9)  # XLA counts what one of them does


def rendering_seconds(config: TrainConfig, rounds: int) -> float:
    """Median of the seconds that rendering a batch takes, each device its share."""
    devices = jax.devices()
    program = on_each(lambda _, items, __: config.source.pairs(items), devices)
    seconds = []
    for number in range(rounds + 1):
        numbers = sample_numbers(number, config.batch, 0, 1).reshape(len(devices), -1)
        seconds.append(timed(lambda numbers=numbers: program((), numbers, numbers)))
    return statistics.median(seconds[1:])


def main(options: Options) -> None:
    """Prints the table."""
    peak = matrix_peak()
    print(f"{len(jax.devices())} x {jax.devices()[0].device_kind}, batch {options.batch}, peak {peak:.0f} GFLOP/s\n")
    print("| network | losses | pairs/s | ms a pair | of it rendering | GFLOP a pair | share of the peak |")
    print("|---|---|---|---|---|---|---|")
    for name in options.architecture:
        rendering = rendering_seconds(configuration(name, "ce", options.batch), options.rounds)
        trainings = {which: prepare(configuration(name, which, options.batch)) for which in options.objective}
        for i in range(options.rounds):
            for training in trainings.values():
                training.go(i + 1)
        for which, training in trainings.items():
            step = statistics.median(training.seconds)
            each = [1e3 * step / options.batch, 1e3 * rendering / options.batch, training.gflop / options.batch]
            print(
                f"| {name} | {which} | {options.batch / step:.1f} | {each[0]:.1f} | {each[1]:.1f} | {each[2]:.2f} | "
                f"{training.gflop / step / peak:.0%} |"
            )


if __name__ == "__main__":
    main(tyro.cli(Options))
