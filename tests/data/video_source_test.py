import cv2
import pytest
from tiny_videos import FakeCamera, frames, number_of, write_file, write_folder

from jaxtrack.data.image_folder import ImageFolder
from jaxtrack.data.video_file import Camera, VideoFile
from jaxtrack.data.video_source import Part, open_video
from jaxtrack.errors import UserError


@pytest.fixture
def folder(tmp_path):
    """Images 0.png … 11.png of frames 0 … 11."""
    return write_folder(tmp_path / "img", frames(12), "{}.png")


def numbers(video):
    return [number_of(image) for image in video]


def test_a_file_a_folder_and_a_camera_are_told_apart(tmp_path, folder, monkeypatch):
    path = write_file(tmp_path / "clip.avi", frames(3))
    assert isinstance(open_video(str(path)), VideoFile)
    assert isinstance(open_video(folder), ImageFolder)
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: FakeCamera(frames(number)))
    camera = open_video("4")
    assert isinstance(camera, Camera)
    assert numbers(camera) == [0, 1, 2, 3]


@pytest.mark.parametrize("pattern", ["*.png", "%d.png", "[0-9]*.png"])
def test_the_images_of_a_pattern_come_by_their_numbers(folder, pattern):
    assert numbers(open_video(f"{folder}/{pattern}")) == list(range(12))


def test_a_width_in_a_pattern_is_that_of_its_zeros(tmp_path):
    folder = write_folder(tmp_path / "img", frames(3), "a%{:04d}.png")
    (folder / "a%1.png").write_bytes(b"")  # not of the pattern
    (folder / "ba%0001.png").write_bytes(b"")
    assert numbers(open_video(f"{folder}/a%%%04d.png")) == [0, 1, 2]


def test_a_pattern_takes_part_of_a_folder(folder):
    assert numbers(open_video(f"{folder}/1*.png")) == [1, 10, 11]


def test_where_a_video_lies_takes_no_part_in_its_random_key(tmp_path, folder):
    path = write_file(tmp_path / "clip.avi", frames(3))
    assert [open_video(source).name for source in (path, folder, f"{folder}/*.png")] == ["", "", ""]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.mp4", "there is no video .*nowhere.mp4: name a video file, a folder"),
        ("nowhere/%04d.jpg", "there is no folder .*nowhere"),
        ("img/%04d.jpg", "no file matches the pattern .*img/%04d.jpg"),
        ("img/*.jpg", r"no file matches the pattern .*img/\*.jpg"),
        ("notes*", r"none of the 1 files that match .*notes\* is an image \(.jpg"),
        ("img/3.png", "3.png is a single image: name its folder, or a pattern such as .*img/\\*.png"),
        ("empty", "empty has no images"),
        ("notes.txt", "notes.txt does not open as a video"),
    ],
)
def test_what_is_no_video_gets_a_sentence(tmp_path, folder, source, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(UserError, match=message):
        open_video(f"{tmp_path}/{source}")


def test_a_part_counts_its_frames_anew(folder):
    part = Part(open_video(folder), 3, 4)
    assert numbers(part) == [3, 4, 5, 6]
    for index in (-1, 4):
        with pytest.raises(IndexError):
            part[index]


def test_a_part_ends_with_its_video(tmp_path, folder):
    path = write_file(tmp_path / "clip.avi", frames(12))
    for source in (folder, path):
        assert numbers(Part(open_video(source), 10, 9)) == [10, 11]
        assert numbers(Part(open_video(source), 10)) == [10, 11]
        assert numbers(Part(open_video(source), 12)) == []


def test_a_part_says_how_many_frames_to_expect(tmp_path, folder, monkeypatch):
    path = write_file(tmp_path / "clip.avi", frames(12))
    for source in (folder, path):
        video = open_video(source)
        assert [Part(video, *span).expected for span in ((), (3,), (3, 4), (10, 4))] == [12, 9, 4, 2]
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: FakeCamera([]))
    assert [Part(open_video("0"), *span).expected for span in ((), (0, 7))] == [0, 7]
