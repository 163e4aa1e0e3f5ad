"""Readers of datasets of single images, in which every object is a track of one frame: COCO, ImageNet DET, VOC."""

import functools
from pathlib import Path

import numpy as np

from jaxtrack import files
from jaxtrack.boxes import zero_based
from jaxtrack.data.preparation.tracks import (
    Annotation,
    Box,
    Track,
    Video,
    XmlObject,
    box_from_xywh,
    check_folder,
    read_text,
    read_xml,
)
from jaxtrack.errors import UserError

_COCO_SPLITS = {"train": "train2017", "val": "val2017"}


def coco(root: Path, split: str) -> list[Video]:
    """COCO: `annotations/instances_<split>.json` and the images in `<split>` or `images/<split>`.

    Crowds are objects, too, as in the training of the published Siamese trackers, but none that is visible.
    """
    split = _COCO_SPLITS.get(split, split)
    table = check_folder(root, f"COCO's annotations and {split}") / "annotations" / f"instances_{split}.json"
    images = next((inner for inner in (root / split, root / "images" / split) if inner.is_dir()), root / split)
    check_folder(images, f"COCO's images of {split}")
    content = files.read_json(table)
    try:
        names = {image["id"]: Path(image["file_name"]).name for image in content["images"]}
        objects: dict[str, list[tuple[list[float], bool]]] = {}
        for item in content["annotations"]:
            row = [float(number) for number in item["bbox"]]
            objects.setdefault(names[item["image_id"]], []).append((row, not item.get("iscrowd", 0)))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{table} is not an annotation file of COCO: {type(error).__name__} {error}") from error
    return [
        Video(Path(name).stem, functools.partial(_coco_tracks, images / name, rows)) for name, rows in objects.items()
    ]


def _coco_tracks(path: Path, rows: list[tuple[list[float], bool]]) -> list[Track]:
    return _objects(path.stem, path, [(box_from_xywh(row), visible) for row, visible in rows])


def imagenet_det(root: Path, split: str) -> list[Video]:
    """ImageNet DET: `train` or `val`, with `Data/DET` and `Annotations/DET` in `root` or in its ILSVRC."""
    root = next((inner for inner in (root / "ILSVRC", root / "ILSVRC2015") if inner.is_dir()), root)
    folder = check_folder(root / "Annotations" / "DET" / split, f"ImageNet DET's Annotations/DET/{split}")
    return [Video(file.stem, functools.partial(_det_tracks, root, file)) for file in sorted(folder.rglob("*.xml"))]


def _det_tracks(root: Path, file: Path) -> list[Track]:
    path = root / "Data" / "DET" / file.relative_to(root / "Annotations" / "DET").with_suffix(".JPEG")
    return _objects(file.stem, path, [(_not_negative(item), True) for item in read_xml(file)], "negative corner")


def _not_negative(item: XmlObject) -> Box | None:
    return None if item.box_xyxy is None or min(item.box_xyxy) < 0 else item.box_xyxy


def voc(root: Path, split: str) -> list[Video]:
    """PASCAL VOC: every VOC<year> in `root` (VOCdevkit, or one year's folder) that has `ImageSets/Main/<split>.txt`."""
    root = root / "VOCdevkit" if (root / "VOCdevkit").is_dir() else root
    layout = f"PASCAL VOC's folders such as VOC2012 with ImageSets/Main/{split}.txt"
    years = [root] if (root / "JPEGImages").is_dir() else sorted(check_folder(root, layout).glob("VOC*"))
    lists = [(year, year / "ImageSets" / "Main" / f"{split}.txt") for year in years]
    lists = [(year, file) for year, file in lists if file.is_file()]
    if not lists:
        raise UserError(f"nothing of PASCAL VOC's {split} in {root}: expected {layout}")
    return [
        Video(f"{year.name}-{name}", functools.partial(_voc_tracks, year, name))
        for year, file in lists
        for name in dict.fromkeys(Path(line.split()[0]).name for line in read_text(file).splitlines() if line.strip())
    ]


def _voc_tracks(year: Path, name: str) -> list[Track]:
    objects = read_xml(year / "Annotations" / f"{name}.xml")
    boxes = [(_from_whole_pixels(item.box_xyxy), not item.difficult) for item in objects]
    return _objects(f"{year.name}-{name}", year / "JPEGImages" / f"{name}.jpg", boxes)


def _from_whole_pixels(box: Box | None) -> Box | None:
    """VOC names the first and the last pixel inside, from 1: their outer edges are at xmin - 1 and at xmax."""
    if box is None:
        return None
    left, top, right, bottom = zero_based(np.array(box)).tolist()
    return left, top, right, bottom


def _objects(video: str, path: Path, boxes: list[tuple[Box | None, bool]], dropped: str = "no box") -> list[Track]:
    """A track of one frame, number 0, for each (box, visible); `dropped` says why there is no box."""
    return [
        Track(video, f"{number:02d}", (Annotation(path, 0, box, visible, dropped),))
        for number, (box, visible) in enumerate(boxes)
    ]
