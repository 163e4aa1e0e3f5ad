"""How `track` ends early: a video that was cut off, Ctrl-C, SIGTERM."""

import os
import signal

import cv2
import pytest
from tiny_track import BOX, rows_of, track
from tiny_videos import FakeCamera, cut_off, frames, number_of, read_file, write_file

from jaxtrack import streaming

pytestmark = pytest.mark.usefixtures("tiny")


def test_a_video_that_was_cut_off_is_tracked_as_far_as_it_goes_and_that_is_told(tmp_path, out, capsys):
    path = cut_off(write_file(tmp_path / "clip.avi", frames(24)), 0.7)
    assert track(path, out, "--box", BOX) == 0
    read = len(read_file(path))
    assert 2 < read < 23
    assert len(rows_of(out / "boxes.csv")) == read
    assert f"{path} should have 24 frames, {read} could be read: it is cut off or damaged" in capsys.readouterr().out
    assert track(path, out, "--box", BOX, "--frames=3") == 0
    assert "could be read" not in capsys.readouterr().out  # the end was not looked for


# --- Ctrl-C --------------------------------------------------------------------------------------------------------


class Interrupted(FakeCamera):
    """Presses Ctrl-C, or sends another signal, so many times while an image is read."""

    def __init__(self, presses, at=4, number=signal.SIGINT):
        super().__init__(frames(20))
        self._presses, self._left, self._signal = presses, at, number

    def read(self):
        self._left -= 1
        for _ in range(self._presses if self._left == 0 else 0):
            os.kill(os.getpid(), self._signal)
        return super().read()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_keep_what_was_tracked_and_it_exits_with_130(out, capsys, monkeypatch, number):
    monkeypatch.setattr(cv2, "VideoCapture", lambda _: Interrupted(1, number=number))
    before = signal.getsignal(number)
    seen = out / "seen.mp4"
    assert track(0, out, "--box", BOX, f"--out={seen}") == 130
    monkeypatch.undo()
    assert len(rows_of(out / "boxes.csv")) == 4
    assert [number_of(image) for image in read_file(seen)] == [0, 1, 2, 3]
    captured = capsys.readouterr()
    assert captured.err == f"interrupted after 4 frames, which are kept: {seen}, {out / 'boxes.csv'}\n"
    assert "4 frames of 64x48" in captured.out
    assert signal.getsignal(number) is before
    assert sorted(path.name for path in out.iterdir()) == ["boxes.csv", "seen.mp4"]


def test_a_second_ctrl_c_ends_it_at_once_and_leaves_nothing(out, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: Interrupted(2))
    assert track(0, out, "--box", BOX, f"--out={out / 'seen.mp4'}") == 130
    assert list(out.iterdir()) == []


def test_ctrl_c_in_the_midst_of_a_file_keeps_whole_pieces(clip, out, monkeypatch):
    pieces = streaming.stream

    def interrupting(*arguments, **options):
        for piece in pieces(*arguments, **options):
            os.kill(os.getpid(), signal.SIGINT)
            yield piece

    monkeypatch.setattr(streaming, "stream", interrupting)
    assert track(clip, out, "--box", BOX) == 130
    assert len(rows_of(out / "boxes.csv")) == 1
