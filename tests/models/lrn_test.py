import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.models import lrn


def normal(*shape, scale=1.0, seed=0):
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def across(x, below, above, k, alpha, beta):
    """Number by number, in float64."""
    x = np.asarray(x, np.float64)
    out = np.empty_like(x)
    for c in range(x.shape[-1]):
        window = x[..., max(c - below, 0) : c + above + 1]
        out[..., c] = x[..., c] * (k + alpha * (window**2).sum(-1)) ** -beta
    return out


def within(x, reach, alpha, beta):
    """Number by number, in float64."""
    x = np.asarray(x, np.float64)
    out = np.empty_like(x)
    for i, j in np.ndindex(x.shape[1:3]):
        window = x[:, max(i - reach, 0) : i + reach + 1, max(j - reach, 0) : j + reach + 1]
        out[:, i, j] = x[:, i, j] * (1 + alpha * (window**2).sum((1, 2)) / (2 * reach + 1) ** 2) ** -beta
    return out


def test_ones_give_the_values_of_the_spec():
    # mdnet_family.md, section 5: 1 / (2 + 5e-4)^0.75 inside, 1 / (2 + 3e-4)^0.75 at the first channel.
    out = lrn.cross_channel(jnp.ones((1, 1, 1, 7)))[0, 0, 0]
    np.testing.assert_allclose(out[2:5], 0.594492, atol=5e-7)
    np.testing.assert_allclose(out[np.array([0, 6])], 0.594537, atol=5e-7)
    np.testing.assert_allclose(out[np.array([1, 5])], (2 + 4e-4) ** -0.75, atol=1e-6)


@pytest.mark.parametrize(
    ("size", "below", "above", "beta"), [(5, 2, 2, 0.75), (3, 1, 1, 0.5), (4, 2, 1, 0.75), (1, 0, 0, 1.0)]
)
def test_a_window_across_channels_is_the_plain_loop(size, below, above, beta):
    x = normal(2, 3, 4, 9, scale=30)
    out = lrn.cross_channel(x, size, 1.5, 1e-3, beta)
    np.testing.assert_allclose(out, across(x, below, above, 1.5, 1e-3, beta), rtol=1e-5)


def test_a_window_within_a_channel_is_the_plain_loop():
    x = normal(2, 5, 4, 3, scale=200)
    np.testing.assert_allclose(lrn.within_channel(x), within(x, 1, 5e-5, 0.75), rtol=1e-5)
    np.testing.assert_allclose(lrn.within_channel(x, 5, 1e-3, 0.5), within(x, 2, 1e-3, 0.5), rtol=1e-5)


def test_the_divisor_at_a_border_is_that_of_the_whole_window():
    out = lrn.within_channel(jnp.full((1, 3, 3, 1), 100.0))[0, :, :, 0]
    # 9, 6 and 4 cells of 100^2, by 9: means of 10000, 6667 and 4444.
    np.testing.assert_allclose(out[1, 1], 100 * 1.5**-0.75, rtol=1e-6)
    np.testing.assert_allclose(out[0, 1], 100 * (1 + 0.5 * 6 / 9) ** -0.75, rtol=1e-6)
    np.testing.assert_allclose(out[0, 0], 100 * (1 + 0.5 * 4 / 9) ** -0.75, rtol=1e-6)


def test_the_variant_of_2019_looks_at_the_channel_before():
    x = jnp.asarray([30.0, 40.0, 0.0, 50.0]).reshape(1, 1, 1, 4)
    expected = [30 * 1.045**-0.75, 40 * 1.125**-0.75, 0, 50 * 1.125**-0.75]  # 1 + 5e-5 (30^2 + 40^2) = 1.125
    np.testing.assert_allclose(lrn.py_mdnet(x)[0, 0, 0], expected, rtol=1e-6)


def test_they_are_torchs():
    torch = pytest.importorskip("torch")
    x = normal(2, 5, 6, 8, scale=50)
    nchw = torch.tensor(x.transpose(0, 3, 1, 2))
    # PyTorch divides alpha by the window's size.
    vgg_m = torch.nn.functional.local_response_norm(nchw, 5, 5e-4, 0.75, 2.0)
    mdnet = torch.nn.LocalResponseNorm(2)(nchw)
    np.testing.assert_allclose(lrn.cross_channel(x), vgg_m.numpy().transpose(0, 2, 3, 1), rtol=1e-5)
    np.testing.assert_allclose(lrn.py_mdnet(x), mdnet.numpy().transpose(0, 2, 3, 1), rtol=1e-5)


@pytest.mark.parametrize("function", ["cross_channel", "py_mdnet", "within_channel"])
def test_the_gradient_is_the_slope(function):
    normalise = getattr(lrn, function)
    oracle = {
        "cross_channel": lambda x: across(x, 2, 2, 2, 1e-4, 0.75),
        "py_mdnet": lambda x: across(x, 1, 0, 1, 5e-5, 0.75),
        "within_channel": lambda x: within(x, 1, 5e-5, 0.75),
    }[function]
    x, weights = normal(1, 4, 3, 6, scale=100), normal(1, 4, 3, 6, seed=1)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(weights * normalise(x))))(x)
    slopes = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[index] = 1e-3
        slopes[index] = (weights * (oracle(x + step) - oracle(x - step))).sum() / 2e-3
    np.testing.assert_allclose(gradient, slopes, atol=1e-5)


def test_bfloat16_maps_stay_bfloat16():
    x = jnp.asarray(normal(1, 2, 2, 5, scale=50), jnp.bfloat16)
    for normalise in (lrn.cross_channel, lrn.within_channel):
        out, gradient = jax.value_and_grad(lambda x, f=normalise: jnp.sum(f(x).astype(jnp.float32)))(x)
        assert normalise(x).dtype == gradient.dtype == jnp.bfloat16
        assert np.isfinite(out)


def test_a_window_without_a_centre_is_refused():
    with pytest.raises(ValueError, match="no centre"):
        lrn.within_channel(jnp.ones((1, 3, 3, 1)), size=2)
