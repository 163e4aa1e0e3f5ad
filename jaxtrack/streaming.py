"""Tracking a video whose end is not known, one target or several, piece by piece as it is read.

The programs are those of `jaxtrack.running`, so a single target's boxes are those of `jaxtrack.run`, bit for bit.
Several targets are lanes of one program over the same frames, each decoded and uploaded once; a target's lane knows
nothing of the others.
"""

import itertools
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack.compilation import noticing_start
from jaxtrack.data.sequences import check_image_size
from jaxtrack.errors import UserError
from jaxtrack.images import Frame, as_rgb, make_frame
from jaxtrack.lanes import side_by_side
from jaxtrack.running import Programs, chunk_length, load_chunk, name_of, programs
from jaxtrack.tracker import Prediction, Tracker, sequence_key


class Frames(Protocol):
    """Images by number; past the last one `IndexError` is raised, as by a list."""

    def __getitem__(self, index: int, /) -> Any: ...


class Piece(NamedTuple):
    """Some successive frames, tracked; those of a video follow one another without a gap.

    Attributes:
      images: n images, `uint8 [H, W, 3]` RGB.
      boxes: `float32 [n, K, 4]`, (x, y, w, h) of each of K targets, in pixels.
      scores: `float32 [n, K]`; 1 in the first frame.
      seconds: what tracking these frames took, decoding and compiling left out.
      compile_seconds: what compiling took.
    """

    images: list[np.ndarray]
    boxes: np.ndarray
    scores: np.ndarray
    seconds: float
    compile_seconds: float


class HostSession(Protocol):
    """A tracker that is fed frame by frame on the host."""

    def init(self, image: np.ndarray, box: Any) -> None:
        """Starts on an image with the target's box."""
        ...

    def update(self, image: np.ndarray) -> Prediction:
        """Finds the target in the next image."""
        ...


def stream(
    tracker: Tracker,
    params: Any,
    video: Frames,
    boxes: np.ndarray,
    seed: int = 0,
    *,
    live: bool = False,
) -> Generator[Piece, None, None]:
    """Tracks targets from a video's first frame until it ends.

    Args:
      tracker: the pair of functions.
      params: the tracker's parameters.
      video: the images; its `name`, where it has one, takes part in the random key, the same for all targets.
      boxes: `float [K, 4]`, the targets' boxes in the first frame.
      seed: the run's seed.
      live: whether each frame is to be tracked as soon as it is there, as a camera asks for, and not in chunks.

    Yields:
      First the first frame with the given boxes, then what follows.

    Raises:
      UserError: the video has no frames, or one that cannot be read or is of another size; those before such a one have
        been yielded.
    """
    image, boxes = _first(video), np.asarray(boxes, np.float32)
    frame, key = make_frame(image), sequence_key(seed, name_of(video))  # type: ignore[arg-type]
    if len(boxes) == 1:
        parts, start = programs(tracker), (frame, boxes[0], key)
    else:
        parts, start = programs(side_by_side(tracker)), (frame, boxes, jnp.stack([key] * len(boxes)))
    compiled_before = parts.init.compile_seconds
    begin = parts.init.compiled(params, *start)
    tick = time.perf_counter()
    with noticing_start():
        state = jax.block_until_ready(begin(params, *start))
    seconds = time.perf_counter() - tick
    compile_seconds = parts.init.compile_seconds - compiled_before
    yield Piece([image], boxes[None], np.ones((1, len(boxes)), np.float32), seconds, compile_seconds)
    following = _frame_by_frame if live else _chunk_by_chunk
    yield from following(parts, params, state, video, frame)


def stream_sessions(sessions: Sequence[HostSession], video: Frames, boxes: np.ndarray) -> Generator[Piece, None, None]:
    """`stream` for trackers on the host: one session a target, each of which sees every frame."""
    image, boxes = _first(video), np.asarray(boxes, np.float32)
    tick = time.perf_counter()
    for session, box in zip(sessions, boxes, strict=True):
        session.init(image, box)
    yield Piece([image], boxes[None], np.ones((1, len(boxes)), np.float32), time.perf_counter() - tick, 0.0)
    for index in itertools.count(1):
        following = _next(video, index, image.shape[:2])
        if following is None:
            return
        tick = time.perf_counter()
        found = [session.update(following) for session in sessions]
        seconds = time.perf_counter() - tick
        new = np.asarray([each.box for each in found], np.float32)
        yield Piece([following], new[None], np.asarray([[each.score for each in found]], np.float32), seconds, 0.0)


def _first(video: Frames) -> np.ndarray:
    try:
        return as_rgb(video[0], _where(video, 0))
    except IndexError:
        raise UserError(f"{_called(video)} has no frames") from None


def _called(video: Frames) -> str:
    return name_of(video) or "the video"  # type: ignore[arg-type]


def _where(video: Frames, index: int) -> str:
    return f"{_called(video)}: frame {index}"


def _next(video: Frames, index: int, size: tuple[int, ...]) -> np.ndarray | None:
    """The image of this number; None where the video has ended."""
    try:
        image = as_rgb(video[index], _where(video, index))
    except IndexError:
        return None
    check_image_size(image, size, _where(video, index))
    return image


def _images(video: Frames, first: int, count: int, size: tuple[int, ...]) -> tuple[list[np.ndarray], UserError | None]:
    """At most `count` images from number `first` on: fewer where the video ends, or where one is bad, and why it is."""
    images = []
    for index in range(first, first + count):
        try:
            image = _next(video, index, size)
        except UserError as error:
            return images, error
        if image is None:
            break
        images.append(image)
    return images, None


def _chunk_by_chunk(
    parts: Programs, params: Any, state: Any, video: Frames, frame: Frame
) -> Generator[Piece, None, None]:
    """A thread reads and uploads the next chunk while one is tracked."""
    length = chunk_length((frame.pixels.shape[0], frame.pixels.shape[1]))
    size = (int(frame.size[0]), int(frame.size[1]))

    def load(start: int) -> tuple[list[np.ndarray], Any, UserError | None]:
        images, problem = _images(video, start, length, size)
        return images, jax.device_put(load_chunk(images, 0, frame)) if images else None, problem

    with ThreadPoolExecutor(max_workers=1) as pool:
        pending = pool.submit(load, 1)
        for start in itertools.count(1, length):
            images, frames, problem = pending.result()
            if len(images) == length:
                pending = pool.submit(load, start + length)
            if images:
                state, piece = _tracked(parts, params, state, frames, images)
                yield piece
            if problem is not None:
                raise problem
            if len(images) < length:
                return


def _tracked(parts: Programs, params: Any, state: Any, frames: Frame, images: list[np.ndarray]) -> tuple[Any, Piece]:
    compiled_before = parts.chunk.compile_seconds
    arguments = (params, state, frames, np.int32(len(images)))
    program = parts.chunk.compiled(*arguments)
    tick = time.perf_counter()
    state, predictions = jax.block_until_ready(program(*arguments))
    seconds = time.perf_counter() - tick
    found = jax.tree.map(lambda leaf: np.asarray(leaf)[: len(images)], predictions)
    return state, _piece(images, found, seconds, parts.chunk.compile_seconds - compiled_before)


def _frame_by_frame(
    parts: Programs, params: Any, state: Any, video: Frames, frame: Frame
) -> Generator[Piece, None, None]:
    size = (int(frame.size[0]), int(frame.size[1]))
    for index in itertools.count(1):
        image = _next(video, index, size)
        if image is None:
            return
        compiled_before = parts.step.compile_seconds
        arguments = (params, state, make_frame(image))
        program = parts.step.compiled(*arguments)
        tick = time.perf_counter()
        state, prediction = jax.block_until_ready(program(*arguments))
        seconds = time.perf_counter() - tick
        found = jax.tree.map(lambda leaf: np.asarray(leaf)[None], prediction)
        yield _piece([image], found, seconds, parts.step.compile_seconds - compiled_before)


def _piece(images: list[np.ndarray], found: Prediction, seconds: float, compile_seconds: float) -> Piece:
    n = len(images)
    boxes, scores = np.asarray(found.box), np.asarray(found.score)
    return Piece(images, boxes.reshape(n, -1, 4), scores.reshape(n, -1), seconds, compile_seconds)
