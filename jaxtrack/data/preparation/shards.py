"""One shard of a prepared dataset: some videos' crops as a file of records, and its part of the index.

`write_shard` is a function of its argument alone, and what it writes appears whole or not at all: the index part last,
so that its presence means that the shard is done. Processes on one machine and Apache Beam's workers call the same one.

TFDS, ArrayRecord and JAX's other friends are imported where they are needed: this package is looked through whenever a
benchmark is loaded, which must not take longer for them.
"""

import dataclasses
import functools
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxtrack.data.preparation import crops
from jaxtrack.data.preparation import index as indexing
from jaxtrack.data.preparation.index import Drops, Index
from jaxtrack.data.preparation.tracks import Annotation, Box, Track, Video
from jaxtrack.errors import UserError
from jaxtrack.files import beside

PARTS = "parts"


@dataclasses.dataclass(frozen=True)
class Shard:
    """What one call of `write_shard` makes.

    Attributes:
      folder: folder of the prepared dataset.
      dataset: its name.
      split: its split.
      number: number of this shard, from 0.
      count: number of all shards.
      videos: those of this shard.
      visible_only: drop frames in which the target is annotated as hidden.
    """

    folder: Path
    dataset: str
    split: str
    number: int
    count: int
    videos: tuple[Video, ...]
    visible_only: bool = False

    @property
    def path(self) -> Path:
        """The file of records, named as TFDS does."""
        return self.folder / f"{self.dataset}-{self.split}.array_record-{self.number:05d}-of-{self.count:05d}"

    @property
    def part(self) -> Path:
        """Its part of the index."""
        return self.folder / PARTS / f"{self.number:05d}.npz"


def write_shard(shard: Shard, progress: Callable[[int], None] = lambda videos: None) -> Index:
    """Writes a shard and its part of the index, unless both are there already; returns that part.

    Args:
      shard: what to write.
      progress: called after each video, with 1, and with the number of videos if all was there.
    """
    finished = _finished(shard)
    if finished is not None:
        progress(len(shard.videos))
        return finished
    drops, rows = Drops(), []
    with _Records(shard.path) as records:
        for video in shard.videos:
            for track in _tracks(video, drops):
                frames = _write_track(track, shard.visible_only, records.add, drops)
                if frames:
                    rows.append((track.video, track.track, frames))
            progress(1)
    part = indexing.from_rows(shard.dataset, shard.split, rows, shard.path.stat().st_size, drops)
    indexing.save(shard.part, part)
    return part


def features() -> Any:
    """A record as TFDS describes it; the image is kept as the JPEG that it is."""
    import tensorflow_datasets as tfds

    side = crops.SOURCE_PX
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(side, side, 3), encoding_format="jpeg"),
            "video": tfds.features.Text(),
            "track": tfds.features.Text(),
            "frame": np.int32,
            "size": tfds.features.Tensor(shape=(2,), dtype=np.float32),
        }
    )


@functools.cache
def _serializer() -> Callable[[dict[str, Any]], bytes]:
    from tensorflow_datasets.core import example_serializer

    described = features()
    serializer = example_serializer.ExampleSerializer(described.get_serialized_info())
    # Not `serialize_example`, in which the order of the fields changes from process to process.
    return lambda example: serializer.get_tf_example(described.encode_example(example)).SerializeToString(
        deterministic=True
    )


class _Records:
    """A file of records that takes its place when it is complete and leaves nothing behind if it is not."""

    def __init__(self, path: Path):
        from array_record.python.array_record_module import ArrayRecordWriter

        self._path = path
        self._unfinished = beside(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Groups of one record, so that reading one reads no others.
        self._writer = ArrayRecordWriter(str(self._unfinished), "group_size:1")

    def add(self, example: dict[str, Any]) -> None:
        self._writer.write(_serializer()(example))

    def __enter__(self) -> "_Records":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._writer.close()
        if kind is not None:
            self._unfinished.unlink(missing_ok=True)
            return
        with self._unfinished.open("rb") as file:
            os.fsync(file.fileno())
        self._unfinished.replace(self._path)


def _finished(shard: Shard) -> Index | None:
    """The index part of a shard that is complete, else None."""
    if not shard.part.is_file() or not shard.path.is_file():
        return None
    try:
        part = indexing.load(shard.part)
    except UserError:
        return None
    return part if part.shard_bytes.tolist() == [shard.path.stat().st_size] else None


def _tracks(video: Video, drops: Drops) -> list[Track]:
    try:
        return video.read()
    except UserError as error:
        drops.add("unreadable annotation", f"{video.name}: {error}")
        return []


def _write_track(
    track: Track, visible_only: bool, add: Callable[[dict[str, Any]], None], drops: Drops
) -> list[tuple[int, float, float]]:
    """Writes a track's crops; returns (number, width, height) of the frames that were not dropped."""
    frames = []
    for annotation in track.frames:
        made = _crop(track, annotation, visible_only)
        if isinstance(made, str):
            reason, _, detail = made.partition(": ")
            drops.add(reason, detail or f"{annotation.path}, track {track.track}")
            continue
        data, (left, top, right, bottom) = made
        size = np.array([right - left, bottom - top], np.float32)
        add(
            {
                "image": io.BytesIO(data),
                "video": track.video,
                "track": track.track,
                "frame": annotation.frame,
                "size": size,
            }
        )
        frames.append((annotation.frame, *size.tolist()))
    return frames


def _crop(track: Track, annotation: Annotation, visible_only: bool) -> tuple[bytes, Box] | str:
    """(JPEG of the crop, box in pixels), or the reason why there is none, which may go on after a colon."""
    box = annotation.box_xyxy
    if box is None:
        return annotation.dropped
    if visible_only and not annotation.visible:
        return "not visible"
    reason = _empty(box)
    if reason:
        return reason
    try:
        image = _last_image(annotation.path)
    except UserError as error:
        return f"unreadable image: {error}"
    height, width = image.shape[:2]
    if track.relative:
        box = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
    reason = _misplaced(box, width, height, track.inside)
    return reason or (crops.encode(crops.crop(image, box)), box)


def _empty(box: Box) -> str:
    if not np.isfinite(box).all():
        return "not finite"
    return "no width or height" if box[2] <= box[0] or box[3] <= box[1] else ""


def _misplaced(box: Box, width: int, height: int, inside: bool) -> str:
    left, top, right, bottom = box
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        return "outside the image"
    return "leaves the image" if inside and (left < 0 or top < 0 or right > width or bottom > height) else ""


@functools.lru_cache(maxsize=1)
def _last_image(path: Path) -> np.ndarray:
    """An image; objects of a still image follow each other, so that it is decoded once."""
    return crops.read_image(path)
