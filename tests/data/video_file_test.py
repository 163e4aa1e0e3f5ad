import cv2
import numpy as np
import pytest
from tiny_videos import FakeCamera, cut_off, frames, number_of, read_file, write_file

from jaxtrack.data.video_file import Camera, VideoFile
from jaxtrack.errors import UserError


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_file(tmp_path_factory.mktemp("videos") / "clip.mp4", frames(12), "mp4v")


@pytest.fixture
def video(clip):
    return VideoFile("clip", clip)


def test_the_frames_are_those_that_opencv_decodes_as_rgb(video, clip):
    for i, image in enumerate(read_file(clip)):
        np.testing.assert_array_equal(video[i], image)
    assert video[3].dtype == np.uint8


def test_frames_can_be_asked_for_in_any_order(video):
    assert [number_of(video[i]) for i in (5, 5, 9, 0, 11, 2, -1, -12)] == [5, 5, 9, 0, 11, 2, 11, 0]


def test_a_frame_that_is_asked_for_again_is_not_decoded_again(video):
    assert video[4] is video[4]


def test_past_the_end_there_is_an_index_error_as_in_a_list(video):
    assert [number_of(image) for image in video] == list(range(12))
    assert video.read == 12
    for index in (12, 100, -13):
        with pytest.raises(IndexError):
            video[index]
    assert number_of(video[7]) == 7


def test_its_length_is_counted_and_its_speed_read(video):
    assert number_of(video[6]) == 6
    assert (len(video), video.promised, video.fps) == (12, 12, 20.0)
    assert number_of(video[7]) == 7


def test_a_file_that_was_cut_off_ends_where_it_was_cut(tmp_path):
    path = cut_off(write_file(tmp_path / "clip.avi", frames(24)), 0.7)
    video = VideoFile("clip", path)
    read = [number_of(image) for image in video]
    assert video.promised == 24
    assert 2 < len(read) < 23
    assert read == list(range(len(read)))
    assert video.read == len(read) == len(VideoFile("clip", path))


def test_a_file_that_is_no_video_or_not_there_is_refused_quietly(tmp_path, capfd):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(UserError, match=r"text\.mp4 does not open as a video \(8 bytes\)"):
        VideoFile("text", tmp_path / "text.mp4")
    cut = cut_off(write_file(tmp_path / "cut.mp4", frames(5), "mp4v"), 0.5)  # its table of frames stands at its end
    with pytest.raises(UserError, match=r"cut\.mp4 does not open as a video .* cut off"):
        VideoFile("cut", cut)
    with pytest.raises(UserError, match=r"there is no video file .*none\.mp4"):
        VideoFile("none", tmp_path / "none.mp4")
    assert capfd.readouterr().err == ""


def test_a_camera_gives_its_images_once(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: FakeCamera(frames(4)))
    camera = Camera(0)
    assert [number_of(camera[i]) for i in (0, 0, 2)] == [0, 0, 2]
    with pytest.raises(UserError, match="images that have passed cannot be read again"):
        camera[1]
    with pytest.raises(IndexError):
        camera[4]
    assert (camera.promised, camera.fps, camera.read) == (0, None, 4)


def test_a_camera_that_is_not_there_is_refused_quietly(capfd):
    with pytest.raises(UserError, match="there is no camera 93, or another program uses it"):
        Camera(93)
    assert capfd.readouterr().err == ""
