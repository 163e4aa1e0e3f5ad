"""A prepared dataset, opened for reading at random: its index, and each record checked against it."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from jaxtrack.data.preparation import crops
from jaxtrack.data.preparation import index as indexing
from jaxtrack.data.preparation.index import INDEX_NAME, Index
from jaxtrack.data.preparation.runner import PLAN_NAME
from jaxtrack.errors import UserError

_AGAIN = "prepare the dataset again, into another folder"


@dataclasses.dataclass(frozen=True)
class Prepared:
    """An open dataset.

    Attributes:
      folder: where it lies.
      index: what is where.
      records: TFDS's data source of the records; the image of a record is the JPEG's bytes.
    """

    folder: Path
    index: Index
    records: Any

    def crop(self, track: int, record: int) -> np.ndarray:
        """The crop of a record of a track, `uint8 [511, 511, 3]` BGR.

        Raises:
          UserError: the record is damaged, or not the one that the index tells of.
        """
        where = f"record {record} of {self.folder}"
        try:
            example = self.records[record]
        except (RuntimeError, ValueError, IndexError) as error:
            raise UserError(f"{where} cannot be read ({error}): {_AGAIN}") from error
        found = _label(int(example["frame"]), example["track"].decode(), example["video"].decode())
        expected = self._label(track, record)
        if found != expected:
            raise UserError(
                f"{where} holds {found} where the index has {expected}: files of two preparations, {_AGAIN}"
            )
        image = crops.decode(example["image"])
        if image is None:
            raise UserError(f"{where} holds no JPEG of {crops.SOURCE_PX}x{crops.SOURCE_PX} pixels: {_AGAIN}")
        return image

    def box(self, record: int) -> np.ndarray:
        """The target's box in the crop of a record, `float32 [4]`, (left, top, right, bottom)."""
        return crops.box_in_crop(self.index.sizes[record])

    def _label(self, track: int, record: int) -> str:
        video = int(np.searchsorted(self.index.video_tracks, track, side="right")) - 1
        return _label(int(self.index.frames[record]), str(self.index.tracks[track]), str(self.index.videos[video]))


def _label(frame: int, track: str, video: str) -> str:
    return f"frame {frame} of track {track} of {video}"


def open_prepared(folder: Path) -> Prepared:
    """Opens a dataset that `jaxtrack prepare` has made.

    Raises:
      UserError: it is not there, not finished, damaged, of another version, or a file of records is missing or another
        than the index tells of.
    """
    folder = Path(folder).expanduser()
    index = read_index(folder)
    _check_shards(folder, index)
    return Prepared(folder, index, _records(folder, index))


def read_index(folder: Path) -> Index:
    """The index of a prepared dataset alone; `UserError` if the dataset is not there, or not finished."""
    folder = Path(folder).expanduser()
    _check_finished(folder)
    return indexing.load(folder / INDEX_NAME)


def fingerprint(folder: Path) -> str:
    """The sha256 of what a prepared dataset's index tells of: names, frames, boxes and the sizes of its files.

    Not of images, and not of what was dropped: with that stand paths of the folder that it was prepared from.
    """
    index = read_index(folder)
    digest = hashlib.sha256(f"{index.dataset} {index.split}".encode())
    for name, value in sorted(vars(index).items()):
        if isinstance(value, np.ndarray):
            digest.update(f"{name} {value.dtype} {value.shape}".encode())
            digest.update(value.tobytes())
    return digest.hexdigest()


def _check_finished(folder: Path) -> None:
    if (folder / INDEX_NAME).is_file():
        return
    if (folder / PLAN_NAME).is_file():
        raise UserError(f"the preparation of {folder} was not finished: the same command goes on with it")
    what = "is no folder of a prepared dataset" if folder.is_dir() else "is not there"
    raise UserError(f"{folder} {what}: make one by jaxtrack prepare, and give its OUT/NAME/SPLIT")


def _check_shards(folder: Path, index: Index) -> None:
    """Compares the sizes of the files with the index."""
    count = len(index.shard_bytes)
    for number, expected in enumerate(index.shard_bytes.tolist()):
        path = folder / f"{index.dataset}-{index.split}.array_record-{number:05d}-of-{count:05d}"
        if not path.is_file():
            raise UserError(f"{path} is missing, one of {count} files of records: copy it again, or {_AGAIN}")
        size = path.stat().st_size
        if size != expected:
            raise UserError(
                f"{path} has {size} bytes and the index tells of {expected}: copy it again with its index, or {_AGAIN}"
            )


def _records(folder: Path, index: Index) -> Any:
    import tensorflow_datasets as tfds  # takes a second, see `preparation.shards`
    from google.protobuf import json_format

    try:
        builder = tfds.builder_from_directory(folder)
        lengths = list(builder.info.splits[index.split].shard_lengths)
        source = builder.as_data_source(index.split, decoders={"image": tfds.decode.SkipDecoding()})  # type: ignore[call-arg]
    except (OSError, ValueError, KeyError, RuntimeError, json_format.Error, tfds.core.DatasetNotFoundError) as error:
        raise UserError(f"TFDS cannot open {folder} ({error}): {_AGAIN}") from error
    if lengths != index.shard_records.tolist():
        raise UserError(f"dataset_info.json of {folder} does not match its index: copy both again, or {_AGAIN}")
    return source
