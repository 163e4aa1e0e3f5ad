"""UAVDT, single object: 50 sequences of vehicles seen from drones.

`UAV-benchmark-S/<sequence>/img000001.jpg`, and in a package of its own `UAV-benchmark-SOT_v1.0/anno/<sequence>_gt.txt`
and `anno/att/<sequence>_att.txt`; annotations copied into the sequences' folders are found too.
"""

import functools
import re
from pathlib import Path

from jaxtrack.data.boxfiles import read_boxes
from jaxtrack.data.folders import FolderBenchmark
from jaxtrack.data.located import Annotation, Images, Located, read_labels

ATTRIBUTES = ("BC", "CR", "OR", "SO", "IV", "OB", "SV", "LO")
_NAME = re.compile(r"(S\d{4})_gt\.txt")
_VIDEOS, _ANNOTATIONS = "UAV-benchmark-S", "UAV-benchmark-SOT_v1.0"


def _layout(root: Path) -> dict[str, Located]:
    found = {}
    folders = (root / "anno", root / _ANNOTATIONS / "anno")
    for path in [
        *(path for folder in folders for path in folder.glob("*_gt.txt")),
        *root.glob("*/*_gt.txt"),
        *root.glob(f"{_VIDEOS}/*/*_gt.txt"),
    ]:
        name = _NAME.fullmatch(path.name)
        if name is not None:
            places = (root / _VIDEOS / name[1], root / name[1])
            images = Images(next((place for place in places if place.is_dir()), places[0]))
            found[name[1]] = Located(images, functools.partial(_annotation, path, name[1]))
    return found


def _annotation(path: Path, name: str, images: int | None) -> Annotation:
    del images
    return Annotation(read_boxes(path), read_labels(path.parent / "att" / f"{name}_att.txt", ATTRIBUTES))


BENCHMARKS = {
    "uavdt": FolderBenchmark(
        name="uavdt",
        title="UAVDT-S",
        total=50,
        layout=_layout,
        shape=f"<folder>/{_VIDEOS}/<sequence>/img000001.jpg with <folder>/{_ANNOTATIONS}/anno/<sequence>_gt.txt",
        own=r"uavdt.*",
        json_names=("uavdt", "uavdts"),
    )
}
ALIASES = {"uavdts": "uavdt"}
