import cv2
import numpy as np
import pytest

from jaxtrack.data.procedural_pairs import load_textures
from jaxtrack.errors import UserError


def write(folder, name, bgr, size=(40, 60)):
    cv2.imwrite(str(folder / name), np.full((*size, 3), bgr, np.uint8))


def test_images_of_any_size_become_squares_in_bgr(tmp_path):
    write(tmp_path, "b.png", (10, 20, 30), (50, 20))
    write(tmp_path, "a.png", (200, 0, 7))
    textures = load_textures(tmp_path, side=16)
    assert textures.shape == (2, 16, 16, 3)
    assert textures.dtype == np.float32
    np.testing.assert_array_equal(textures[0], np.broadcast_to(np.float32([200, 0, 7]), (16, 16, 3)))
    np.testing.assert_array_equal(textures[1], np.broadcast_to(np.float32([10, 20, 30]), (16, 16, 3)))


def test_the_middle_square_is_taken(tmp_path):
    image = np.zeros((10, 30, 3), np.uint8)
    image[:, 10:20] = 255
    cv2.imwrite(str(tmp_path / "a.png"), image)
    assert (load_textures(tmp_path, side=5) == 255).all()


def test_a_limit_picks_images_spread_over_the_folder(tmp_path):
    for number in range(9):
        write(tmp_path, f"{number}.png", (number, 0, 0))
    assert load_textures(tmp_path, side=4, limit=3)[:, 0, 0, 0].tolist() == [0, 4, 8]


def test_what_cannot_be_read_is_said_in_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"^there is no folder .*nowhere$"):
        load_textures(tmp_path / "nowhere")
    with pytest.raises(UserError, match="has no images"):
        load_textures(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"textures: frame 0 \(.*broken.png\) does not decode as an image"):
        load_textures(tmp_path)
    with pytest.raises(UserError, match=r"^textures need a side of at least 2 and a limit of at least 1, not 0 and 5$"):
        load_textures(tmp_path, side=0, limit=5)
