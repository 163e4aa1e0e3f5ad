"""Boxes as `--box` gives them: how they are written, and how they are often miswritten."""

import math
import re
from collections.abc import Sequence

import numpy as np

from jaxtrack.data.sequences import check_init_box
from jaxtrack.errors import UserError

FORM = "x,y,w,h: left, top, width and height in pixels, the image's top left corner being 0,0"

_NUMBERS = re.compile(r"[-+]?[\d.]+(,[-+]?[\d.]+)*,?")
_OUTSIDE = 0.2  # share of a box outside the image that is remarked on; annotated targets are cut at the border


def check_one_word(argv: Sequence[str]) -> None:
    """Refuses a box whose numbers are several words, before the parser takes them for anything else; `UserError`."""
    for at, argument in enumerate(argv):
        option, equals, value = argument.partition("=")
        if option != "--box":
            continue
        words = [value] if equals else []
        for word in argv[at + 1 :]:
            if not _NUMBERS.fullmatch(word):
                break
            words.append(word)
        if len(words) > 1 and len(_numbers(words[:1])) < 4:
            _refuse(words)


def _refuse(words: Sequence[str]) -> None:
    numbers = _numbers(words)
    meant = f": --box {','.join(numbers)}" if len(numbers) == 4 else ""
    raise UserError(
        f"--box {' '.join(words)}: the four numbers of a box, {FORM}, are one word with commas and without blanks"
        f"{meant}"
    )


def _numbers(words: Sequence[str]) -> list[str]:
    return [number for word in words for number in word.split(",") if number]


def parse(text: str) -> np.ndarray:
    """The box of a text such as `51,47,25,62`, `float32 [4]`; `UserError` if it is none."""
    try:
        numbers = [float(piece) for piece in text.replace(",", " ").split()]
    except ValueError:
        numbers = []
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        finite = "finite " if len(numbers) == 4 else ""
        raise UserError(f"--box {text!r}: expected four {finite}numbers {FORM}")
    return np.asarray(numbers, np.float32)


def check(box: np.ndarray, image_size: tuple[int, ...]) -> str:
    """Refuses a box that is not in the image, and doubts one that leaves it by a good part.

    Args:
      box: `float32 [4]`, (x, y, w, h), pixels.
      image_size: (height, width) in pixels.

    Returns:
      A sentence of doubt, or "".

    Raises:
      UserError: nothing of the box is in the image, or it is empty.
    """
    where = f"--box {_written(box)}"
    check_init_box(box, image_size, where)
    x, y, w, h = box.tolist()
    height, width = image_size
    inside = (min(x + w, width) - max(x, 0.0)) * (min(y + h, height) - max(y, 0.0)) / (w * h)
    if 1 - inside <= _OUTSIDE:
        return ""
    doubt = f"{where}: {1 - inside:.0%} of the box, {FORM}, lies outside the image of {width}x{height} pixels"
    if 0 <= x < w <= width and 0 <= y < h <= height:
        doubt += f"; if these are the corners left,top,right,bottom, write --box {_written([x, y, w - x, h - y])}"
    return doubt


def _written(box: Sequence[float] | np.ndarray) -> str:
    return ",".join(f"{value:g}" for value in box)
