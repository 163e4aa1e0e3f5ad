"""Draws the built-in benchmark on one sheet: a few frames of every sequence, with ground truth and attributes.

python benchmarks/contact_sheet.py --output docs/images/procedural.jpg
"""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import tyro

from jaxtrack.data.procedural import BENCHMARKS
from jaxtrack.data.sequences import Sequence

_PAPER, _INK, _FAINT, _BOX = (250, 250, 248), (40, 40, 44), (120, 120, 126), (255, 214, 10)
_MARGIN, _CAPTION = 12, 26


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Draw the contact sheet of a procedural benchmark."""

    output: Path = Path("docs/images/procedural.jpg")
    """Where the JPEG goes."""
    benchmark: str = "procedural"
    """Which list: procedural or procedural-full."""
    frames: int = 3
    """Frames per sequence, spread over its length."""
    columns: int = 2
    """Sequences per row of the sheet."""
    width: int = 216
    """Width of one frame on the sheet in pixels."""
    quality: int = 76
    """JPEG quality, 1 to 100."""


def thumbnail(sequence: Sequence, index: int, width: int) -> np.ndarray:
    """Frame `index` with its box and number, `uint8 [width * H / W, width, 3]`."""
    image = sequence[index]
    scale = width / image.shape[1]
    small = cv2.resize(image, (width, round(image.shape[0] * scale)), interpolation=cv2.INTER_AREA)
    if sequence.valid[index]:
        x, y, w, h = sequence.boxes[index] * scale
        # OpenCV draws with four fractional bits.
        left, top, right, bottom = (round(16 * (value - 0.5)) for value in (x, y, x + w, y + h))
        cv2.rectangle(small, (left, top), (right, bottom), _BOX, 1, cv2.LINE_AA, 4)
    for colour, thickness in (((20, 20, 20), 3), ((255, 255, 255), 1)):
        origin = (6, small.shape[0] - 7)
        cv2.putText(small, str(index), origin, cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, thickness, cv2.LINE_AA)
    return small


def strip(sequence: Sequence, frames: int, width: int) -> np.ndarray:
    """A caption above a row of frames."""
    # Not quite to the end: what crosses the target does so in the middle of a clip.
    picks = np.linspace(0, 0.85 * (len(sequence) - 1), frames).round().astype(int)
    row = np.concatenate([thumbnail(sequence, int(index), width) for index in picks], axis=1)
    caption = np.full((_CAPTION, row.shape[1], 3), _PAPER, np.uint8)
    style = (cv2.FONT_HERSHEY_DUPLEX, 0.48)
    cv2.putText(caption, sequence.name, (2, 18), *style, _INK, 1, cv2.LINE_AA)
    labels = " ".join(sorted(sequence.attributes))
    left = row.shape[1] - cv2.getTextSize(labels, *style, 1)[0][0] - 2
    cv2.putText(caption, labels, (left, 18), *style, _FAINT, 1, cv2.LINE_AA)
    return np.concatenate([caption, row])


def sheet(strips: list[np.ndarray], columns: int) -> np.ndarray:
    """Arranges equally large strips in rows of `columns`."""
    height, width, _ = strips[0].shape
    rows = -(-len(strips) // columns)
    size = (rows * (height + _MARGIN) + _MARGIN, columns * (width + _MARGIN) + _MARGIN, 3)
    page = np.full(size, _PAPER, np.uint8)
    for number, picture in enumerate(strips):
        top = _MARGIN // 2 + number // columns * (height + _MARGIN)
        left = _MARGIN + number % columns * (width + _MARGIN)
        page[top : top + height, left : left + width] = picture
    return page


def main(arguments: Arguments) -> None:
    sequences = BENCHMARKS[arguments.benchmark](None).sequences
    strips = [strip(sequence, arguments.frames, arguments.width) for sequence in sequences]
    page = sheet(strips, arguments.columns)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(arguments.output), page[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, arguments.quality])
    kilobytes = arguments.output.stat().st_size / 1000
    print(f"{arguments.output}: {page.shape[1]} x {page.shape[0]}, {kilobytes:.0f} kB, {len(strips)} sequences")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
