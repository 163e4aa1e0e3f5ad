"""The contract of a tracker, and running one over a video, over a batch of videos, or frame by frame.

A tracker is a pair of pure functions, as an optimiser is in optax:

    init: (params, frame, box, key) -> state
    step: (params, state, frame) -> (state, Prediction)

Both are jittable as a whole; everything that changes from frame to frame lives in `state`.
"""

import functools
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack.compilation import Program
from jaxtrack.data.sequences import check_init_box
from jaxtrack.errors import UserError
from jaxtrack.images import Frame, as_rgb, make_frame, place


class Prediction(NamedTuple):
    """What a tracker says of one frame.

    Attributes:
      box: `float32 [4]`, (x, y, w, h) in pixels.
      score: `float32 []`, the tracker's confidence (its scale is the tracker's own).
      diagnostics: named arrays, the same names and shapes in every frame.
    """

    box: jax.Array
    score: jax.Array
    diagnostics: dict[str, jax.Array]


class Tracker(NamedTuple):
    """A tracker: two pure functions (see the module's docstring)."""

    init: Callable[[Any, Frame, jax.Array, jax.Array], Any]
    step: Callable[[Any, Any, Frame], tuple[Any, Prediction]]


class Video(Protocol):
    """Images by number: a `jaxtrack.data.sequences.Sequence`, a list of arrays, anything alike."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> np.ndarray: ...


class Track(NamedTuple):
    """A tracker's run over one video of N frames; row 0 is the given box.

    Attributes:
      boxes: `float32 [N, 4]`, (x, y, w, h) in pixels.
      scores: `float32 [N]`; the first is 1.
      seconds: `float64 [N]`, time per frame without decoding and compiling; the first is the initialisation. Frames
        are tracked in chunks, a chunk's time is shared out evenly.
      diagnostics: the predictions' diagnostics, `[N - 1, ...]` each, from frame 1 on.
      compile_seconds: what compiling took in this run, 0 when the programs were there.
    """

    boxes: np.ndarray
    scores: np.ndarray
    seconds: np.ndarray
    diagnostics: dict[str, np.ndarray]
    compile_seconds: float


class _Programs(NamedTuple):
    init: Program
    step: Program
    chunk: Program


def sequence_key(seed: int, name: str) -> jax.Array:
    """The random key of a run: a function of the seed and of the sequence's name alone."""
    digest = hashlib.sha256(name.encode()).digest()
    return jax.random.fold_in(jax.random.key(seed), int.from_bytes(digest[:4], "little"))


def chunk_length(canvas: tuple[int, int]) -> int:
    """How many frames of a canvas go to the device at once: at most 16, at most 16 MiB, at least 1."""
    return max(1, min(16, (16 << 20) // (canvas[0] * canvas[1] * 3)))


def _track_chunk(tracker: Tracker, params: Any, state: Any, frames: Frame, count: jax.Array):
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
def programs(tracker: Tracker) -> _Programs:
    """The compiled functions of a tracker, shared by every video, session and batch of the process."""
    return _Programs(
        init=Program(tracker.init),
        step=Program(tracker.step, donate_argnums=(1,)),
        chunk=Program(functools.partial(_track_chunk, tracker), donate_argnums=(1,)),
    )


@functools.lru_cache(maxsize=32)
def batch_programs(tracker: Tracker, devices: tuple[jax.Device, ...]) -> _Programs:
    """The same for lanes side by side; arrays are [device, lane, ...], a chunk's frames [device, frame, lane, ...]."""
    lanes = Tracker(
        init=jax.vmap(tracker.init, in_axes=(None, 0, 0, 0)),
        step=jax.vmap(tracker.step, in_axes=(None, 0, 0)),
    )

    def over_devices(in_axes: tuple[int | None, ...]) -> Callable:
        return functools.partial(jax.pmap, in_axes=in_axes, devices=devices)

    return _Programs(
        init=Program(lanes.init, transform=over_devices((None, 0, 0, 0))),
        step=Program(lanes.step, transform=over_devices((None, 0, 0)), donate_argnums=(1,)),
        chunk=Program(
            functools.partial(_track_chunk, lanes),
            transform=over_devices((None, 0, 0, None)),
            donate_argnums=(1,),
        ),
    )


def _read(video: Video, index: int, size: tuple[int, int]) -> np.ndarray:
    image = as_rgb(video[index])
    if image.shape[:2] != size:
        raise UserError(
            f"frame {index} of {_name(video) or 'the video'} has {image.shape[1]} x {image.shape[0]} pixels, the first "
            f"one {size[1]} x {size[0]}: all frames of a video must have one size"
        )
    return image


def _name(video: Video) -> str:
    return getattr(video, "name", "")


def _first_frame(video: Video, box: np.ndarray) -> tuple[Frame, np.ndarray]:
    """The first frame and the checked box, `float32 [4]`."""
    if len(video) == 0:
        raise UserError(f"{_name(video) or 'the video'} has no frames")
    image = as_rgb(video[0])
    box = np.asarray(box, np.float32)
    check_init_box(box, image.shape[:2], _name(video) or "the video")
    return make_frame(image), box


def _load_chunk(video: Video, first: int, frame: Frame) -> Frame:
    """Frames `first`, `first + 1`, … as one chunk `[C, ...]`; past the end the last image is repeated."""
    canvas = frame.pixels.shape[:2]
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


def _drive(
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


def _track(box: np.ndarray, predictions: Prediction, seconds: np.ndarray, compile_seconds: float) -> Track:
    """Puts the given box before the predictions of frames 1, 2, … of one video."""
    rest = len(seconds) - 1
    predictions = jax.tree.map(lambda leaf: leaf[:rest], predictions)
    return Track(
        boxes=np.concatenate([box[None], predictions.box]),
        scores=np.concatenate([np.ones(1, np.float32), predictions.score]),
        seconds=seconds,
        diagnostics=dict(predictions.diagnostics),
        compile_seconds=compile_seconds,
    )


def run(
    tracker: Tracker,
    params: Any,
    video: Video,
    box: np.ndarray,
    seed: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> Track:
    """Tracks one video from its first frame to its last.

    Args:
      tracker: the pair of functions.
      params: the tracker's parameters, from its `init_params` or from a file of weights.
      video: images by number; its `name`, where it has one, takes part in the random key.
      box: `[4]`, (x, y, w, h) of the target in the first frame, in pixels, 0-based.
      seed: the run's seed.
      on_progress: called with the number of frames done, chunk by chunk.

    Returns:
      The `Track`; a function of (params, tracker, video, box, seed) alone.

    Raises:
      UserError: for a box that is not in the image, or frames of different sizes.
    """
    frame, box = _first_frame(video, box)
    parts = programs(tracker)
    predictions, seconds, compile_seconds = _drive(
        parts.init,
        parts.chunk,
        params,
        (frame, box, sequence_key(seed, _name(video))),  # type: ignore[arg-type]
        functools.partial(_load_chunk, video, frame=frame),
        len(video),
        chunk_length(frame.pixels.shape[:2]),  # type: ignore[arg-type]
        on_progress,
    )
    return _track(box, _join(predictions), seconds, compile_seconds)


def _join(chunks: list[Any], axis: int = 0) -> Prediction:
    return jax.tree.map(lambda *leaves: np.concatenate(leaves, axis), *chunks)


def run_batch(
    tracker: Tracker,
    params: Any,
    videos: Sequence[Video],
    boxes: Sequence[np.ndarray],
    seeds: Sequence[int],
    *,
    width: int,
    devices: Sequence[jax.Device] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> list[Track]:
    """Tracks many videos, or one video under many seeds, side by side: `vmap` over lanes, `pmap` over devices.

    Videos are grouped by canvas; every group runs in batches of exactly `width` lanes, the last one padded. So a
    video's boxes do not depend on its neighbours, bit for bit; they do depend on `width` and on the number of
    devices (other programs round differently), which therefore belong to the provenance of a result.

    Args:
      tracker: the pair of functions.
      params: the tracker's parameters, shared by all lanes.
      videos: the videos; the same one may stand there several times.
      boxes: `[4]` each, the first frames' boxes.
      seeds: one seed a video.
      width: lanes a batch, a multiple of the number of devices.
      devices: the local devices to use, all by default.
      on_progress: called with the number of frames done, summed over the lanes.

    Returns:
      One `Track` a video, in the order given. `seconds` is the batch's time shared out over its lanes.

    Raises:
      UserError: as `run`; also for a width that does not divide over the devices or does not fit into memory.
    """
    devices = list(devices or jax.local_devices())
    if width < 1 or width % len(devices):
        good = ", ".join(str(len(devices) * k) for k in (1, 2, 4, 8))
        raise UserError(f"width {width} does not divide over {len(devices)} devices: take one of {good}, …")
    if not len(videos) == len(boxes) == len(seeds):
        raise UserError(f"got {len(videos)} videos, {len(boxes)} boxes and {len(seeds)} seeds: give one of each a run")
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, video in enumerate(videos):
        frame, _ = _first_frame(video, boxes[i])
        groups.setdefault(frame.pixels.shape[:2], []).append(i)
    tracks: dict[int, Track] = {}
    for members in groups.values():
        # Videos of like length share a batch: a batch lasts as long as its longest video.
        members.sort(key=lambda i: len(videos[i]))
        for first in range(0, len(members), width):
            lanes = members[first : first + width]
            batch = [(videos[i], boxes[i], seeds[i]) for i in lanes]
            done = sum(len(videos[i]) for i in tracks)
            report = None if on_progress is None else functools.partial(_report, on_progress, done, len(lanes))
            new = _run_lanes(tracker, params, batch, width, devices, report)
            tracks.update(zip(lanes, new, strict=True))
    return [tracks[i] for i in range(len(videos))]


def _report(on_progress: Callable[[int], None], done: int, lanes: int, frames: int) -> None:
    on_progress(done + lanes * frames)


def _split(array: np.ndarray, parts: int, axis: int) -> np.ndarray:
    """`[..., W, ...]` to `[parts, ..., W / parts, ...]`, the lanes split over the devices."""
    return np.stack(np.split(array, parts, axis))


def _run_lanes(
    tracker: Tracker,
    params: Any,
    batch: list[tuple[Video, np.ndarray, int]],
    width: int,
    devices: list[jax.Device],
    on_progress: Callable[[int], None] | None,
) -> list[Track]:
    """One batch of at most `width` videos of one canvas; missing lanes repeat the first video."""
    padded = batch + [batch[0]] * (width - len(batch))
    firsts = [_first_frame(video, box) for video, box, _ in padded]
    keys = jnp.stack([sequence_key(seed, _name(video)) for video, _, seed in padded])
    split = functools.partial(_split, parts=len(devices))
    frames = Frame(*(split(np.stack(leaves), axis=0) for leaves in zip(*(frame for frame, _ in firsts), strict=True)))
    boxes = split(np.stack([box for _, box in firsts]), axis=0)

    def load(start: int) -> Frame:
        chunks = [_load_chunk(video, start, frame) for (video, _, _), (frame, _) in zip(padded, firsts, strict=True)]
        return Frame(*(split(np.stack(leaves, 1), axis=1) for leaves in zip(*chunks, strict=True)))

    parts = batch_programs(tracker, tuple(devices))
    predictions, seconds, compile_seconds = _drive(
        parts.init,
        parts.chunk,
        params,
        (frames, boxes, keys.reshape(len(devices), -1)),  # type: ignore[arg-type]
        load,
        max(len(video) for video, _, _ in batch),
        chunk_length(firsts[0][0].pixels.shape[:2]),  # type: ignore[arg-type]
        on_progress,
    )
    joined = _join(predictions, axis=1)  # [D, N - 1, W / D, ...]
    tracks = []
    for lane, (video, _, _) in enumerate(batch):
        device, row = divmod(lane, width // len(devices))
        own = jax.tree.map(lambda leaf, device=device, row=row: leaf[device, :, row], joined)
        tracks.append(_track(firsts[lane][1], own, seconds[: len(video)] / len(batch), compile_seconds))
    return tracks


class Session:
    """A tracker fed by hand, frame by frame: for cameras and for other people's toolkits.

    Example:
      >>> session = Session(tracker, params)        # doctest: +SKIP
      >>> session.init(image, (x, y, w, h))         # doctest: +SKIP
      >>> box = session.update(next_image).box      # doctest: +SKIP
    """

    def __init__(self, tracker: Tracker, params: Any = None, *, seed: int = 0, name: str = "", colour: str = "rgb"):
        """Prepares a session.

        Args:
          tracker: the pair of functions.
          params: the tracker's parameters.
          seed: the run's seed.
          name: takes part in the random key, as a sequence's name does in `run`.
          colour: the order of the channels of the images that will come, `rgb` or `bgr` (OpenCV's).
        """
        if colour not in ("rgb", "bgr"):
            raise UserError(f"colour is 'rgb' or 'bgr', not {colour!r}")
        self._programs = programs(tracker)
        self._params = params
        self._key = sequence_key(seed, name)
        self._name = name
        self._flip = colour == "bgr"
        self._state: Any = None
        self._size: tuple[int, ...] = ()

    def init(self, image: np.ndarray, box: Any) -> None:
        """Starts on an image, `uint8 [H, W, 3]` or [H, W], with the target's box (x, y, w, h) in pixels, 0-based."""
        image = self._rgb(image)
        box = np.asarray(box, np.float32)
        check_init_box(box, image.shape[:2], self._name or "the first frame")
        self._size = image.shape[:2]
        self._state = self._programs.init(self._params, make_frame(image), box, self._key)

    def update(self, image: np.ndarray) -> Prediction:
        """Finds the target in the next image; the prediction's leaves are numpy arrays."""
        if self._state is None:
            raise UserError("call init(image, box) before update(image)")
        image = self._rgb(image)
        if image.shape[:2] != self._size:
            raise UserError(
                f"the image has {image.shape[1]} x {image.shape[0]} pixels, the first one had "
                f"{self._size[1]} x {self._size[0]}: all images of a session must have one size"
            )
        self._state, prediction = self._programs.step(self._params, self._state, make_frame(image))
        return jax.device_get(prediction)

    def _rgb(self, image: np.ndarray) -> np.ndarray:
        image = as_rgb(image)
        return image[..., ::-1] if self._flip else image
