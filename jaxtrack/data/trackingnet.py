"""TrackingNet's test set: 511 videos, of which only the first boxes are public.

`TEST/frames/<video>/0.jpg` and `TEST/anno/<video>.txt`; images are numbered from 0 without zeros in front, and boxes
count pixels from 0.
"""

import functools
from pathlib import Path

from jaxtrack.data.boxfiles import read_boxes
from jaxtrack.data.folders import FolderBenchmark
from jaxtrack.data.located import Annotation, Images, Located

_ORIGIN = 0.0


def _layout(root: Path) -> dict[str, Located]:
    found = {}
    for folder in (root, root / "TEST"):
        for path in folder.glob("anno/*.txt"):
            images = folder / "frames" / path.stem
            if images.is_dir():
                found[path.stem] = Located(Images(images), functools.partial(_annotation, path), first_only=True)
    return found


def _annotation(path: Path, images: int | None) -> Annotation:
    del images
    return Annotation(read_boxes(path, origin=_ORIGIN))


BENCHMARKS = {
    "trackingnet": FolderBenchmark(
        name="trackingnet",
        title="TrackingNet test",
        total=511,
        layout=_layout,
        shape="<folder>/TEST/frames/<video>/0.jpg with <folder>/TEST/anno/<video>.txt",
        own=r"trackingnet.*",
        json_names=("trackingnet", "trackingnettest"),
        origin=_ORIGIN,
        annotated=False,
    )
}
