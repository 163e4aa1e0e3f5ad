"""Crops for TransT: where they are cut, how far the search region deviates, what its box is then."""

import dataclasses
import math

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.errors import UserError
from jaxtrack.training import factor_crops
from jaxtrack.training.factor_crops import FactorCrops

STILL = FactorCrops(size_jitter=0.0, shift_jitter=0.0, brightness=0.0)
# Around the stored crop's middle, as its preparation leaves it: 70 x 40 pixels.
BOX = np.asarray([220.0, 235.0, 290.0, 275.0], np.float32)
STORED = cv2.resize(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8), (511, 511))
BLACK = np.zeros_like(STORED)
DARK_HOLE = np.full_like(STORED, 200)
DARK_HOLE[235:276, 220:291] = 0  # the pixels whose centres are in the box


def made(config, key=0, image=STORED, *, grey=False):
    run = jax.jit(lambda key, grey: factor_crops.cut(config, key, image, BOX, image, BOX, grey))
    return [np.asarray(array) for array in run(jax.random.key(key), grey)]


def by_opencv(image, factor, out):
    """The square around the box, its border rule the mean, by `cv2.warpAffine`."""
    w, h = BOX[2:] - BOX[:2]
    margin = (factor - 1) * (w + h) / 2
    side = math.sqrt((w + margin) * (h + margin))
    step = side / out
    left, top = (BOX[:2] + BOX[2:]) / 2 - side / 2 + step / 2  # of the first pixel's centre
    matrix = np.array([[step, 0, left], [0, step, top]])
    mean = image.reshape(-1, 3).mean(axis=0).tolist()
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image.astype(np.float32), matrix, (out, out), flags=flags, borderValue=mean), side


def test_without_deviation_both_show_a_multiple_of_the_target_around_its_middle():
    template, search, box = made(STILL)
    for found, factor, out in ((template, 2, 128), (search, 4, 256)):
        expected, side = by_opencv(STORED, factor, out)
        np.testing.assert_allclose(found, expected, atol=3)  # OpenCV has weights of 1/32
        assert np.abs(found - expected).mean() < 0.5
    # 10.2: the middle is (256 - 1) / 2.
    size = np.asarray([70, 40]) * 256 / side
    np.testing.assert_allclose(box, [*(127.5 - size / 2), *(127.5 + size / 2)], atol=1e-3)


def test_the_box_is_where_the_target_is_however_the_region_deviates():
    for key in range(6):
        _, search, box = made(dataclasses.replace(FactorCrops(), brightness=0.0), key, DARK_HOLE)
        rows, columns = np.nonzero(search.max(axis=-1) < 100)
        if not len(rows):
            continue
        inside = [columns.min(), rows.min(), columns.max(), rows.max()]
        wanted = np.clip(box, 0, 255)
        np.testing.assert_allclose(inside, wanted, atol=2.5)


def test_the_template_never_deviates():
    """siamese.md 10.2."""
    still = made(STILL)[0]
    for key in range(3):
        np.testing.assert_array_equal(made(FactorCrops(brightness=0.0), key)[0], still)


def test_sizes_and_shifts_are_drawn_as_the_reference_does():
    draw = jax.jit(
        jax.vmap(
            lambda key: factor_crops.cut(FactorCrops(brightness=0.0), key, BLACK, BOX, BLACK, BOX, jnp.bool_(0))[2]
        )
    )
    boxes = np.concatenate([draw(jax.random.split(jax.random.key(i), 100)) for i in range(4)])
    size = boxes[:, 2:] - boxes[:, :2]
    scale = size[:, 0] / 70
    np.testing.assert_allclose(size[:, 1] / 40, scale, rtol=1e-4)  # the crop is a square
    plain = 256 / by_opencv(BLACK, 4, 256)[1]
    # Both factors exp(0.25 N) change the square's side, of two about equal sides together by exp(0.25 / sqrt(2) N).
    assert 0.13 < np.log(scale / plain).std() < 0.22
    apart = ((boxes[:, :2] + boxes[:, 2:]) / 2 - 127.5) / 256  # in sides of the region, of about 4 of the target's
    assert 0.3 < np.abs(apart).max() < 0.5
    assert np.abs(apart.mean(axis=0)).max() < 0.05
    assert abs(np.abs(apart).mean() - 1.5 / 4 / 2) < 0.03  # uniform in +-1.5 sides
    # The size and the shifts, in sides of the target as it is shown, know nothing of one another.
    drawn = np.stack([np.log(scale), *(apart / size).T])
    assert np.abs(np.corrcoef(drawn) - np.eye(3)).max() < 0.2


def test_brightness_changes_by_a_fifth_each_by_itself_and_stays_in_range():
    flat = np.full_like(STORED, 100)
    means = np.asarray([[image.mean() for image in made(FactorCrops(), key, flat)[:2]] for key in range(12)])
    assert means.min() >= 80 - 1e-3
    assert means.max() <= 120 + 1e-3
    assert np.ptp(means) > 15
    assert np.abs(means[:, 0] - means[:, 1]).max() > 5
    assert max(made(FactorCrops(), key, np.full_like(STORED, 250))[0].max() for key in range(3)) <= 255


def test_grey_pairs_are_without_colour():
    template, search, _ = made(STILL, grey=True)
    for image in (template, search):
        np.testing.assert_array_equal(image[..., 0], image[..., 2])


def test_beyond_the_stored_crop_is_its_mean_colour():
    wide = dataclasses.replace(STILL, search_factor=20.0)
    _, search, _ = made(wide)
    np.testing.assert_allclose(search[0, 0], STORED.reshape(-1, 3).mean(axis=0), atol=0.1)


def test_what_cannot_be_cut_is_refused():
    with pytest.raises(UserError, match=r"search_factor of FactorCrops must be at least 1, not 0\.5"):
        FactorCrops(search_factor=0.5)
    with pytest.raises(UserError, match="brightness of FactorCrops must be below 1, not 1"):
        FactorCrops(brightness=1.0)
