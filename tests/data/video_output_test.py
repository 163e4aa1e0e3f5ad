import contextlib
import errno
from pathlib import Path

import numpy as np
import pytest
from tiny_videos import SIZE, frames, number_of, read_file

from jaxtrack.data import video_output
from jaxtrack.data.image_folder import ImageFolder
from jaxtrack.data.video_file import VideoFile
from jaxtrack.data.video_output import check_output, writing
from jaxtrack.errors import UserError


@pytest.mark.parametrize("suffix", video_output.CODECS)
def test_a_video_file_holds_the_frames_that_were_written(tmp_path, suffix):
    path = tmp_path / "new" / f"out{suffix}"
    with writing(path, SIZE, fps=12.5) as write:
        for image in frames(9):
            write(image)
        assert not path.exists()
    images = read_file(path)
    assert [number_of(image) for image in images] == list(range(9))
    assert images[0].shape == (*SIZE, 3)
    assert VideoFile("", path).fps == pytest.approx(12.5)
    np.testing.assert_allclose(images[4][16:], frames(9)[4][16:], atol=60)  # no channels exchanged
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_folder_holds_an_image_for_each_frame(tmp_path):
    path = tmp_path / "out"
    path.mkdir()  # an empty one is taken
    with writing(path, SIZE, fps=25) as write:
        for image in frames(3):
            write(image)
    video = ImageFolder("out", path)
    assert [each.name for each in video.paths] == ["000000.jpg", "000001.jpg", "000002.jpg"]
    assert [number_of(video[i]) for i in range(3)] == [0, 1, 2]
    np.testing.assert_allclose(video[1][16:], frames(3)[1][16:], atol=40)


@pytest.mark.parametrize("name", ["out.mp4", "out"])
def test_after_an_error_nothing_is_left_and_an_older_video_stays(tmp_path, name):
    if name == "out.mp4":
        (tmp_path / name).write_text("older")
    with contextlib.suppress(ZeroDivisionError), writing(tmp_path / name, SIZE, fps=25) as write:
        write(frames(1)[0])
        raise ZeroDivisionError
    assert [path.read_text() for path in tmp_path.iterdir()] == (["older"] if name == "out.mp4" else [])


def test_a_codec_that_opencv_lacks_is_refused_and_leaves_nothing(tmp_path):
    with (
        pytest.raises(UserError, match=r"OpenCV .* cannot write .mp4 files with the codec zzzz: choose another"),
        writing(tmp_path / "out.mp4", SIZE, fps=25, codec="zzzz"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_video_that_was_not_written_to_its_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(video_output, "_opens", lambda path: False)
    with (
        pytest.raises(UserError, match=r"the video could not be written to its end: is the disk full\?"),
        writing(tmp_path / "out.mp4", SIZE, fps=25) as write,
    ):
        write(frames(1)[0])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "codec", "message"),
    [
        ("out.gif", None, r"--out: .*out.gif has the suffix .gif: give .mp4, .*, or a folder for images"),
        ("full", None, "full is there already: images need a new or an empty folder"),
        ("file", None, "file is there already"),
        ("empty/..", None, r"--out: .*/\.\. has no name of its own: name a new folder, or an empty one"),
        ("file/out.mp4", None, "cannot write to .*out.mp4: .*file is no folder"),
        ("new", "mp4v", "a codec is for video files, .*new is a folder of images"),
        ("out.mp4", "h264x", "a codec is named by four letters, such as mp4v or avc1, not 'h264x'"),
    ],
)
def test_what_cannot_be_written_gets_a_sentence_before(tmp_path, name, codec, message):
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.jpg").write_text("")
    with pytest.raises(UserError, match=message):
        check_output(tmp_path / name, "--out", codec=codec)


@pytest.mark.parametrize("here", ["", ".", ".."])
def test_the_working_folder_is_not_replaced_even_if_it_is_empty(tmp_path, monkeypatch, here):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(UserError, match="has no name of its own"):
        check_output(Path(here), "--out")


def test_a_folder_without_the_right_to_write_is_refused_before(tmp_path, monkeypatch):
    def refused(**options):
        raise PermissionError(errno.EACCES, "Permission denied", options)

    check_output(tmp_path / "new" / "out.mp4", "--out")
    monkeypatch.setattr(video_output.tempfile, "TemporaryFile", refused)  # tests may run as root
    with pytest.raises(UserError, match=f"--out: cannot write to {tmp_path}: permission denied"):
        check_output(tmp_path / "new" / "out.mp4", "--out")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs Linux's /proc, in which nobody can make a file")
def test_a_folder_that_only_seems_to_be_for_writing_is_refused_before():
    """Of /proc the system says that root may write to it."""
    with pytest.raises(UserError, match="--out: cannot write to /proc: "):
        check_output(Path("/proc/new/out.mp4"), "--out")


def test_what_can_be_written_is_let_pass_and_not_created(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("new/out.mp4", "out.AVI", "empty", "new/folder"):
        check_output(tmp_path / name, "--out")
    check_output(tmp_path / "out.mp4", "--out", codec="avc1")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
