"""Boxes drawn by hand; windows are stood in for, the drawing in matplotlib is done by its events."""

import cv2
import matplotlib
import numpy as np
import pytest
from matplotlib.backend_bases import KeyEvent, MouseButton, MouseEvent
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from jaxtrack.commands import _box_selection
from jaxtrack.errors import UserError

IMAGE = np.zeros((48, 64, 3), np.uint8)
IMAGE[..., 0] = 200


@pytest.fixture
def opencv(monkeypatch):
    """An OpenCV with windows, in which these boxes are drawn; shown images are noted."""
    shown = []

    def select(title, image, **_):
        shown.append(image)
        return np.array(opencv_boxes)

    opencv_boxes = [[3, 4, 10, 12], [5, 5, 0, 0], [20, 21, 6, 7]]
    monkeypatch.setenv("DISPLAY", ":0")
    for name in ("namedWindow", "destroyWindow"):
        monkeypatch.setattr(cv2, name, lambda *_: None)
    monkeypatch.setattr(cv2, "selectROIs", select)
    return opencv_boxes, shown


@pytest.fixture
def no_opencv(monkeypatch):
    def refuse(*_):
        raise cv2.error("The function is not implemented")

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "namedWindow", refuse)


def test_opencv_s_window_gives_the_boxes_that_have_a_size(opencv):
    assert _box_selection.select(IMAGE) == [(3, 4, 10, 12), (20, 21, 6, 7)]
    assert opencv[1][0][0, 0].tolist() == [0, 0, 200]  # as OpenCV takes it, BGR


def test_nothing_drawn_is_a_mistake(opencv):
    opencv[0].clear()
    with pytest.raises(UserError, match="no box was drawn: drag one, then press Enter"):
        _box_selection.select(IMAGE)


def test_without_windows_of_opencv_there_are_those_of_matplotlib(no_opencv, monkeypatch):
    monkeypatch.setattr(matplotlib, "get_backend", lambda: "QtAgg")
    monkeypatch.setattr(_box_selection, "_in_matplotlib", lambda image: [(1.0, 2.0, 3.0, 4.0)])
    assert _box_selection.select(IMAGE) == [(1, 2, 3, 4)]


def test_without_any_windows_one_sentence_says_what_to_do(no_opencv, monkeypatch):
    monkeypatch.setattr(matplotlib, "get_backend", lambda: "agg")
    with pytest.raises(UserError, match=r"can open a window here: give the box by --box x,y,w,h, or") as error:
        _box_selection.select(IMAGE)
    assert "\n" not in str(error.value)


def test_without_a_screen_opencv_is_not_asked_for_a_window(monkeypatch):
    # Some of its builds would end the process.
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_box_selection.sys, "platform", "linux")
    monkeypatch.setattr(cv2, "namedWindow", lambda *_: pytest.fail("asked"))
    assert not _box_selection._opencv_has_windows()


# --- matplotlib ----------------------------------------------------------------------------------------------------


@pytest.fixture
def picker():
    figure = Figure(figsize=(6, 5))
    FigureCanvasAgg(figure)
    picker = _box_selection.Picker(figure, IMAGE)
    figure.canvas.draw()
    return picker


def drag(picker, start, end):
    """The mouse pressed at a point of the image, moved, and let go at another one."""
    axes = picker._axes
    for name, point in (("button_press_event", start), ("motion_notify_event", end), ("button_release_event", end)):
        x, y = axes.transData.transform(point)
        canvas = axes.figure.canvas
        canvas.callbacks.process(name, MouseEvent(name, canvas, x, y, MouseButton.LEFT))


def press(picker, key):
    canvas = picker._axes.figure.canvas
    canvas.callbacks.process("key_press_event", KeyEvent("key_press_event", canvas, key))


def test_in_matplotlib_enter_takes_the_box_that_is_dragged(picker):
    drag(picker, (10, 12), (30, 40))
    assert picker.boxes == []
    press(picker, "enter")
    [box] = picker.boxes
    assert box == pytest.approx((10, 12, 20, 28), abs=0.5)


def test_in_matplotlib_several_boxes_are_taken_each_once(picker):
    drag(picker, (10, 12), (30, 40))
    press(picker, "enter")
    press(picker, "enter")
    drag(picker, (50, 44), (36, 42))
    press(picker, "x")
    assert len(picker.boxes) == 1
    picker._axes.figure.canvas.callbacks.process("close_event", None)
    assert len(picker.boxes) == 2
    assert picker.boxes[1] == pytest.approx((36, 42, 14, 2), abs=0.5)


def test_in_matplotlib_nothing_dragged_is_nothing_taken(picker):
    press(picker, "enter")
    drag(picker, (10, 10), (10.2, 10.2))
    press(picker, "enter")
    assert picker.boxes == []
