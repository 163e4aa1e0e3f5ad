"""Batch normalisation beside Flax's."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.models.normalisation import EPSILON, MOMENTUM, BatchNorm, channel_sums, statistics_over

X = np.random.default_rng(0).normal(3.0, 2.0, (8, 5, 4, 6)).astype(np.float32)
TARGET = np.random.default_rng(1).normal(size=X.shape).astype(np.float32)
VARIABLES = {
    "params": {"scale": jnp.linspace(0.5, 2.0, 6), "bias": jnp.linspace(-1.0, 1.0, 6)},
    "batch_stats": {"mean": jnp.linspace(0.0, 1.0, 6), "var": jnp.linspace(1.0, 3.0, 6)},
}


def flax_norm(train):
    return nn.BatchNorm(not train, momentum=MOMENTUM, epsilon=EPSILON, use_fast_variance=False)


@jax.jit
def ours(params, x):
    variables = {**VARIABLES, "params": params}
    return BatchNorm().apply(variables, x, train=True, mutable=["batch_stats"])


@jax.jit
def theirs(params, x):
    return flax_norm(True).apply({**VARIABLES, "params": params}, x, mutable=["batch_stats"])


def loss(norm, params, x, target=TARGET):
    return jnp.sum((norm(params, x)[0] - target) ** 3)


def test_maps_and_running_statistics_in_training_are_flaxs():
    (out, stats), (expected, expected_stats) = (norm(VARIABLES["params"], X) for norm in (ours, theirs))
    np.testing.assert_allclose(out, expected, atol=1e-5)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), stats, expected_stats)


def test_its_gradient_is_that_of_flaxs():
    found, expected = (
        jax.grad(functools.partial(loss, norm), argnums=(0, 1))(VARIABLES["params"], jnp.asarray(X))
        for norm in (ours, theirs)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max()), found, expected)


def test_maps_of_bfloat16_have_statistics_and_gradients_of_parameters_in_float32():
    x = jnp.asarray(X + 100, jnp.bfloat16)  # whose mean has no more than 8 binary digits in bfloat16
    (out, stats), expected = ours(VARIABLES["params"], x), np.asarray(x, np.float64)
    assert out.dtype == jnp.bfloat16
    mean, variance = expected.mean(axis=(0, 1, 2)), expected.var(axis=(0, 1, 2))
    running = stats["batch_stats"]
    np.testing.assert_allclose(running["mean"], 0.9 * VARIABLES["batch_stats"]["mean"] + 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(running["var"], 0.9 * VARIABLES["batch_stats"]["var"] + 0.1 * variance, rtol=1e-5)
    normal = (expected - mean) / np.sqrt(variance + EPSILON)
    affine = normal * np.asarray(VARIABLES["params"]["scale"]) + np.asarray(VARIABLES["params"]["bias"])
    np.testing.assert_allclose(np.asarray(out, np.float64), affine, rtol=0.005, atol=1e-3)

    def total(params, x):
        return jnp.sum((ours(params, x)[0].astype(jnp.float32) - TARGET) ** 3)

    to_params, to_x = jax.grad(total, argnums=(0, 1))(VARIABLES["params"], x)
    assert to_x.dtype == jnp.bfloat16
    by_out = 3 * (np.asarray(out, np.float64) - TARGET) ** 2
    by_out = np.asarray(jnp.asarray(by_out, jnp.bfloat16), np.float64)
    np.testing.assert_allclose(to_params["bias"], by_out.sum(axis=(0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(to_params["scale"], (by_out * normal).sum(axis=(0, 1, 2)), rtol=1e-3, atol=1.0)


def test_running_statistics_normalise_maps_of_bfloat16_too():
    out = BatchNorm().apply(VARIABLES, jnp.asarray(X, jnp.bfloat16))
    assert out.dtype == jnp.bfloat16
    expected = flax_norm(False).apply(VARIABLES, np.asarray(jnp.asarray(X, jnp.bfloat16), np.float32))
    np.testing.assert_allclose(np.asarray(out, np.float32), expected, rtol=0.005, atol=1e-5)


def test_otherwise_the_running_statistics_normalise():
    out = BatchNorm().apply(VARIABLES, X)
    np.testing.assert_allclose(out, flax_norm(False).apply(VARIABLES, X), atol=1e-5)


def test_initial_statistics_are_those_of_nothing_seen():
    variables = BatchNorm().init(jax.random.key(0), X, train=True)
    np.testing.assert_array_equal(variables["batch_stats"]["mean"], np.zeros(6))
    np.testing.assert_array_equal(variables["batch_stats"]["var"], np.ones(6))


def test_statistics_over_devices_are_those_of_the_whole_batch_and_so_are_the_gradients():
    def device_loss(params, x, target):
        def share(params, x):
            with statistics_over("devices"):
                out, stats = BatchNorm().apply({**VARIABLES, "params": params}, x, train=True, mutable=["batch_stats"])
            return jnp.sum((out - target) ** 3), stats

        (to_params, to_x), stats = jax.grad(share, argnums=(0, 1), has_aux=True)(params, x)
        return jax.lax.psum(to_params, "devices"), to_x, stats

    split = [array.reshape(4, 2, *array.shape[1:]) for array in (X, TARGET)]
    mapped = jax.pmap(device_loss, axis_name="devices", in_axes=(None, 0, 0), out_axes=(None, 0, None))
    to_params, to_x, stats = mapped(VARIABLES["params"], *split)
    whole = jax.grad(functools.partial(loss, theirs), argnums=(0, 1))(VARIABLES["params"], jnp.asarray(X))
    for found, expected in zip(
        jax.tree.leaves((to_params, to_x.reshape(X.shape))), jax.tree.leaves(whole), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    expected_stats = theirs(VARIABLES["params"], X)[1]
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), stats, expected_stats)


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_sums_are_over_all_but_the_channels_on_every_platform(backend, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    np.testing.assert_allclose(channel_sums(jnp.asarray(X)), X.sum(axis=(0, 1, 2)), rtol=1e-5)
