"""Running a tracker over many videos, or under many seeds, side by side on all local devices."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack.compilation import OutOfMemoryError, Program, out_of_memory
from jaxtrack.errors import UserError
from jaxtrack.images import Frame
from jaxtrack.running import (
    as_video,
    chunk_length,
    drive,
    first_frame,
    join_chunks,
    load_chunk,
    make_track,
    name_of,
    track_chunk,
)
from jaxtrack.tracker import Track, Tracker, Video, check_arguments, sequence_key


@functools.lru_cache(maxsize=32)
def batch_programs(tracker: Tracker, devices: tuple[Any, ...]) -> tuple[Program, Program]:
    """The programs `init` and `chunk` of `running.programs` for lanes side by side.

    Arrays are [device, lane, ...], a chunk's frames [device, frame, lane, ...].
    """
    lanes = Tracker(
        init=jax.vmap(tracker.init, in_axes=(None, 0, 0, 0)),
        step=jax.vmap(tracker.step, in_axes=(None, 0, 0)),
    )

    def over_devices(in_axes: tuple[int | None, ...]) -> Callable:
        return functools.partial(jax.pmap, in_axes=in_axes, devices=devices)

    init = Program(lanes.init, transform=over_devices((None, 0, 0, 0)), devices=devices)
    chunk = functools.partial(track_chunk, lanes)
    return init, Program(chunk, transform=over_devices((None, 0, 0, None)), donate_argnums=(1,), devices=devices)


def run_batch(
    tracker: Tracker,
    params: Any,
    videos: Sequence[Video | str | Path | Sequence[str | Path]],
    boxes: Sequence[Any],
    seeds: Sequence[int] | int = 0,
    *,
    width: int | None = None,
    devices: Sequence[Any] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> list[Track]:
    """Tracks many videos, or one video under many seeds, side by side: `vmap` over lanes, `pmap` over devices.

    Videos are grouped by canvas; every group runs in batches of exactly `width` lanes, the last one padded. So a
    video's boxes do not depend on its neighbours, bit for bit; they do depend on `width` and on the number of
    devices (other programs round differently), which therefore belong to the provenance of a result. The default
    width follows from the devices alone, never from the videos.

    Args:
      tracker: the pair of functions.
      params: the tracker's parameters, shared by all lanes.
      videos: the videos, each as `run` takes one; the same one may stand there several times.
      boxes: `[4]` each, the first frames' boxes.
      seeds: one seed a video, or one for all.
      width: lanes a batch, a multiple of the number of devices. By default 1 a device on CPUs, where more are no
        faster, and 8 a device on others.
      devices: the local devices to use, all by default.
      on_progress: called with the number of frames done, summed over the lanes.

    Returns:
      One `Track` a video, in the order given. `seconds` is the batch's time shared out over its lanes.

    Raises:
      UserError: as `run`; also for a width that does not divide over the devices or does not fit into memory.
    """
    check_arguments(tracker, params)
    devices = list(devices or jax.local_devices())
    width = len(devices) * _lanes(devices[0]) if width is None else width
    check_width(width, len(devices))
    runs = _runs(videos, boxes, seeds)
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, (video, box, _) in enumerate(runs):
        frame, _ = first_frame(video, box)
        groups.setdefault(frame.pixels.shape[:2], []).append(i)
    tracks: dict[int, Track] = {}
    for members in groups.values():
        # Videos of like length share a batch: a batch lasts as long as its longest video.
        members.sort(key=lambda i: len(runs[i][0]))
        for first in range(0, len(members), width):
            lanes = members[first : first + width]
            batch = [runs[i] for i in lanes]
            report = None
            if on_progress is not None:
                done = sum(len(runs[i][0]) for i in tracks)
                report = functools.partial(_report, on_progress, done, [len(video) for video, _, _ in batch])
            try:
                new = _run_lanes(tracker, params, batch, width, devices, report)
            except (OutOfMemoryError, jax.errors.JaxRuntimeError) as error:
                if not out_of_memory(error):
                    raise
                why = f" ({error})" if isinstance(error, OutOfMemoryError) else ""
                raise UserError(
                    f"{width} videos side by side do not fit into the memory of {len(devices)} x "
                    f"{devices[0].device_kind}{why}: take a smaller width"
                ) from error
            tracks.update(zip(lanes, new, strict=True))
    return [tracks[i] for i in range(len(runs))]


def check_width(width: int, devices: int) -> None:
    """Refuses a width that does not divide over a number of devices; `UserError`."""
    if width < 1 or width % devices:
        good = ", ".join(str(devices * k) for k in (1, 2, 4, 8))
        raise UserError(f"width {width} does not divide over {devices} devices: take one of {good}, …")


def _lanes(device: Any) -> int:
    """The default number of lanes on a device."""
    return 1 if device.platform == "cpu" else 8


def _runs(videos: Any, boxes: Any, seeds: Any) -> list[tuple[Video, Any, int]]:
    """Video, box and seed of each run; `UserError` where their numbers differ or something is no video."""
    if isinstance(videos, str | Path):
        raise UserError(f"videos must be a list of videos, not the path of one: [{str(videos)!r}]")
    videos, boxes = list(videos), list(boxes)
    given, seeds = seeds, [seeds] * len(videos) if np.ndim(seeds) == 0 else list(seeds)
    if not len(videos) == len(boxes) == len(seeds):
        count = "" if np.ndim(given) == 0 else f", {len(seeds)} seeds"
        raise UserError(f"got {len(videos)} videos, {len(boxes)} boxes{count}: give one of each a run")
    return list(zip(map(as_video, videos), boxes, seeds, strict=True))


def _report(on_progress: Callable[[int], None], done: int, lengths: list[int], frames: int) -> None:
    """Passes on how many frames of all videos are done when a batch has reached a frame."""
    on_progress(done + sum(min(frames, length) for length in lengths))


def _split(array: np.ndarray, parts: int, axis: int) -> np.ndarray:
    """`[..., W, ...]` to `[parts, ..., W / parts, ...]`, the lanes split over the devices."""
    return np.stack(np.split(array, parts, axis))


def _run_lanes(
    tracker: Tracker,
    params: Any,
    batch: list[tuple[Video, np.ndarray, int]],
    width: int,
    devices: list[Any],
    on_progress: Callable[[int], None] | None,
) -> list[Track]:
    """One batch of at most `width` videos of one canvas; missing lanes repeat the first video."""
    padded = batch + [batch[0]] * (width - len(batch))
    firsts = [first_frame(video, box) for video, box, _ in padded]
    keys = jnp.stack([sequence_key(seed, name_of(video)) for video, _, seed in padded])
    split = functools.partial(_split, parts=len(devices))
    frames = Frame(*(split(np.stack(leaves), axis=0) for leaves in zip(*(frame for frame, _ in firsts), strict=True)))  # type: ignore[arg-type]
    boxes = split(np.stack([box for _, box in firsts]), axis=0)

    def load(start: int) -> Frame:
        chunks = [load_chunk(video, start, frame) for (video, _, _), (frame, _) in zip(padded, firsts, strict=True)]
        return Frame(*(split(np.stack(leaves, 1), axis=1) for leaves in zip(*chunks, strict=True)))  # type: ignore[arg-type]

    init, chunk = batch_programs(tracker, tuple(devices))
    predictions, seconds, compile_seconds = drive(
        init,
        chunk,
        params,
        (frames, boxes, keys.reshape(len(devices), -1)),  # type: ignore[arg-type]
        load,
        max(len(video) for video, _, _ in batch),
        chunk_length(firsts[0][0].pixels.shape[:2]),  # type: ignore[arg-type]
        on_progress,
    )
    joined = join_chunks(predictions, axis=1)  # [D, N - 1, W / D, ...]
    tracks = []
    for lane, (video, _, _) in enumerate(batch):
        device, row = divmod(lane, width // len(devices))
        own = jax.tree.map(lambda leaf, device=device, row=row: leaf[device, :, row], joined)
        tracks.append(make_track(firsts[lane][1], own, seconds[: len(video)] / len(batch), compile_seconds))
    return tracks
