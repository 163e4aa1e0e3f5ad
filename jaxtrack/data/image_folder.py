"""Images on disk as the frames of a sequence, each decoded when it is asked for."""

import functools
import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from jaxtrack.data.sequences import check_image_size
from jaxtrack.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


class ImageFolder:
    """The images of a video in order; `frames[i]` decodes image `i` to `uint8 [H, W, 3]` RGB.

    Grey images are replicated to three equal channels. All images must have the size of the first one.
    """

    def __init__(self, name: str, paths: Sequence[Path | str] | Path | str):
        """Nothing is read yet.

        Args:
          name: what messages call the sequence; it takes part in a run's random key. "" if it has none.
          paths: its image files in order, or a folder: all its images, by the numbers in their names (2.jpg is before
            10.jpg).

        Raises:
          UserError: the folder is not there or has no images.
        """
        self.name = name
        self.paths = tuple(map(Path, _images_in(Path(paths)) if isinstance(paths, str | Path) else paths))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        """Image `index` (0-based), `uint8 [H, W, 3]` RGB; `UserError` when it is missing, broken or of another size."""
        image = self._decode(index)
        check_image_size(image, self.size, self._where(index))
        return image

    @functools.cached_property
    def size(self) -> tuple[int, int]:
        """(height, width) of the first image in pixels."""
        height, width = self._decode(0).shape[:2]
        return height, width

    def _decode(self, index: int) -> np.ndarray:
        # Not `cv2.imread`: it cannot open paths with non-ASCII letters on Windows and says nothing about why.
        try:
            data = self.paths[index].read_bytes()
        except OSError as error:
            raise UserError(f"{self._where(index)} cannot be read: {error.strerror or error}") from error
        image = decode_image(data)
        if image is None:
            raise UserError(
                f"{self._where(index)} does not decode as an image ({len(data)} bytes): fetch or copy it again"
            )
        return image

    def _where(self, index: int) -> str:
        return f"{self.name or 'the video'}: frame {index % len(self)} ({self.paths[index]})"


def _images_in(folder: Path) -> list[Path]:
    """A folder's images in the order of their names, numbers by their values."""
    if folder.is_file():
        raise UserError(
            f"{folder} is a file, not a folder of images: give a list of the paths of images; "
            "jaxtrack.data.video_source.open_video reads a video file"
        )
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    images = sorted((path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES), key=by_numbers)
    if not images:
        inside = "; its images may lie in its folder img: name that" if (folder / "img").is_dir() else ""
        raise UserError(f"{folder} has no images ({', '.join(SUFFIXES)}){inside}")
    return images


def by_numbers(path: Path) -> tuple[list[str | int], str]:
    """Sorts names by the numbers in them; ffmpeg and others write 1.jpg ... 10.jpg, without zeros."""
    pieces = re.split(r"([0-9]+)", path.name)  # text and number in turns
    return [int(piece) if at % 2 else piece for at, piece in enumerate(pieces)], path.name


def decode_image(data: bytes) -> np.ndarray | None:
    """`uint8 [H, W, 3]` RGB, or None if the bytes are not a complete image."""
    # OpenCV before 5 decodes a JPEG that was cut off and paints the rest grey, which would only lower scores.
    if data.startswith(_JPEG_START) and data.rfind(_JPEG_END) < 0:
        return None
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if bgr is None else cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
