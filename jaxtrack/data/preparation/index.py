"""The index of a prepared dataset: videos, their tracks, their records, as a few arrays in one file.

Records of a track are consecutive, and so are tracks of a video: three columns of offsets say it all. A dataset is
prepared as many shards (files of records), each with an index of its own, which are joined in the end.
"""

import dataclasses
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxtrack.errors import UserError
from jaxtrack.files import replacing

FORMAT = "1.0.0"
INDEX_NAME = "index.npz"
_EXAMPLES_OF_A_REASON = 20


@dataclasses.dataclass
class Drops:
    """Frames that were dropped: how many for each reason, and which, for the first few of them."""

    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    examples: dict[str, list[str]] = dataclasses.field(default_factory=dict)

    def add(self, reason: str, example: str, count: int = 1) -> None:
        """Counts a dropped frame, or several."""
        self.counts[reason] = self.counts.get(reason, 0) + count
        self._keep(reason, [example])

    def merge(self, other: "Drops") -> None:
        """Adds another count."""
        for reason, count in other.counts.items():
            self.counts[reason] = self.counts.get(reason, 0) + count
            self._keep(reason, other.examples[reason])

    def _keep(self, reason: str, examples: list[str]) -> None:
        kept = self.examples.setdefault(reason, [])
        kept += examples[: _EXAMPLES_OF_A_REASON - len(kept)]


@dataclasses.dataclass(frozen=True, eq=False)
class Index:
    """What is where in V videos with T tracks and R records in S shards.

    Attributes:
      dataset: name of the dataset, `got10k`.
      split: `train`.
      videos: `str [V]`.
      video_tracks: `int64 [V + 1]`; the tracks of video v are those from `video_tracks[v]` to before the next entry.
      tracks: `str [T]`, names that are unique in a video.
      track_records: `int64 [T + 1]`, likewise the records of each track, in the order of time.
      frames: `int32 [R]`, frame numbers as the dataset counts them.
      sizes: `float32 [R, 2]`, width and height of the box in pixels of the image.
      shard_records: `int64 [S]`, number of records of each shard.
      shard_bytes: `int64 [S]`, size of its file.
      drops: what was left out.
    """

    dataset: str
    split: str
    videos: np.ndarray
    video_tracks: np.ndarray
    tracks: np.ndarray
    track_records: np.ndarray
    frames: np.ndarray
    sizes: np.ndarray
    shard_records: np.ndarray
    shard_bytes: np.ndarray
    drops: Drops

    def records_of(self, track: int) -> range:
        """Record numbers of a track."""
        return range(int(self.track_records[track]), int(self.track_records[track + 1]))

    def tracks_of(self, video: int) -> range:
        """Track numbers of a video."""
        return range(int(self.video_tracks[video]), int(self.video_tracks[video + 1]))


def from_rows(
    dataset: str,
    split: str,
    rows: Sequence[tuple[str, str, Sequence[tuple[int, float, float]]]],
    shard_bytes: int,
    drops: Drops,
) -> Index:
    """The index of one shard.

    Args:
      dataset: name of the dataset.
      split: name of the split.
      rows: (video, track, frames) in the order of the records, frames as (number, width, height) and never empty.
      shard_bytes: size of the shard's file.
      drops: what was left out.
    """
    frames = [frame for _, _, track in rows for frame in track]
    videos = list(dict.fromkeys(video for video, _, _ in rows))
    tracks_of = dict.fromkeys(videos, 0)
    for video, _, _ in rows:
        tracks_of[video] += 1
    return Index(
        dataset,
        split,
        np.array(videos, np.str_),
        _offsets([tracks_of[video] for video in videos]),
        np.array([track for _, track, _ in rows], np.str_),
        _offsets([len(track) for _, _, track in rows]),
        np.array([number for number, _, _ in frames], np.int32),
        np.array([size for _, *size in frames], np.float32).reshape(-1, 2),
        np.array([len(frames)], np.int64),
        np.array([shard_bytes], np.int64),
        drops,
    )


def join(parts: Sequence[Index]) -> Index:
    """The index of consecutive shards."""
    drops = Drops()
    for part in parts:
        drops.merge(part.drops)

    def all_of(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    return Index(
        parts[0].dataset,
        parts[0].split,
        all_of("videos"),
        _offsets(np.concatenate([np.diff(part.video_tracks) for part in parts])),
        all_of("tracks"),
        _offsets(np.concatenate([np.diff(part.track_records) for part in parts])),
        all_of("frames"),
        all_of("sizes"),
        all_of("shard_records"),
        all_of("shard_bytes"),
        drops,
    )


def save(path: Path, index: Index) -> None:
    """Writes an index, whole or not at all; `OSError`, which names the file, where it cannot be written."""
    content: dict[str, Any] = {name: value for name, value in vars(index).items() if isinstance(value, np.ndarray)}
    content |= {"format": FORMAT, "dataset": index.dataset, "split": index.split}
    content["drops"] = json.dumps(dataclasses.asdict(index.drops))
    with replacing(path) as file:
        np.savez(file, **content)


def load(path: Path) -> Index:
    """Reads an index and checks that it agrees with itself.

    Raises:
      UserError: it is missing, damaged, or of another version.
    """
    try:
        # Opened here, because NumPy leaves a file open that it cannot read.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            version = str(file["format"])
            content: dict[str, Any] = {} if version != FORMAT else {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged or no index of a prepared dataset: prepare the dataset again") from error
    if version != FORMAT:
        raise UserError(
            f"{path} was prepared with version {version} of the format and this jaxtrack reads {FORMAT}: "
            "prepare the dataset again, into another folder"
        )
    try:
        index = _index_of(content)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}): prepare the dataset again") from error
    return index


def _index_of(content: dict[str, Any]) -> Index:
    """The index of a file's arrays; `ValueError`, `KeyError` or `TypeError` if they do not fit each other."""
    del content["format"]
    texts = {name: str(content.pop(name)) for name in ("dataset", "split")}
    index = Index(**texts, drops=Drops(**json.loads(str(content.pop("drops")))), **content)
    for offsets, names, total in (
        (index.video_tracks, index.videos, len(index.tracks)),
        (index.track_records, index.tracks, len(index.frames)),
    ):
        if len(offsets) != len(names) + 1 or offsets[0] != 0 or offsets[-1] != total or (np.diff(offsets) <= 0).any():
            raise ValueError("its offsets do not fit its names")
    if index.sizes.shape != (len(index.frames), 2) or index.shard_records.sum() != len(index.frames):
        raise ValueError("its records do not fit its shards")
    return index


def _offsets(counts: Sequence[int] | np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
