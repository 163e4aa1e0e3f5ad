"""Where single images come from: rendered scenes, datasets as they are shipped, any folder."""

import dataclasses
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack.data.image_folder import ImageFolder
from jaxtrack.data.preparation import registry
from jaxtrack.data.preparation.crops import read_image
from jaxtrack.data.preparation.tracks import Box, Track
from jaxtrack.data.procedural import objects, scene
from jaxtrack.data.procedural.scene import SceneConfig
from jaxtrack.errors import UserError, check_numbers
from jaxtrack.training.stills.batches import Fit, Still, Stills

_LEAST_SIDE_PX = 16.0  # of a rendered object; proposals are never smaller (py-faster-rcnn's RPN_MIN_SIZE)
_HELD_OUT = 20  # one image of so many of a folder


@dataclasses.dataclass(frozen=True)
class Rendered(Stills):
    """Frames of rendered scenes: targets, look-alikes and occluders are their objects. They need no download.

    No scene is of the benchmark `procedural`. They are rendered once, in the first step, and stay in memory,
    `scenes * frames * height * width * 3` bytes at most: 354 MB by default.
    """

    scenes: int = 256
    """How many."""
    frames: int = 6
    """Frames of a scene; those in which no object is to be seen are left out."""
    spacing: float = 20.0
    """Time from one of them to the next, in frames of the benchmark's videos."""
    fit: Fit = Fit(canvas=(608, 800))
    """Size of the images that are trained on."""
    seed: int = 0
    """Another seed, other scenes in another order."""
    split: Literal["train", "validation"] = "train"
    """Another split, other scenes under the same seed."""
    look: SceneConfig = dataclasses.field(default_factory=SceneConfig)
    """Sizes of images and textures."""

    def __post_init__(self) -> None:
        """Refuses numbers that give no images."""
        check_numbers(self, positive=("scenes", "frames", "spacing"), not_negative=("seed",))

    def stills(self) -> tuple[Still, ...]:
        """The frames of all scenes."""
        return _rendered(dataclasses.replace(self, fit=Fit()))


@dataclasses.dataclass(frozen=True)
class Annotated(Stills):
    """The images of a dataset as it is shipped, with the boxes of their objects of all classes.

    As in py-faster-rcnn, VOC's difficult objects, COCO's crowds, objects of less than a pixel and images without
    objects are left out.
    """

    name: str = "voc"
    """What `jaxtrack prepare` calls it: `voc`, `coco`, `det`, or a dataset of videos, whose frames are the images."""
    folder: Path = dataclasses.field(default=Path("data/voc"), metadata={"compared": False})
    """Where it lies."""
    part: str = "trainval"
    """Its split."""
    fit: Fit = Fit()
    """Size of the images that are trained on."""
    seed: int = 0
    """Another seed, another order."""

    def stills(self) -> tuple[Still, ...]:
        """The images that have objects."""
        return _annotated(self.name, self.folder.expanduser(), self.part)

    def contents(self) -> list[str]:
        """The sha256 of the images' names and boxes."""
        return [_sha256(still.name.encode() + still.boxes.tobytes() for still in self.stills())]


@dataclasses.dataclass(frozen=True)
class Folder(Stills):
    """The images of a folder (jpg, png and so on), without boxes."""

    folder: Path = dataclasses.field(default=Path("data/images"), metadata={"compared": False})
    """Where they lie."""
    part: Literal["all", "train", "validation"] = "all"
    """All of them; or, in the order of their names, each twentieth for the validation, the others to train on."""
    fit: Fit = Fit(shorter_px=0, canvas=(512, 512))
    """Size of the images that are trained on; VOC's are as they are."""
    seed: int = 0
    """Another seed, another order."""

    def stills(self) -> tuple[Still, ...]:
        """The images of the part."""
        paths = ImageFolder(str(self.folder), self.folder.expanduser()).paths
        trained = [path for number, path in enumerate(paths) if number % _HELD_OUT]
        parts = {"all": paths, "validation": paths[::_HELD_OUT], "train": trained}
        if not parts[self.part]:
            raise UserError(f"{self.folder} has a single image, which is held out: training needs at least two")
        none = np.zeros((0, 4), np.float32)
        return tuple(Still(path.name, functools.partial(read_image, path), none) for path in parts[self.part])

    def contents(self) -> list[str]:
        """The sha256 of the images' names."""
        return [_sha256(still.name.encode() + b"\n" for still in self.stills())]


def _sha256(parts: Iterable[bytes]) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()


@functools.lru_cache(maxsize=4)
def _annotated(name: str, folder: Path, part: str) -> tuple[Still, ...]:
    """The images of a dataset on disk."""
    name, dataset = registry.find(name)
    boxes: dict[Path, list[Box]] = {}
    for track in registry.tracks_in_pixels(name, folder, part):
        _collect(track, boxes)
    if not boxes:
        raise UserError(f"no image of {dataset.title}'s {part} in {folder} has an object to train on")
    return tuple(_still(path, found, folder) for path, found in boxes.items())


def _collect(track: Track, boxes: dict[Path, list[Box]]) -> None:
    """Adds a track's boxes to those of the images."""
    for frame in track.frames:
        if frame.box_xyxy is not None and frame.visible:
            left, top, right, bottom = frame.box_xyxy
            if right - left >= 1 and bottom - top >= 1:
                boxes.setdefault(frame.path, []).append((left, top, right - left, bottom - top))


def _still(path: Path, boxes: list[Box], folder: Path) -> Still:
    return Still(str(path.relative_to(folder)), functools.partial(read_image, path), np.asarray(boxes, np.float32))


# --- rendered scenes


@functools.lru_cache(maxsize=4)
def _rendered(config: Rendered) -> tuple[Still, ...]:
    """The frames of `Rendered`; the last few are kept, as a training that goes on asks again."""
    times = jnp.arange(config.frames, dtype=jnp.float32) * config.spacing
    found: list[Still] = []
    for index in range(config.scenes):
        key = scene.scene_key(config.split, config.seed, index)
        layout, boxes, shown = jax.device_get(objects.annotated_layout(key, times, config.look, _LEAST_SIDE_PX))
        frames = np.flatnonzero(shown.any(axis=1)).tolist()
        images = objects.images(key, layout, times[np.asarray(frames)], config.look) if frames else ()
        for frame, pixels in zip(frames, images, strict=True):
            name = f"scene {index}, frame {frame}"
            found.append(Still(name, functools.partial(np.asarray, pixels), boxes[frame][shown[frame]]))
    return tuple(found)
