"""The references' crops: OpenCV's, the specification's values, a real frame."""

import math

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack import images
from jaxtrack.models import siamese_crops

# Section 13.3 of the specification: BGR value (3x + 5y + 70c) mod 256.
ROWS, COLUMNS = np.mgrid[:240, :320]
BGR = np.stack([(3 * COLUMNS + 5 * ROWS + 70 * c) % 256 for c in range(3)], axis=-1).astype(np.uint8)
FRAME = images.make_frame(BGR[..., ::-1])


def cut_and_resize(bgr, centre, side, out, fill):
    """The references' crop, by OpenCV."""
    left, top = (math.floor(c - (side + 1) / 2 + 0.5) for c in centre)
    height, width = bgr.shape[:2]
    canvas = np.empty((side, side, 3), np.uint8)
    canvas[:] = np.asarray(fill).astype(np.uint8)
    rows = slice(max(top, 0), min(top + side, height))
    columns = slice(max(left, 0), min(left + side, width))
    canvas[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = bgr[rows, columns]
    return cv2.resize(canvas, (out, out)).astype(np.float32)


def compare_crops(bgr, centre, side, out):
    frame = images.make_frame(bgr[..., ::-1])
    fill = siamese_crops.mean_colour(frame)
    crop = jax.jit(siamese_crops.crop_square, static_argnums=3)
    ours = crop(frame, jnp.asarray(centre, jnp.float32), jnp.float32(side), out, fill)
    expected = cut_and_resize(bgr, centre, side, out, np.mean(bgr, axis=(0, 1)))
    difference = np.abs(np.asarray(ours)[0] - expected)
    assert np.mean(difference <= 1) >= 0.99
    assert difference.max() <= 2
    return np.asarray(ours)[0]


@pytest.mark.parametrize(("side", "out"), [(90, 127), (181, 255), (300, 255), (127, 127), (41, 127)])
@pytest.mark.parametrize("centre", [(45.0, 50.0), (160.5, 120.0), (316.2, 238.9)])
def test_crops_are_those_of_opencv_to_a_grey_level(side, out, centre):
    noise = cv2.GaussianBlur(np.random.RandomState(5).randint(0, 256, (240, 320, 3)).astype(np.uint8), (5, 5), 1.5)
    compare_crops(noise, centre, side, out)


def test_crops_of_section_13():
    template = compare_crops(BGR, (45, 50), 90, 127)
    # The sums are those of OpenCV for x86; elsewhere a pixel may differ by a grey level.
    assert abs(template.sum() - 6_168_072) <= 127 * 127 * 3 * 0.2
    np.testing.assert_allclose(template[0, 0], (25, 95, 165), atol=1)
    np.testing.assert_allclose(template[63, 63], (125, 195, 9), atol=1)
    np.testing.assert_allclose(template[126, 100], (170, 240, 54), atol=1)
    search = compare_crops(BGR, (45, 50), 180, 255)
    assert abs(search.sum() - 24_830_815) <= 255 * 255 * 3 * 0.2
    np.testing.assert_allclose(search[100, 200], (184, 141, 68), atol=1)
    np.testing.assert_array_equal(siamese_crops.mean_colour(FRAME), (127, 127, 127))


def test_crops_of_a_real_frame(test_data):
    first, second = (cv2.imread(str(test_data / f"otb/Deer/img/000{i}.jpg")) for i in (1, 2))
    template = compare_crops(first, (352.5, 36.5), 159, 127)
    np.testing.assert_allclose(template.sum(axis=(0, 1)), (2_013_738, 1_829_824, 1_835_751), atol=127 * 127 * 0.2)
    np.testing.assert_allclose(template[63, 63], (110, 126, 149), atol=1)
    frame = images.make_frame(second[..., ::-1])
    fill = siamese_crops.mean_colour(images.make_frame(first[..., ::-1]))
    search = np.asarray(siamese_crops.crop_square(frame, jnp.asarray([352.5, 36.5]), jnp.float32(320), 255, fill))[0]
    np.testing.assert_allclose(search.sum(axis=(0, 1)), (7_686_634, 7_047_879, 7_131_573), atol=255 * 255 * 0.2)
    np.testing.assert_allclose(search[127, 127], (90, 96, 114), atol=1)


def test_the_mean_colour_of_a_large_bright_frame_does_not_overflow():
    pixels = jnp.full((3840, 3840, 3), 200, jnp.uint8).at[0, 0].set(255)
    frame = images.Frame(pixels, jnp.asarray([3840, 3840], jnp.int32), jnp.asarray(False))
    np.testing.assert_array_equal(siamese_crops.mean_colour(frame), (200, 200, 200))
