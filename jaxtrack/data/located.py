"""The files of one sequence of a benchmark of folders: images, boxes, flags, and records of PySOT's JSON files."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from jaxtrack import files
from jaxtrack.boxes import zero_based
from jaxtrack.data.boxfiles import annotated_rows
from jaxtrack.data.image_folder import SUFFIXES, ImageFolder, by_numbers
from jaxtrack.data.sequences import Frames, Sequence, check_init_box
from jaxtrack.errors import UserError


@dataclasses.dataclass(frozen=True, eq=False)
class Annotation:
    """What the files say of a sequence.

    Attributes:
      boxes: `float64 [N, 4]`, (x, y, w, h), 0-based pixels; NaN where the target is not annotated.
      attributes, absent, cover, stated_size, object_class: as `Sequence` has them.
    """

    boxes: np.ndarray
    attributes: frozenset[str] = frozenset()
    absent: np.ndarray | None = None
    cover: np.ndarray | None = None
    stated_size: tuple[int, int] | None = None
    object_class: str = ""


@dataclasses.dataclass(frozen=True)
class Images:
    """The images of a sequence: all of a folder, those with the numbers `first` to `last`, or `listed` ones."""

    folder: Path
    first: int | None = None
    last: int | None = None
    listed: tuple[Path, ...] = ()

    @property
    def present(self) -> bool:
        """Whether there are any."""
        if self.listed:
            return self.listed[0].is_file()
        return self.folder.is_dir() and any(_is_image(path) for path in self.folder.iterdir())

    def paths(self, name: str) -> list[Path]:
        """The images in order, sorted by the numbers in their names.

        Raises:
          UserError: one of the numbers or of the listed files is missing.
        """
        if self.listed:
            return list(self.listed)
        found = sorted((path for path in self.folder.iterdir() if _is_image(path)), key=by_numbers)
        if self.first is None:
            return found
        numbered = {_number(path): path for path in found}
        last = max(numbered, default=0) if self.last is None else self.last
        wanted = range(self.first, last + 1)
        missing = [number for number in wanted if number not in numbered]
        if missing:
            raise UserError(
                f"{name}: image {missing[0]} is missing in {self.folder} ({len(missing)} of the images {self.first} "
                f"to {last} are): copy the sequence again"
            )
        return [numbered[number] for number in wanted]


@dataclasses.dataclass(frozen=True)
class Located:
    """Where the files of a sequence lie.

    Attributes:
      images: its images, which need not be there.
      annotation: reads the annotation, given the number of images (None where they are not at hand).
      spare: by how many the rows may outnumber the images, or the images the rows; the rest is cut.
      first_only: whether the file holds the first box alone.
      check: raises `UserError` where the files are those of another benchmark; called before they are read.
    """

    images: Images
    annotation: Callable[[int | None], Annotation]
    spare: int = 0
    first_only: bool = False
    check: Callable[[], object] = lambda: None


def load(name: str, located: Located, origin: float, *, images: bool = True) -> Sequence:
    """One sequence; the images are read when they are asked for.

    Raises:
      UserError: a file is broken, images and annotations differ in number, or no tracker could start from the first
        box.
    """
    located.check()
    paths = located.images.paths(name) if located.images.present else None
    if paths is None and images:
        raise UserError(f"{name}: no images in {located.images.folder}: copy the sequence again")
    said = located.annotation(None if paths is None else len(paths))
    rows = len(said.boxes)
    frames = rows if paths is None else len(paths)
    if not located.first_only and frames != rows:
        if abs(frames - rows) > located.spare:
            raise UserError(
                f"{name}: {frames} images in {located.images.folder} but {rows} annotations: copy the sequence again"
            )
        frames = min(frames, rows)
    boxes = np.full((frames, 4), np.nan)
    boxes[: min(frames, rows)] = said.boxes[:frames]
    if not np.isfinite(boxes[0]).all():
        raise UserError(f"{name}: the first frame has no annotation, there is nothing to start a tracker from")
    shown: Frames = NoImages(name, frames) if paths is None else ImageFolder(name, paths[:frames])
    if isinstance(shown, ImageFolder) and images:
        check_init_box(boxes[0], shown.size, name)
    return Sequence(
        name,
        shown,
        boxes,
        annotated_rows(boxes, origin),
        said.attributes,
        absent=None if said.absent is None else flags_for(said.absent, frames, f"{name}: absence"),
        cover=None if said.cover is None else flags_for(said.cover, frames, f"{name}: cover"),
        origin=origin,
        stated_size=said.stated_size,
        object_class=said.object_class,
    )


def flags_for(flags: np.ndarray, frames: int, what: str) -> np.ndarray:
    """Flags of a sequence cut to its frames; `UserError` where there are too few."""
    if len(flags) < frames:
        raise UserError(f"{what} has {len(flags)} values for {frames} frames: copy the sequence again")
    return flags[:frames]


class NoImages:
    """The frames of a sequence of which only the annotations are at hand; `more` ends the message of whoever looks."""

    def __init__(self, name: str, length: int, more: str = ""):
        self._name, self._length, self._more = name, length, more

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> np.ndarray:
        raise UserError(f"{self._name}: the images are not there{self._more}")


def read_flags(path: Path, *, largest: int = 1) -> np.ndarray:
    """Whole numbers from 0 to `largest`, in one line separated by commas or one per line: `uint8 [N]`."""
    try:
        fields = re.split(r"[,\s]+", path.read_text("utf-8-sig", errors="replace").strip(", \t\r\n"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    known = {str(value): value for value in range(largest + 1)}
    wrong = next((field for field in fields if field not in known), None)
    if wrong is not None:
        raise UserError(f"{path} must hold numbers from 0 to {largest}, one per frame, but has {wrong[:20]!r}")
    return np.array([known[field] for field in fields], np.uint8)


def read_labels(path: Path, labels: Iterable[str]) -> frozenset[str]:
    """The labels whose flag is set in a file of one flag per label; none where there is no file."""
    labels = tuple(labels)
    if not path.is_file():
        return frozenset()
    flags = read_flags(path)
    if len(flags) != len(labels):
        raise UserError(f"{path} has {len(flags)} flags, not the {len(labels)} of {' '.join(labels)}")
    return frozenset(label for label, flag in zip(labels, flags, strict=True) if flag)


def pysot_records(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """PySOT's file of a benchmark: name -> record."""
    records = files.read_json(path)
    if not isinstance(records, dict) or not all(isinstance(record, dict) for record in records.values()):
        raise UserError(f"{path} is no PySOT annotation: expected an object that maps each video to its record")
    return records


def pysot_sequence(name: str, record: Mapping[str, Any], path: Path, origin: float) -> Located:
    """A sequence of PySOT's file; its `absent` is 1 in the frames that have the target.

    Raises:
      UserError: a name leads out of the file's folder.
    """
    if not _inside(name):
        raise UserError(f"{path}: a video must be called like a folder inside {path.parent}, not {name[:80]!r}")
    names = record.get("img_names", [])
    if not isinstance(names, list) or not all(isinstance(each, str) and _inside(each) for each in names):
        raise UserError(f"{path}: img_names of {name} must be paths inside {path.parent}")
    listed = tuple(path.parent / each for each in names)

    def annotation(images: int | None) -> Annotation:
        del images
        present = _json_list(record.get("absent"), (int, float), f"{path}: absent of {name} must be a list of numbers")
        labels = _json_list(record.get("attr"), str, f"{path}: attr of {name} must be a list of texts")
        return Annotation(
            zero_based(_json_boxes(record.get("gt_rect"), f"{path}: gt_rect of {name}"), origin),
            frozenset(labels or ()),
            absent=None if present is None else np.array([value != 1 for value in present], np.bool_),
        )

    return Located(Images(path.parent / name, listed=listed), annotation)


def _json_list(values: Any, kind: type | tuple[type, ...], sentence: str) -> list[Any] | None:
    """Values that are a list of one kind, or null; else `UserError` with the sentence."""
    if values is not None and not (isinstance(values, list) and all(isinstance(value, kind) for value in values)):
        raise UserError(sentence)
    return values


def _json_boxes(rows: Any, where: str) -> np.ndarray:
    """`float64 [N, 4]` of rows of numbers, NaN for null."""
    sentence = f"{where} must be a list of rows x, y, w, h, finite numbers or null where there is no target"
    try:
        rows = _json_list(rows, list, sentence) or []
        boxes = np.array([[np.nan if x is None else float(x) for x in row] for row in rows], np.float64)
    except (TypeError, ValueError, OverflowError):
        raise UserError(sentence) from None
    if boxes.ndim != 2 or boxes.shape[1:] != (4,) or np.isinf(boxes).any():
        raise UserError(sentence)
    return boxes


def _inside(name: str) -> bool:
    """Whether a path leads to something below the folder that it starts from."""
    path = PureWindowsPath(name)  # the stricter one: both slashes separate, and there are drives
    # What has no glyph, such as NUL, no file system may be asked for: `open` raises what is no `OSError`.
    return not path.anchor and bool(path.parts) and ".." not in path.parts and name.isprintable()


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _number(path: Path) -> int:
    digits = re.findall(r"\d+", path.stem)
    return int(digits[-1]) if digits else -1
