"""What a reader of a dataset yields, and what readers share: rows of numbers, numbered images, XML annotations.

A reader is a function `(folder, split) -> list[Video]`. It looks at names only; a video's annotations are read when the
video's turn comes, in whichever process that is, so that a dataset of a million files begins at once.
"""

import dataclasses
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from jaxtrack.boxes import zero_based
from jaxtrack.errors import UserError

Box = tuple[float, float, float, float]

_SEPARATOR = re.compile(r"[,\s]+")
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


@dataclasses.dataclass(frozen=True)
class Annotation:
    """The target in one image.

    Attributes:
      path: the image.
      frame: number of the frame, as the dataset counts.
      box_xyxy: (left, top, right, bottom), 0-based, in pixels or in fractions of the image (see `Track.relative`); None
        if the annotation gives none.
      visible: whether the annotation calls the target visible.
      dropped: why there is no box.
    """

    path: Path
    frame: int
    box_xyxy: Box | None
    visible: bool = True
    dropped: str = "no box"


@dataclasses.dataclass(frozen=True)
class Track:
    """One target in one video, or one object in a still image.

    Attributes:
      video: name of the video or image.
      track: name of the track, unique in its video.
      frames: in the order of time.
      relative: boxes are in fractions of the image's width and height.
      inside: boxes that leave the image are dropped.
    """

    video: str
    track: str
    frames: tuple[Annotation, ...]
    relative: bool = False
    inside: bool = False


@dataclasses.dataclass(frozen=True)
class Video:
    """A video whose annotations are read by `read`, which other processes can be sent.

    Attributes:
      name: unique in the dataset.
      read: returns the video's tracks; `UserError` if the annotation cannot be read.
    """

    name: str
    read: Callable[[], list[Track]]


def check_folder(folder: Path, layout: str) -> Path:
    """The folder itself, or `UserError` saying what was expected."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: expected {layout}")
    return folder


def read_text(path: Path) -> str:
    """A text file, or `UserError`."""
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def read_rows(path: Path) -> list[list[float] | None]:
    """Rows of numbers separated by commas or blanks, `NaN` allowed; None for a row that is something else.

    Raises:
      UserError: no such file, or nothing in it.
    """
    lines = read_text(path).rstrip().splitlines()
    if not lines:
        raise UserError(f"{path} is empty: expected one row x,y,w,h per frame")
    return [_numbers(line) for line in lines]


def read_flags(path: Path, length: int) -> list[bool]:
    """0s and 1s on one line or on many; all False if the file is not there."""
    if not path.is_file():
        return [False] * length
    flags = _numbers(read_text(path))
    if flags is None or len(flags) != length:
        raise UserError(f"{path} should hold {length} numbers, one per frame")
    return [flag > 0 for flag in flags]


def numbered_images(folder: Path) -> list[Path]:
    """A folder's images in the order of the numbers that they are named by; 10.jpg comes after 9.jpg."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    images = [path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES and path.stem.isdecimal()]
    if not images:
        raise UserError(f"{folder} has no images named by numbers")
    return sorted(images, key=lambda path: (int(path.stem), path.name))


def annotations_from_rows(
    images: Sequence[Path],
    rows: Sequence[list[float] | None],
    where: Path,
    *,
    box_of: Callable[[list[float]], Box | None],
    hidden: Sequence[bool] | None = None,
) -> tuple[Annotation, ...]:
    """Pairs images with the rows of an annotation file; frames are numbered from 0.

    Raises:
      UserError: there are more images than rows, or fewer.
    """
    if len(images) != len(rows):
        raise UserError(f"{where} has {len(rows)} rows for {len(images)} images")
    annotations = []
    for frame, (path, row) in enumerate(zip(images, rows, strict=True)):
        box = None if row is None else box_of(row)
        visible = hidden is None or not hidden[frame]
        annotations.append(Annotation(path, frame, box, visible, "" if box else "row without a box"))
    return tuple(annotations)


def box_from_xywh(row: list[float]) -> Box | None:
    """The box of a row x, y, w, h; None if it has other than four numbers."""
    if len(row) != 4:
        return None
    x, y, w, h = row
    return x, y, x + w, y + h


def box_from_whole_xywh(row: list[float]) -> Box | None:
    """As `box_from_xywh`, of numbers whose fractions are cut off first."""
    return box_from_xywh(np.trunc(row).tolist())


def box_from_points(row: list[float]) -> Box | None:
    """The box around a polygon x1, y1, x2, y2, …, or of a row x, y, w, h, whose first pixel is 1; None if neither."""
    if len(row) == 4:
        return box_from_xywh(zero_based(np.array(row)).tolist())
    if len(row) < 6 or len(row) % 2:
        return None
    points = zero_based(np.array(row).reshape(-1, 2))
    left, top = points.min(axis=0).tolist()
    right, bottom = points.max(axis=0).tolist()
    return left, top, right, bottom


@dataclasses.dataclass(frozen=True)
class XmlObject:
    """An `object` of an annotation in PASCAL VOC's format; `box_xyxy` as the file has it, None if it has none."""

    box_xyxy: Box | None
    track: str
    occluded: bool
    difficult: bool


def read_xml(path: Path) -> list[XmlObject]:
    """The objects of an annotation in PASCAL VOC's format.

    Raises:
      UserError: no such file, or it is not XML.
    """
    try:
        root = ElementTree.fromstring(read_text(path))
    except ElementTree.ParseError as error:
        raise UserError(f"{path} is not XML: {error}") from error
    return [_xml_object(item) for item in root.iter("object")]


def _xml_object(item: ElementTree.Element) -> XmlObject:
    corners = _numbers(",".join(item.findtext(f"bndbox/{name}", "") for name in ("xmin", "ymin", "xmax", "ymax")))
    box = None
    if corners is not None and len(corners) == 4:
        left, top, right, bottom = corners
        box = left, top, right, bottom
    occluded, difficult = (item.findtext(name, "0").strip() == "1" for name in ("occluded", "difficult"))
    return XmlObject(box, item.findtext("trackid", "0").strip(), occluded, difficult)


def _numbers(line: str) -> list[float] | None:
    try:
        return [float(field) for field in _SEPARATOR.split(line.strip())]
    except ValueError:
        return None
