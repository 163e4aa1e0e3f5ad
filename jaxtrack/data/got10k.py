"""GOT-10k: its validation set, and its test set, of which only the first boxes are public.

`val/GOT-10k_Val_000001/00000001.jpg`, `groundtruth.txt`, and for the validation set `absence.label`, `cover.label`
(visible eighths) and `meta_info.ini`. With a `list.txt` in the set's folder only the sequences in it are taken.
"""

import functools
import re
from pathlib import Path

import numpy as np

from jaxtrack.data.boxfiles import read_boxes
from jaxtrack.data.folders import FolderBenchmark, listed_names
from jaxtrack.data.located import Annotation, Images, Located, read_flags
from jaxtrack.errors import UserError

_EIGHTHS = 8


def _layout(split: str, root: Path) -> dict[str, Located]:
    found = {}
    for folder in (root, root / split):
        wanted = listed_names(folder)
        for path in folder.glob(f"GOT-10k_{split.title()}_*/groundtruth.txt"):
            name = path.parent.name
            if wanted is None or name in wanted:
                annotation = functools.partial(_annotation, split, path.parent)
                found[name] = Located(Images(path.parent), annotation, first_only=split == "test")
    return found


def _annotation(split: str, folder: Path, images: int | None) -> Annotation:
    del images
    absence, cover, about = folder / "absence.label", folder / "cover.label", folder / "meta_info.ini"
    if split == "val" and not cover.is_file():
        raise UserError(f"{folder} lacks {cover.name}, which says what frames do not count: copy it again")
    said = about.read_text("utf-8-sig", errors="replace") if about.is_file() else ""
    size = re.search(r"^resolution:\s*\((\d+),\s*(\d+)\)", said, re.MULTILINE)
    object_class = re.search(r"^object_class:[ \t]*(.+?)\s*$", said, re.MULTILINE)
    return Annotation(
        read_boxes(folder / "groundtruth.txt", nan_allowed=True),
        absent=read_flags(absence).astype(np.bool_) if absence.is_file() else None,
        cover=read_flags(cover, largest=_EIGHTHS) if cover.is_file() else None,
        stated_size=None if size is None else (int(size[1]), int(size[2])),
        object_class="" if object_class is None else object_class[1],
    )


def _benchmark(split: str, annotated: bool, json_names: tuple[str, ...]):
    folder = f"{split}/GOT-10k_{split.title()}_000001"
    return FolderBenchmark(
        name=f"got10k_{split}",
        title=f"GOT-10k {split}",
        total=180,
        layout=functools.partial(_layout, split),
        shape=f"<folder>/{folder}/00000001.jpg with groundtruth.txt in the same folder",
        own=r"got10k.*",
        json_names=json_names,
        protocol="got10k",
        annotated=annotated,
    )


BENCHMARKS = {
    "got10k_val": _benchmark("val", True, ("got10kval",)),
    "got10k_test": _benchmark("test", False, ("got10k", "got10ktest")),
}
REFUSED = {"got10k": "got10k may mean its validation or its test set: say got10k_val or got10k_test"}
