"""Tracks targets in a video, images or a camera; writes their boxes and a video that shows them."""

import contextlib
import dataclasses
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from rich.console import Console

from jaxtrack import streaming, trackers
from jaxtrack.commands import _box_option, _box_selection, _tracker_choice
from jaxtrack.commands._options import Switch, shown_as
from jaxtrack.commands._track_record import Record
from jaxtrack.compilation import compiling, disable_compilation_cache, starting, telling
from jaxtrack.data import video_output
from jaxtrack.data.image_folder import ImageFolder
from jaxtrack.data.video_file import Camera, VideoFile
from jaxtrack.data.video_source import Part, Source, open_video
from jaxtrack.drawing import TrackPicture
from jaxtrack.errors import UserError
from jaxtrack.evaluation import progress
from jaxtrack.evaluation.runner import Entry, session_seed
from jaxtrack.files import write_text

_DEFAULT_FPS = 25.0
_STOPPING = (signal.SIGINT, signal.SIGTERM)


@dataclasses.dataclass(frozen=True)
class Options:
    """Tracks targets in a video, images or a camera; writes their boxes and a video that shows them.

    Say where the targets are in the first frame, by --box or --select, and what to keep, by --out, --save or both.
    Ctrl-C ends the tracking early and keeps what there is, and so does a frame that cannot be read.
    """

    source: Annotated[str, tyro.conf.Positional, shown_as("VIDEO|FOLDER|PATTERN|CAMERA")]
    """A video file, a folder of images, a pattern such as 'img/%04d.jpg' or 'img/*.jpg', or a camera's number."""
    box: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], shown_as("X,Y,W,H")] = ()
    """A target in the first frame: left, top, width, height in pixels, the image's top left corner being 0,0. Give it
    once for each target."""
    select: Switch = False
    """Draw the boxes in a window instead."""
    tracker: Annotated[str, shown_as("NAME")] = trackers.DEFAULT
    """The tracker: a name (`jaxtrack evaluate --list` has all) or a config file."""
    out: Annotated[Path | None, shown_as("FILE|FOLDER")] = None
    """Video that shows boxes and scores (.mp4, .mov, .mkv, .avi), or a folder for its images. Folders that are not
    there are made."""
    save: Annotated[Path | None, shown_as("FILE")] = None
    """CSV file of the boxes, a row for each target in each frame: frame,target,x,y,w,h,score. Frames, targets and
    pixels count from 0; the first frame has the given boxes and score 1. Folders that are not there are made."""
    start: Annotated[int, shown_as("N")] = 0
    """Number of the first frame, counted from 0: the one that the boxes are for."""
    frames: Annotated[int | None, shown_as("N")] = None
    """Track this many frames and no more."""
    seed: Annotated[int, shown_as("N")] = 0
    """Seed of what the tracker draws at random."""
    fps: Annotated[float | None, shown_as("N")] = None
    """Frames per second of the video --out; by default those of the source, 25 if it has none."""
    codec: Annotated[str | None, shown_as("CODE")] = None
    """Codec of the video --out by its four letters, such as avc1; by default one that OpenCV brings."""
    no_cache: Switch = False
    """Compile everything anew instead of keeping compiled programs in the user's cache folder."""
    quiet: Switch = False
    """No progress bar."""


def run(argv: Sequence[str], *, prog: str) -> None:
    """Does what the command line `argv` asks for; usage texts call the program `prog`."""
    _box_option.check_one_word(argv)
    options, entries = _tracker_choice.parse(Options, argv, prog=prog)
    entry = _single(entries)
    _check(options)
    given = [_box_option.parse(text) for text in options.box]
    if options.no_cache:
        disable_compilation_cache()
    source = open_video(options.source)
    video = Part(source, options.start, options.frames)
    image = _first_image(video, source, options)
    boxes = _boxes(given or _box_selection.select(image), image)
    pieces = _pieces(entry, video, boxes, options.seed, live=isinstance(source, Camera))
    record, new_folders, broken = Record(options.start), _new_folders(options), list[UserError]()
    began = time.perf_counter()
    picture = TrackPicture((image.shape[0], image.shape[1]), len(boxes), video.expected)
    with contextlib.closing(pieces), _first_interrupt_noted() as stopped:
        with _output(options, picture, source) as write:
            whole = _until_broken(pieces, record, broken)
            _track(whole, record, write, stopped, _what(entry, boxes), video.expected, quiet=options.quiet)
        if options.save is not None:  # after the video: it may lie in the folder of images, which appears only now
            write_text(options.save, record.text())
    _report(options, entry, record, source, image, time.perf_counter() - began, new_folders)
    for error in broken:
        raise UserError(f"{error}; the {len(record)} frames before it are kept: {_written(options)}")
    if stopped():
        raise KeyboardInterrupt(f"interrupted after {len(record)} frames, which are kept: {_written(options)}")


# --- what is asked for ---------------------------------------------------------------------------------------------


def _single(entries: Sequence[Entry]) -> Entry:
    if len(entries) != 1:
        raise UserError(f"--tracker: a video is tracked by one tracker, not {len(entries)}: evaluate compares several")
    return entries[0]


def _check(options: Options) -> None:
    """Refuses what contradicts itself, or cannot be written, before anything is opened."""
    if options.out is None and options.save is None:
        raise UserError("nothing would be kept: give --out VIDEO.mp4, --save BOXES.csv or both")
    if not options.box and not options.select:
        raise UserError(
            f"no target is given: say by --box where it is in the first frame ({_box_option.FORM}), or draw it: "
            "--select"
        )
    if options.box and options.select:
        raise UserError("--box and --select both say where the targets are: give one of them")
    _check_numbers(options)
    if options.out is not None:
        video_output.check_output(options.out, "--out", codec=options.codec)
    if options.save is not None:
        if options.save.is_dir():
            raise UserError(f"--save: {options.save} is a folder: name the file to be written")
        video_output.check_folder_of(options.save, "--save")
    _check_different(options)


def _check_numbers(options: Options) -> None:
    if options.start < 0:
        raise UserError(f"--start must be at least 0, not {options.start}")
    if options.frames is not None and options.frames < 1:
        raise UserError(f"--frames must be at least 1, not {options.frames}")
    if not 0 <= options.seed < 2**31:
        raise UserError(f"--seed must be between 0 and 2147483647, not {options.seed}")
    if options.fps is not None and not 0 < options.fps <= 1000:
        raise UserError(f"--fps must be greater than 0 and at most 1000, not {options.fps:g}")


def _check_different(options: Options) -> None:
    files = {"the video": Path(options.source), "--out": options.out, "--save": options.save}
    paths = {name: path.resolve() for name, path in files.items() if path is not None}
    for name, path in paths.items():
        for other in list(paths)[list(paths).index(name) + 1 :]:
            if paths[other] == path:
                raise UserError(f"{name} and {other} are the same file, {path}: choose another name")


def _first_image(video: Part, source: Source, options: Options) -> np.ndarray:
    try:
        return video[0]
    except IndexError:
        count = len(source) if isinstance(source, ImageFolder | VideoFile) else 0
    if count:
        raise UserError(f"--start {options.start}: {options.source} has {count} frames, the last is {count - 1}")
    raise UserError(f"{_called(options, source)} has no frames")


def _called(options: Options, source: Source) -> str:
    return f"camera {options.source}" if isinstance(source, Camera) else options.source


def _boxes(given: Sequence[Any], image: np.ndarray) -> np.ndarray:
    """The first boxes `float32 [K, 4]`; `UserError` if one is not in the image, a warning if a part of it is not."""
    boxes = np.asarray(given, np.float32)
    for doubt in filter(None, [_box_option.check(box, image.shape[:2]) for box in boxes]):
        print(f"warning: {doubt}", file=sys.stderr, flush=True)
    return boxes


def _what(entry: Entry, boxes: np.ndarray) -> str:
    return entry.label if len(boxes) == 1 else f"{entry.label}, {len(boxes)} targets"


# --- tracking ------------------------------------------------------------------------------------------------------


def _pieces(
    entry: Entry, video: Part, boxes: np.ndarray, seed: int, *, live: bool
) -> Generator[streaming.Piece, None, None]:
    method = trackers.build(entry.tracker, entry.config)
    if isinstance(method, trackers.HostMethod):
        sessions = [method.session(session_seed(seed, video.name)) for _ in boxes]
        return streaming.stream_sessions(sessions, video, boxes)
    return streaming.stream(method.tracker, method.params(), video, boxes, seed, live=live)


@contextlib.contextmanager
def _output(options: Options, picture: TrackPicture, source: Source) -> Iterator[Callable[..., object]]:
    """A function that draws a tracked frame and writes the picture; it does nothing where no video is wanted."""
    if options.out is None:
        yield lambda *_: None
        return
    fps = options.fps or getattr(source, "fps", None) or _DEFAULT_FPS
    with video_output.writing(options.out, picture.size, fps=fps, codec=options.codec) as write:
        yield lambda *frame: write(picture.draw(*frame))


def _until_broken(
    pieces: Iterable[streaming.Piece], record: Record, broken: list[UserError]
) -> Iterator[streaming.Piece]:
    """The pieces up to a frame that cannot be read or is of another size; why then goes to `broken`."""
    try:
        yield from pieces
    except UserError as error:
        if not len(record):  # nothing was tracked: there is nothing to keep
            raise
        broken.append(error)


def _track(
    pieces: Iterable[streaming.Piece],
    record: Record,
    write: Callable[..., object],
    stopped: Callable[[], bool],
    what: str,
    expected: int,
    *,
    quiet: bool,
) -> None:
    """Takes piece after piece in, until the video ends or Ctrl-C is pressed."""
    with progress.reporter(Console(stderr=True), quiet=quiet) as reporter:
        reporter.begin(expected)
        reporter.sequence(what, "tracking", expected)
        with telling(*(functools.partial(reporter.note, each(what)) for each in (compiling, starting))):
            for piece in pieces:
                for frame in record.add(piece):
                    write(*frame)
                reporter.frames(len(record))
                if stopped():
                    break
        reporter.finished()


@contextlib.contextmanager
def _first_interrupt_noted() -> Iterator[Callable[[], bool]]:
    """Inside, a first Ctrl-C or SIGTERM is but noted (the function tells), so that files are closed; a second one is as
    usual.
    """
    noted: list[int] = []
    # Only the main thread hears of signals; and shells have Ctrl-C ignored by what they run in the background.
    heard = _STOPPING if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.getsignal(number) for number in heard}
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}

    def note(number: int, _: Any) -> None:
        noted.append(number)
        restore()
        os.write(2, b"\nstopping after the frames that are being tracked; Ctrl-C again keeps nothing\n")

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield lambda: bool(noted)
    finally:
        restore()


# --- what is told --------------------------------------------------------------------------------------------------


def _report(
    options: Options,
    entry: Entry,
    record: Record,
    source: Source,
    image: np.ndarray,
    wall_seconds: float,
    new_folders: Sequence[Path],
) -> None:
    """The summary."""
    height, width = image.shape[:2]
    speed = "" if record.fps is None else f", {record.fps:.1f} frames/s"
    seconds = record.compile_seconds  # until programs are there, compiled or from the cache
    parts = [f"{seconds:.1f} s of them for compiling or loading programs"] if seconds >= 0.05 else []
    parts += [f"{record.start_seconds:.1f} s for the first frame"] if record.start_seconds >= 1 else []
    lines = [
        f"{_called(options, source)}: {len(record)} frames of {width}x{height} tracked by {entry.label}{speed}",
        f"{wall_seconds:.1f} s with reading, drawing and writing{''.join(f', {part}' for part in parts)}",
        *_missing(source, options),
        *record.summary(),
    ]
    if record.kept:
        lines.append(f"{record.kept} boxes were not finite; those of the frames before stand in their place")
    lines.append(f"Written: {_written(options)} (frames, targets and pixels count from 0)")
    if new_folders:
        lines.append(f"Folders made for it: {', '.join(map(str, new_folders))}")
    Console().print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _missing(source: Source, options: Options) -> list[str]:
    """A line on a file that ended before the number of frames that its header states."""
    if not isinstance(source, VideoFile) or source.read is None or source.read >= source.promised:
        return []
    return [
        f"{options.source} should have {source.promised} frames, {source.read} could be read: it is cut off or "
        "damaged, or its header is not exact"
    ]


def _new_folders(options: Options) -> list[Path]:
    """The folders of the results that are not there yet."""
    files = (path for path in (options.out, options.save) if path is not None)
    return list(dict.fromkeys(path.parent for path in files if not path.parent.exists()))


def _written(options: Options) -> str:
    return ", ".join(str(path) for path in (options.out, options.save) if path is not None)
