"""Videos to train on, one domain each: rendered ones, a benchmark's, a dataset's.

A source gives batches of frames of one video by the order of `jaxtrack.training.domains.order`. Rendered videos are
kept in memory, others are read from disk when a frame's turn comes.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack.data import benchmarks, otb_table
from jaxtrack.data.image_folder import ImageFolder
from jaxtrack.data.preparation import registry
from jaxtrack.data.procedural import objects, scene
from jaxtrack.data.procedural.scene import SceneConfig
from jaxtrack.data.sequences import Frames
from jaxtrack.errors import UserError, check_numbers
from jaxtrack.training.domains import order

_LEAST_SIDE_PX = 8.0  # smaller targets are left out: the samplers' smallest box overlaps too little
_READERS = 8


class Video(NamedTuple):
    """One domain; only frames in which the target is annotated.

    Attributes:
      name: in messages.
      frames: images `uint8 [H, W, 3]` by their index, all of one size.
      boxes: `float32 [F, 4]`, (x, y, w, h), 0-based, of the target.
    """

    name: str
    frames: Frames
    boxes: np.ndarray


def batches(
    videos: Sequence[Video], seed: int, first_step: int, batch: int, process: int, processes: int
) -> Generator[dict[str, np.ndarray], None, None]:
    """This process's share of the batches from a step on, in order.

    Yields:
      `pixels uint8 [B, H, W, 3]` on a canvas that holds the images of all videos, `size int32 [B, 2]` (height, width),
      `box float32 [B, 4]` and `domain int32 [B]`, the number of the video.
    """
    sizes = [video.frames[0].shape[:2] for video in videos]
    canvas = np.max(sizes, axis=0)
    share, step = batch // processes, first_step
    with ThreadPoolExecutor(_READERS) as readers:
        while True:
            domain, visit = order.video(seed, step, len(videos))
            video = videos[domain]
            chosen = order.frames(seed, domain, visit, batch, len(video.boxes))[process * share :][:share]
            pixels = np.zeros((share, *canvas, 3), np.uint8)
            for place, image in zip(pixels, readers.map(video.frames.__getitem__, chosen.tolist()), strict=True):
                place[: image.shape[0], : image.shape[1]] = image
            yield {
                "pixels": pixels,
                "size": np.tile(np.asarray(sizes[domain], np.int32), (share, 1)),
                "box": video.boxes[chosen],
                "domain": np.full(share, domain, np.int32),
            }
            step += 1


class _Source:
    """What sources share; their fields `seed` and method `videos` are their own."""

    seed: int

    def videos(self) -> tuple[Video, ...]:
        """The domains, in the order of their numbers."""
        raise NotImplementedError

    def batches(self, first_step: int, batch: int, process: int, processes: int) -> Generator[Any, None, None]:
        """See the function."""
        return batches(self.videos(), self.seed, first_step, batch, process, processes)


@dataclasses.dataclass(frozen=True)
class Scenes(_Source):
    """Rendered videos, of a split that has none of the benchmark `procedural`'s; rendered once, in the first step.

    They stay in memory, `count * frames * height * width * 3` bytes at most: 354 MB by default.
    """

    count: int = 64
    """How many; one domain each."""
    frames: int = 24
    """Most frames of a video. Those in which half of the target is hidden or out of view are left out."""
    spacing: float = 5.0
    """Time from one of them to the next, in frames of the benchmark's videos."""
    seed: int = 0
    """Another seed, other videos in another order."""
    split: Literal["train", "validation"] = "train"
    """Another split, other videos under the same seed."""
    look: SceneConfig = dataclasses.field(default_factory=SceneConfig)
    """Sizes of images and textures."""

    def __post_init__(self) -> None:
        """Refuses numbers that give no videos."""
        check_numbers(self, positive=("count", "frames", "spacing"), not_negative=("seed",))

    def __len__(self) -> int:
        return self.count

    def videos(self) -> tuple[Video, ...]:
        """The videos; a scene whose target is there in fewer than half of its frames is passed over."""
        return _rendered(self)


@dataclasses.dataclass(frozen=True)
class Benchmark(_Source):
    """The sequences of a benchmark that jaxtrack knows by name. What is trained on it must not be tested on it."""

    name: str = "otb100"
    """Its name."""
    data_dir: Path | None = dataclasses.field(default=None, metadata={"compared": False})
    """Where its files lie; by default what `JAXTRACK_DATA` names."""
    sequences: tuple[str, ...] = ()
    """Those to train on; empty for all that are there."""
    seed: int = 0
    """Another seed, another order."""

    def __len__(self) -> int:
        return len(self._loaded)

    @functools.cached_property
    def _loaded(self) -> Sequence[Any]:
        return benchmarks.load(self.name, self.data_dir, self.sequences or None).sequences

    def videos(self) -> tuple[Video, ...]:
        """The sequences' annotated frames."""
        return tuple(_checked(each.name, each.frames, each.boxes, each.valid) for each in self._loaded)

    def contents(self) -> list[str]:
        """The sha256 of each sequence's name and boxes."""
        return [_sha256(video) for video in self.videos()]

    def warnings(self) -> list[str]:
        """That this is a test benchmark."""
        return [f"{self.name} is a test benchmark: results on what a tracker was trained on say nothing"]


@dataclasses.dataclass(frozen=True)
class Dataset(_Source):
    """The videos of a dataset as it is shipped, such as the 58 sequences of VOT, or of folders in OTB's layout."""

    name: str = "vot58"
    """What `jaxtrack prepare` calls it: `vot58`, `otb` (folders in OTB's layout), `got10k` and so on."""
    folder: Path = dataclasses.field(default=Path("vot"), metadata={"compared": False})
    """Where it lies."""
    part: str = "train"
    """Its split."""
    seed: int = 0
    """Another seed, another order."""

    def __len__(self) -> int:
        return len(self.videos())

    def videos(self) -> tuple[Video, ...]:
        """The tracks that have annotated frames."""
        return _read(self.name, self.folder.expanduser(), self.part)

    def contents(self) -> list[str]:
        """The sha256 of each video's name and boxes."""
        return [_sha256(video) for video in self.videos()]

    def warnings(self) -> list[str]:
        """What is to be said of training on folders in the layout of a benchmark."""
        names = [video.name for video in self.videos()] if self.name == "otb" else []
        return [otb_table.training_warning(self.folder, names)] if names else []


def _checked(name: str, images: Frames, boxes: np.ndarray, valid: np.ndarray) -> Video:
    """The frames in which a target of some size is annotated; `UserError` where there are none."""
    video = _of_some_size(name, images, boxes, valid)
    if not len(video.boxes):
        raise UserError(
            f"{name} has no frame to train on: none of its targets is {_LEAST_SIDE_PX:g} pixels wide and high"
        )
    return video


def _of_some_size(name: str, images: Frames, boxes: np.ndarray, valid: np.ndarray) -> Video:
    """The frames in which a target of some size is annotated; there may be none."""
    with np.errstate(invalid="ignore"):
        good = np.flatnonzero(valid & np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] >= _LEAST_SIDE_PX).all(axis=1))
    return Video(name, _Some(images, good), boxes[good].astype(np.float32))


@dataclasses.dataclass(frozen=True, eq=False)
class _Some:
    """Some of the frames."""

    frames: Frames
    chosen: np.ndarray

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.frames[int(self.chosen[index])]


def _sha256(video: Video) -> str:
    return hashlib.sha256(video.name.encode() + video.boxes.tobytes()).hexdigest()


@functools.lru_cache(maxsize=4)
def _read(name: str, folder: Path, part: str) -> tuple[Video, ...]:
    """The videos of a dataset on disk."""
    name, dataset = registry.find(name)
    found = []
    for track in registry.tracks_in_pixels(name, folder, part):
        kept = [frame for frame in track.frames if frame.box_xyxy is not None and frame.visible]
        if kept:
            xyxy = np.asarray([frame.box_xyxy for frame in kept], np.float64)
            boxes = np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1)
            images = ImageFolder(track.video, [frame.path for frame in kept])
            found.append(_of_some_size(track.video, images, boxes, np.ones(len(kept), bool)))
    found = [video for video in found if len(video.boxes)]
    if not found:
        raise UserError(
            f"no video of {dataset.title} in {folder} has a frame to train on, in which the target is to be seen and "
            f"{_LEAST_SIDE_PX:g} pixels wide and high"
        )
    return tuple(found)


# --- rendered videos


@functools.lru_cache(maxsize=4)
def _rendered(config: Scenes) -> tuple[Video, ...]:
    """The videos of `Scenes`; the last few are kept, as a training that goes on asks again."""
    times = jnp.arange(config.frames, dtype=jnp.float32) * config.spacing
    found: list[Video] = []
    index = 0
    while len(found) < config.count:
        key = scene.scene_key(config.split, config.seed, index)
        annotated = jax.device_get(objects.annotated_layout(key, times, config.look, _LEAST_SIDE_PX))
        layout, boxes, shown = annotated[0], *(part[:, objects.TARGET] for part in annotated[1:])
        if 2 * shown.sum() >= config.frames:
            images = objects.images(key, layout, times[np.flatnonzero(shown)], config.look)
            found.append(Video(f"scene {index}", images, boxes[shown]))  # type: ignore[arg-type]
        index += 1
    return tuple(found)
