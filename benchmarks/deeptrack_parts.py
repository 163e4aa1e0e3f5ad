"""What a frame of DeepTrack costs, part by part, in milliseconds: medians on this machine.

    python benchmarks/deeptrack_parts.py

Shapes are static, so that the parts cost the same on any video; only large targets cost more to crop.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from jaxtrack import images
from jaxtrack.compilation import Program
from jaxtrack.data import benchmarks
from jaxtrack.online import cue_maps, itsgd, particles
from jaxtrack.tracker import sequence_key
from jaxtrack.trackers import deeptrack


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure."""

    sequence: str = "procedural-occ"
    """A sequence of the procedural benchmark."""
    repetitions: int = 15
    """Timed calls of each part."""
    config: deeptrack.Config = deeptrack.Config()
    """The tracker's configuration."""


def median_ms(function: Callable, args: tuple, repetitions: int) -> float:
    """Median time of a compiled function in milliseconds."""
    program = Program(function)
    jax.block_until_ready(program(*args))
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        jax.block_until_ready(program(*args))
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def matrix_peak(repetitions: int) -> float:
    """GFLOP/s of a large float32 matrix product: what the machine can do at best."""
    a = jnp.ones((2048, 2048), jnp.float32)
    return 2 * 2048**3 / (1e6 * median_ms(lambda x: x @ x, (a,), repetitions))


def parts(options: Options) -> dict[str, float]:
    """Milliseconds of each part."""
    config = options.config
    sequence = benchmarks.load("procedural", None, (options.sequence,)).sequences[0]
    frame = jax.tree.map(jnp.asarray, images.make_frame(sequence[0]))
    tracker = deeptrack.tracker(config)
    state: Any = Program(tracker.init)({}, frame, jnp.asarray(sequence.boxes[0], jnp.float32), sequence_key(0, ""))

    def make_maps(frame: images.Frame, state: Any) -> jax.Array:
        maps = cue_maps.raw(config.cues, config.sampling, frame, state.centre, state.size, state.grey, state.hue)
        return cue_maps.scaled(config.cues, maps, state.gradient_scale)

    maps = jax.jit(make_maps)(frame, state)
    drawn = particles.draw(config.sampling, state.key, state.size)
    best = jax.tree.map(lambda leaf: leaf[:1], drawn)

    def crop(frame: images.Frame, state: Any) -> jax.Array:
        box = particles.map_box(config.sampling, state.centre, state.size, jnp.float32(1))
        return images.crop_area(frame.pixels, frame.size, box, config.sampling.map_size)

    def remember(state: Any, maps: jax.Array, drawn: Any, best: Any) -> Any:
        return deeptrack._remember(config, state.key, state, maps, drawn, best, jnp.float32(1), 1)

    def learn(epsilon: float, rounds: int) -> Callable:
        training = dataclasses.replace(config.training, epsilon=epsilon, rounds=rounds)

        def one(state: Any) -> Any:
            return itsgd.train(
                state.key, state.network, state.velocity, state.positives, state.negatives, training, first=False
            )

        return one

    jobs: dict[str, tuple[Callable, tuple]] = {
        "crop of one size's map": (crop, (frame, state)),
        "crops and cues of all sizes": (make_maps, (frame, state)),
        "network on all particles": (lambda n, m, d: deeptrack._outputs(config, n, m, d), (state.network, maps, drawn)),
        "memories": (remember, (state, maps, drawn, best)),
        "loss that decides on training": (learn(1e9, 1), (state,)),
        "the same and one round of IT-SGD": (learn(0.0, 1), (state,)),
        "the same and ten rounds": (learn(0.0, 10), (state,)),
        "whole step, nothing to train": (
            deeptrack.tracker(
                dataclasses.replace(config, training=dataclasses.replace(config.training, epsilon=1e9))
            ).step,
            ({}, state, frame),
        ),
    }
    return {name: median_ms(function, args, options.repetitions) for name, (function, args) in jobs.items()}


def main(options: Options) -> None:
    """Prints the table."""
    print(f"matrix products reach {matrix_peak(options.repetitions):.0f} GFLOP/s here\n")
    print("| part | ms |\n|---|---|")
    for name, ms in parts(options).items():
        print(f"| {name} | {ms:.1f} |")


if __name__ == "__main__":
    main(tyro.cli(Options))
