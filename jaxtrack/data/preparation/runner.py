"""Prepares a dataset for training: plan, shards in several processes, index, report. May be killed at any moment.

The folder of a prepared dataset holds, besides the files of records: `plan.json`, written first, which a later call
must agree with; `parts/`, the index of each finished shard, until all are; `report.json`, what was dropped and why;
`features.json` and `dataset_info.json`, by which TFDS reads the dataset (`tfds.builder_from_directory`); `index.npz`,
written last, whose presence means that all is done.
"""

import collections
import concurrent.futures.process
import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2

from jaxtrack.data.preparation import index as indexing
from jaxtrack.data.preparation import registry, shards
from jaxtrack.data.preparation.index import FORMAT, INDEX_NAME, Index
from jaxtrack.data.preparation.shards import PARTS, Shard
from jaxtrack.errors import UserError
from jaxtrack.files import write_text

PLAN_NAME, REPORT_NAME = "plan.json", "report.json"
_POLL_SECONDS = 0.2


@dataclasses.dataclass(frozen=True)
class Preparation:
    """What to prepare, from where, and where to."""

    dataset: str
    """The dataset, in any spelling of its name."""
    data_dir: Path
    """The folder with the dataset as it is shipped."""
    out: Path
    """The folder of prepared datasets; this one goes into `<out>/<dataset>/<split>`."""
    split: str = "train"
    """Which part of the dataset."""
    visible_only: bool = False
    """Drop frames whose target is annotated as hidden or out of view (VID: occluded, VOC: difficult, COCO: a crowd).
    The published Siamese trackers were trained without."""
    workers: int = 0
    """Processes that make crops; 0 makes them in this one."""


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a prepared dataset holds.

    Attributes:
      folder: where it is.
      videos: number of videos, of those with a frame.
      tracks: number of tracks.
      frames: number of frames.
      dropped: number of dropped frames (and of videos with an unreadable annotation) by reason, the commonest first.
      seconds: time that this call took.
      reused: number of shards that an earlier call had finished.
    """

    folder: Path
    videos: int
    tracks: int
    frames: int
    dropped: dict[str, int]
    seconds: float
    reused: int


def prepare(config: Preparation, progress: Callable[[int, int], None] = lambda done, total: None) -> Summary:
    """Prepares a dataset, or goes on where an earlier call was killed.

    Args:
      config: what to prepare.
      progress: called now and then with (videos done, videos in all).

    Raises:
      UserError: unknown dataset or split, a folder is missing, no usable frame, the folder has another dataset or
        cannot be written.
    """
    started = time.monotonic()
    work = plan(config)
    folder, videos = work[0].folder, sum(len(shard.videos) for shard in work)
    if (folder / INDEX_NAME).is_file():
        index, reused = indexing.load(folder / INDEX_NAME), len(work)
    else:
        reused = sum(shard.part.is_file() for shard in work)
        with _writing(folder):
            parts = _all_parts(work, config.workers, lambda done: progress(done, videos))
            index = finish(work, parts)
    progress(videos, videos)
    return Summary(
        folder,
        len(index.videos),
        len(index.tracks),
        len(index.frames),
        dict(collections.Counter(index.drops.counts).most_common()),
        time.monotonic() - started,
        reused,
    )


def plan(config: Preparation) -> list[Shard]:
    """The shards of a dataset, after its plan was written down, or compared with the one that is there."""
    name, dataset = registry.find(config.dataset)
    if config.workers < 0:
        raise UserError(f"the number of workers must be at least 0, not {config.workers}")
    videos = registry.videos_of(name, Path(config.data_dir).expanduser(), config.split)
    folder = Path(config.out).expanduser() / name / config.split
    per_shard = dataset.videos_per_shard
    names = "\n".join(video.name for video in videos)
    _agree(
        folder / PLAN_NAME,
        {
            "format": FORMAT,
            "dataset": name,
            "split": config.split,
            "visible only": config.visible_only,
            "number of videos": len(videos),
            "videos per shard": per_shard,
            "sha256 of the names": hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest(),
        },
    )
    groups = [tuple(videos[i : i + per_shard]) for i in range(0, len(videos), per_shard)]
    return [
        Shard(folder, name, config.split, number, len(groups), group, config.visible_only)
        for number, group in enumerate(groups)
    ]


def finish(work: list[Shard], parts: list[Index]) -> Index:
    """Joins the parts of the index, and writes what makes the dataset complete, the index last.

    Raises:
      UserError: every frame was dropped.
    """
    folder, index = work[0].folder, indexing.join(parts)
    report = folder / REPORT_NAME
    write_text(report, json.dumps(_report(index), indent=2) + "\n")
    if not len(index.frames):
        raise UserError(f"every frame of {index.dataset} was dropped; {report} says why")
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)
    _write_tfds_metadata(work, index)
    indexing.save(folder / INDEX_NAME, index)
    shutil.rmtree(folder / PARTS, ignore_errors=True)
    return index


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """A full disk is a sentence."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # ArrayRecord raises the latter
        raise UserError(
            f"{folder} could not be written ({error}): make room, and the same command goes on where it stopped"
        ) from error


def _agree(path: Path, content: dict[str, Any]) -> None:
    """Writes the plan, or refuses to go on with another one's shards."""
    if not path.is_file():
        write_text(path, json.dumps(content, indent=2) + "\n")
        return
    try:
        begun = json.loads(path.read_text("utf-8"))
        differing = [name for name in content if begun.get(name) != content[name]]
    except (ValueError, AttributeError, OSError) as error:
        raise UserError(f"{path} is damaged: remove {path.parent} and prepare again") from error
    if differing:
        raise UserError(
            f"{path.parent} was begun with another {', '.join(differing)}: remove it, or prepare into another folder"
        )


def _report(index: Index) -> dict[str, Any]:
    packages = ("array-record", "numpy", "tensorflow-datasets")
    return {
        "dataset": index.dataset,
        "split": index.split,
        "format": FORMAT,
        "videos": len(index.videos),
        "tracks": len(index.tracks),
        "frames": len(index.frames),
        "dropped": index.drops.counts,
        "examples": index.drops.examples,
        "packages": {name: importlib.metadata.version(name) for name in packages} | {"opencv": cv2.__version__},
    }


def _write_tfds_metadata(work: list[Shard], index: Index) -> None:
    """What TFDS needs to know; it reads the dataset then as any of its own, without TensorFlow."""
    import tensorflow_datasets as tfds

    template = tfds.core.ShardedFileTemplate(
        data_dir=tfds.core.Path(work[0].folder),
        dataset_name=index.dataset,
        split=index.split,
        filetype_suffix="array_record",
    )
    lengths = index.shard_records.tolist()
    split = tfds.core.SplitInfo(
        name=index.split,
        shard_lengths=lengths,
        num_bytes=int(index.shard_bytes.sum()),
        filename_template=template,
    )
    # The check would read an example through TensorFlow.
    tfds.folder_dataset.write_metadata(
        data_dir=work[0].folder,
        features=shards.features(),
        split_infos=[split],
        version=FORMAT,
        filename_template=template,
        check_data=False,
    )


def _all_parts(work: list[Shard], workers: int, progress: Callable[[int], None]) -> list[Index]:
    """The parts of all shards, in their order."""
    if workers == 0:
        done = 0

        def count(videos: int) -> None:
            nonlocal done
            done += videos
            progress(done)

        return [shards.write_shard(shard, count) for shard in work]
    return list(_in_processes(work, workers, progress))


def _in_processes(work: list[Shard], workers: int, progress: Callable[[int], None]) -> Iterator[Index]:
    # Not forked: the parent may run JAX's threads.
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", 0)
    with concurrent.futures.ProcessPoolExecutor(workers, context, _start_worker, (counter,)) as executor:
        futures = [executor.submit(_work, shard) for shard in work]
        try:
            pending = set(futures)
            while pending:
                finished, pending = concurrent.futures.wait(pending, _POLL_SECONDS, concurrent.futures.FIRST_EXCEPTION)
                for future in finished:
                    future.result()
                progress(counter.value)
        except concurrent.futures.process.BrokenProcessPool as error:
            raise UserError(
                "a process that makes crops was killed, perhaps for want of memory: the same command goes on where it "
                "stopped, with fewer workers if need be"
            ) from error
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise
        yield from (future.result() for future in futures)


_counter: Any = None


def _start_worker(counter: Any) -> None:
    """Sets up a process that makes crops: it ends at once at Ctrl-C, and leaves the other cores to the others."""
    global _counter
    _counter = counter
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    cv2.setNumThreads(0)


def _work(shard: Shard) -> Index:
    return shards.write_shard(shard, _count)


def _count(videos: int) -> None:
    with _counter.get_lock():
        _counter.value += videos
