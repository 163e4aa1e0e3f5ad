"""Readers of datasets that have one annotated target in each folder of images."""

import functools
from pathlib import Path

from jaxtrack.data import otb, otb_table
from jaxtrack.data.boxfiles import annotated_rows, read_boxes
from jaxtrack.data.lasot import names_of_test_set
from jaxtrack.data.preparation.tracks import (
    Annotation,
    Track,
    Video,
    annotations_from_rows,
    box_from_points,
    box_from_whole_xywh,
    box_from_xywh,
    check_folder,
    numbered_images,
    read_flags,
    read_rows,
)
from jaxtrack.errors import UserError

ONLY_TRACK = "00"

# Sequences of the VOT challenges that are not in OTB: what MDNet was trained on for its results on OTB.
VOT58 = {
    2013: "cup iceskater juice",
    2014: "ball bicycle drunk fish1 hand1 polarbear sphere sunshade surfing torus tunnel",
    2015: "bag ball1 ball2 birds1 birds2 blanket bmx book butterfly crossing dinosaur fernando fish1 fish2 fish3 fish4 "
    "glove godfather graduate gymnastics1 gymnastics2 gymnastics3 gymnastics4 hand handball1 handball2 helicopter "
    "iceskater1 leaves marching motocross2 nature octopus rabbit racing road sheep singer3 soccer2 soldier sphere "
    "traffic tunnel wiper",
}
_VOT_WITH_AN_IMAGE_TOO_MANY = (2014, "ball")  # its first image has no row


def got10k(root: Path, split: str) -> list[Video]:
    """GOT-10k: `train` or `val`, or both as `all` (published models have been trained on both)."""
    parts = ("train", "val") if split == "all" else (split,)
    videos = []
    for part in parts:
        layout = f"GOT-10k's folder {part} with GOT-10k_{part.title()}_000001 and so on"
        folder = check_folder(root / part, layout)
        videos += [
            Video(child.name, functools.partial(_got10k_tracks, child))
            for child in sorted(folder.glob("GOT-10k_*"))
            if child.is_dir()
        ]
    return videos


def _got10k_tracks(folder: Path) -> list[Track]:
    rows, images = read_rows(folder / "groundtruth.txt"), numbered_images(folder)
    absent = read_flags(folder / "absence.label", len(rows))
    cover = folder / "cover.label"
    shown = read_flags(cover, len(rows)) if cover.is_file() else [True] * len(rows)
    hidden = [a or not s for a, s in zip(absent, shown, strict=True)]
    frames = annotations_from_rows(images, rows, folder / "groundtruth.txt", box_of=box_from_whole_xywh, hidden=hidden)
    return [Track(folder.name, ONLY_TRACK, frames, inside=True)]


def lasot(root: Path, split: str) -> list[Video]:
    """LaSOT without the 280 test sequences; `<class>/<class>-<n>` or all sequences in one folder."""
    del split
    folders = sorted(check_folder(root, "LaSOT's airplane/airplane-1 and so on").iterdir())
    nested = [inner for child in folders if child.is_dir() for inner in sorted(child.iterdir())]
    found = [folder for folder in folders + nested if (folder / "groundtruth.txt").is_file()]
    tested = names_of_test_set()
    return [
        Video(folder.name, functools.partial(_lasot_tracks, folder)) for folder in found if folder.name not in tested
    ]


def _lasot_tracks(folder: Path) -> list[Track]:
    rows, images = read_rows(folder / "groundtruth.txt"), numbered_images(folder / "img")
    occluded, outside = (read_flags(folder / f"{name}.txt", len(rows)) for name in ("full_occlusion", "out_of_view"))
    hidden = [a or b for a, b in zip(occluded, outside, strict=True)]
    frames = annotations_from_rows(images, rows, folder / "groundtruth.txt", box_of=box_from_whole_xywh, hidden=hidden)
    return [Track(folder.name, ONLY_TRACK, frames, inside=True)]


def trackingnet(root: Path, split: str) -> list[Video]:
    """TrackingNet: all of TRAIN_0 to TRAIN_11 that are there."""
    del split
    layout = "TrackingNet's TRAIN_0 with anno and frames in it, and so on"
    parts = [root / f"TRAIN_{number}" for number in range(12)]
    parts = [part for part in parts if part.is_dir()]
    if not parts:
        raise UserError(f"there is no folder {root / 'TRAIN_0'} or any up to TRAIN_11: expected {layout}")
    return [
        Video(file.stem, functools.partial(_trackingnet_tracks, part, file.stem))
        for part in parts
        for file in sorted(check_folder(part / "anno", layout).glob("*.txt"))
    ]


def _trackingnet_tracks(part: Path, name: str) -> list[Track]:
    file = part / "anno" / f"{name}.txt"
    frames = annotations_from_rows(numbered_images(part / "frames" / name), read_rows(file), file, box_of=box_from_xywh)
    return [Track(name, ONLY_TRACK, frames)]


def vot58(root: Path, split: str) -> list[Video]:
    """The 58 sequences of `VOT58` in folders vot2013, vot2014 and vot2015 with the challenges' sequences."""
    del split
    videos = []
    for year, names in VOT58.items():
        folder = next((f for f in (root / f"vot{year}", root / f"VOT{year}") if f.is_dir()), root / f"vot{year}")
        check_folder(folder, f"the sequences of VOT {year}, such as {names.split()[0]}")
        for name in names.split():
            check_folder(folder / name, f"the sequence {name} of VOT {year}")
            videos.append(Video(f"vot{year}-{name}", functools.partial(_vot_tracks, folder / name, year)))
    return videos


def _vot_tracks(folder: Path, year: int) -> list[Track]:
    rows = read_rows(folder / "groundtruth.txt")
    images = numbered_images(folder / "color" if (folder / "color").is_dir() else folder)
    if (year, folder.name) == _VOT_WITH_AN_IMAGE_TOO_MANY and len(images) == len(rows) + 1:
        images = images[1:]
    frames = annotations_from_rows(images, rows, folder / "groundtruth.txt", box_of=box_from_points)
    return [Track(f"vot{year}-{folder.name}", ONLY_TRACK, frames)]


def otb_folders(root: Path, split: str) -> list[Video]:
    """Folders in OTB's layout, `img/` beside `groundtruth_rect*.txt`; OTB's own with its exceptions.

    They are looked for where an evaluation looks, in `otb.search_roots`; of several with one name the first is taken.
    """
    del split
    roots = otb.search_roots(check_folder(root, "folders with img and groundtruth_rect.txt in them"))
    files: dict[tuple[str, str], Path] = {}
    for file in [file for folder in roots for file in sorted(folder.glob("*/groundtruth_rect*.txt"))]:
        if (file.parent / "img").is_dir():
            files.setdefault((file.parent.name, file.name), file)
    if not files:
        places = " or ".join(map(str, roots))
        raise UserError(f"there is no folder X/img with X/groundtruth_rect.txt beside it in {places}")
    known = {(entry.folder, entry.annotation): entry for entry in otb_table.table()}
    return [_otb_video(file, known.get(key)) for key, file in files.items()]


def _otb_video(file: Path, entry: otb_table.Entry | None) -> Video:
    name = entry.name if entry else file.parent.name + file.stem.removeprefix("groundtruth_rect")
    return Video(name, functools.partial(_otb_tracks, name, file, entry))


def _otb_tracks(name: str, file: Path, entry: otb_table.Entry | None) -> list[Track]:
    if entry is None:
        images, boxes = numbered_images(file.parent / "img"), read_boxes(file)
        valid = annotated_rows(boxes)
        if len(images) != len(boxes):
            raise UserError(f"{file} has {len(boxes)} rows for {len(images)} images")
    else:
        sequence = otb.load_sequence(entry, file.parent)
        images, boxes, valid = sequence.frames.paths, sequence.boxes, sequence.valid  # type: ignore[attr-defined]
    frames = []
    for frame, (path, (x, y, w, h), good) in enumerate(zip(images, boxes.tolist(), valid.tolist(), strict=True)):
        box = (x, y, x + w, y + h) if good else None
        frames.append(Annotation(path, frame, box, dropped="row without a box"))
    return [Track(name, ONLY_TRACK, tuple(frames))]
