"""Trackers in the hands of the VOT toolkit (`pip install vot-toolkit`, version 0.9), by its `python` protocol.

`jaxtrack vot` prints the section of `trackers.ini` that names `jaxtrack.integrations.vot:ToolkitTracker`. The toolkit
imports that in a process of its own, calls it with the section's arguments, waits until it is there, and then calls

    init(frame, new, properties) -> [(region, properties), ...]      in a video's first frame, or after a failure
    update(frame, new, properties) -> [(region, properties), ...]    in every other one

with the path of an image, or images by channel. `new` lists regions that begin in this frame; answers have one for each
object so far, in the order in which they came. A rectangle is a tuple (x, y, w, h), a polygon a list of corners (x, y),
a mask a `uint8 [H, W]` array. Nothing is added to or subtracted from coordinates.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from jaxtrack.data.image_folder import ImageFolder
from jaxtrack.data.regionfiles import StartBox, area_boxes, enclosing_boxes
from jaxtrack.errors import UserError
from jaxtrack.images import as_rgb
from jaxtrack.integrations.sessions import Sessions, Target

Answer = list[tuple[tuple[float, float, float, float], dict[str, float]]]
"""A rectangle and {"confidence": score} for each object."""

_START_BOXES = ("area", "enclosing")


class ToolkitTracker:
    """A tracker of any number of objects, each in a session of its own.

    Attributes:
      multiobject: True; the toolkit asks.
    """

    multiobject: Literal[True] = True

    def __init__(
        self, tracker: Any = "siamban_nano", seed: int | str = 0, warm_up: str = "640x480", start_box: str = "area"
    ):
        """Builds the tracker and compiles it, before the toolkit hears that it is there.

        All arguments may be texts, as they are in `trackers.ini`.

        Args:
          tracker: its name, or its configuration.
          seed: the run's seed. The random key of an object is that of this seed, of the number of starts in this
            process so far, and of the object's number: repetitions differ, and the same repetitions agree.
          warm_up: sizes of images to compile for, WIDTHxHEIGHT, separated by commas; "" for none. A size that needs
            another program is compiled for in `init`.
          start_box: box to start from where a polygon of four corners is given: `area`, of its area, or `enclosing`.

        Raises:
          RuntimeError: what jaxtrack says in a `UserError`; of others the toolkit hears nothing and waits.
        """
        with _errors_that_the_toolkit_passes_on():
            if start_box not in _START_BOXES:
                raise UserError(f"start_box is {' or '.join(_START_BOXES)}, not {start_box!r}")
            self._start_box: StartBox = cast(StartBox, start_box)
            self._seed = _whole_number(seed)
            self._sessions = Sessions(tracker)
            self._starts = 0
            self._objects: list[Target] = []
            for width, height in check_sizes(warm_up):
                self._sessions.warm_up(np.zeros((height, width, 3), np.uint8))

    def init(self, frame: Any, new: Any, properties: Any = None) -> Answer:
        """Forgets what was, and starts on an image with the regions of one or more objects."""
        del properties
        with _errors_that_the_toolkit_passes_on():
            image = _read(frame)
            self._sessions.warm_up(image)
            self._objects = []
            self._starts += 1
            return self._add(image, new)

    def update(self, frame: Any, new: Any = None, properties: Any = None) -> Answer:
        """Finds all objects in the next image, and starts on those that are new in it."""
        del properties
        with _errors_that_the_toolkit_passes_on():
            if not self._starts:
                raise UserError("call init(frame, new) before update(frame)")
            image = _read(frame)
            return [_answer(*target.update(image)) for target in self._objects] + self._add(image, new)

    def _add(self, image: np.ndarray, new: Any) -> Answer:
        answer = []
        for region, _ in _listed(new):
            target = self._sessions.begin(self._seed, f"{self._starts - 1}/{len(self._objects)}")
            box = _box(region, self._start_box)
            target.init(image, box)
            self._objects.append(target)
            answer.append(_answer(box, 1.0))
        return answer


@contextlib.contextmanager
def _errors_that_the_toolkit_passes_on() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise RuntimeError(str(error)) from error


def _listed(new: Any) -> list[tuple[Any, Any]]:
    """The toolkit gives a list of (region, properties), one such pair alone for a single object, or nothing."""
    return [new] if isinstance(new, tuple) else list(new or ())


def _read(frame: Any) -> np.ndarray:
    """The image `uint8 [H, W, 3]` RGB of a path, or of the channel `color`; the first channel where there is none."""
    if isinstance(frame, Mapping):
        frame = frame.get("color", next(iter(frame.values()), None))
    if isinstance(frame, str | Path):
        return ImageFolder("", [frame])[0]
    return as_rgb(frame, "the frame")


def _box(region: Any, rule: StartBox) -> np.ndarray:
    """The box `float64 [4]` (x, y, w, h) to start from."""
    if isinstance(region, np.ndarray):
        rows, columns = np.nonzero(region)
        if not rows.size:
            raise UserError("the mask of an object is empty: there is nothing to start from")
        low = np.array([columns.min(), rows.min()], np.float64)
        return np.concatenate([low, np.array([columns.max(), rows.max()]) + 1 - low])
    numbers = np.asarray(region, np.float64)
    if isinstance(region, tuple) and numbers.shape == (4,):
        return numbers
    if numbers.ndim != 2 or numbers.shape[1] != 2 or len(numbers) < 3:
        raise UserError(f"a target is a rectangle, a polygon or a mask, not {region!r}")
    with_four = rule == "area" and len(numbers) == 4
    return (area_boxes if with_four else enclosing_boxes)(numbers[None])[0]


def _answer(box: np.ndarray, score: float) -> tuple[tuple[float, float, float, float], dict[str, float]]:
    x, y, w, h = box.tolist()
    return (x, y, w, h), {"confidence": score}


def _whole_number(seed: int | str) -> int:
    try:
        return int(seed)
    except ValueError:
        raise UserError(f"seed must be a whole number, not {seed!r}") from None


def check_sizes(text: str) -> list[tuple[int, int]]:
    """(width, height) of each size in a text such as `640x480,320x240`; `UserError` if it is no such text."""
    sizes = []
    for item in filter(None, (item.strip() for item in text.split(","))):
        width, _, height = item.partition("x")
        if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
            raise UserError(f"warm_up lists sizes of images such as 640x480, separated by commas, not {item!r}")
        sizes.append((int(width), int(height)))
    return sizes
