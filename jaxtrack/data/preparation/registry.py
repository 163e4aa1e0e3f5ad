"""The datasets that can be prepared: one reader and one row of `DATASETS` each."""

import collections
import dataclasses
from collections.abc import Callable
from pathlib import Path

from jaxtrack.data.naming import match_name
from jaxtrack.data.preparation import snippets, still_images, video_folders
from jaxtrack.data.preparation.tracks import Track, Video
from jaxtrack.errors import UserError


@dataclasses.dataclass(frozen=True)
class Dataset:
    """How a dataset is read and cut into files.

    Attributes:
      title: its name in print.
      videos: the reader, `(folder, split) -> videos`; `UserError` if the folder is not as it should be.
      splits: what `split` may be, the usual one first.
      videos_per_shard: so that a file of crops has about half a gigabyte.
    """

    title: str
    videos: Callable[[Path, str], list[Video]]
    splits: tuple[str, ...]
    videos_per_shard: int


DATASETS = {
    "got10k": Dataset("GOT-10k", video_folders.got10k, ("train", "val", "all"), 100),
    "lasot": Dataset("LaSOT", video_folders.lasot, ("train",), 5),
    "trackingnet": Dataset("TrackingNet", video_folders.trackingnet, ("train",), 32),
    "vid": Dataset("ImageNet VID", snippets.imagenet_vid, ("train", "val"), 30),
    "det": Dataset("ImageNet DET", still_images.imagenet_det, ("train", "val"), 10_000),
    "coco": Dataset("COCO", still_images.coco, ("train", "val", "train2014", "val2014"), 2_500),
    "voc": Dataset("PASCAL VOC", still_images.voc, ("train", "val", "trainval", "test"), 5_000),
    "youtubebb": Dataset("YouTube-BB", snippets.youtubebb, ("train", "validation"), 600),
    "vot58": Dataset("58 sequences of VOT", video_folders.vot58, ("train",), 20),
    "otb": Dataset("folders in OTB's layout", video_folders.otb_folders, ("train",), 20),
}


def find(name: str) -> tuple[str, Dataset]:
    """(name, dataset) for any spelling of a name; `UserError` with a suggestion if there is none."""
    name = match_name(name, DATASETS, what="dataset for training")
    return name, DATASETS[name]


def videos_of(name: str, folder: Path, split: str) -> list[Video]:
    """The videos of a dataset, whose annotations are not read yet.

    Raises:
      UserError: no such split, a folder is missing, there are no videos, or two have one name.
    """
    dataset = DATASETS[name]
    if split not in dataset.splits:
        raise UserError(f"{dataset.title} has no split {split!r}: there is {', '.join(dataset.splits)}")
    videos = dataset.videos(folder, split)
    if not videos:
        raise UserError(f"nothing of {dataset.title}'s {split} was found in {folder}")
    [(double, times)] = collections.Counter(video.name for video in videos).most_common(1)
    if times > 1:
        raise UserError(f"{folder} has {double} of {dataset.title} twice: remove one of them")
    return videos


def tracks_in_pixels(name: str, folder: Path, split: str) -> list[Track]:
    """The annotated tracks of a dataset, as a training takes them that reads whole images.

    Raises:
      UserError: as `videos_of`, or the boxes are fractions of images whose size the annotations do not tell.
    """
    tracks = [track for video in videos_of(name, folder, split) for track in video.read()]
    if any(track.relative for track in tracks):
        title = DATASETS[name].title
        raise UserError(f"{title} has boxes in fractions of images of unknown size: train on another dataset")
    return tracks
