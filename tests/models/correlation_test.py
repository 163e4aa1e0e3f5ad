import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.models import correlation


def maps(*shapes):
    return [jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate(shapes)]


def loop(x, kernel):
    """One output at a time: R[b, i, j, c] = sum over u, v of X[b, i + u, j + v, c] K[b, u, v, c]."""
    height, width = kernel.shape[1:3]
    out = np.zeros((x.shape[0], x.shape[1] - height + 1, x.shape[2] - width + 1, x.shape[3]))
    for b, i, j, c in np.ndindex(*out.shape):
        out[b, i, j, c] = np.sum(x[b, i : i + height, j : j + width, c] * kernel[b, :, :, c])
    return out


@pytest.mark.parametrize("padding", [0, 1])
def test_both_depthwise_methods_are_the_plain_loop(padding):
    x, kernel = maps((3, 7, 8, 4), (3, 4, 3, 4))
    around = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    expected = loop(np.pad(np.asarray(x, np.float64), around), np.asarray(kernel, np.float64))
    for method in ("shifted", "grouped", None):
        actual = jax.jit(correlation.depthwise, static_argnums=(2, 3))(x, kernel, padding, method)
        np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_both_depthwise_methods_have_the_same_gradients():
    def total(x, kernel, method):
        return jnp.sum(jnp.sin(correlation.depthwise(x, kernel, 1, method)))

    x, kernel = maps((2, 7, 6, 3), (2, 4, 3, 3))
    gradient = jax.jit(jax.grad(total, (0, 1)), static_argnums=2)
    gradients = [gradient(x, kernel, method) for method in ("shifted", "grouped")]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), *gradients)


def test_every_sample_needs_its_own_kernel():
    x, kernel = maps((2, 7, 7, 3), (1, 3, 3, 3))
    with pytest.raises(AssertionError):
        correlation.depthwise(x, kernel)


def test_pixelwise_channels_are_the_templates_pixels_row_by_row():
    z, x = maps((2, 3, 4, 5), (2, 6, 7, 5))
    actual = correlation.pixelwise(z, x)
    assert actual.shape == (2, 6, 7, 12)
    for p in range(12):
        expected = np.sum(z[:, p // 4, p % 4][:, None, None] * np.asarray(x), axis=-1)
        np.testing.assert_allclose(actual[..., p], expected, atol=1e-5)


def test_attention_is_the_papers_formula_template_first():
    z, x = (np.asarray(part, np.float64) for part in maps((1, 2, 3, 4), (1, 5, 5, 4)))
    actual = np.asarray(correlation.pixelwise_attention(jnp.asarray(z, jnp.float32), jnp.asarray(x, jnp.float32)))
    assert actual.shape == (1, 5, 5, 8)
    np.testing.assert_allclose(actual[..., 4:], x, rtol=1e-6)
    pixels = z.reshape(6, 4)
    for i, j in np.ndindex(5, 5):
        weights = np.exp(pixels @ x[0, i, j] / 2)  # sqrt(C) = 2
        np.testing.assert_allclose(actual[0, i, j, :4], weights @ pixels / weights.sum(), atol=1e-5)


def test_attention_to_equal_pixels_returns_the_pixel():
    (x,) = maps((1, 3, 3, 4))
    z = jnp.full((1, 2, 2, 4), 7.0)
    np.testing.assert_allclose(correlation.pixelwise_attention(z, x)[..., :4], np.full((1, 3, 3, 4), 7.0), rtol=1e-6)


def test_the_correlation_by_spectra_is_the_circular_sum():
    rng = np.random.default_rng(3)
    x, kernel = rng.normal(size=(2, 5, 4)).astype(np.float32), rng.normal(size=(2, 3, 3)).astype(np.float32)
    found = correlation.spectral(
        correlation.spectrum(jnp.asarray(x), 6), correlation.spectrum(jnp.asarray(kernel), 6), 6
    )
    padded = np.zeros((2, 6, 6))
    padded[:, :5, :4] = x
    for i, j in np.ndindex(6, 6):
        window = np.roll(padded, (-i, -j), (1, 2))[:, :3, :3]
        assert float(found[i, j]) == pytest.approx((window * kernel).sum(), abs=1e-4)
