"""Plots how sure DeepTrack was of its labels over a clip: Q and |P|, as in Fig. 4 of the paper, and the loss.

python benchmarks/deeptrack_trace.py --sequence procedural-occ --out docs/images/deeptrack_trace
"""

import dataclasses
from pathlib import Path

import numpy as np
import tyro

from jaxtrack.boxes import iou
from jaxtrack.data import benchmarks
from jaxtrack.evaluation import figures, plots
from jaxtrack.running import run
from jaxtrack.trackers import deeptrack


@dataclasses.dataclass(frozen=True)
class Options:
    """What to plot."""

    sequence: str = "procedural-occ"
    """A sequence's name."""
    benchmark: str = "procedural"
    """Its benchmark."""
    data_dir: Path | None = None
    """Where the benchmark's data lies."""
    out: Path = Path("results/deeptrack_trace")
    """The picture, without its ending."""


def main(options: Options) -> None:
    """Tracks the clip and writes the picture."""
    sequence = benchmarks.load(options.benchmark, options.data_dir, (options.sequence,)).sequences[0]
    track = run(deeptrack.tracker(), {}, sequence, sequence.boxes[0])
    overlap = iou(track.boxes.astype(np.float64), sequence.boxes)
    unseen = np.full(1, np.nan)
    traces = {
        "overlap": np.where(sequence.valid, overlap, np.nan),
        "label quality Q": np.concatenate([unseen, track.diagnostics["quality"]]),
        "rivals |P|": np.concatenate([unseen, track.diagnostics["rivals"]]),
        "loss before training": np.concatenate([unseen, track.diagnostics["loss_before"]]),
    }
    training = deeptrack.Config().training
    levels = {"loss before training": training.start_factor * training.epsilon}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    figures.save(plots.plot_trace(traces, title=f"deeptrack on {sequence.name}", levels=levels), options.out)


if __name__ == "__main__":
    main(tyro.cli(Options))
