"""How fast training pairs come from prepared datasets: read and decoded on the host, and made on the device.

    python benchmarks/pipeline_speed.py data/got10k/train
    python benchmarks/pipeline_speed.py data/got10k/train --workers 0 4 16 --batch 128

`jaxtrack prepare` makes the folders. Nothing is trained: the host's pairs a second, with so many processes that decode
(0 decodes in threads), are the most that any network can be trained with; a device cuts them out and changes their
colours as the first part of a step. Files that are read again come from the memory of the operating system.
"""

import dataclasses
import statistics
import time
from pathlib import Path

import jax
import tyro
from siamese_parts import timed

from jaxtrack.training.sources import Disk, sample_numbers
from jaxtrack.training.step import on_each, split


@dataclasses.dataclass(frozen=True)
class Options:
    """What to time."""

    folders: tyro.conf.Positional[tuple[Path, ...]]
    """Prepared datasets."""
    workers: tuple[int, ...] = (0, 2)
    """Numbers of processes that decode."""
    batch: int = 32
    """Pairs in a step."""
    steps: int = 60
    """Steps whose pairs are read; a first one starts threads and processes and is not timed."""


def host_speed(options: Options, workers: int) -> float:
    """Pairs a second of the host."""
    batches = Disk(options.folders, workers=workers).batches(0, options.batch, 0, 1)
    try:
        next(batches)
        start = time.perf_counter()
        for _ in range(options.steps):
            next(batches)
        return options.steps * options.batch / (time.perf_counter() - start)
    finally:
        batches.close()


def device_milliseconds(options: Options) -> float:
    """What a pair takes on all devices together, from a batch that is there already."""
    source, devices = Disk(options.folders), jax.devices()
    batches = source.batches(0, options.batch, 0, 1)
    items = split(next(batches), len(devices))
    batches.close()
    numbers = split(sample_numbers(0, options.batch, 0, 1), len(devices))
    program = on_each(lambda _, these, __: source.pairs(these), devices)
    seconds = [timed(lambda: program((), items, numbers)) for _ in range(6)]
    return 1e3 * statistics.median(seconds[1:]) / options.batch


def main(options: Options) -> None:
    """Prints the table."""
    device = device_milliseconds(options)
    print(f"{len(jax.devices())} x {jax.devices()[0].device_kind}, batch {options.batch}\n")
    print("| processes that decode | host, pairs/s | ms a pair | device, ms a pair |")
    print("|---|---|---|---|")
    for workers in options.workers:
        speed = host_speed(options, workers)
        print(f"| {workers or 'none, threads'} | {speed:.0f} | {1e3 / speed:.1f} | {device:.1f} |")


if __name__ == "__main__":
    main(tyro.cli(Options))
