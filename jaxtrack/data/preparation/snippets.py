"""Readers of datasets whose videos have several tracks that begin and end: ImageNet VID and YouTube-BB."""

import csv
import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path

from jaxtrack.data.preparation.tracks import Annotation, Track, Video, XmlObject, check_folder, read_xml
from jaxtrack.errors import UserError

_PRESENT = "present"


def imagenet_vid(root: Path, split: str) -> list[Video]:
    """ImageNet VID: `train` or `val`, with `Data/VID` and `Annotations/VID` in `root` or in its ILSVRC2015."""
    root = next((inner for inner in (root / "ILSVRC2015", root / "ILSVRC") if inner.is_dir()), root)
    folder = check_folder(root / "Annotations" / "VID" / split, f"ImageNet VID's Annotations/VID/{split}")
    snippets = sorted({file.parent for file in folder.rglob("*.xml")})
    return [Video(snippet.name, functools.partial(_vid_tracks, root, snippet)) for snippet in snippets]


def _vid_tracks(root: Path, snippet: Path) -> list[Track]:
    """Every run of at least two consecutive frames of an id is a track; later runs have names of their own."""
    images = root / "Data" / "VID" / snippet.relative_to(root / "Annotations" / "VID")
    seen: dict[str, list[Annotation]] = {}
    for file in sorted(snippet.glob("*.xml"), key=_frame_number):
        for item in read_xml(file):
            seen.setdefault(item.track, []).append(_vid_annotation(images, file, item))
    tracks = []
    for name, annotations in seen.items():
        for number, run in enumerate(_runs(annotations), start=1):
            label = f"{int(name):02d}" if name.isdecimal() else name
            tracks.append(Track(snippet.name, label if number == 1 else f"{label}-{number}", run, inside=True))
    return tracks


def _frame_number(file: Path) -> int:
    if not file.stem.isdecimal():
        raise UserError(f"{file} should be named by its frame's number, such as 000012.xml")
    return int(file.stem)


def _vid_annotation(images: Path, file: Path, item: XmlObject) -> Annotation:
    return Annotation(images / f"{file.stem}.JPEG", int(file.stem), item.box_xyxy, visible=not item.occluded)


def _runs(annotations: list[Annotation]) -> Iterator[tuple[Annotation, ...]]:
    """Splits a track where frames are missing; a frame without neighbours loses its box."""
    run: list[Annotation] = []
    for annotation in annotations:
        if run and annotation.frame != run[-1].frame + 1:
            yield _closed(run)
            run = []
        run.append(annotation)
    if run:
        yield _closed(run)


def _closed(run: list[Annotation]) -> tuple[Annotation, ...]:
    if len(run) == 1:
        return (dataclasses.replace(run[0], box_xyxy=None, dropped="single frame"),)
    return tuple(run)


# An object of YouTube-BB: id of the class, number of the object. Rows: time in ms and box, or None if it is absent.
_Key = tuple[str, str]
_Rows = list[tuple[int, tuple[float, float, float, float] | None]]


def youtubebb(root: Path, split: str) -> list[Video]:
    """YouTube-BB's `yt_bb_detection_<split>.csv` with the frames that its user has extracted.

    They lie in `<split>/<class id>/<youtube id>_<ms>_<class id>_<object id>.jpg`, or in a folder with the table's name.
    Boxes are fractions of the image and become pixels here, so that aspect ratios are those of the objects.
    """
    name = f"yt_bb_detection_{split}"
    table = check_folder(root, f"YouTube-BB's {name}.csv and the frames").joinpath(f"{name}.csv")
    images = next((inner for inner in (root / split, root / name) if inner.is_dir()), root / split)
    check_folder(images, "YouTube-BB's frames as <class id>/<youtube id>_<ms>_<class id>_<object id>.jpg")
    videos: dict[str, dict[_Key, _Rows]] = {}
    try:
        with table.open(newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.reader(file), start=1):
                video, key, time_ms, box = _youtubebb_row(row, f"{table}, line {number}")
                videos.setdefault(video, {}).setdefault(key, []).append((time_ms, box))
    except OSError as error:
        raise UserError(f"cannot read {table}: {error.strerror or error}") from error
    return [Video(video, functools.partial(_youtubebb_tracks, images, video, rows)) for video, rows in videos.items()]


def _youtubebb_row(row: list[str], where: str) -> tuple[str, _Key, int, tuple[float, float, float, float] | None]:
    """(youtube id, object, time in ms, box or None) of a line; its box is xmin, xmax, ymin, ymax."""
    try:
        video, time_ms, class_id, _, object_id, presence = row[:6]
        left, right, top, bottom = map(float, row[6:])
        _check_name(video, class_id, object_id)
        return video, (class_id, object_id), int(time_ms), (left, top, right, bottom) if presence == _PRESENT else None
    except ValueError as error:
        raise UserError(f"{where}: expected the ten columns of YouTube-BB but found {','.join(row)[:80]!r}") from error


def _check_name(*parts: str) -> None:
    """`ValueError` for what would lead out of the folder of images."""
    if any("/" in part or "\\" in part or part == ".." for part in parts):
        raise ValueError(parts)


def _youtubebb_tracks(images: Path, video: str, objects: dict[_Key, _Rows]) -> list[Track]:
    tracks = []
    for (class_id, object_id), rows in objects.items():
        frames = tuple(
            Annotation(
                images / class_id / f"{video}_{time_ms}_{class_id}_{object_id}.jpg",
                time_ms // 1000,
                box,
                dropped="absent",
            )
            for time_ms, box in sorted(rows, key=lambda row: row[0])
        )
        tracks.append(Track(video, f"{class_id}-{object_id}", frames, relative=True))
    return tracks
