"""Where trackers lose their target: the frames at which the overlap falls to 0, and pictures of them."""

import base64
import dataclasses
from collections.abc import Sequence as SequenceABC

import cv2
import numpy as np

from jaxtrack import drawing
from jaxtrack.data.sequences import Frames, Sequence
from jaxtrack.errors import UserError
from jaxtrack.evaluation import metrics, protocols

TRUTH_COLOUR, FOUND_COLOUR = drawing.COLOURS[2], drawing.COLOURS[4]
_WIDTH_PX = 400
# Colours at full resolution: the lines of boxes are two pixels wide.
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 78, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)


@dataclasses.dataclass(frozen=True, eq=False)
class Failure:
    """The target is lost: frames one after the other without any overlap.

    Attributes:
      sequence: its name.
      frame: the first of the frames, 0-based.
      frames: how many of them have an annotation.
      unannotated: how many frames without one lie between the first and `found_again`, or the end.
      found_again: the first frame thereafter whose overlap is above 0; None if there is none.
      truth: `[4]`, (x, y, w, h), the annotation of the first frame.
      box: `[4]`, the tracker's box there.
    """

    sequence: str
    frame: int
    frames: int
    unannotated: int
    found_again: int | None
    truth: np.ndarray
    box: np.ndarray


def find(sequence: Sequence, boxes: np.ndarray) -> list[Failure]:
    """The failures of one run on one sequence by OTB's rules, in the order of the frames.

    Frames without a valid annotation, or without the target, neither begin a failure nor end one.

    Args:
      sequence: its annotations, N frames.
      boxes: `[M, 4]`, predicted (x, y, w, h), pixels; made fit by `metrics.prepare`.
    """
    measured = protocols.measure(boxes, sequence, protocols.OTB)
    rows = metrics.prepare(boxes, sequence.boxes)
    annotated = np.flatnonzero(measured.valid)
    lost = np.concatenate([[False], measured.overlaps[annotated] <= 0, [False]])
    edges = np.flatnonzero(lost[1:] != lost[:-1]).tolist()  # a start, an end, a start, ...
    counted = [*annotated.tolist(), len(sequence)]
    return [
        Failure(
            sequence=sequence.name,
            frame=counted[start],
            frames=end - start,
            unannotated=counted[end] - counted[start] - (end - start),
            found_again=counted[end] if end < len(annotated) else None,
            truth=np.asarray(sequence.boxes[counted[start]], np.float64),
            box=rows[counted[start]],
        )
        for start, end in zip(edges[::2], edges[1::2], strict=True)
    ]


def longest(failures: SequenceABC[Failure], count: int) -> list[Failure]:
    """The `count` failures with the most frames, in the given order."""
    chosen = sorted(range(len(failures)), key=lambda i: -failures[i].frames)[:count]
    return [failures[i] for i in sorted(chosen)]


def thumbnail(failure: Failure, frames: Frames) -> str | None:
    """A small picture of the failure's first frame with both boxes, as a `data:` address; None without the image.

    Args:
      failure: what to show.
      frames: the sequence's images.
    """
    try:
        image = frames[failure.frame]
    except UserError:  # published results are scored without images
        return None
    scale = min(1.0, _WIDTH_PX / image.shape[1])
    size = (round(image.shape[1] * scale), max(1, round(image.shape[0] * scale)))
    picture = np.ascontiguousarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    drawing.draw_box(picture, failure.truth * scale, TRUTH_COLOUR)
    drawing.draw_box(picture, failure.box * scale, FOUND_COLOUR)
    _, data = cv2.imencode(".jpg", picture[..., ::-1], _JPEG)
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
