import cv2
import numpy as np
import pytest

from jaxtrack.data.preparation import crops
from jaxtrack.errors import UserError


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)


def test_the_context_is_half_of_width_and_height_on_every_side():
    # 20 + 0.5 * (20 + 20) = 40; (30 + 20) * (10 + 20) = 1500
    assert crops.exemplar_side(20.0, 20.0) == pytest.approx(40)
    assert crops.exemplar_side(30.0, 10.0) ** 2 == pytest.approx(1500)
    np.testing.assert_allclose(crops.exemplar_side(np.array([20.0, 40.0]), np.array([20.0, 40.0])), [40, 80])


def test_a_crop_maps_the_square_around_the_box_to_its_511_pixels(image):
    # s_z = 40 and s_x = 40 * 511 / 127 = 160.945 around (160, 120): three of its corners go to pixels 0 and 510.
    low_x, low_y, high_x, high_y = 160 - 80.4724, 120 - 80.4724, 160 + 80.4724, 120 + 80.4724
    matrix = cv2.getAffineTransform(
        np.float32([[low_x, low_y], [high_x, low_y], [low_x, high_y]]), np.float32([[0, 0], [510, 0], [0, 510]])
    )
    expected = cv2.warpAffine(image, matrix, (511, 511)).astype(int)
    found = crops.crop(image, (150, 110, 170, 130)).astype(int)
    assert found.shape == (511, 511, 3)
    # Positions are rounded to 1/32 of a pixel, so that the last bit of a matrix can matter, but rarely.
    assert np.mean(np.abs(found - expected) > 2) < 0.002


def test_the_middle_pixel_shows_the_centre_of_the_box():
    ramp = np.zeros((200, 240, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(240), np.arange(200)[:, None]
    assert crops.crop(ramp, (90, 60, 120, 70))[255, 255].tolist() == [105, 65, 0]


def test_the_object_has_the_size_of_its_label_to_two_thousandths():
    image = np.zeros((200, 240, 3), np.uint8)
    image[80:110, 70:130] = 255  # pixels 70 to 129 are white: half-way up at 69.5 and 129.5
    crop = crops.crop(image, (69.5, 79.5, 129.5, 109.5))[..., 0] > 127
    left, top, right, bottom = crops.box_in_crop(np.array([60.0, 30.0]))
    assert crop[255].sum() == pytest.approx((right - left) * 510 / 511, abs=1)
    assert crop[:, 255].sum() == pytest.approx((bottom - top) * 510 / 511, abs=1)


def test_what_lies_outside_the_image_has_its_mean_colour():
    image = np.zeros((40, 40, 3), np.uint8)
    image[:20] = (200, 100, 50)  # RGB of the upper half: the mean is half of it
    crop = crops.crop(image, (0, 0, 20, 20))
    assert crop[0, 0].tolist() == crop[510, 0].tolist() == crop[0, 510].tolist() == [100, 50, 25]


def test_a_label_is_centred_and_scaled_by_127_over_the_exemplars_side():
    # 20 * 127 / 40 = 63.5; sides 30 and 10: s_z = sqrt(1500) = 38.7298, 127 / s_z = 3.279126
    found = crops.box_in_crop(np.array([[20.0, 20.0], [30.0, 10.0]]))
    half_w, half_h = 15 * 3.279126, 5 * 3.279126
    expected = [[223.25, 223.25, 286.75, 286.75], [255 - half_w, 255 - half_h, 255 + half_w, 255 + half_h]]
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert found.dtype == np.float32


def test_crops_are_stored_as_jpeg_and_come_back_as_bgr():
    red = np.zeros((511, 511, 3), np.uint8)
    red[..., 0] = 250
    data = crops.encode(red)
    assert data.startswith(b"\xff\xd8")
    decoded = crops.decode(data)
    assert decoded is not None
    np.testing.assert_allclose(decoded[255, 255], [0, 0, 250], atol=3)


@pytest.mark.parametrize("data", [b"", b"no image", crops.encode(np.zeros((20, 20, 3), np.uint8))])
def test_what_is_no_crop_is_not_decoded(data):
    assert crops.decode(data) is None


def test_images_are_read_as_rgb(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 6, 3), (1, 2, 3), np.uint8))  # BGR
    assert crops.read_image(tmp_path / "a.png")[0, 0].tolist() == [3, 2, 1]


def test_images_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(UserError, match=r"a\.jpg cannot be read: No such file"):
        crops.read_image(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"a\.jpg does not decode as an image \(8 bytes\)"):
        crops.read_image(tmp_path / "a.jpg")
