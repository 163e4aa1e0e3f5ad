"""The Transformer layers: positions by hand, attention against PyTorch's with the same weights."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.models.transformer import (
    MLP,
    CrossFeature,
    EgoContext,
    FusionLayer,
    attend,
    layer_norm,
    positions_of,
    sine_positions,
)
from jaxtrack.weights import attention

WIDTH, HEADS, HIDDEN = 16, 4, 24


def test_positions_are_the_references():
    """siamese.md 13.1, `pos_template`: feature, row, column."""
    positions = sine_positions(16, 256).reshape(16, 16, 256)
    for (row, column, feature), value in {
        (0, 0, 0): 0.382683,
        (0, 0, 1): 0.923880,
        (2, 5, 128): 0.707107,
        (2, 5, 129): -0.707107,
    }.items():
        assert positions[row, column, feature] == pytest.approx(value, abs=1e-6)


def test_positions_are_those_of_the_row_then_of_the_column_with_growing_wavelengths():
    positions = sine_positions(4, 8).reshape(4, 4, 8)
    # Row 1 of 4 is the angle pi, column 2 is 3/2 pi; the second pair of features has a hundredth of it.
    row, column = 2 * np.pi * 2 / 4, 2 * np.pi * 3 / 4
    expected = [f(a / w) for a in (row, column) for w in (1, 100) for f in (np.sin, np.cos)]
    np.testing.assert_allclose(positions[1, 2], expected, atol=1e-5)


def test_positions_are_of_square_maps_alone():
    with pytest.raises(AssertionError):
        positions_of(jnp.zeros((1, 2, 3, 8)))


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def attention_params(layer):
    """A PyTorch attention layer's weights for Flax."""
    state = {f"a.{name}": value.detach().numpy() for name, value in layer.state_dict().items()}
    arrays = attention.unpacked(state)
    params = {}
    for part in ("query", "key", "value", "out"):
        kernel, bias = arrays[f"a.{part}.weight"].T, arrays[f"a.{part}.bias"]
        if part == "out":
            params[part] = {"kernel": kernel.reshape(HEADS, -1, WIDTH), "bias": bias}
        else:
            params[part] = {"kernel": kernel.reshape(WIDTH, HEADS, -1), "bias": bias.reshape(HEADS, -1)}
    return params


def dense_params(layer):
    return {"kernel": layer.weight.detach().numpy().T, "bias": layer.bias.detach().numpy()}


def norm_params(layer):
    return {"scale": layer.weight.detach().numpy(), "bias": layer.bias.detach().numpy()}


class Layers:
    """The PyTorch layers of an ECA or CFA, random weights without any zeros."""

    def __init__(self, torch):
        self.attention = torch.nn.MultiheadAttention(WIDTH, HEADS)
        self.expand, self.reduce = torch.nn.Linear(WIDTH, HIDDEN), torch.nn.Linear(HIDDEN, WIDTH)
        self.norms = [torch.nn.LayerNorm(WIDTH) for _ in range(2)]
        for layer in (self.attention, *self.norms):
            for parameter in layer.parameters():
                torch.nn.init.normal_(parameter, std=0.5)

    def params(self, *, dense=True):
        attend = {"attention": attention_params(self.attention), "norm": norm_params(self.norms[0])}
        if not dense:
            return {"attend": attend}
        others = {"expand": dense_params(self.expand), "reduce": dense_params(self.reduce)}
        return {"attend": attend, **others, "norm": norm_params(self.norms[1])}

    def eca(self, x, place):
        return self.norms[0](x + self.attention(x + place, x + place, x)[0])

    def cfa(self, x, place, other, other_place):
        x = self.norms[0](x + self.attention(x + place, other + other_place, other)[0])
        return self.norms[1](x + self.reduce(self.expand(x).relu()))


def drawn(torch):
    """Tokens of a search region and a template, and positions of both, sequence first as PyTorch has them."""
    torch.manual_seed(3)
    x, z = torch.randn(9, 2, WIDTH), torch.randn(4, 2, WIDTH)
    return x, torch.randn(9, 1, WIDTH), z, torch.randn(4, 1, WIDTH)


def run(module, params, *given):
    """A layer's result without dropping anything."""
    apply = jax.jit(lambda params, *given: module.apply({"params": params}, *given, train=False))
    return apply(params, *map(ours, given))


def ours(tensor):
    return jnp.asarray(tensor.detach().numpy().swapaxes(0, 1))


def test_self_attention_is_pytorchs(torch):
    x, place, *_ = drawn(torch)
    layers = Layers(torch)
    found = run(EgoContext(HEADS), layers.params(dense=False), x, place)
    np.testing.assert_allclose(found, ours(layers.eca(x, place)), atol=1e-5)


def test_cross_attention_is_pytorchs(torch):
    given = drawn(torch)
    layers = Layers(torch)
    found = run(CrossFeature(HEADS, HIDDEN), layers.params(), *given)
    np.testing.assert_allclose(found, ours(layers.cfa(*given)), atol=1e-5)


def test_both_branches_are_fused_with_what_the_other_was_before(torch):
    x, x_place, z, z_place = drawn(torch)
    parts = {name: Layers(torch) for name in ("eca_template", "eca_search", "cfa_template", "cfa_search")}
    params = {name: layers.params(dense=name.startswith("cfa")) for name, layers in parts.items()}
    found_z, found_x = run(FusionLayer(HEADS, HIDDEN), params, z, x, z_place, x_place)
    z, x = parts["eca_template"].eca(z, z_place), parts["eca_search"].eca(x, x_place)
    expected_z = parts["cfa_template"].cfa(z, z_place, x, x_place)
    expected_x = parts["cfa_search"].cfa(x, x_place, z, z_place)
    np.testing.assert_allclose(found_z, ours(expected_z), atol=1e-5)
    np.testing.assert_allclose(found_x, ours(expected_x), atol=1e-5)


def test_the_heads_have_no_relu_after_the_last_layer(torch):
    layers = [torch.nn.Linear(a, b) for a, b in ((16, 8), (8, 8), (8, 4))]
    params = {f"layer_{i}": dense_params(layer) for i, layer in enumerate(layers)}
    x = torch.randn(5, 16)
    expected = layers[2](layers[1](layers[0](x).relu()).relu()).detach().numpy()
    assert (expected < 0).any()
    np.testing.assert_allclose(MLP(8, 4).apply({"params": params}, x.numpy()), expected, atol=1e-6)


class Normalised(nn.Module):
    @nn.compact
    def __call__(self, x):
        return layer_norm(x, "norm")


def test_normalisation_has_pytorchs_epsilon_and_a_small_deviation_from_a_large_mean_is_not_lost():
    x = jnp.asarray([[100.01, 99.99]])
    found, _ = jax.jit(Normalised().init_with_output)(jax.random.key(0), x)
    expected = 0.01 / (0.01**2 + 1e-5) ** 0.5
    np.testing.assert_allclose(found, [[expected, -expected]], rtol=3e-3)


def test_weights_of_the_fusion_are_drawn_as_the_authors_do():
    """Glorot's bound sqrt(6 / (in + out)); queries, keys and values are one matrix of E to 3 E there."""
    x = jnp.zeros((1, 4, 64))
    layer = CrossFeature(8, 192)
    params = jax.jit(lambda: layer.init(jax.random.key(0), x, x, x, x, train=False))()["params"]
    attend = params["attend"]["attention"]
    for kernel, total in (
        (attend["query"]["kernel"], 64 + 3 * 64),
        (attend["key"]["kernel"], 64 + 3 * 64),
        (attend["value"]["kernel"], 64 + 3 * 64),
        (attend["out"]["kernel"], 64 + 64),
        (params["expand"]["kernel"], 64 + 192),
        (params["reduce"]["kernel"], 192 + 64),
    ):
        bound = (6 / total) ** 0.5
        assert 0.99 * bound < np.abs(kernel).max() <= bound
    # Biases are PyTorch's: 0 in attention, uniform in +-1/sqrt(in) in dense layers.
    assert not any(np.any(attend[part]["bias"]) for part in ("query", "key", "value", "out"))
    for name, inputs in (("expand", 64), ("reduce", 192)):
        assert 0.9 * inputs**-0.5 < np.abs(params[name]["bias"]).max() <= inputs**-0.5


def drawn_heads():
    shapes = ((2, 7, HEADS, 5), (2, 3, HEADS, 5), (2, 3, HEADS, 5))
    return [3 * jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate(shapes)]


@pytest.mark.parametrize("size", [1.0, 1e3])
def test_attention_head_by_head_is_flaxs_and_so_are_its_gradients(size):
    given = [size * part for part in drawn_heads()]

    def loss(attention, given):
        return jnp.sum(jnp.sin(attention(*given) / size))

    ours = jax.jit(jax.value_and_grad(lambda given: loss(lambda *g: attend(*g, **OPTIONS), given)))(given)
    theirs = jax.jit(jax.value_and_grad(lambda given: loss(nn.dot_product_attention, given)))(given)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), ours, theirs)


OPTIONS = {"deterministic": True, "dropout_rate": 0.5}


def test_weights_are_dropped_for_each_sample_by_itself_where_any_are():
    q, k, v = (jnp.broadcast_to(part[:1], part.shape) for part in drawn_heads())
    options = {"deterministic": False, "dropout_rate": 0.5, "dropout_rng": jax.random.key(1)}
    one, other = jax.jit(lambda: attend(q, k, v, **options, broadcast_dropout=False))()
    assert (one != other).any()
    still, same = jax.jit(lambda: attend(q, k, v, **OPTIONS))()
    np.testing.assert_array_equal(still, same)
