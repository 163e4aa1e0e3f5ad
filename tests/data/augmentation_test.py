import dataclasses
import functools

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.data import augmentation
from jaxtrack.data.augmentation import SEARCH, TEMPLATE, Augmentation
from jaxtrack.errors import UserError

MATRIX = np.array(
    [
        [-0.55919361, 0.98062831, -0.41940627],
        [1.72091413, 0.19879334, -1.82968581],
        [4.64467907, 4.73710203, 4.88324118],
    ]
)


def windows(config, size, count=3000, source_px=511):
    keys = jax.random.split(jax.random.key(1), count)
    draw = functools.partial(augmentation.sample_window, config=config, size=size, source_px=source_px)
    return np.asarray(jax.jit(jax.vmap(draw))(keys), np.float64)


def windows_by_the_paper(config, size, count=3000, source_px=511):
    """One window after the other, as the reference's text describes them."""
    random, rows = np.random.default_rng(2), []
    for _ in range(count):
        width, height = (
            (size - 1) * min(1 + random.uniform(-1, 1) * config.scale, source_px / (size - 1)) for _ in range(2)
        )
        left, top = source_px // 2 - width / 2, source_px // 2 - height / 2
        right, bottom = left + width, top + height
        x = max(-left, min(source_px - 1 - right, random.uniform(-1, 1) * config.shift_px))
        y = max(-top, min(source_px - 1 - bottom, random.uniform(-1, 1) * config.shift_px))
        rows.append([left + x, top + y, right + x, bottom + y])
    return np.array(rows)


@pytest.mark.parametrize(
    ("config", "size"),
    [(TEMPLATE, 127), (SEARCH, 255), (Augmentation(shift_px=200, scale=0.5), 255)],
    ids=["template", "search", "beyond the source"],
)
def test_windows_are_distributed_as_the_reference_describes(config, size):
    ours, theirs = windows(config, size), windows_by_the_paper(config, size)
    levels = np.linspace(0, 1, 21)
    features = [lambda w: w[:, 0], lambda w: w[:, 1], lambda w: w[:, 2] - w[:, 0], lambda w: w[:, 3] - w[:, 1]]
    for feature in features:
        quantiles = [np.quantile(feature(rows), levels) for rows in (ours, theirs)]
        spread = np.ptp(quantiles[1])
        np.testing.assert_allclose(*quantiles, atol=0.05 * spread + 1e-3)
    independent = np.corrcoef(
        np.stack([ours[:, 0] + ours[:, 2], ours[:, 1] + ours[:, 3], *(ours[:, 2:] - ours[:, :2]).T])
    )
    assert np.abs(independent - np.eye(4)).max() < 0.08


def test_windows_stay_inside_the_source_where_they_fit():
    rows = windows(Augmentation(shift_px=400, scale=0.3), 255)
    assert rows.min() > -1e-3
    assert rows.max() < 510 + 1e-3
    assert (rows[:, 0] < 1e-3).mean() > 0.2


def test_a_window_is_never_wider_than_the_source_and_then_begins_at_its_edge():
    rows = windows(Augmentation(shift_px=4, scale=0.5), 255, source_px=300)
    wide = rows[:, 2] - rows[:, 0] > 299
    assert (rows[:, 2] - rows[:, 0]).max() < 300 + 1e-3
    assert wide.mean() > 0.2
    np.testing.assert_allclose(rows[wide, 0], 0, atol=1.01)


def test_without_augmentation_the_window_is_the_middle():
    window = augmentation.sample_window(jax.random.key(0), Augmentation(shift_px=0, scale=0), 127)
    np.testing.assert_allclose(window, [192, 192, 318, 318])


@pytest.mark.parametrize("out", [127, 255])
def test_a_crop_is_the_one_of_opencv(out):
    random = np.random.default_rng(0)
    image = cv2.GaussianBlur(random.uniform(0, 255, (511, 511, 3)).astype(np.float32), (0, 0), 1.5)
    window = np.array([-20.3, 101.7, 260.4, 402.2], np.float32)
    a, b = (out - 1) / (window[2] - window[0]), (out - 1) / (window[3] - window[1])
    matrix = np.array([[a, 0, -a * window[0]], [0, b, -b * window[1]]], np.float64)
    expected = cv2.warpAffine(image, matrix, (out, out), borderMode=cv2.BORDER_CONSTANT, borderValue=(0, 0, 0))
    ours = np.asarray(augmentation.crop(jnp.asarray(image), jnp.asarray(window), out))
    # OpenCV knows 32 positions between two pixels; at the image's edge, where it falls to 0, they count most.
    difference = np.abs(ours - expected)
    assert difference[:, 30:].max() < 2.0
    assert difference.max() < 6.0
    assert (ours[:, 0] == 0).all()


def test_a_window_of_the_crops_size_copies_pixels():
    image = jnp.asarray(np.random.default_rng(1).uniform(0, 255, (40, 40, 3)), jnp.float32)
    crop = augmentation.crop(image, jnp.array([3.0, 5.0, 12.0, 14.0]), 10)
    np.testing.assert_array_equal(crop, image[5:15, 3:13])


def test_a_box_follows_its_pixels_into_the_crop():
    # The window's 100 source pixels become 200, its 50 become 200: factors 2 and 4.
    window = jnp.array([10.0, 20.0, 110.0, 70.0])
    box = augmentation.box_in_crop(jnp.array([30.0, 25.0, 60.0, 45.0]), window, 201)
    np.testing.assert_allclose(box, [40, 20, 100, 100], rtol=1e-6)


def test_grey_is_opencvs():
    image = np.random.default_rng(1).uniform(0, 255, (8, 9, 3)).astype(np.float32)
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    np.testing.assert_allclose(augmentation.grey(jnp.asarray(image)), np.repeat(grey[..., None], 3, 2), atol=1e-3)


def test_colour_offsets_have_the_reference_covariance_in_the_order_bgr():
    offsets = np.asarray(jax.vmap(augmentation.colour_offset)(jax.random.split(jax.random.key(0), 20000)))
    expected = (MATRIX @ MATRIX.T)[::-1, ::-1]
    np.testing.assert_allclose(np.cov(offsets.T), expected, atol=0.03 * expected.max())
    np.testing.assert_allclose(offsets.mean(axis=0), 0, atol=0.2)


def test_an_offset_is_subtracted_from_the_whole_image_and_not_clipped():
    image = jnp.zeros((4, 5, 3)).at[0, 0].set(255.0)
    changed = np.asarray(augmentation.photometric(jax.random.key(3), TEMPLATE, image))
    offset = augmentation.colour_offset(jax.random.split(jax.random.key(3))[0])
    np.testing.assert_allclose(changed - image, np.broadcast_to(-offset, (4, 5, 3)), atol=2e-5)
    assert changed.min() < 0 or changed.max() > 255


def test_colour_and_blur_are_as_frequent_as_configured():
    image = jnp.zeros((47, 47, 3)).at[23, 23].set(9.0)
    config = Augmentation(colour=0.3, blur=0.6)
    draw = jax.jit(jax.vmap(lambda key: augmentation.photometric(key, config, image)))
    images = np.asarray(draw(jax.random.split(jax.random.key(5), 1500)))
    # A corner shows only the offset, the middle the blur as well.
    assert abs((np.abs(images[:, 0, 0]).max(axis=1) > 0).mean() - 0.3) < 0.04
    assert abs((np.abs(images[:, 23, 23, 0] - images[:, 0, 0, 0] - 9.0) > 1e-3).mean() - 0.6) < 0.04


@pytest.mark.parametrize(("width", "vertical"), [(5, 0.3), (21, 1.0), (45, 0.0), (45, 0.7)])
def test_the_blur_is_opencvs_filter_with_a_cross(width, vertical):
    image = np.random.default_rng(3).uniform(0, 255, (64, 64, 3)).astype(np.float32)
    kernel = np.zeros((width, width), np.float32)
    kernel[:, width // 2] += vertical / width
    kernel[width // 2, :] += (1 - vertical) / width
    expected = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    ours = augmentation.cross_blur(jnp.asarray(image), jnp.int32(width), jnp.float32(vertical))
    np.testing.assert_allclose(ours, expected, atol=2e-3)


def test_blurs_have_every_odd_width_from_5_to_45_equally_often_and_any_share():
    image = jnp.zeros((47, 47, 3)).at[23, 23].set(1000.0)
    config = Augmentation(colour=0.0, blur=1.0)
    draw = jax.jit(jax.vmap(lambda key: augmentation.photometric(key, config, image)[..., 0]))
    blurred = np.asarray(draw(jax.random.split(jax.random.key(2), 2100)))
    widths = np.maximum((blurred[:, 23] > 0).sum(axis=1), (blurred[:, :, 23] > 0).sum(axis=1))
    values, counts = np.unique(widths, return_counts=True)
    np.testing.assert_array_equal(values, np.arange(5, 46, 2))
    assert counts.min() > 60
    assert counts.max() < 145
    vertical = blurred[:, 22, 23] * widths / 1000
    np.testing.assert_allclose(np.quantile(vertical, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.05)


def test_a_flip_mirrors_image_and_box_with_its_probability():
    image, box = jnp.arange(12.0).reshape(2, 2, 3), jnp.array([0.25, 0.0, 0.5, 1.0])
    flip = jax.jit(jax.vmap(lambda key: augmentation.flip(key, Augmentation(flip=0.25), image, box)))
    images, boxes = flip(jax.random.split(jax.random.key(0), 2000))
    mirrored = np.asarray(images[:, 0, 0, 0] == 3)
    assert abs(mirrored.mean() - 0.25) < 0.03
    # The last pixel's centre is 1: 1 - 0.5 and 1 - 0.25.
    np.testing.assert_allclose(boxes[mirrored.argmax()], [0.5, 0.0, 0.75, 1.0])
    np.testing.assert_allclose(boxes[mirrored.argmin()], box)
    np.testing.assert_array_equal(images[mirrored.argmax()], image[:, ::-1])


def test_the_defaults_are_the_references():
    assert dataclasses.asdict(TEMPLATE) == {"shift_px": 4, "scale": 0.05, "colour": 1, "blur": 0, "flip": 0}
    assert dataclasses.asdict(SEARCH) == {"shift_px": 64, "scale": 0.18, "colour": 1, "blur": 0.2, "flip": 0}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"blur": 1.5}, "blur of Augmentation must be at most 1, not 1.5"),
        ({"scale": 1.0}, "scale of Augmentation must be below 1, not 1"),
        ({"shift_px": -1.0}, "shift_px of Augmentation must be at least 0, not -1"),
    ],
)
def test_impossible_settings_are_refused_in_a_sentence(values, sentence):
    with pytest.raises(UserError, match=f"^{sentence}$"):
        Augmentation(**values)
