"""What a user may name as a video: a file, a folder of images, a pattern of their names, or a camera's number."""

import glob
import re
from pathlib import Path

import numpy as np

from jaxtrack.data.image_folder import SUFFIXES, ImageFolder, by_numbers
from jaxtrack.data.video_file import Camera, VideoFile
from jaxtrack.errors import UserError

Source = VideoFile | ImageFolder | Camera

_NUMBER_FIELD = re.compile(r"%0?(\d*)d")  # as in C: %d, %04d


def open_video(source: str | Path) -> Source:
    """The video that `source` means; frames are decoded when they are asked for.

    Args:
      source: a video file; a folder of images; a pattern of images' names, as `img/%04d.jpg` or `img/*.jpg`; or a
        camera's number. Images come by the numbers in their names. The video has no name, so that the same frames and
        seed give the same boxes wherever they lie.

    Raises:
      UserError: nothing of this kind is there, or it cannot be opened.
    """
    text = str(source)
    path = Path(text)
    if text.isdecimal() and text.isascii():
        return Camera(int(text))
    if path.is_dir():
        return ImageFolder("", path)
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        raise UserError(
            f"{path} is a single image: name its folder, or a pattern such as {path.parent / '*'}{path.suffix}"
        )
    if path.is_file():
        return VideoFile("", path)
    if _NUMBER_FIELD.search(path.name):
        return _images(text, _numbered(path))
    if glob.has_magic(text):
        return _images(text, [Path(name) for name in glob.glob(text)])  # noqa: PTH207 - that of Path refuses absolute patterns
    raise UserError(f"there is no video {text}: name a video file, a folder of images, a pattern, or a camera's number")


def _numbered(pattern: Path) -> list[Path]:
    """The files that a pattern such as `img/%04d.jpg` stands for."""
    pieces = _NUMBER_FIELD.split(pattern.name)  # text and width in turns
    expression = "".join(
        rf"[0-9]{{{piece or 1},}}" if at % 2 else re.escape(piece.replace("%%", "%")) for at, piece in enumerate(pieces)
    )
    if not pattern.parent.is_dir():
        raise UserError(f"there is no folder {pattern.parent}")
    return [path for path in pattern.parent.iterdir() if re.fullmatch(expression, path.name)]


def _images(pattern: str, paths: list[Path]) -> ImageFolder:
    if not paths:
        raise UserError(f"no file matches the pattern {pattern}")
    images = sorted((path for path in paths if path.suffix.lower() in SUFFIXES), key=by_numbers)
    if not images:
        raise UserError(f"none of the {len(paths)} files that match {pattern} is an image ({', '.join(SUFFIXES)})")
    return ImageFolder("", images)


class Part:
    """Some successive frames of a video; it has the video's name.

    Attributes:
      expected: how many frames there should be, as far as is known without reading them; 0 if nothing is.
    """

    def __init__(self, video: Source, start: int = 0, frames: int | None = None):
        """The frames `start`, `start + 1`, …, `frames` of them or all that follow."""
        self.name = video.name
        self._video, self._start, self._frames = video, start, frames
        whole = len(video) if isinstance(video, ImageFolder) else video.promised
        there = max(whole - start, 0)
        self.expected = min(there, frames) if there and frames is not None else there or frames or 0

    def __getitem__(self, index: int) -> np.ndarray:
        """Frame `index` of the part, `uint8 [H, W, 3]` RGB; past its end `IndexError`."""
        if index < 0 or (self._frames is not None and index >= self._frames):
            raise IndexError(f"frame {index} is not in this part of the video")
        return self._video[self._start + index]
