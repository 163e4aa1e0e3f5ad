import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.models import cue_cnn
from jaxtrack.models.cue_cnn import CueCNN


@pytest.fixture(scope="module")
def params():
    return CueCNN().init(jax.random.key(0), jnp.zeros((1, 32, 32)))


def test_the_network_has_the_papers_number_of_parameters(params):
    sizes = {name: sum(leaf.size for leaf in jax.tree.leaves(part)) for name, part in params["params"].items()}
    assert sizes["kernel_1"] + sizes["bias_1"] == 2_040
    assert sizes["kernel_2"] + sizes["bias_2"] == 10_602
    assert sizes["hidden_layer"] == 584
    assert sizes["output_layer"] == 18
    assert sum(sizes.values()) == 13_244
    fusion = cue_cnn.init_fusion(jax.random.key(1), 3)
    assert sum(leaf.size for leaf in jax.tree.leaves(fusion)) == 50


def reference(params, patches):
    """The same network written with XLA's own convolutions and pooling."""
    p = params["params"]

    def conv(x, kernel):
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=numbers)

    def pool(x):
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    x = pool(
        jax.nn.relu(conv((patches - 5.0)[..., None], p["kernel_1"][:, :, None]) + p["bias_1"].reshape(1, 1, 1, -1))
    )
    x = pool(jax.nn.relu(conv(x, p["kernel_2"]) + p["bias_2"].reshape(1, 1, 1, -1)))
    assert x.shape[1:] == (2, 2, 18)
    hidden = jax.nn.relu(x.reshape(-1, 72) @ p["hidden_layer"]["kernel"] + p["hidden_layer"]["bias"].reshape(1, -1))
    return hidden @ p["output_layer"]["kernel"] + p["output_layer"]["bias"].reshape(1, -1), hidden


def test_the_banded_products_are_the_convolutions_of_the_paper_with_their_gradients(params):
    patches = jax.random.uniform(jax.random.key(2), (5, 32, 32), maxval=10.0)
    params = jax.tree.map(lambda leaf: leaf + 0.002, params)  # so that no bias is 0

    def total(network):
        return lambda params: sum(jnp.sum(jnp.sin(out)) for out in network(params, patches))

    value, gradient = jax.value_and_grad(total(CueCNN().apply))(params)
    expected, expected_gradient = jax.value_and_grad(total(reference))(params)
    np.testing.assert_allclose(value, expected, rtol=1e-3)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), gradient, expected_gradient)


def test_patches_that_share_a_map_get_the_responses_of_their_own_crops(params):
    model = CueCNN()
    maps = jax.random.uniform(jax.random.key(3), (2, 48, 56), maxval=10.0)
    level = jnp.asarray([0, 1, 1, 0], jnp.int32)
    row = jnp.asarray([0, 16, 7, 3], jnp.int32)
    column = jnp.asarray([0, 24, 11, 20], jnp.int32)
    responses = model.apply(params, maps, method=model.response_1)
    windows = cue_cnn.pooled_windows(responses, level, row, column)
    shared = model.apply(params, windows, method=model.hidden)
    patches = jnp.stack([maps[n, r : r + 32, c : c + 32] for n, r, c in zip(level, row, column, strict=True)])
    np.testing.assert_allclose(shared, model.apply(params, patches)[1], rtol=1e-4, atol=1e-5)


def test_fusion_is_a_linear_map_of_all_cues():
    fusion = {"kernel": jnp.arange(48, dtype=jnp.float32).reshape(3, 8, 2), "bias": jnp.asarray([1.0, -1.0])}
    hidden = jax.random.normal(jax.random.key(4), (3, 5, 8))
    flat = np.concatenate(list(np.asarray(hidden)), axis=-1) @ np.arange(48.0).reshape(24, 2) + [1.0, -1.0]
    np.testing.assert_allclose(cue_cnn.fuse(fusion, hidden), flat, rtol=1e-4)


@pytest.mark.parametrize(
    ("outputs", "expected"), [((1, 0), 2.718282), ((0, 1), 0.0), ((0.5, 0.5), 0.5), ((-1, 0), -math.exp(-1))]
)
def test_scores_of_section_three(outputs, expected):
    assert float(cue_cnn.score(jnp.asarray(outputs, jnp.float32))) == pytest.approx(expected, abs=1e-6)


def test_an_output_beyond_its_label_counts_as_one_that_falls_short_by_as_much():
    outputs = jnp.asarray([[1.8, -0.53], [0.9, 0.1], [1.0, 0.0]])
    np.testing.assert_allclose(cue_cnn.folded(outputs), [[0.2, 0.53], [0.9, 0.1], [1.0, 0.0]], atol=1e-6)
