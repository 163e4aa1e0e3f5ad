"""How fast networks train on rendered pairs: pairs per second, and what of it is rendering.

    python benchmarks/training_speed.py
    python benchmarks/training_speed.py --architecture siamban_r50 --batch 4 --rounds 2

A step is what `train.py` runs: pairs, labels, losses of RBO, gradients, update, on all devices. Rendering is timed as
a program of its own. GFLOP are those that XLA counts in the compiled step, rendering included; the peak is that of a
large float32 matrix product in the same process.
"""

import dataclasses
import statistics
import time
from typing import Any

import jax
import numpy as np
import tyro
from siamese_parts import matrix_peak, timed

from jaxtrack.compilation import Program
from jaxtrack.training import loop, presets
from jaxtrack.training.config import TrainConfig
from jaxtrack.training.optimiser import Optimiser
from jaxtrack.training.siamese import make_recipe
from jaxtrack.training.sources import sample_numbers
from jaxtrack.training.step import make_step


@dataclasses.dataclass(frozen=True)
class Options:
    """What to time."""

    architecture: tuple[str, ...] = ("siamban_pico", "siamban_nano")
    """Networks; large ones train all of their parts that ever are trained."""
    batch: int = 32
    """Pairs in a step."""
    rounds: int = 5
    """Steps that are timed; the median counts."""


def configuration(architecture: str, batch: int) -> TrainConfig:
    """A training of a network on rendered pairs."""
    config = presets.nano("timed", presets.CR_IGR)
    small = architecture in ("siamban_pico", "siamban_nano")
    optimiser = config.optimiser if small else Optimiser(frozen_epochs=0)
    return dataclasses.replace(config, architecture=architecture, batch=batch, optimiser=optimiser)


def measure(architecture: str, batch: int, rounds: int) -> tuple[float, float, float]:
    """Seconds of rendering, seconds of a step, GFLOP of a step."""
    config = configuration(architecture, batch)
    recipe, devices = make_recipe(config), jax.devices()
    state, stage = loop.first_state(config, recipe)
    program = make_step(recipe, stage, loop.updates_of(config, stage), devices)
    render = Program(recipe.pairs)

    def numbers(step: int) -> np.ndarray:
        return sample_numbers(step, batch, 0, 1).reshape(len(devices), -1)

    step_seconds, render_seconds = [], []
    for i in range(rounds + 1):
        start = time.perf_counter()
        state, metrics = program(state, numbers(i), numbers(i))
        jax.block_until_ready(metrics)
        step_seconds.append(time.perf_counter() - start)
        if i == 0:
            flops = program.compiled(state, numbers(i), numbers(i)).cost_analysis().get("flops", 0.0)
        render_seconds.append(timed(lambda i=i: render(numbers(i).ravel())))
    return statistics.median(render_seconds[1:]), statistics.median(step_seconds[1:]), flops / 1e9


def main(options: Options) -> None:
    """Prints the table."""
    peak = matrix_peak()
    print(f"{len(jax.devices())} x {jax.devices()[0].device_kind}, batch {options.batch}, peak {peak:.0f} GFLOP/s\n")
    print("| network | pairs/s | ms a pair | of it rendering | GFLOP a pair | share of the peak |")
    print("|---|---|---|---|---|---|")
    for name in options.architecture:
        rendering, step, gflop = measure(name, options.batch, options.rounds)
        each: list[Any] = [1e3 * step / options.batch, 1e3 * rendering / options.batch, gflop / options.batch]
        print(
            f"| {name} | {options.batch / step:.1f} | {each[0]:.1f} | {each[1]:.1f} | {each[2]:.2f} | "
            f"{gflop / step / peak:.0%} |"
        )


if __name__ == "__main__":
    main(tyro.cli(Options))
