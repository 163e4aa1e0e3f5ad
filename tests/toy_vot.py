"""VOT's sequences and results in miniature: a square that stands still, trackers that say what they are told to."""

import cv2
import numpy as np

from jaxtrack.data.regionfiles import regions
from jaxtrack.data.vot import TAGS, VotSequence
from jaxtrack.tracker import Prediction

SQUARE = (100, 100, 140, 100, 140, 140, 100, 140)
SIZE = (320, 240)


def result_rows(frames, failures=()):
    """The toy results of the specification: a box that slips to the right and comes back, every 13 frames."""
    rows, start = [], 0
    for t in range(frames):
        if t < start:
            rows.append([0])
        elif t == start:
            rows.append([1])
        elif t in failures:
            rows.append([2])
            start = t + 5
        else:
            rows.append([100 + t % 13, 100, 40, 40])
    return rows


def sequence(frames, *, name="toy", truth=None, size=SIZE, tags=None):
    """A sequence whose image t is everywhere t (grey); the annotation is the square, or `truth`, a row per frame."""
    found = regions(truth or [list(SQUARE)] * frames)
    images = np.broadcast_to(np.arange(frames, dtype=np.uint8)[:, None, None, None], (frames, size[1], size[0], 3))
    none = {tag: np.zeros(frames, bool) for tag in TAGS}
    boxes = found.start_boxes()
    return VotSequence(name, images, boxes, found.present, regions=found, tags=none | (tags or {}), stated_size=size)


class Scripted:
    """A session that answers `answers[t]` in frame t, and notes what it is asked."""

    def __init__(self, answers, log, name=""):
        self.answers, self.log, self.name = answers, log, name

    def init(self, image, box):
        self.log.append(("init", int(image[0, 0, 0]), self.name, np.asarray(box).tolist()))

    def update(self, image):
        t = int(image[0, 0, 0])
        self.log.append(("update", t, self.name))
        return Prediction(np.asarray(self.answers[t], np.float32), np.float32(1), {})


def write_sequence(folder, frames, *, color=True, truth="4,4,19,4,19,15,4,15", size=(48, 36)):
    """A folder in the authors' layout: a bright square of 16 x 12 pixels on noise."""
    images = folder / "color" if color else folder
    images.mkdir(parents=True)
    image = np.random.default_rng(0).integers(0, 128, (size[1], size[0], 3), np.uint8)
    image[4:16, 4:20] = (20, 60, 250)
    for t in range(frames):
        cv2.imwrite(str(images / f"{t + 1:08d}.jpg"), image)
    (folder / "groundtruth.txt").write_text(f"{truth}\n" * frames)
    return folder
