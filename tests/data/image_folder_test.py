import cv2
import numpy as np
import pytest

from jaxtrack.data.image_folder import ImageFolder
from jaxtrack.errors import UserError

RGB = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


@pytest.fixture
def folder(tmp_path):
    """An ImageFolder of the given files: name -> bytes."""

    def write(**files):
        paths = [tmp_path / name.replace("_", ".") for name in files]
        for path, data in zip(paths, files.values(), strict=True):
            path.write_bytes(data)
        return ImageFolder("Skiing", paths)

    return write


def png(image):
    return cv2.imencode(".png", image)[1].tobytes()


def test_channels_come_as_red_green_blue(folder):
    frames = folder(a_png=png(RGB[..., ::-1]))  # OpenCV writes BGR
    np.testing.assert_array_equal(frames[0], RGB)
    assert frames[0].dtype == np.uint8


def test_images_come_in_the_order_of_the_list(folder):
    frames = folder(b_png=png(RGB), a_png=png(255 - RGB))
    assert len(frames) == 2
    np.testing.assert_array_equal(frames[1][..., ::-1], 255 - RGB)
    np.testing.assert_array_equal(frames[-1], frames[1])
    with pytest.raises(IndexError):
        frames[2]


def test_a_folder_stands_for_its_images_in_the_order_of_their_names(folder, tmp_path):
    folder(b_png=png(255 - RGB), a_png=png(RGB), notes_txt=b"no image")
    for path in (tmp_path, str(tmp_path)):
        frames = ImageFolder("all", path)
        assert [p.name for p in frames.paths] == ["a.png", "b.png"]
    with pytest.raises(UserError, match="there is no folder"):
        ImageFolder("none", tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty has no images"):
        ImageFolder("none", tmp_path / "empty")
    (tmp_path / "empty" / "img").mkdir()
    with pytest.raises(UserError, match="its images may lie in its folder img"):
        ImageFolder("none", tmp_path / "empty")


def test_size_is_height_then_width(folder):
    assert folder(a_png=png(RGB)).size == (4, 6)


def test_a_grey_jpeg_becomes_three_equal_channels(folder):
    frames = folder(a_jpg=cv2.imencode(".jpg", np.full((8, 8), 77, np.uint8))[1].tobytes())
    np.testing.assert_array_equal(frames[0], np.full((8, 8, 3), 77))


@pytest.mark.parametrize("data", [b"", b"no image", b"\x89PNG\r\n\x1a\n but nothing more"])
def test_a_file_that_is_no_image_is_refused_when_it_is_read(folder, data):
    frames = folder(a_png=png(RGB), b_png=data)
    with pytest.raises(UserError, match=rf"^Skiing: frame 1 \(.*b\.png\) does not decode .* \({len(data)} bytes\)"):
        frames[1]


def test_a_jpeg_that_was_cut_off_is_refused(folder, jpeg):
    frames = folder(a_jpg=jpeg(), b_jpg=jpeg()[:-20])
    assert frames[0].shape == (12, 16, 3)
    with pytest.raises(UserError, match=r"frame 1 .* does not decode"):
        frames[1]


def test_a_jpeg_that_was_cut_off_is_refused_even_if_opencv_decodes_it(folder, jpeg, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: np.zeros((12, 16, 3), np.uint8))  # as OpenCV 4 does
    frames = folder(a_jpg=jpeg(), b_jpg=jpeg()[:-20])
    assert frames[0].shape == (12, 16, 3)
    with pytest.raises(UserError, match=r"frame 1 .* does not decode"):
        frames[1]


def test_an_image_that_vanished_is_refused(folder):
    frames = folder(a_png=png(RGB))
    frames.paths[0].unlink()
    with pytest.raises(UserError, match=r"Skiing: frame 0 \(.*a\.png\) cannot be read: No such file"):
        frames[0]


def test_an_image_of_another_size_is_refused(folder):
    frames = folder(a_png=png(RGB), b_png=png(RGB[:, :5]))
    with pytest.raises(UserError, match=r"Skiing: frame 1 .* has 5x4 pixels, the first one 6x4"):
        frames[1]


def test_a_folder_is_read_by_the_numbers_in_the_names(tmp_path):
    for name in ("10.png", "2.png", "1.png", "b3.png", "a12.png", "a4x.png", "02.png"):
        (tmp_path / name).write_bytes(b"")
    names = [path.name for path in ImageFolder("v", tmp_path).paths]
    assert names == ["1.png", "02.png", "2.png", "10.png", "a4x.png", "a12.png", "b3.png"]


def test_a_file_in_place_of_a_folder_is_told_what_to_do(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"")
    with pytest.raises(UserError, match=r"clip\.mp4 is a file, not a folder of images: .*open_video reads"):
        ImageFolder("v", tmp_path / "clip.mp4")


def test_a_folder_without_a_name_is_the_video(tmp_path):
    with pytest.raises(UserError, match=r"^the video: frame 0 \("):
        ImageFolder("", [tmp_path / "missing.png"])[0]
