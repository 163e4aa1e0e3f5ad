"""Boxes drawn by hand in the first frame: in a window of OpenCV, else in one of matplotlib."""

import os
import sys

import cv2
import numpy as np

from jaxtrack.data.video_file import quiet_opencv
from jaxtrack.errors import UserError

Box = tuple[float, float, float, float]

_TITLE = "Draw a box around each target"
_KEYS = "drag a box, Enter takes it; draw another one, or end by "
_PROBE = "jaxtrack"


def select(image: np.ndarray) -> list[Box]:
    """The boxes that the user draws in an image, `uint8 [H, W, 3]` RGB; (x, y, w, h) in pixels.

    Raises:
      UserError: there is no window to draw in, or nothing was drawn.
    """
    if _opencv_has_windows():
        boxes = _in_opencv(image)
    elif _matplotlib_has_windows():
        boxes = _in_matplotlib(image)
    else:
        raise UserError(
            "--select: neither OpenCV nor matplotlib can open a window here: give the box by --box x,y,w,h, or work "
            "on a screen with opencv-python in the place of opencv-python-headless, or with matplotlib and PyQt"
        )
    if not boxes:
        raise UserError("--select: no box was drawn: drag one, then press Enter")
    return boxes


def _has_screen() -> bool:
    # Without one some builds of OpenCV end the process when they are asked for a window.
    return not sys.platform.startswith("linux") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _opencv_has_windows() -> bool:
    if not _has_screen():
        return False
    try:
        with quiet_opencv():
            cv2.namedWindow(_PROBE, cv2.WINDOW_NORMAL)
            cv2.destroyWindow(_PROBE)
    except cv2.error:  # a headless build
        return False
    return True


def _in_opencv(image: np.ndarray) -> list[Box]:
    title = f"{_TITLE}: {_KEYS}Esc"
    drawn = cv2.selectROIs(title, np.ascontiguousarray(image[..., ::-1]), showCrosshair=False)
    cv2.destroyWindow(title)
    return [(float(x), float(y), float(w), float(h)) for x, y, w, h in np.reshape(drawn, (-1, 4)) if w > 0 and h > 0]


def _matplotlib_has_windows() -> bool:
    import matplotlib
    from matplotlib.backends.registry import BackendFilter, backend_registry

    # Without a screen it chooses a backend that draws to files alone.
    return matplotlib.get_backend().lower() in backend_registry.list_builtin(BackendFilter.INTERACTIVE)


def _in_matplotlib(image: np.ndarray) -> list[Box]:
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(10, 10 * image.shape[0] / image.shape[1]))
    picker = Picker(figure, image)
    pyplot.show(block=True)
    return picker.boxes


class Picker:
    """A matplotlib figure in which boxes are drawn.

    Attributes:
      boxes: those taken so far.
    """

    def __init__(self, figure, image: np.ndarray):
        """Shows the image; from now on the mouse draws and Enter takes."""
        from matplotlib.widgets import RectangleSelector

        self.boxes: list[Box] = []
        self._axes = figure.add_subplot()
        self._axes.set_title(f"{_TITLE}:\n{_KEYS}closing the window")
        self._axes.imshow(image, extent=(0, image.shape[1], image.shape[0], 0))
        self._selector = RectangleSelector(self._axes, lambda *_: None, useblit=False, interactive=True)
        figure.canvas.mpl_connect("key_press_event", self._on_key)
        figure.canvas.mpl_connect("close_event", lambda _: self.take())

    def _on_key(self, event) -> None:
        if event.key in ("enter", " "):
            self.take()

    def take(self) -> None:
        """Takes the box that is drawn, unless there is none or it has been taken."""
        left, right, top, bottom = (float(value) for value in self._selector.extents)
        box = (left, top, right - left, bottom - top)
        if box[2] < 1 or box[3] < 1 or box in self.boxes:
            return
        self.boxes.append(box)
        self._axes.add_patch(_rectangle(box))
        self._axes.text(left, top, str(len(self.boxes) - 1), color="orange", va="bottom")
        self._axes.figure.canvas.draw_idle()


def _rectangle(box: Box):
    from matplotlib.patches import Rectangle

    return Rectangle(box[:2], box[2], box[3], fill=False, edgecolor="orange", linewidth=2)
