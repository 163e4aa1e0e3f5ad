import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.models import layers
from jaxtrack.models.layers import ConvNorm


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def loop(x, kernel, stride, padding, dilation):
    """A depth-wise convolution, one output at a time."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    taps = kernel.shape[0]
    side = [(n - dilation * (taps - 1) - 1) // stride + 1 for n in x.shape[1:3]]
    out = np.zeros((x.shape[0], *side, x.shape[3]))
    for i, j in np.ndindex(*side):
        for u, v in np.ndindex(taps, taps):
            out[:, i, j] += x[:, i * stride + u * dilation, j * stride + v * dilation] * kernel[u, v, 0]
    return out


@pytest.mark.parametrize(
    ("taps", "stride", "padding", "dilation"), [(3, 1, 1, 1), (5, 2, 2, 1), (3, 1, 4, 4), (2, 1, 0, 1), (3, 2, 0, 1)]
)
def test_both_depthwise_methods_are_the_plain_loop(taps, stride, padding, dilation):
    x, kernel = normal(0, 2, 12, 11, 5), normal(1, taps, taps, 1, 5)
    expected = loop(np.asarray(x, np.float64), np.asarray(kernel), stride, padding, dilation)
    for method in ("shifted", "grouped"):
        conv = jax.jit(layers.depthwise_conv, static_argnums=(2, 3, 4, 5))
        actual = conv(x, kernel, stride, padding, dilation, method)
        np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_both_depthwise_methods_have_the_same_gradients():
    def total(x, kernel, method):
        return jnp.sum(jnp.sin(layers.depthwise_conv(x, kernel, 2, 1, 1, method)))

    x, kernel = normal(0, 2, 9, 8, 3), normal(1, 3, 3, 1, 3)
    gradient = jax.jit(jax.grad(total, (0, 1)), static_argnums=2)
    gradients = [gradient(x, kernel, method) for method in ("shifted", "grouped")]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), *gradients)


def test_a_cpu_takes_shifted_products(monkeypatch):
    assert layers.depthwise_method() == "shifted"
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert layers.depthwise_method() == "grouped"


def test_padding_is_never_a_maximum():
    x = jnp.full((1, 3, 3, 1), -5.0)
    np.testing.assert_array_equal(layers.max_pool(x, 3, 2, 1), np.full((1, 2, 2, 1), -5.0))


def trained_by_somebody(variables):
    """The same variables with statistics, scales and biases that are not those of initialisation."""
    random = np.random.RandomState(0)
    return jax.tree.map(lambda leaf: leaf + random.uniform(0, 0.3, leaf.shape).astype(np.float32), variables)


@pytest.mark.parametrize("options", [{"kernel": 3, "use_bias": True}, {"kernel": 3, "groups": 6}, {"stride": 2}])
def test_a_folded_convolution_is_the_convolution_and_its_normalisation(options):
    module, x = ConvNorm(6, **options), normal(0, 2, 7, 7, 6)
    variables = trained_by_somebody(jax.jit(module.init)(jax.random.key(1), x))
    assert set(variables["params"]) == {"conv", "norm"}
    assert ("bias" in variables["params"]["conv"]) == options.get("use_bias", False)
    folded = layers.fold_batch_norm(variables)
    assert jax.tree.map(lambda leaf: str(leaf.dtype), folded) == {
        "params": {"conv": {"kernel": "float32", "bias": "float32"}}
    }
    apply = jax.jit(module.apply)
    np.testing.assert_allclose(apply(folded, x), apply(variables, x), atol=1e-5)


def test_folding_by_hand():
    variables = {
        "params": {
            "a": {"conv": {"kernel": np.full((1, 1, 1, 1), 6.0)}, "norm": {"scale": [2.0], "bias": [1.0]}},
            "b": {"conv": {"kernel": np.ones((1, 1, 1, 1))}, "norm": {"scale": [2.0], "bias": [1.0]}},
        },
        "batch_stats": {"a": {"norm": {"mean": [3.0], "var": [4.0 - 1e-5]}}},
    }
    folded = layers.fold_batch_norm(variables)["params"]
    assert folded["a"]["conv"] == {"kernel": 6.0, "bias": -2.0}  # 2 (6 x - 3) / 2 + 1
    assert folded["b"] == variables["params"]["b"], "a normalisation without running statistics stays"


def test_training_uses_the_batch_and_moves_the_running_statistics_by_a_tenth():
    module = ConvNorm(1)
    x = jnp.asarray([1.0, 3.0]).reshape(2, 1, 1, 1)
    variables = module.init(jax.random.key(0), x)
    variables["params"]["conv"]["kernel"] = jnp.ones((1, 1, 1, 1))
    out, updates = module.apply(variables, x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(out.ravel(), [-1, 1], atol=1e-4)
    stats = updates["batch_stats"]["norm"]
    np.testing.assert_allclose((stats["mean"][0], stats["var"][0]), (0.9 * 0 + 0.1 * 2, 0.9 * 1 + 0.1 * 1), rtol=1e-6)


def test_folded_variables_cannot_be_trained():
    module, x = ConvNorm(2), jnp.ones((1, 2, 2, 2))
    folded = layers.fold_batch_norm(module.init(jax.random.key(0), x))
    with pytest.raises(ValueError, match="folded"):
        module.apply(folded, x, train=True)


def test_initial_weights_are_pytorchs():
    variables = layers.Conv(32, 3).init(jax.random.key(0), jnp.ones((1, 4, 4, 16)))
    bound = 144**-0.5
    for leaf in jax.tree.leaves(variables):
        assert bound * 0.8 < np.abs(leaf).max() <= bound
        assert abs(np.mean(leaf)) < 0.3 * bound


def test_a_single_level_has_no_number():
    assert layers.level_names(3) == ("2", "3", "4")
    assert layers.level_names(1) == ("only",)


# --- gradients inside loops ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("taps", "padding"), [(3, 1), (3, 0), (1, 0), (2, 1)])
def test_a_convolution_for_loops_has_the_plain_ones_values_and_gradients(taps, padding):
    def total(convolve, x, kernel):
        return jnp.sum(jnp.sin(convolve(x, kernel, padding=padding)))

    x, kernel = normal(0, 2, 7, 6, 3), normal(1, taps, taps, 3, 4)
    for function in (total, jax.grad(total, 1), jax.grad(total, 2)):
        found, plain = (
            jax.jit(function, static_argnums=0)(each, x, kernel) for each in (layers.convolve_in_loop, layers.convolve)
        )
        np.testing.assert_allclose(found, plain, atol=2e-5)


def test_all_convolutions_of_a_loop_that_learns_have_the_layout_of_xlas_fast_path():
    def learn(convolve, x, kernel):
        def body(_, kernel):
            return kernel - jax.grad(lambda k: jnp.sum(jnp.sin(convolve(jnp.sin(convolve(x, k, padding=1)), k))))(
                kernel
            )

        return jax.lax.fori_loop(0, 3, body, kernel)

    def layouts(convolve):
        program = jax.jit(functools.partial(learn, convolve)).lower(normal(0, 2, 9, 9, 4), normal(1, 3, 3, 4, 4))
        return set(re.findall(r"dim_labels=([\w>-]+)", program.compile().as_text()))

    assert layouts(layers.convolve_in_loop) == {"b01f_01io->b01f"}
    assert len(layouts(layers.convolve)) > 1, "XLA brings gradients into it itself: convolve_in_loop can go"


def test_other_platforms_choose_the_layout_of_a_convolutions_gradients_themselves(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(layers, "_in_one_layout", None)
    x, kernel = normal(0, 1, 5, 5, 2), normal(1, 3, 3, 2, 2)
    np.testing.assert_array_equal(layers.convolve_in_loop(x, kernel, 1), layers.convolve(x, kernel, padding=1))


def test_a_layer_is_told_whether_it_learns_in_a_loop(monkeypatch):
    calls = []
    monkeypatch.setattr(
        layers, "convolve_in_loop", lambda *arguments: calls.append(arguments) or layers.convolve(*arguments[:2])
    )
    x = normal(0, 1, 5, 5, 2)
    for looped in (False, True):
        layers.Conv(3, 3, looped=looped).init(jax.random.key(0), x)
        assert len(calls) == looped
    with pytest.raises(AssertionError):
        layers.Conv(3, 3, 2, looped=True).init(jax.random.key(0), x)
