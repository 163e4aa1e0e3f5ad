"""How far a Siamese tracker's weights carry on the targets of choice, with many starts in each video.

    python benchmarks/restarts.py --data-dir DATA
    python benchmarks/restarts.py --data-dir DATA --weights runs/siamban_nano_rbo/siamban_nano_rbo_9500.safetensors

A one-pass evaluation of six videos is six starts, and one target that is lost early moves its mean by a tenth. Here
each video is begun at ten of its frames and followed for 80 (or half of the video, where that is less): 60 starts, of
which one moves little. Printed are the mean overlap and the share of frames within 20 pixels, by video and over all.
"""

import dataclasses
from pathlib import Path

import numpy as np
import tyro
from targets import CHOICE

import jaxtrack
from jaxtrack import boxes
from jaxtrack.data import benchmarks
from jaxtrack.data.sequences import Sequence
from jaxtrack.trackers import siamese

PRECISION_PX = 20.0


@dataclasses.dataclass(frozen=True)
class Options:
    """Track from many starts."""

    data_dir: Path
    """The data of OTB100."""
    tracker: str = "siamban_nano"
    """A setting of `jaxtrack/trackers/siamese.csv`."""
    weights: str = ""
    """Other weights than its own."""
    calibration: float | None = None
    """Another share of the first frame's error that is corrected."""
    starts: int = 10
    """Starts in each video."""
    frames: int = 80
    """Frames from each."""


@dataclasses.dataclass(frozen=True)
class Clip:
    """A part of a video."""

    sequence: Sequence
    first: int
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> np.ndarray:
        return self.sequence[self.first + index]


def config_of(options: Options) -> siamese.Config:
    """The tracker's configuration, changed as asked for."""
    changes = {"weights": options.weights or None, "calibration": options.calibration}
    kept = {name: value for name, value in changes.items() if value is not None}
    return dataclasses.replace(siamese.CONFIGS[options.tracker], **kept)


def first_frames(total: int, starts: int, frames: int) -> tuple[list[int], int]:
    """Where clips begin, evenly over a video of `total` frames, and how many frames they have."""
    count = min(frames, total // 2)
    return sorted({int(at) for at in np.linspace(0, total - count, starts)}), count


def overlap_and_precision(tracked: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Mean IoU and share of centres within 20 px of `[N, 4]` boxes; the first one was given and does not count."""
    tracked, truth = tracked[1:].astype(np.float64), truth[1:]
    apart = np.linalg.norm(tracked[:, :2] + tracked[:, 2:] / 2 - truth[:, :2] - truth[:, 2:] / 2, axis=1)
    return float(np.mean(boxes.iou(tracked, truth))), float(np.mean(apart <= PRECISION_PX))


def main(options: Options) -> None:
    """Runs and prints."""
    config = config_of(options)
    tracker, params = siamese.tracker(config), siamese.init_params(config)
    rows = []
    for sequence in benchmarks.load("otb100", options.data_dir, CHOICE).sequences:
        starts, count = first_frames(len(sequence), options.starts, options.frames)
        measured = []
        for first in starts:
            track = jaxtrack.run(tracker, params, Clip(sequence, first, count), sequence.boxes[first])
            measured.append(overlap_and_precision(track.boxes, sequence.boxes[first : first + count]))
        rows.append(np.mean(measured, axis=0))
        print(f"{sequence.name:10s} {rows[-1][0]:.3f} / {rows[-1][1]:.2f}   {len(starts)} starts, {count} frames each")
    print(f"{'mean':10s} {np.mean(rows, axis=0)[0]:.3f} / {np.mean(rows, axis=0)[1]:.3f}")


if __name__ == "__main__":
    main(tyro.cli(Options))
