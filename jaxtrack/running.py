"""Running a tracker over a video: chunks of frames on the device, the next one decoded meanwhile."""

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack.compilation import Program, noticing_start
from jaxtrack.data.image_folder import ImageFolder
from jaxtrack.data.sequences import check_image_size, check_init_box
from jaxtrack.data.video_source import open_video
from jaxtrack.errors import UserError
from jaxtrack.images import Frame, as_rgb, make_frame, place
from jaxtrack.tracker import Prediction, Track, Tracker, Video, check_arguments, sequence_key


class Programs(NamedTuple):
    """The compiled functions of a tracker."""

    init: Program
    step: Program
    chunk: Program


def chunk_length(canvas: tuple[int, int]) -> int:
    """How many frames of a canvas go to the device at once: at most 16, at most 16 MiB, at least 1."""
    return max(1, min(16, (16 << 20) // (canvas[0] * canvas[1] * 3)))


def track_chunk(tracker: Tracker, params: Any, state: Any, frames: Frame, count: jax.Array):
    """Tracks the first `count` frames of a chunk; predictions of the rest stay zero.

    The count is traced, so that one program serves videos of any length without tracking padding.
    """
    length = frames.pixels.shape[0]
    shapes = jax.eval_shape(tracker.step, params, state, jax.tree.map(lambda leaf: leaf[0], frames))[1]
    empty = jax.tree.map(lambda leaf: jnp.zeros((length, *leaf.shape), leaf.dtype), shapes)

    def body(i: jax.Array, carry: tuple[Any, Prediction]):
        state, predictions = carry
        frame = jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, i, keepdims=False), frames)
        state, prediction = tracker.step(params, state, frame)
        predictions = jax.tree.map(lambda store, new: store.at[i].set(new), predictions, prediction)
        return state, predictions

    return jax.lax.fori_loop(0, count, body, (state, empty))


@functools.lru_cache(maxsize=32)
def programs(tracker: Tracker) -> Programs:
    """The compiled functions of a tracker, shared by every video, session and batch of the process."""
    return Programs(
        init=Program(tracker.init),
        step=Program(tracker.step, donate_argnums=(1,)),
        chunk=Program(functools.partial(track_chunk, tracker), donate_argnums=(1,)),
    )


def _read(video: Video, index: int, size: tuple[int, int]) -> np.ndarray:
    where = f"{name_of(video) or 'the video'}: frame {index}"
    image = as_rgb(video[index], where)
    check_image_size(image, size, where)
    return image


def name_of(video: Video) -> str:
    """The name that takes part in the random key and in messages; empty for a plain list of images."""
    return getattr(video, "name", "")


def as_video(video: Any) -> Video:
    """What a user gives as a video; a path becomes a `VideoFile` or `ImageFolder`, paths of images the latter.

    Raises:
      UserError: for what is no video, such as a generator or a single image.
    """
    if isinstance(video, str | Path):
        return open_video(video) if Path(video).is_file() else ImageFolder("", video)  # type: ignore[return-value]
    if not hasattr(video, "__len__") or not hasattr(video, "__getitem__"):
        raise UserError(
            "a video is a list of images, a folder of them, or whatever has a length and an image for each number, "
            f"not a {type(video).__qualname__}: list(...) makes a list of a generator; frame by frame there is "
            "jaxtrack.Session"
        )
    if isinstance(video, np.ndarray) and video.ndim == 3 and video.shape[-1] in (3, 4):
        raise UserError(f"a video is a list of images, not a single image {list(video.shape)}")
    if isinstance(video, list | tuple) and video and isinstance(video[0], str | Path):
        return ImageFolder(name_of(video), video)  # type: ignore[arg-type]
    return video


def first_frame(video: Video, box: Any) -> tuple[Frame, np.ndarray]:
    """The first frame and the checked box, `float32 [4]`."""
    name = name_of(video) or "the video"
    if len(video) == 0:
        raise UserError(f"{name} has no frames")
    image = as_rgb(video[0], f"{name}: frame 0")
    return make_frame(image), check_init_box(box, image.shape[:2], name)


def load_chunk(video: Video, first: int, frame: Frame) -> Frame:
    """Frames `first`, `first + 1`, … as one chunk `[C, ...]`; past the end the last image is repeated."""
    canvas = (frame.pixels.shape[0], frame.pixels.shape[1])
    size = (int(frame.size[0]), int(frame.size[1]))
    pixels = np.empty((chunk_length(canvas), *canvas, 3), np.uint8)
    placed = []
    for i, page in enumerate(pixels):
        if first + i < len(video) or i == 0:
            image = _read(video, min(first + i, len(video) - 1), size)
            placed.append(place(image, page))
        else:
            page[:] = pixels[i - 1]
            placed.append(placed[-1])
    return Frame(pixels, *(np.stack(leaves) for leaves in list(zip(*placed, strict=True))[1:]))  # type: ignore


def _ahead(load: Callable[[int], Any], starts: Sequence[int]) -> Iterator[Any]:
    """`load(start)` for each start, the next one read by a thread while the current one is tracked."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        pending = pool.submit(load, starts[0]) if starts else None
        for following in [*starts[1:], None]:
            assert pending is not None
            chunk = pending.result()
            pending = None if following is None else pool.submit(load, following)
            yield chunk


def drive(
    init: Program,
    chunk: Program,
    params: Any,
    first: tuple[Frame, jax.Array, jax.Array],
    load: Callable[[int], Frame],
    length: int,
    step_length: int,
    on_progress: Callable[[int], None] | None,
) -> tuple[list[Any], np.ndarray, float]:
    """The host's loop: initialises, then feeds chunks; returns predictions per chunk, seconds, compile seconds."""
    compile_before = init.compile_seconds + chunk.compile_seconds
    seconds = np.zeros(length)
    predictions: list[Any] = []
    start_program = init.compiled(params, *first)
    tick = time.perf_counter()
    with noticing_start():
        state = jax.block_until_ready(start_program(params, *first))
    seconds[0] = time.perf_counter() - tick
    starts = range(1, max(length, 2), step_length)  # A single frame gets one empty chunk, for the shapes.
    for start, frames in zip(starts, _ahead(load, starts), strict=True):
        count = min(step_length, length - start)
        arguments = (params, state, frames, np.int32(count))
        program = chunk.compiled(*arguments)
        tick = time.perf_counter()
        state, new = jax.block_until_ready(program(*arguments))
        seconds[start : start + count] = (time.perf_counter() - tick) / max(count, 1)
        predictions.append(jax.device_get(new))
        if on_progress is not None:
            on_progress(start + count)
    return predictions, seconds, init.compile_seconds + chunk.compile_seconds - compile_before


def make_track(box: np.ndarray, predictions: Prediction, seconds: np.ndarray, compile_seconds: float) -> Track:
    """Puts the given box before the predictions of frames 1, 2, … of one video."""
    rest = len(seconds) - 1
    predictions = jax.tree.map(lambda leaf: leaf[:rest], predictions)
    return Track(
        boxes=np.concatenate([box[None], predictions.box]),
        scores=np.concatenate([np.ones(1, np.float32), predictions.score]),
        seconds=seconds,
        diagnostics=dict(predictions.diagnostics),  # type: ignore[arg-type]
        compile_seconds=compile_seconds,
    )


def run(
    tracker: Tracker,
    params: Any,
    video: Video | str | Path | Sequence[str | Path],
    box: Any,
    seed: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> Track:
    """Tracks one video from its first frame to its last.

    Args:
      tracker: the pair of functions.
      params: the tracker's parameters; `jaxtrack.trackers.load` gives both.
      video: images by number, a video file, paths of images, or a folder of them; its `name`, where it has one, takes
        part in the random key.
      box: `[4]`, (x, y, w, h) of the target in the first frame, in pixels, 0-based.
      seed: the run's seed.
      on_progress: called with the number of frames done, chunk by chunk.

    Returns:
      The `Track`; a function of (params, tracker, video, box, seed) alone.

    Raises:
      UserError: for a box that is not in the image, frames of different sizes, parameters of another tracker, or what
        is no tracker, no video or no image.
    """
    check_arguments(tracker, params)
    video = as_video(video)
    frame, box = first_frame(video, box)
    parts = programs(tracker)
    predictions, seconds, compile_seconds = drive(
        parts.init,
        parts.chunk,
        params,
        (frame, box, sequence_key(seed, name_of(video))),  # type: ignore[arg-type]
        lambda start: jax.device_put(load_chunk(video, start, frame)),  # uploads while the last chunk is tracked
        len(video),
        chunk_length(frame.pixels.shape[:2]),  # type: ignore[arg-type]
        on_progress,
    )
    return make_track(box, join_chunks(predictions), seconds, compile_seconds)


def join_chunks(chunks: list[Any], axis: int = 0) -> Prediction:
    """Predictions of successive chunks as one, joined along the frames' axis."""
    return jax.tree.map(lambda *leaves: np.concatenate(leaves, axis), *chunks)
