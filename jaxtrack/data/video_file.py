"""Videos that OpenCV decodes: a file, and a camera. `video[i]` gives frame `i`, `uint8 [H, W, 3]` RGB.

Frames are read one after the other: that is fast, and what a tracker asks for. A frame further on is reached by
decoding those before it, an earlier one of a file by reading the file anew from its beginning. Seeking would be quicker
but lands beside the frame asked for in many files.
"""

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from jaxtrack.errors import UserError


class _Capture:
    """Frames of an OpenCV capture by number; past the last one they raise `IndexError`, as those of a list do."""

    def __init__(self, name: str, where: str):
        self.name = name
        self._where = where  # what messages call it
        self._capture = self._open()
        self._next = 0  # the frame that the capture would decode next
        self._image: np.ndarray | None = None  # the one before it
        self._length: int | None = None  # known once the end has been seen

    def _open(self) -> cv2.VideoCapture:
        raise NotImplementedError

    def _rewind(self) -> None:
        raise NotImplementedError

    @property
    def fps(self) -> float | None:
        """Frames per second, None if the source does not say."""
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        return fps if math.isfinite(fps) and 0 < fps <= 1000 else None

    @property
    def read(self) -> int | None:
        """How many frames there are, if the end has been reached, else None."""
        return self._length

    def __getitem__(self, index: int) -> np.ndarray:
        """Frame `index` (0-based), `uint8 [H, W, 3]` RGB; not to be written into, it is given out again."""
        if index < 0:
            index += len(self)  # type: ignore[arg-type]
        if index < 0 or (self._length is not None and index >= self._length):
            raise IndexError(f"{self._where} has no frame {index}")
        if index == self._next - 1 and self._image is not None:
            return self._image
        if index < self._next:
            self._rewind()
        good = True
        while good and self._next < index:
            good = self._advance(self._capture.grab())
        good, bgr = self._capture.read() if good else (False, None)
        if not self._advance(good):
            raise IndexError(f"{self._where} has no frame {index}")
        image = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)  # type: ignore[arg-type]
        self._image = image
        return image

    def _advance(self, good: bool) -> bool:
        """Counts a frame; where there was none, the video has ended."""
        if good:
            self._next += 1
        elif self._length is None:
            self._length = self._next
        self._image = None
        return good


class VideoFile(_Capture):
    """The frames of a video file.

    A file that was cut off, or is damaged, ends at the last frame that decodes; compare `read` with `promised`.
    """

    def __init__(self, name: str, path: Path | str):
        """Opens the file.

        Args:
          name: takes part in a run's random key; "" if it has none.
          path: the file.

        Raises:
          UserError: it is not there, or OpenCV cannot open it as a video.
        """
        self.path = Path(path)
        if not self.path.is_file():
            raise UserError(f"there is no video file {self.path}")
        super().__init__(name, str(self.path))

    @property
    def promised(self) -> int:
        """The number of frames that the file's header states, often a mere estimate; 0 if it states none."""
        stated = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        return int(stated) if math.isfinite(stated) and stated > 0 else 0

    def __len__(self) -> int:
        """The number of frames that can be read; to find it out, the whole file is read once."""
        if self._length is None:
            counting = VideoFile(self.name, self.path)
            while counting._advance(counting._capture.grab()):
                pass
            self._length = counting._length
        assert self._length is not None
        return self._length

    def _open(self) -> cv2.VideoCapture:
        with quiet_opencv():
            capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened():
            raise UserError(
                f"{self.path} does not open as a video ({self.path.stat().st_size} bytes): it was cut off, or it is of "
                "a kind that OpenCV as installed here cannot read"
            )
        return capture

    def _rewind(self) -> None:
        self._capture.release()
        self._capture, self._next, self._image = self._open(), 0, None


class Camera(_Capture):
    """The images of a camera from when it was opened; each comes once."""

    promised = 0

    def __init__(self, number: int):
        """Opens the camera `number` as OpenCV counts them, from 0; `UserError` if it is not there."""
        self._number = number
        super().__init__("", f"camera {number}")

    def _open(self) -> cv2.VideoCapture:
        with quiet_opencv():
            capture = cv2.VideoCapture(self._number)
        if not capture.isOpened():
            raise UserError(
                f"there is no camera {self._number}, or another program uses it (a file whose name is a number is "
                f"given as ./{self._number})"
            )
        return capture

    def _rewind(self) -> None:
        raise UserError(f"{self._where}: images that have passed cannot be read again")


@contextlib.contextmanager
def quiet_opencv() -> Iterator[None]:
    """OpenCV and FFmpeg say nothing on stderr of what cannot be opened: the caller says it, in one sentence."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # FFmpeg's AV_LOG_QUIET; read when it is first used
    logging = getattr(cv2.utils, "logging", None)
    level = logging.getLogLevel() if logging else None
    if logging:
        logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        if logging:
            logging.setLogLevel(level)
