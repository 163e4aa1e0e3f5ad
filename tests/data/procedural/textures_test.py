import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.data.procedural import textures

pack = jax.jit(textures.pack_stack, static_argnums=1)
look_up = jax.jit(textures.sample_stack)


def test_textures_are_looked_up_bilinearly_around_the_torus():
    rgb = np.random.default_rng(2).uniform(0, 1, (3, 16, 16)).astype(np.float32)
    x, y = np.array([[3, 16, 15.5, -1]], np.float32), np.array([[2, 5, 1, -9]], np.float32)
    found = np.asarray(look_up(pack(rgb, 3), x, y, np.float32(1)))[:, 0]
    between = ((rgb[:, 1, 15] ** 0.5 + rgb[:, 1, 0] ** 0.5) / 2) ** 2
    np.testing.assert_allclose(found.T, [rgb[:, 2, 3], rgb[:, 5, 0], between, rgb[:, 7, 15]], atol=2e-3)  # 10 bits


def test_a_large_footprint_averages_fine_texture_away():
    checks = (np.indices((16, 16)).sum(axis=0) % 2 * np.ones((3, 1, 1))).astype(np.float32)
    x, y = np.array([[3, 4, 5, 9]], np.float32), np.array([[2, 2, 3, 9]], np.float32)
    np.testing.assert_allclose(look_up(pack(checks, 3), x, y, np.float32(1))[0], [[1, 0, 0, 0]], atol=1e-3)
    np.testing.assert_allclose(look_up(pack(checks, 3), x, y, np.float32(4)), 0.5, atol=0.01)
    # Half way between two levels, by the logarithm of the footprint, lies the mean of both (as encoded).
    fine, middle, coarse = (look_up(pack(checks, 3), x, y, np.float32(2**level)) ** 0.5 for level in (0, 0.5, 1))
    np.testing.assert_allclose(middle, (fine + coarse) / 2, atol=1e-3)
    assert np.abs(fine - coarse).max() > 0.2


def test_random_fields_have_the_spectrum_that_they_are_asked_for():
    fields = np.asarray(jax.jit(textures.fractals, static_argnums=(1, 2))(jax.random.key(0), 128, (0.5, 1.5)))
    np.testing.assert_allclose(fields.mean(axis=(1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(fields.std(axis=(1, 2)), 1, rtol=1e-4)
    frequency = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128)[None])
    for field, slope in zip(fields, (0.5, 1.5), strict=True):
        power = np.abs(np.fft.fft2(field))
        low, high = (power[(frequency > f * 0.9) & (frequency < f * 1.1)].mean() for f in (0.03, 0.12))
        # The damping near Nyquist takes exp(-(0.12 / 0.3)^2 + (0.03 / 0.3)^2) = 0.861 between these two.
        assert np.log(high / 0.861 / low) / np.log(4) == pytest.approx(-slope, abs=0.15)


def test_hashed_noise_is_centred_with_unit_variance_and_uncorrelated():
    noise = np.asarray(jax.jit(textures.hash_normal)(jnp.arange(40_000, dtype=jnp.uint32)), float)
    assert abs(noise.mean()) < 0.02
    assert noise.std() == pytest.approx(1, abs=0.02)
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 0.02
