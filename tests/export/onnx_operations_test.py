"""Operations translated to ONNX compute what JAX computes; what cannot be translated is refused in words."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

pytest.importorskip("onnx", reason="the extra onnx is missing")
pytest.importorskip("onnxruntime", reason="the extra onnx is missing")

from jaxtrack import UserError
from jaxtrack.export import onnx_model
from jaxtrack.export.programs import Port, Program
from jaxtrack.models import correlation
from jaxtrack.models.layers import convolve, max_pool

DRAW = np.random.default_rng(0)
MAPS = DRAW.normal(size=(2, 9, 8, 6)).astype(np.float32)
KERNEL = DRAW.normal(size=(3, 2, 6, 4)).astype(np.float32)
DEPTHWISE = DRAW.normal(size=(3, 3, 1, 6)).astype(np.float32)
TEMPLATE = DRAW.normal(size=(2, 4, 3, 6)).astype(np.float32)


def program(function, *arrays):
    arrays = [np.asarray(array, np.float32) for array in arrays]
    out = jax.eval_shape(function, *arrays)
    inputs = tuple(Port(f"in_{i}", array.shape) for i, array in enumerate(arrays))
    return Program("test", lambda *inner: (function(*inner),), inputs, (Port("out", out.shape),))


FUNCTIONS = {
    "convolution": lambda x: convolve(x, KERNEL, stride=2, padding=1, dilation=2),
    "depth-wise convolution": lambda x: convolve(x, DEPTHWISE, padding=1, groups=6),
    "maximum of windows": lambda x: max_pool(x, 3, 2, padding=1),
    "maximum of all": lambda x: jnp.max(x, axis=(1, 3)),
    "sum": lambda x: jnp.sum(x, axis=(0, 2)),
    "mean": lambda x: jnp.mean(x, axis=-1, keepdims=True),
    "softmax": lambda x: jax.nn.softmax(x, axis=2),
    "reciprocal of a deviation": lambda x: lax.rsqrt(jnp.mean(lax.square(x - 1), axis=(1, 2)) + 1e-5),
    "sigmoid and exponential": lambda x: jax.nn.sigmoid(x) * jnp.exp(x / 4),
    "clipped": lambda x: jax.nn.relu6(3 * x) / 2,
    "padding": lambda x: jnp.pad(x, ((0, 0), (1, 2), (0, 3), (0, 0)), constant_values=7.0),
    "slice": lambda x: x[1:, 1:8:3, ::2],
    "reversal": lambda x: x[..., ::-1, ::-1],
    "transposition": lambda x: jnp.moveaxis(x, 0, 2).reshape(9, 8, 12),
    "concatenation": lambda x: jnp.concatenate([x, x * x, jnp.ones_like(x)], axis=-1),
    "broadcast and then needed whole": lambda x: jnp.sum(jnp.broadcast_to(x[:, :1, None, :, 0], (2, 5, 3, 8)), axis=1),
    "broadcast as the result": lambda x: jnp.broadcast_to(x[0, 0, 0], (3, 6)),
    "broadcast constant in a sum": lambda x: jnp.sum(x + jnp.arange(6, dtype=jnp.float32)[None, None, None], axis=1),
    "matrix": lambda x: x @ DRAW_MATRIX,
    "constant alone": lambda x: jnp.exp(jnp.asarray(DRAW_MATRIX)),
}
DRAW_MATRIX = DRAW.normal(size=(6, 5)).astype(np.float32)


def check(function, *arrays):
    [found] = onnx_model.run(onnx_model.write(program(function, *arrays), ()), list(arrays))
    expected = np.asarray(function(*map(jnp.asarray, arrays)))
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_an_operation_is_that_of_jax(function):
    check(function, MAPS)


@pytest.mark.parametrize("method", ["shifted", "grouped"])
def test_a_template_is_correlated_by_channel_with_each_search_region_of_a_batch(method):
    check(lambda x, z: correlation.depthwise(x, z, padding=1, method=method), MAPS, TEMPLATE)


def test_a_template_is_correlated_by_pixel():
    check(correlation.pixelwise_attention, TEMPLATE, MAPS)


def test_a_product_sums_over_several_axes_and_keeps_several():
    numbers = (((3, 1), (1, 3)), ((0,), (2,)))  # (summed), (batch)
    other = DRAW.normal(size=(5, 6, 2, 9)).astype(np.float32)
    check(lambda x, y: lax.dot_general(x, y, numbers), MAPS, other)


def test_each_constant_is_stored_once():
    large = jnp.asarray(DRAW.normal(size=(300, 300)).astype(np.float32))
    content = onnx_model.write(program(lambda x: (x @ large) @ large, np.zeros((1, 300))), ())
    assert large.nbytes < len(content) < 1.1 * large.nbytes


def test_a_bias_is_not_stored_as_large_as_the_map_it_is_added_to():
    bias = jnp.arange(6, dtype=jnp.float32)
    content = onnx_model.write(program(lambda x: x + jnp.broadcast_to(bias, x.shape), np.zeros((1, 99, 99, 6))), ())
    assert len(content) < 1000


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (jnp.sin, "no translation of JAX's operation 'sin': export StableHLO instead"),
        (lambda x: jnp.sum(x.astype(jnp.int32), axis=0).astype(jnp.float32), "float32 alone, not float32 made int32"),
        (lambda x: lax.pad(x, 0.0, [(0, 0, 0), (0, 0, 1), (0, 0, 0), (0, 0, 0)]), "no padding that cuts"),
        (lambda x: lax.pad(x, 0.0, [(0, 0, 0), (-1, 0, 0), (0, 0, 0), (0, 0, 0)]), "no padding that cuts"),
        (lambda x: lax.conv_transpose(x, KERNEL, (2, 2), "VALID"), "no transposed convolutions"),
        (lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 2), (1,) * 4, "VALID"), "only has maxima"),
    ],
)
def test_what_cannot_be_translated_is_refused(function, sentence):
    with pytest.raises(UserError, match=sentence):
        onnx_model.write(program(function, MAPS), ())
