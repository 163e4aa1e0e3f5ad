"""What is drawn on images: boxes with their labels, and traces of scores on a strip below.

Images are `uint8 [H, W, 3]` RGB. Widths of lines and sizes of letters follow the image's size.
"""

import math

import cv2
import numpy as np

# Of Okabe and Ito's colours those that stand out from most images, and are told apart with colour-blind eyes.
COLOURS = ((86, 180, 233), (230, 159, 0), (0, 200, 140), (240, 228, 66), (255, 110, 50), (225, 140, 195))

_DARK, _GRID, _LIGHT = (24, 24, 24), (95, 95, 95), (235, 235, 235)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FAR_PX = 1e4
_FRAMES_IF_UNKNOWN = 300


def colour_of(number: int) -> tuple[int, int, int]:
    """RGB of the target, or the tracker, with this number."""
    return COLOURS[number % len(COLOURS)]


def draw_box(image: np.ndarray, box: np.ndarray, colour: tuple[int, int, int], label: str = "") -> None:
    """Draws a box into an image, with a dark rim so that it shows on any ground, and its label beside it.

    Args:
      image: `uint8 [H, W, 3]`, changed in place.
      box: `[4]`, (x, y, w, h) in pixels; nothing is drawn if it is not finite.
      colour: RGB.
      label: short; above the box, or inside where there is no room.
    """
    if not np.isfinite(box).all():
        return
    half = _Pen(image).outline / 2
    _draw_frame(image, box, half + 1, -half, _DARK)
    _draw_frame(image, box, half, half, colour)
    if label:
        x, y, _, h = np.clip(box, -_FAR_PX, _FAR_PX).tolist()
        _draw_label(image, (math.floor(x), math.floor(y - half)), math.ceil(y + h + half), colour, label)


def _draw_frame(image: np.ndarray, box: np.ndarray, out: float, into: float, ink: tuple[int, int, int]) -> None:
    """Colours what lies from `out` pixels outside a box's border to `into` pixels inside, parts of pixels in part."""
    # Not by OpenCV, whose smoothed lines blur the border of a box of whole pixels.
    sides = [(float(box[i]), float(box[i] + box[i + 2]), image.shape[1 - i]) for i in (0, 1)]
    across, down = (_coverage(start - out, end + out, n) for start, end, n in sides)
    hole_across, hole_down = (_coverage(start + into, end - into, n) for start, end, n in sides)
    edges = (np.flatnonzero((down > 0) & (hole_down < 1)), np.flatnonzero(across))  # rows above and below the hole
    sides_of_hole = (np.flatnonzero(hole_down == 1), np.flatnonzero((across > 0) & (hole_across < 1)))
    for part in (np.ix_(*edges), np.ix_(*sides_of_hole)):
        rows, columns = part
        share = (down[rows] * across[columns] - hole_down[rows] * hole_across[columns])[..., None]
        image[part] = np.round(image[part] * (1 - share) + np.asarray(ink, np.float32) * share).astype(np.uint8)


def _coverage(start: float, end: float, pixels: int) -> np.ndarray:
    """How much of each pixel [i, i + 1) lies between two points of an axis, `float32 [pixels]`."""
    left = np.arange(pixels)
    return np.clip(np.minimum(end, left + 1) - np.maximum(start, left), 0, 1).astype(np.float32)


def _draw_label(
    image: np.ndarray, top_left: tuple[int, int], bottom: int, colour: tuple[int, int, int], text: str
) -> None:
    """A filled tab with dark letters: above the box, below it if there is no room, else at the image's border."""
    pen = _Pen(image)
    (w, h), pad = pen.size(text), 2 + pen.line
    tab_w, tab_h = w + 2 * pad, h + 2 * pad
    left = min(max(top_left[0], 0), max(image.shape[1] - tab_w, 0))
    top = top_left[1] - tab_h
    if top < 0:
        top = bottom if bottom + tab_h <= image.shape[0] else 0
    top = min(max(top, 0), max(image.shape[0] - tab_h, 0))
    cv2.rectangle(image, (left, top), (left + tab_w - 1, top + tab_h - 1), colour, cv2.FILLED)
    pen.write(image, text, (left + pad, top + pad + h), _DARK)


class _Pen:
    """Width of lines and size of letters that suit an image."""

    def __init__(self, image: np.ndarray):
        side = min(image.shape[:2])
        self.line = max(1, round(side / 300))
        self.outline = 2 * max(1, round(side / 600))  # even: a box of whole pixels has a sharp one
        self._scale, self._weight = max(0.35, side / 900), max(1, round(side / 600))

    def size(self, text: str) -> tuple[int, int]:
        """(width, height) in pixels."""
        (width, height), _ = cv2.getTextSize(text, _FONT, self._scale, self._weight)
        return width, height

    def write(
        self, image: np.ndarray, text: str, left_baseline: tuple[int, int], ink: tuple[int, int, int] = _LIGHT
    ) -> None:
        cv2.putText(image, text, left_baseline, _FONT, self._scale, ink, self._weight, cv2.LINE_AA)


class Trace:
    """Scores of targets over the frames of a video, the lowest of those that share a slot of a fixed number.

    Attributes:
      lowest: `float64 [S, K]`, NaN where there is nothing.
      ends: the lowest and the highest score so far.
    """

    def __init__(self, slots: int, targets: int, frames: int = 0):
        """An empty trace for `frames` frames; where nobody knows, or there are more, it makes room as they come."""
        self.lowest = np.full((2 * slots, targets), np.nan)
        self.ends = (np.inf, -np.inf)
        self._frames, self._count = frames or _FRAMES_IF_UNKNOWN, 0

    def add(self, scores: np.ndarray | None) -> None:
        """The next frame's scores `[K]`; None if it has none."""
        if self._count == self._frames:  # two slots become one
            half = np.fmin(self.lowest[::2], self.lowest[1::2])
            self.lowest = np.concatenate([half, np.full_like(half, np.nan)])
            self._frames *= 2
        if scores is not None:
            slot = self._count * len(self.lowest) // self._frames
            self.lowest[slot] = np.fmin(self.lowest[slot], scores)
            finite = np.asarray(scores, np.float64)[np.isfinite(scores)]
            self.ends = (min([self.ends[0], *finite]), max([self.ends[1], *finite]))
        self._count += 1

    def axis(self) -> tuple[float, float]:
        """The ends of an axis: 0 and 1 for scores in between, else the scores' range with 0, rounded outwards."""
        low, high = min(self.ends[0], 0.0), max(self.ends[1], 0.0)
        if low == 0 and high <= 1:
            return 0.0, 1.0
        step = 10.0 ** math.floor(math.log10(high - low))
        return math.floor(low / step) * step, math.ceil(high / step) * step


class TrackPicture:
    """Draws the frames of a tracked video one after the other: boxes, and below the image a strip of the scores.

    Attributes:
      size: (height, width) of the pictures; both even, as many codecs need them.
    """

    def __init__(self, image_size: tuple[int, int], targets: int, frames: int = 0):
        """Prepares an empty strip.

        Args:
          image_size: (height, width) of the video.
          targets: their number.
          frames: how many frames the video has, as far as is known, else 0.
        """
        height, width = image_size
        strip = max(44, round(height * 0.16))
        self.size = (height + strip + (height + strip) % 2, width + width % 2)
        self._image_size, self._targets = image_size, targets
        self._trace = Trace(width, targets, frames)

    def draw(self, image: np.ndarray, boxes: np.ndarray, scores: np.ndarray | None, number: int) -> np.ndarray:
        """The picture of the next frame.

        Args:
          image: `uint8 [H, W, 3]` RGB, left as it is.
          boxes: `[K, 4]`, (x, y, w, h).
          scores: `[K]`; None in the first frame, which has none.
          number: the frame's, for the strip.

        Returns:
          `uint8 [*size, 3]` RGB.
        """
        self._trace.add(scores)
        height, width = self._image_size
        picture = np.empty((*self.size, 3), np.uint8)
        picture[height:], picture[:, width:] = _DARK, _DARK
        inside = picture[:height, :width]
        inside[:] = image
        for k, box in enumerate(boxes):
            draw_box(inside, box, colour_of(k), _label(k, self._targets, scores))
        self._draw_strip(picture[height:], _Pen(inside), number)
        return picture

    def _draw_strip(self, strip: np.ndarray, pen: "_Pen", number: int) -> None:
        """The scores so far, from left to right; the ends of their axis, and the frame's number, are written beside."""
        ends = self._trace.axis()
        texts = [f"{end:g}" for end in ends]
        letter = pen.size("0")[1]
        left = 7 + max(pen.size(text)[0] for text in texts)
        right = strip.shape[1] - 4 - pen.line
        top, bottom = 4 + pen.line, strip.shape[0] - 5 - pen.line
        pen.write(strip, texts[1], (3, top + letter))
        pen.write(strip, texts[0], (3, bottom))
        for y in (top, bottom):
            cv2.line(strip, (left, y), (right, y), _GRID, 1)
        text = f"frame {number}"
        pen.write(strip, text, (right - pen.size(text)[0], bottom - 3 - pen.line))
        for k in range(self._targets):
            points = _points(self._trace.lowest[:, k], ends, (left, right), (top, bottom))
            if len(points):
                cv2.polylines(strip, [points], False, colour_of(k), pen.line, cv2.LINE_AA)
                cv2.circle(strip, points[-1].tolist(), 1 + pen.line, colour_of(k), cv2.FILLED, cv2.LINE_AA)


def _label(k: int, targets: int, scores: np.ndarray | None) -> str:
    """The target's number, and where there is a single one its score."""
    return f"{k}" if scores is None or targets > 1 else f"{k}: {scores[k]:.2f}"


def _points(trace: np.ndarray, ends: tuple[float, float], xs: tuple[int, int], ys: tuple[int, int]) -> np.ndarray:
    """A trace `[S]` as points `int32 [P, 2]` between `xs` (left, right) and `ys` (top, bottom)."""
    at = np.flatnonzero(np.isfinite(trace))
    columns = xs[0] + at * (xs[1] - xs[0]) / (len(trace) - 1)
    rows = ys[1] - (trace[at] - ends[0]) / (ends[1] - ends[0]) * (ys[1] - ys[0])
    return np.round(np.stack([columns, rows], axis=1)).astype(np.int32)
