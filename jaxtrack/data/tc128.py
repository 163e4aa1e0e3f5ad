"""TC-128 (Temple Color 128): 129 targets in 128 videos in colour.

`<sequence>/img/0001.jpg`, `<sequence>/<sequence>_gt.txt`, and `<sequence>/<sequence>_frames.txt` with the numbers of
the first and the last image: not every sequence starts at image 1, nor has an annotation for every image.
"""

import functools
import re
from pathlib import Path

from jaxtrack.data.boxfiles import read_boxes
from jaxtrack.data.folders import FolderBenchmark
from jaxtrack.data.located import Annotation, Images, Located
from jaxtrack.errors import UserError


def _layout(root: Path) -> dict[str, Located]:
    found = {}
    for path in root.glob("*/*_gt.txt"):
        folder, name = path.parent, path.name.removesuffix("_gt.txt")
        ranges = folder / f"{name}_frames.txt"
        if not (ranges.is_file() or (folder / "img").is_dir()):
            continue
        first, last = _frame_numbers(ranges) if ranges.is_file() else (None, None)
        found[name] = Located(Images(folder / "img", first, last), functools.partial(_annotation, path))
    return found


def _annotation(path: Path, images: int | None) -> Annotation:
    del images
    return Annotation(read_boxes(path))


def _frame_numbers(path: Path) -> tuple[int, int]:
    numbers = re.split(r"[,\s]+", path.read_text("utf-8-sig", errors="replace").strip())
    if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
        raise UserError(f"{path} must hold the numbers of the first and the last image: first,last")
    return int(numbers[0]), int(numbers[1])


BENCHMARKS = {
    "tc128": FolderBenchmark(
        name="tc128",
        title="TC-128",
        total=129,
        layout=_layout,
        shape="<folder>/<Sequence>/img/0001.jpg with <Sequence>_gt.txt and <Sequence>_frames.txt beside img",
        own=r"tc128.*|tcolor128.*|templecolou?r.*",
        json_names=("tc128",),
    )
}
ALIASES = {"templecolor128": "tc128", "tcolor128": "tc128"}
