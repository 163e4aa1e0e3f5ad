"""A sequence: frames that are read on demand and the target's box in each of them."""

import dataclasses
from collections.abc import Sequence as SequenceABC
from typing import Any, Protocol

import numpy as np

from jaxtrack.errors import UserError


class Frames(Protocol):
    """Random access to the images of a video, each read (decoded, rendered) when asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> np.ndarray:
        """The image `index` (0-based), `uint8 [H, W, 3]` RGB."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Sequence:
    """One target in one video; `sequence[i]` reads image `i`, `len(sequence)` counts the frames.

    Attributes:
      name: the benchmark's name of the sequence; with the seed it determines the random key of a run.
      frames: the images, `uint8 [H, W, 3]` RGB each.
      boxes: `float64 [N, 4]`, (x, y, w, h), 0-based, one row per frame.
      valid: `bool [N]`, whether a row of `boxes` annotates a visible target by the benchmark's rule.
      attributes: the benchmark's labels, e.g. `{"OCC", "SV"}`.
      absent: `bool [N]`, frames that the benchmark says the target is not in; None where it does not say.
      cover: `uint8 [N]`, visible eighths of the target, 0 to 8; None where nobody counted.
      omitted: `bool [N]`, frames in which a run of TRE must not start; None for none.
      origin: what the benchmark's files call the first pixel, 1 or 0.
      stated_size: (width, height) of the images in pixels, None where no file says it.
      object_class: what kind of object the target is; "" where nobody says.
    """

    name: str
    frames: Frames
    boxes: np.ndarray
    valid: np.ndarray
    attributes: frozenset[str] = frozenset()
    absent: np.ndarray | None = dataclasses.field(default=None, kw_only=True)
    cover: np.ndarray | None = dataclasses.field(default=None, kw_only=True)
    omitted: np.ndarray | None = dataclasses.field(default=None, kw_only=True)
    origin: float = dataclasses.field(default=1.0, kw_only=True)
    stated_size: tuple[int, int] | None = dataclasses.field(default=None, kw_only=True)
    object_class: str = dataclasses.field(default="", kw_only=True)

    def __post_init__(self):
        n = len(self.frames)
        if self.boxes.shape != (n, 4) or self.valid.shape != (n,):
            raise ValueError(
                f"{self.name}: {n} frames need boxes [{n}, 4] and valid [{n}], "
                f"not {list(self.boxes.shape)} and {list(self.valid.shape)}"
            )
        for what in ("absent", "cover", "omitted"):
            flags = getattr(self, what)
            if flags is not None and flags.shape != (n,):
                raise ValueError(f"{self.name}: {n} frames need {what} [{n}], not {list(flags.shape)}")

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.frames[index]

    @property
    def there(self) -> np.ndarray:
        """`bool [N]`: the frames that the target is in, as far as the benchmark says."""
        return np.ones(len(self), np.bool_) if self.absent is None else ~self.absent


def image_size(sequence: Sequence) -> tuple[int, int]:
    """(width, height) of the images in pixels; reads the first image where no file says it."""
    return sequence.stated_size or (sequence[0].shape[1], sequence[0].shape[0])


@dataclasses.dataclass(frozen=True, eq=False)
class Benchmark:
    """A list of sequences under the name that papers print, or the part of it that is at hand.

    Attributes:
      name: e.g. `otb100`.
      title: how tables and plots call it, e.g. `OTB-100`, or `12 of the 100 sequences of OTB-100`.
      sequences: the sequences found, in the benchmark's order.
      missing: names of sequences that were asked for and not found, in the benchmark's order; only those known by name.
      unnamed: how many more were not found, whose names only their files tell.
      protocol: the rules that it is scored by if nobody asks for others, see `jaxtrack.evaluation.protocols`.
      annotated: whether there is anything to score by; some benchmarks publish the first box only.
      norm_precision: whether its papers print normalised precision.
    """

    name: str
    title: str
    sequences: SequenceABC[Sequence]
    missing: tuple[str, ...] = ()
    unnamed: int = 0
    protocol: str = "otb"
    annotated: bool = True
    norm_precision: bool = False


@dataclasses.dataclass(frozen=True)
class SequenceInfo:
    """What a listing tells of one sequence of a benchmark, whether its files are at hand or not.

    Attributes:
      name: the benchmark's name of the sequence.
      frames: number of frames that are scored; 0 where that is not known without the files.
      attributes: the benchmark's labels.
      found: whether its files were found.
      box_size: (width, height) of the first box in pixels, None when that is not known without the files.
      problem: the sentence that loading the sequence would fail with, or "".
    """

    name: str
    frames: int
    attributes: frozenset[str] = frozenset()
    found: bool = True
    box_size: tuple[float, float] | None = None
    problem: str = ""


def check_init_box(box: Any, image_size: tuple[int, ...], where: str) -> np.ndarray:
    """Refuses a first box that no tracker could start from; a box of one pixel, or partly outside, is fine.

    Args:
      box: `[4]`, (x, y, w, h), 0-based, in pixels.
      image_size: (height, width) of the first image.
      where: beginning of the message, e.g. the sequence's name or the option that gave the box.

    Returns:
      The box, `float32 [4]`.

    Raises:
      UserError: not four finite numbers, no width or height, or nothing of the box inside the image.
    """
    try:
        with np.errstate(over="ignore"):  # what is too large becomes inf
            checked = np.asarray(box, np.float32)
    except (TypeError, ValueError):
        checked = None
    if checked is None or checked.shape != (4,) or not np.isfinite(checked).all():
        shown = repr(box.tolist() if isinstance(box, np.ndarray) else box)
        if checked is not None and checked.size > 8:
            shown = f"{' x '.join(map(str, checked.shape))} numbers"
        raise UserError(f"{where}: the first box must be four finite numbers x, y, w, h, not {shown}")
    x, y, w, h = checked.tolist()
    height, width = image_size
    shown = f"the first box (x {x:g}, y {y:g}, w {w:g}, h {h:g}; 0-based)"
    if w <= 0 or h <= 0:
        raise UserError(f"{where}: {shown} is empty, its width and height must be greater than 0")
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        raise UserError(f"{where}: {shown} lies outside the image of {width}x{height} pixels")
    return checked


def check_image_size(image: np.ndarray, first: tuple[int, ...], where: str) -> None:
    """Refuses an image, `[H, W, ...]`, of another size than the first one's (height, width); `where` names it."""
    if image.shape[:2] != tuple(first):
        raise UserError(
            f"{where} has {image.shape[1]}x{image.shape[0]} pixels, the first one {first[1]}x{first[0]}: "
            "all images of a video must have one size"
        )


def title_of_part(title: str, found: int, total: int, *, selected: bool = False) -> str:
    """How a benchmark is called of which only some sequences are scored, so that no table says more than it is.

    >>> title_of_part("OTB-100", 12, 100)
    '12 of the 100 sequences of OTB-100'
    >>> title_of_part("OTB-100", 2, 100, selected=True)
    '2 selected of the 100 sequences of OTB-100'
    >>> title_of_part("OTB-100", 100, 100)
    'OTB-100'
    """
    if found == total:
        return title
    return f"{found} {'selected ' if selected else ''}of the {total} sequences of {title}"
