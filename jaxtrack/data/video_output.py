"""Writing a video: a file that OpenCV encodes, or a folder of JPEG images. It appears when all of it is written."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from jaxtrack.data.video_file import VideoFile, quiet_opencv
from jaxtrack.errors import UserError
from jaxtrack.files import beside

CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
"""The kinds of video files that are written, and each one's codec by its four letters."""

_JPEG_QUALITY = 95


def check_output(path: Path, what: str, *, codec: str | None = None) -> None:
    """Refuses a path that cannot be written to, before hours of work; nothing is created.

    Args:
      path: a video file, or (without a suffix) a folder of images.
      what: beginning of the message, the option that gave the path.
      codec: four letters, where the user names a codec.

    Raises:
      UserError: another suffix, a folder in the file's place or the reverse, a folder such as `.` or one that holds
        something, no right to write, a codec for images.
    """
    if path.suffix and path.suffix.lower() not in CODECS and not path.is_dir():
        known = ", ".join(CODECS)
        raise UserError(f"{what}: {path} has the suffix {path.suffix}: give {known}, or a folder for images")
    if is_folder(path):
        if path.name in ("", ".."):
            raise UserError(f"{what}: {path} has no name of its own: name a new folder, or an empty one")
        if codec is not None:
            raise UserError(f"{what}: a codec is for video files, {path} is a folder of images")
        if path.is_file() or (path.is_dir() and any(path.iterdir())):
            raise UserError(f"{what}: {path} is there already: images need a new or an empty folder")
    if codec is not None and (len(codec) != 4 or not codec.isascii()):
        raise UserError(f"{what}: a codec is named by four letters, such as mp4v or avc1, not {codec!r}")
    check_folder_of(path, what)


def check_folder_of(path: Path, what: str) -> None:
    """Refuses a file whose folder cannot be written to; `what` begins the message."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())  # further ones are made later
    if not folder.is_dir():
        raise UserError(f"{what}: cannot write to {path}: {folder} is no folder")
    try:  # what the system says of permissions does not hold for everyone and everything
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(f"{what}: cannot write to {folder}: {(error.strerror or str(error)).lower()}") from error


def is_folder(path: Path) -> bool:
    """Whether `path` means a folder of images rather than a video file."""
    return path.is_dir() or not path.suffix


@contextlib.contextmanager
def writing(
    path: Path, size: tuple[int, int], *, fps: float, codec: str | None = None
) -> Iterator[Callable[[np.ndarray], object]]:
    """Inside, the function given writes frame after frame; the video is there when the block ends without an error.

    Args:
      path: a video file with one of the suffixes of `CODECS`, or a folder of images `000000.jpg`, `000001.jpg`, ….
      size: (height, width) of the frames.
      fps: frames per second of a video file.
      codec: its codec by four letters; by default its suffix's.

    Yields:
      A function of a frame, `uint8 [H, W, 3]` RGB.

    Raises:
      UserError: OpenCV lacks the codec, or the file could not be written to its end.
      OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # OpenCV tells the kind of a video by its suffix, so the unfinished one has that too.
    unfinished = beside(path, path.suffix)
    kind = (
        _images(unfinished) if is_folder(path) else _file(unfinished, size, fps, codec or CODECS[path.suffix.lower()])
    )
    try:
        with kind as write:
            yield write
        if path.is_dir():
            path.rmdir()  # an empty one, which Windows does not replace
        unfinished.replace(path)
    except BaseException:
        if unfinished.is_dir():
            shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _images(folder: Path) -> Iterator[Callable[[np.ndarray], object]]:
    folder.mkdir()
    count = 0

    def write(image: np.ndarray) -> None:
        nonlocal count
        data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
        (folder / f"{count:06d}.jpg").write_bytes(data.tobytes())
        count += 1

    yield write


@contextlib.contextmanager
def _file(path: Path, size: tuple[int, int], fps: float, codec: str) -> Iterator[Callable[[np.ndarray], object]]:
    path.touch()  # says why, if it cannot be written; OpenCV would not
    with quiet_opencv():
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (size[1], size[0]))
    if not writer.isOpened():
        raise UserError(
            f"OpenCV {cv2.__version__} as installed here cannot write {path.suffix} files with the codec {codec}: "
            "choose another kind of file or codec, or write a folder of images"
        )
    try:
        yield lambda image: writer.write(np.ascontiguousarray(image[..., ::-1]))
    finally:
        writer.release()
    if not _opens(path):
        raise UserError("the video could not be written to its end: is the disk full?")


def _opens(path: Path) -> bool:
    """OpenCV is silent about a full disk; a video whose end is missing does not open."""
    try:
        VideoFile("", path)
    except UserError:
        return False
    return True
