"""LaSOT: the 280 sequences of its test set, and the 150 of its extension.

`<class>/<class>-<n>/img/00000001.jpg`, `groundtruth.txt`, `full_occlusion.txt` and `out_of_view.txt`, also without the
level of the class. The target is absent where either flag is set. Of the whole set of 1400 sequences the test set is
told apart by the authors' `testing_set.txt`, put beside the classes.
"""

import functools
import re
from pathlib import Path

import numpy as np

from jaxtrack.data.boxfiles import read_boxes
from jaxtrack.data.folders import FolderBenchmark, listed_names
from jaxtrack.data.located import Annotation, Images, Located, read_flags
from jaxtrack.errors import UserError

_SEQUENCE = re.compile(r"(\w+)-\d+")
_FLAGS = ("full_occlusion.txt", "out_of_view.txt")


def _layout(root: Path) -> dict[str, Located]:
    wanted = listed_names(root)
    found = {}
    for path in (*root.glob("*/groundtruth.txt"), *root.glob("*/*/groundtruth.txt")):
        folder = path.parent
        nested = path.parent.parent != root
        name = _SEQUENCE.fullmatch(folder.name)
        if name is None or (nested and name[1] != folder.parent.name) or not _is_lasot(folder):
            continue
        if wanted is None or folder.name in wanted:
            found[folder.name] = Located(Images(folder / "img"), functools.partial(_annotation, folder))
    return found


def _is_lasot(folder: Path) -> bool:
    return (folder / "img").is_dir() or any((folder / name).is_file() for name in _FLAGS)


def _annotation(folder: Path, images: int | None) -> Annotation:
    del images
    flags = [folder / name for name in _FLAGS]
    lacking = [path.name for path in flags if not path.is_file()]
    if lacking:
        raise UserError(f"{folder} lacks {' and '.join(lacking)}, which say where the target is absent: copy it again")
    values = [read_flags(path) for path in flags]
    if len(values[0]) != len(values[1]):
        raise UserError(
            f"{folder}: {_FLAGS[0]} has {len(values[0])} values, {_FLAGS[1]} {len(values[1])}: copy it again"
        )
    boxes = read_boxes(folder / "groundtruth.txt", nan_allowed=True)
    return Annotation(boxes, absent=np.logical_or(*values))


def _benchmark(name: str, title: str, total: int, own: str, others: str, json_names: tuple[str, ...]):
    return FolderBenchmark(
        name=name,
        title=title,
        total=total,
        layout=_layout,
        shape="<folder>/<class>/<class>-<n>/img/00000001.jpg with groundtruth.txt, full_occlusion.txt and "
        "out_of_view.txt beside img",
        own=own,
        others=others,
        json_names=json_names,
        norm_precision=True,
    )


_TEST, _EXTENSION = r"lasot(?!ext).*", r"lasotext.*"
BENCHMARKS = {
    "lasot": _benchmark("lasot", "LaSOT", 280, _TEST, _EXTENSION, ("lasot",)),
    "lasot_ext": _benchmark(
        "lasot_ext", "LaSOT extension", 150, _EXTENSION, _TEST, ("lasotext", "lasotextensionsubset")
    ),
}
