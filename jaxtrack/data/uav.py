"""UAV123, UAV20L and UAV123@10fps: targets seen from drones.

`data_seq/UAV123/<folder>/000001.jpg` and `anno/UAV123/<sequence>.txt`, `anno/UAV20L/<sequence>.txt`, with the flags of
the attributes in `anno/<set>/att/<sequence>.txt`. UAV20L has no images of its own. Sequences that are a part of a
folder stand in `uav_sequences.csv` with the numbers of their first and last image; the others are a whole folder of
their name. A copy without the level of the set (`data_seq/<folder>`, `anno/<sequence>.txt`) is read too, as the set
that is asked for. Rows of NaN are frames without the target.
"""

import csv
import dataclasses
import functools
import importlib.resources
from pathlib import Path

from jaxtrack.data.boxfiles import read_boxes
from jaxtrack.data.folders import FolderBenchmark
from jaxtrack.data.located import Annotation, Images, Located, read_labels

ATTRIBUTES = ("SV", "ARC", "LR", "FM", "FOC", "POC", "OV", "BC", "IV", "VC", "CM", "SOB")


@dataclasses.dataclass(frozen=True)
class Part:
    """Where a sequence lies: the numbers of its first and last image in a folder, both inclusive."""

    folder: str
    first: int
    last: int


@functools.cache
def table(name: str) -> dict[str, Part]:
    """The sequences of a set, by the column `list` of the table, that are known by name."""
    text = importlib.resources.files("jaxtrack.data").joinpath("uav_sequences.csv").read_text("utf-8")
    rows = csv.DictReader(text.splitlines())
    return {
        row["name"]: Part(row["folder"], int(row["first_image"]), int(row["last_image"]))
        for row in rows
        if row["list"] == name
    }


def at_10_fps(parts: dict[str, Part]) -> dict[str, Part]:
    """The same sequences where only every third image, from the first on, was kept."""
    return {
        name: Part(part.folder, (part.first - 1) // 3 + 1, (part.last - 1) // 3 + 1) for name, part in parts.items()
    }


@dataclasses.dataclass(frozen=True)
class _Set:
    """One of the sets: the names of its folders of annotations and images, and the sequences known by name."""

    annotations: str
    images: str
    parts: dict[str, Part]

    def __call__(self, root: Path) -> dict[str, Located]:
        found: dict[str, Located] = {}
        videos = root / "data_seq"
        for annotations, images in (
            (root / "anno" / self.annotations, videos / self.images),
            (root / "anno", videos),
        ):
            if videos.is_dir() or annotations.name == self.annotations:
                for path in annotations.glob("*.txt"):
                    found.setdefault(path.stem, self._located(path, images))
        return found

    def _located(self, path: Path, images: Path) -> Located:
        part = self.parts.get(path.stem)
        shown = Images(images / path.stem) if part is None else Images(images / part.folder, part.first, part.last)
        return Located(shown, functools.partial(_annotation, path))


def _annotation(path: Path, images: int | None) -> Annotation:
    del images
    attributes = read_labels(path.parent / "att" / path.name, ATTRIBUTES)
    return Annotation(read_boxes(path, nan_allowed=True), attributes)


def _benchmark(name: str, title: str, total: int, annotations: str, images: str, parts: dict[str, Part]):
    return FolderBenchmark(
        name=name,
        title=title,
        total=total,
        layout=_Set(annotations, images, parts),
        shape=f"<folder>/data_seq/{images}/<sequence>/000001.jpg with <folder>/anno/{annotations}/<sequence>.txt",
        own=r"uav123.*|uav20l.*",
        json_names=(name.replace("_", ""),),
        lengths={name: part.last - part.first + 1 for name, part in parts.items()},
    )


BENCHMARKS = {
    "uav123": _benchmark("uav123", "UAV123", 123, "UAV123", "UAV123", table("uav123")),
    "uav20l": _benchmark("uav20l", "UAV20L", 20, "UAV20L", "UAV123", table("uav20l")),
    "uav123_10fps": _benchmark(
        "uav123_10fps", "UAV123@10fps", 123, "UAV123_10fps", "UAV123_10fps", at_10_fps(table("uav123"))
    ),
}
