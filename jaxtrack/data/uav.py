"""UAV123, UAV20L and UAV123@10fps: targets seen from drones.

`data_seq/UAV123/<folder>/000001.jpg` and `anno/UAV123/<sequence>.txt`, `anno/UAV20L/<sequence>.txt`, with the flags of
the attributes in `anno/<set>/att/<sequence>.txt`. UAV20L has no images of its own. Sequences that are a part of a
folder stand in `uav_sequences.csv` with the numbers of their first and last image; the others are a whole folder of
their name. A copy without the level of the set (`data_seq/<folder>`, `anno/<sequence>.txt`) is read too, as the set
that is asked for; but UAV123 at its two rates is told apart by the lengths of the sequences in the table. Rows of NaN
are frames without the target.
"""

import csv
import dataclasses
import functools
import importlib.resources
from pathlib import Path

from jaxtrack.data.boxfiles import read_boxes
from jaxtrack.data.folders import FolderBenchmark
from jaxtrack.data.located import Annotation, Images, Located, read_labels
from jaxtrack.errors import UserError

ATTRIBUTES = ("SV", "ARC", "LR", "FM", "FOC", "POC", "OV", "BC", "IV", "VC", "CM", "SOB")


@dataclasses.dataclass(frozen=True)
class Part:
    """Where a sequence lies: the numbers of its first and last image in a folder, both inclusive."""

    folder: str
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1


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
    """One of the sets: the names of its folders of annotations and images, and the sequences known by name.

    `title` is its own, `other` and `other_parts` are those of the set with the same sequences at another rate.
    """

    annotations: str
    images: str
    parts: dict[str, Part]
    title: str
    other: str = ""
    other_parts: dict[str, Part] = dataclasses.field(default_factory=dict)

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
        return Located(shown, functools.partial(_annotation, path), check=functools.partial(self._check_rate, path))

    def _check_rate(self, path: Path) -> None:
        """Refuses annotations at the other rate, told by the sequence itself or by one beside it; `UserError`."""
        known = (name for name in (path.stem, *self.other_parts) if name in self.other_parts)
        name = next((name for name in known if path.with_name(f"{name}.txt").is_file()), None)
        if name is None:
            return
        rows, own, others = _rows(path.with_name(f"{name}.txt")), len(self.parts[name]), len(self.other_parts[name])
        if abs(rows - others) < abs(rows - own):
            raise UserError(
                f"{path.stem}: the annotations in {path.parent} are those of {self.other}, not of {self.title} ({name} "
                f"has {rows} rows there, but {own} frames in {self.title}): name the other benchmark, or copy the "
                f"files of {self.title}"
            )


def _rows(path: Path) -> int:
    return len(read_boxes(path, nan_allowed=True))


def _annotation(path: Path, images: int | None) -> Annotation:
    del images
    attributes = read_labels(path.parent / "att" / path.name, ATTRIBUTES)
    return Annotation(read_boxes(path, nan_allowed=True), attributes)


def _benchmark(name: str, layout: _Set, total: int):
    return FolderBenchmark(
        name=name,
        title=layout.title,
        total=total,
        layout=layout,
        shape=f"<folder>/data_seq/{layout.images}/<sequence>/000001.jpg with <folder>/anno/{layout.annotations}/"
        "<sequence>.txt",
        own=r"uav123.*|uav20l.*",
        json_names=(name.replace("_", ""),),
        lengths={name: len(part) for name, part in layout.parts.items()},
    )


_SLOW = at_10_fps(table("uav123"))
BENCHMARKS = {
    "uav123": _benchmark(
        "uav123", _Set("UAV123", "UAV123", table("uav123"), "UAV123", "UAV123@10fps", _SLOW), total=123
    ),
    "uav20l": _benchmark("uav20l", _Set("UAV20L", "UAV123", table("uav20l"), "UAV20L"), total=20),
    "uav123_10fps": _benchmark(
        "uav123_10fps",
        _Set("UAV123_10fps", "UAV123_10fps", _SLOW, "UAV123@10fps", "UAV123", table("uav123")),
        total=123,
    ),
}
