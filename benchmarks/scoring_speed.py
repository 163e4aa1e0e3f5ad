"""How long it takes to score results: 100 sequences of OTB's length, and as much as LaSOT has, from files.

    python benchmarks/scoring_speed.py

Boxes are drawn at random; what is timed is what `evaluate --published` does after its benchmark is loaded.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from jaxtrack.data.boxfiles import annotated_rows, write_boxes
from jaxtrack.data.sequences import Benchmark, Sequence
from jaxtrack.evaluation import metrics, protocols, raw_results

SIZES = {"OTB-100": (100, 590), "LaSOT": (280, 2500)}


def benchmark(name: str, sequences: int, frames: int) -> Benchmark:
    """Sequences with random boxes and without images."""
    random = np.random.default_rng(0)
    made = []
    for i in range(sequences):
        boxes = random.uniform(5, 100, (frames, 4)).round(2)
        frame: Any = np.broadcast_to(np.zeros((), np.uint8), (frames, 200, 200, 3))
        made.append(Sequence(f"sequence-{i}", frame, boxes, annotated_rows(boxes), absent=random.random(frames) < 0.03))
    return Benchmark(name.casefold(), name, made)


def write_results(toy: Benchmark, folder: Path) -> None:
    """A result file for each sequence: its annotation, moved by up to 10 pixels."""
    random = np.random.default_rng(1)
    for sequence in toy.sequences:
        write_boxes(folder / f"{sequence.name}.txt", sequence.boxes + random.uniform(-5, 10, sequence.boxes.shape))


def seconds(toy: Benchmark, folder: Path, rules: protocols.Protocol) -> tuple[float, float, float]:
    """Seconds for reading and scoring, for scoring alone, and the mean AUC."""
    begin = time.perf_counter()
    result = raw_results.tracker_result("them", folder, toy, str, rules=rules)
    total = time.perf_counter() - begin
    read = raw_results.read_folder(folder, str)
    begin = time.perf_counter()
    scores = [protocols.score(read[sequence.name], sequence, rules) for sequence in toy.sequences]
    alone = time.perf_counter() - begin
    assert len(result.scores[0]) == len(scores)
    return total, alone, metrics.average(scores, pooled=rules.pooled).auc


def main() -> None:
    """Prints a row for each size and protocol."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print("| results | sequences x frames | protocol | reading and scoring, s | scoring alone, s |")
    print("|---|---|---|---|---|")
    for name, (sequences, frames) in SIZES.items():
        toy = benchmark(name, sequences, frames)
        with tempfile.TemporaryDirectory() as folder:
            write_results(toy, Path(folder))
            for rules in protocols.PROTOCOLS.values():
                total, alone, _ = seconds(toy, Path(folder), rules)
                print(f"| {name} | {sequences} x {frames} | {rules.name} | {total:.2f} | {alone:.2f} |")


if __name__ == "__main__":
    main()
