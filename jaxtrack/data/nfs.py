"""Need for Speed: the same 100 videos at 240 and at 30 frames a second.

As shipped: `<sequence>/<fps>/<sequence>/*.jpg` and `<sequence>/<fps>/<sequence>.txt`, whose rows are the number of the
track, left, top, right, bottom, then flags and a label in quotation marks. Some files of the 30 fps version still have
a row for each frame of the other one: then every eighth row counts. The re-packed variant is read too, for 30 fps:
`sequences/<sequence>/00001.jpg` and `anno/nfs_<sequence>.txt` with x, y, w, h; its sequences lose their prefix.
"""

import functools
from pathlib import Path

import numpy as np

from jaxtrack.boxes import box_from_xyxy, zero_based
from jaxtrack.data.boxfiles import read_boxes
from jaxtrack.data.folders import FolderBenchmark
from jaxtrack.data.located import Annotation, Images, Located
from jaxtrack.errors import UserError

_ROWS_PER_IMAGE = 8  # 240 / 30


def _shipped(fps: int, root: Path) -> dict[str, Located]:
    found = {}
    for path in root.glob(f"*/{fps}/*.txt"):
        if path.stem == path.parent.parent.name:
            annotation = functools.partial(_annotation, fps, path)
            found[path.stem] = Located(Images(path.parent / path.stem), annotation, spare=1)
    return found


def _both(root: Path) -> dict[str, Located]:
    return {**_repacked(root), **_shipped(30, root)}


def _repacked(root: Path) -> dict[str, Located]:
    found = {}
    for path in root.glob("anno/nfs_*.txt"):
        name = path.stem.removeprefix("nfs_")
        folder = next((f for f in (root / "sequences" / n for n in (name, path.stem)) if f.is_dir()), None)
        images = Images(folder or root / "sequences" / name)
        found[name] = Located(images, functools.partial(_repacked_annotation, path), spare=1)
    return found


def _repacked_annotation(path: Path, images: int | None) -> Annotation:
    del images
    return Annotation(read_boxes(path, nan_allowed=True))


def _annotation(fps: int, path: Path, images: int | None) -> Annotation:
    """The boxes of a file as shipped, one per image."""
    if fps == 30 and images is None:
        raise UserError(
            f"{path} has a row for each image at 30 frames a second or at 240, which its images alone tell: put them "
            f"into {path.parent / path.stem}, or take the re-packed annotations (anno/nfs_{path.stem}.txt)"
        )
    try:
        lines = path.read_text("utf-8-sig", errors="replace").rstrip().splitlines()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    corners = np.array([_corners(line, f"{path}, line {i}") for i, line in enumerate(lines, 1)]).reshape(-1, 4)
    if images and abs(len(corners) / images - _ROWS_PER_IMAGE) < 1:
        corners = corners[::_ROWS_PER_IMAGE]
    return Annotation(zero_based(box_from_xyxy(corners)))


def _corners(line: str, where: str) -> list[float]:
    try:
        corners = [float(field) for field in line.split()[1:5]]
    except ValueError:
        corners = []
    if len(corners) != 4 or not np.isfinite(corners).all():
        raise UserError(f"{where}: expected track, left, top, right, bottom, ... but found {line[:80]!r}")
    return corners


_SHIPPED = "<folder>/<sequence>/{fps}/<sequence>/00001.jpg with <sequence>.txt beside that folder"
BENCHMARKS = {
    "nfs30": FolderBenchmark(
        name="nfs30",
        title="NFS30",
        total=100,
        layout=_both,
        shape=f"{_SHIPPED.format(fps=30)} (or sequences/<sequence> and anno/nfs_<sequence>.txt)",
        own=r"nfs.*|needforspeed.*",
        json_names=("nfs30",),
    ),
    "nfs240": FolderBenchmark(
        name="nfs240",
        title="NFS240",
        total=100,
        layout=functools.partial(_shipped, 240),
        shape=_SHIPPED.format(fps=240),
        own=r"nfs.*|needforspeed.*",
        json_names=("nfs240",),
    ),
}
ALIASES = {"nfs": "nfs30"}
