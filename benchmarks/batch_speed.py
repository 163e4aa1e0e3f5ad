"""Many videos at once: frames per second of `run_batch` at several widths beside single runs of the same videos.

    python benchmarks/batch_speed.py --tracker nanotrack_v2 --widths 1,2,4,8

The videos are those of `procedural`, 30 frames each, the first ones of one canvas; weights are drawn at random, as they
do not matter for speed. Compiling is not counted. Medians of several rounds, in turns.
"""

import dataclasses
import statistics
import time
from typing import Any

import numpy as np
import tyro
from siamese_parts import random_params

from jaxtrack import run, run_batch
from jaxtrack.data import benchmarks
from jaxtrack.models.siamese import ARCHITECTURES
from jaxtrack.trackers import siamese


@dataclasses.dataclass(frozen=True)
class Options:
    """What to time."""

    tracker: str = "nanotrack_v2"
    """A Siamese tracker."""
    widths: str = "1,2,4,8"
    """Widths of batches, separated by commas."""
    rounds: int = 3
    """How often each is timed."""


def main(options: Options) -> None:
    """Prints the table."""
    config = siamese.CONFIGS[options.tracker]
    tracker, params = siamese.tracker(config), random_params(ARCHITECTURES[config.architecture])
    widths = [int(width) for width in options.widths.split(",")]
    sequences = benchmarks.load("procedural", None, None).sequences[: max(widths)]
    videos: list[Any] = [[sequence[i] for i in range(len(sequence))] for sequence in sequences]
    boxes = [np.asarray(sequence.boxes[0], np.float32) for sequence in sequences]
    frames = sum(len(video) for video in videos)

    def singly() -> None:
        for video, box in zip(videos, boxes, strict=True):
            run(tracker, params, video, box)

    def batched(width: int) -> None:
        run_batch(tracker, params, videos, boxes, [0] * len(videos), width=width)

    calls = {"one by one": singly} | {f"width {width}": lambda width=width: batched(width) for width in widths}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(options.rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if i > 0:  # the first time compiles
                seconds[name].append(time.perf_counter() - start)
    print(f"{len(videos)} videos, {frames} frames\n\n| {options.tracker} | frames per second |\n|---|---|")
    for name, values in seconds.items():
        print(f"| {name} | {frames / statistics.median(values):.0f} |")


if __name__ == "__main__":
    main(tyro.cli(Options))
