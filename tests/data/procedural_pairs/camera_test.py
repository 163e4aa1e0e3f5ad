import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.data.procedural_pairs import camera as cameras
from jaxtrack.data.procedural_pairs.camera import Camera


def camera(**changes):
    """A camera that changes nothing but what is said."""
    plain = {
        "gain": [1.0, 1.0, 1.0], "lift": 0.0, "curve": 0.0, "shadow": [1.0, 0.0, 0.0, 0.0], "tilt": [0.0, 0.0],
        "sharp": True, "blur_px": 0.0, "coarse": 1.0, "motion_px": [0.0, 0.0], "noise": 0.0, "quantum": 0.0,
        "gray": False,
    }  # fmt: skip
    values = {name: jnp.asarray(value) for name, value in {**plain, **changes}.items()}
    return Camera(seed=jnp.uint32(3), **values)


RANDOM = np.random.default_rng(0)
PLANES = RANDOM.uniform(0, 255, (3, 40, 40)).round().astype(np.float32)
WORDS = jnp.asarray(PLANES[0] + 256 * PLANES[1] + 65536 * PLANES[2], jnp.uint32)


def test_a_plain_camera_changes_nothing():
    lit = cameras.light(WORDS, camera())
    np.testing.assert_allclose(lit, PLANES, atol=1e-3)
    np.testing.assert_array_equal(cameras.develop(jnp.asarray(PLANES), camera()), PLANES)


def test_light_multiplies_each_channel_and_lifts_all():
    lit = cameras.light(WORDS, camera(gain=[0.5, 1.0, 1.2], lift=10.0))
    expected = np.clip(np.clip(PLANES * np.array([0.5, 1.0, 1.2])[:, None, None], 0, 255) + 10, 0, 255)
    np.testing.assert_allclose(lit, expected, atol=1e-3)


def test_a_gray_image_has_the_luma_in_all_channels():
    lit = np.asarray(cameras.light(WORDS, camera(gray=True)))
    luma = 0.114 * PLANES[0] + 0.587 * PLANES[1] + 0.299 * PLANES[2]
    np.testing.assert_allclose(lit, np.stack([luma] * 3), atol=1e-3)
    developed = np.asarray(cameras.develop(jnp.asarray(lit), camera(gray=True, noise=5.0)))
    assert (developed == developed[:1]).all()


def test_a_shadow_darkens_one_side_of_its_edge_by_its_depth():
    lit = np.asarray(cameras.light(jnp.full((40, 40), 0x646464, jnp.uint32), camera(shadow=[1.0, 0.0, 0.0, 0.4])))
    np.testing.assert_allclose(lit[:, :, :18], 100, atol=1e-3)
    np.testing.assert_allclose(lit[:, :, 22:], 60, atol=1e-3)


def test_the_slight_blur_weighs_neighbours_1_2_1():
    words = jnp.zeros((9, 9), jnp.uint32).at[4, 4].set(jnp.uint32(160) | (jnp.uint32(64) << 16))
    blurred = np.asarray(cameras.slight_blur(words))[3:6, 3:6]
    weights = np.outer([1, 2, 1], [1, 2, 1]) / 16
    np.testing.assert_array_equal(blurred & 255, 160 * weights)
    np.testing.assert_array_equal(blurred >> 16, 64 * weights)


def test_noise_has_its_deviation_and_no_mean():
    flat = jnp.full((3, 120, 120), 128.0)
    noise = np.asarray(cameras.develop(flat, camera(noise=6.0))) - 128
    assert abs(noise.mean()) < 0.3
    np.testing.assert_allclose(noise.std(axis=(1, 2)), 6.0, rtol=0.05)
    assert np.abs(np.corrcoef(noise.reshape(3, -1)) - np.eye(3)).max() < 0.6


def test_blur_and_low_resolution_keep_flat_images_and_the_middle_of_things():
    for blur, coarse in ((1.5, 1.0), (0.0, 3.0)):
        matrix = np.asarray(cameras.sharpness_matrix(jnp.float32(blur), jnp.float32(coarse), 61))
        np.testing.assert_allclose(matrix[:55].sum(axis=1), 1, atol=1e-3)
        blob = np.exp(-((np.arange(61) - 30.0) ** 2) / 50)
        blurred = matrix @ blob
        assert abs((blurred * np.arange(61)).sum() / blurred.sum() - 30) < 0.1


def test_a_gaussian_blur_has_its_width():
    matrix = np.asarray(cameras.sharpness_matrix(jnp.float32(2.0), jnp.float32(1.0), 61))
    assert abs(np.sqrt((matrix[30] * (np.arange(61) - 30) ** 2).sum()) - 2) < 0.01


def test_motion_spreads_a_point_along_its_way_about_the_point():
    point = jnp.zeros((3, 40, 40)).at[:, 20, 20].set(240.0)
    blurred = np.asarray(cameras.develop(point, camera(motion_px=[12.0, 0.0])))[0]
    assert (blurred[20] > 0).sum() == 7
    assert blurred.sum() == pytest.approx(240, abs=4)
    columns = np.nonzero(blurred[20])[0]
    assert (columns.min(), columns.max()) == (14, 26)


def test_compression_keeps_flat_blocks_and_loses_faint_detail():
    flat = jnp.full((3, 40, 40), 96.0)
    faint = flat + 3.0 * jnp.asarray((np.indices((40, 40)).sum(axis=0) % 2) * 2.0 - 1.0, jnp.float32)[None]
    compressed = cameras.develop(faint, camera(quantum=40.0))
    assert np.asarray(compressed).std() < 0.1
    nothing_lost = cameras.develop(jnp.asarray(PLANES), camera(quantum=0.01))
    np.testing.assert_allclose(nothing_lost, PLANES, atol=1)
