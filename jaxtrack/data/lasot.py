"""LaSOT: the 280 sequences of its test set, and the 150 of its extension.

`<class>/<class>-<n>/img/00000001.jpg`, `groundtruth.txt`, `full_occlusion.txt` and `out_of_view.txt`, also without the
level of the class. The target is absent where either flag is set. The names of the test set are in `lasot_test.csv`;
those of the extension are not known, its sequences are the ones that are there.

The authors' evaluation toolkit has the annotations without the images, and results can be scored by it:
`annos/<class>-<n>.txt`, `annos/absent/<class>-<n>.txt` with a 1 for each frame without the target, and
`annos/att/<class>-<n>.txt` with a flag per attribute. Where a sequence has a folder of its own, that is read instead.
"""

import functools
import importlib.resources
import re
from collections.abc import Collection
from pathlib import Path

import numpy as np

from jaxtrack.data.boxfiles import read_boxes
from jaxtrack.data.folders import FolderBenchmark, listed_names
from jaxtrack.data.located import Annotation, Images, Located, read_flags, read_labels
from jaxtrack.errors import UserError

ATTRIBUTES = ("IV", "POC", "DEF", "MB", "CM", "ROT", "BC", "VC", "SV", "FOC", "FM", "OV", "LR", "ARC")
_SEQUENCE = re.compile(r"(\w+)-\d+")
_FLAGS = ("full_occlusion.txt", "out_of_view.txt")


def _layout(root: Path) -> dict[str, Located]:
    found = {**_of_toolkit(root), **_of_folders(root)}
    wanted = listed_names(root)
    return found if wanted is None else {name: located for name, located in found.items() if name in wanted}


def _of_folders(root: Path) -> dict[str, Located]:
    """The sequences with a folder of their own."""
    found = {}
    for path in (*root.glob("*/groundtruth.txt"), *root.glob("*/*/groundtruth.txt")):
        folder = path.parent
        nested = path.parent.parent != root
        name = _SEQUENCE.fullmatch(folder.name)
        if name is None or (nested and name[1] != folder.parent.name) or not _is_lasot(folder):
            continue
        found[folder.name] = Located(Images(folder / "img"), functools.partial(_annotation, folder))
    return found


def _of_toolkit(root: Path) -> dict[str, Located]:
    """The sequences that are annotated in the evaluation toolkit's folder `annos`; there are no images in it."""
    folder = root / "annos"
    paths = [path for path in folder.glob("*.txt") if _SEQUENCE.fullmatch(path.stem)]
    return {
        path.stem: Located(Images(folder / path.stem), functools.partial(_toolkit_annotation, path))
        for path in paths
        if (folder / "absent").is_dir()
    }


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


def _toolkit_annotation(path: Path, images: int | None) -> Annotation:
    del images
    flags = path.parent / "absent" / path.name
    if not flags.is_file():
        raise UserError(f"{flags} is not there, which says where the target is absent: copy the toolkit again")
    boxes, absent = read_boxes(path, nan_allowed=True), read_flags(flags)
    if len(boxes) != len(absent):
        raise UserError(f"{path} has {len(boxes)} rows, {flags} {len(absent)} values: copy the toolkit again")
    return Annotation(boxes, read_labels(path.parent / "att" / path.name, ATTRIBUTES), absent=absent == 1)


@functools.cache
def names_of_test_set() -> frozenset[str]:
    """The names of the 280 test sequences, four of each class; the others are for training."""
    text = importlib.resources.files("jaxtrack.data").joinpath("lasot_test.csv").read_text("utf-8")
    rows = (line.split(",") for line in text.splitlines()[1:])
    return frozenset(f"{name}-{number}" for name, numbers in rows for number in numbers.split())


def _benchmark(
    name: str,
    title: str,
    total: int,
    own: str,
    others: str,
    json_names: tuple[str, ...],
    names: Collection[str] = (),
):
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
        lengths=dict.fromkeys(sorted(names), 0),
        norm_precision=True,
    )


_TEST, _EXTENSION = r"lasot(?!ext).*", r"lasotext.*"
BENCHMARKS = {
    "lasot": _benchmark("lasot", "LaSOT", 280, _TEST, _EXTENSION, ("lasot",), names_of_test_set()),
    "lasot_ext": _benchmark(
        "lasot_ext", "LaSOT extension", 150, _EXTENSION, _TEST, ("lasotext", "lasotextensionsubset")
    ),
}
