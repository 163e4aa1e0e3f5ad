"""Batches of single images on a canvas, and the order that they come in.

Every image is there twice, as it is and mirrored. A batch is the next part of an endless stream of random permutations
of all of them, so what a sample is depends on the seed and its number alone.
"""

import dataclasses
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import cv2
import numpy as np

from jaxtrack.errors import UserError, check_numbers
from jaxtrack.training.domains import order

_READERS = 8
Items = dict[str, np.ndarray]


class Still(NamedTuple):
    """An image.

    Attributes:
      name: of it, in a record of what was trained on.
      read: returns its pixels, `uint8 [H, W, 3]` RGB.
      boxes: `float32 [K, 4]`, (x, y, w, h), 0-based, of its objects; K may be 0.
    """

    name: str
    read: Callable[[], np.ndarray]
    boxes: np.ndarray


@dataclasses.dataclass(frozen=True)
class Fit:
    """How images of all sizes are brought to one canvas; bilinear, as in py-faster-rcnn."""

    shorter_px: int = 600
    """The shorter side; 0 leaves images at their size."""
    longest_px: int = 1000
    """Most pixels of the longer side; the shorter one is less then."""
    canvas: tuple[int, int] = (1008, 1008)
    """Height and width of what all images are put on. One that would not fit is made smaller."""

    def __post_init__(self) -> None:
        """Refuses sizes that no image has."""
        check_numbers(self, positive=("longest_px", "canvas"), not_negative=("shorter_px",))

    def scale(self, height: int, width: int) -> float:
        """The factor of an image's size."""
        scale = 1.0
        if self.shorter_px:
            scale = self.shorter_px / min(height, width)
            if round(scale * max(height, width)) > self.longest_px:
                scale = self.longest_px / max(height, width)
        return min(scale, self.canvas[0] / height, self.canvas[1] / width)


def fitted(fit: Fit, pixels: np.ndarray, boxes: np.ndarray, mirrored: bool, most: int) -> Items:
    """An image on its canvas.

    Args:
      fit: how.
      pixels: `uint8 [H, W, 3]`.
      boxes: `float32 [K, 4]`.
      mirrored: left and right change places.
      most: rows of the boxes, at least K; those that are too many are 0.

    Returns:
      `pixels uint8 [canvas, 3]`, 0 beyond the image; `size int32 [2]`, its (height, width); `boxes float32 [most, 4]`
      in it; `scale float32 []`, its size over that of the original.
    """
    height, width = pixels.shape[:2]
    scale = fit.scale(height, width)
    size = max(round(scale * height), 1), max(round(scale * width), 1)
    if size != (height, width):
        pixels = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_LINEAR)
    canvas, places = np.zeros((*fit.canvas, 3), np.uint8), np.zeros((most, 4), np.float32)
    canvas[: size[0], : size[1]] = pixels[:, ::-1] if mirrored else pixels
    places[: len(boxes)] = boxes
    if mirrored:
        places[: len(boxes), 0] = width - boxes[:, 0] - boxes[:, 2]
    places *= np.float32(scale)
    return {"pixels": canvas, "size": np.asarray(size, np.int32), "boxes": places, "scale": np.float32(scale)}  # type: ignore[dict-item]


class Stills:
    """What sources share; their fields `fit` and `seed` and method `stills` are their own."""

    fit: Fit
    seed: int

    def stills(self) -> tuple[Still, ...]:
        """The images, in the order of their numbers."""
        raise NotImplementedError

    def batches(self, first_step: int, batch: int, process: int, processes: int) -> Generator[Any, None, None]:
        """This process's share of the batches from a step on, in order: arrays of `fitted` with a first axis B."""
        stills, share, step = self._checked(), batch // processes, first_step
        with ThreadPoolExecutor(_READERS) as readers:
            while True:
                numbers = order.frames(self.seed, 0, step, batch, 2 * len(stills))[process * share :][:share]
                yield self._together(readers, stills, (divmod(number, len(stills)) for number in numbers.tolist()))
                step += 1

    def once(self, batch: int) -> Iterator[tuple[Items, int]]:
        """All images in their order, as they are, and how many of a batch count: the last is repeated to fill it."""
        stills = self._checked()
        with ThreadPoolExecutor(_READERS) as readers:
            for first in range(0, len(stills), batch):
                numbers = [min(number, len(stills) - 1) for number in range(first, first + batch)]
                items = self._together(readers, stills, ((0, number) for number in numbers))
                yield items, min(batch, len(stills) - first)

    def _checked(self) -> tuple[Still, ...]:
        stills = self.stills()
        if not stills:
            raise UserError(f"{type(self).__name__} has no image to train on")
        return stills

    def _together(
        self, readers: ThreadPoolExecutor, stills: Sequence[Still], places: Iterable[tuple[int, int]]
    ) -> Items:
        """The images of (whether mirrored, number), side by side."""
        most = max(1, *(len(still.boxes) for still in stills))

        def one(place: tuple[int, int]) -> Items:
            mirrored, number = place
            return fitted(self.fit, stills[number].read(), stills[number].boxes, bool(mirrored), most)

        parts = list(readers.map(one, places))
        return {name: np.stack([part[name] for part in parts]) for name in parts[0]}
