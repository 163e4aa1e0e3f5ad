import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.models import layers, pooling


def normal(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


@pytest.mark.parametrize(("window", "stride", "side"), [(3, 2, 9), (3, 2, 10), (2, 2, 7), (3, 1, 5), (2, 3, 8)])
def test_shifted_maps_give_what_a_window_gives_and_its_gradient(window, stride, side):
    x = normal(2, side, side + 1, 3)
    np.testing.assert_array_equal(pooling.max_pool(x, window, stride), layers.max_pool(x, window, stride))

    def total(pool):
        return jax.grad(lambda x: jnp.sum(jnp.sin(pool(x, window, stride))))(x)

    np.testing.assert_allclose(total(pooling.max_pool), total(layers.max_pool), atol=1e-6)


def test_the_gradient_has_no_select_and_scatter():
    gradient = jax.grad(lambda x: jnp.sum(pooling.ceil_max_pool(x)))
    text = jax.jit(gradient).lower(normal(1, 9, 9, 2)).as_text()
    assert "scatter" not in text
    theirs = jax.grad(lambda x: jnp.sum(layers.max_pool(x, 3, 2, 1)))
    assert "scatter" in jax.jit(theirs).lower(normal(1, 9, 9, 2)).as_text()


# mdnet_family.md, sections 4.2 and 5: the two poolings of ZF at 203, 224 and 107 pixels.
@pytest.mark.parametrize(("side", "cells"), [(102, 52), (26, 14), (112, 57), (29, 15), (54, 28), (14, 8)])
def test_caffes_pooling_rounds_up(side, cells):
    out = jax.eval_shape(pooling.ceil_max_pool, jax.ShapeDtypeStruct((1, side, 7, 1), jnp.float32))
    assert out.shape == (1, cells, 4, 1)


@pytest.mark.parametrize(("window", "stride", "padding"), [(3, 2, 1), (3, 2, 0), (2, 2, 0), (2, 2, 1), (3, 3, 1)])
@pytest.mark.parametrize("side", [5, 6, 7, 8])
def test_caffes_pooling_is_torchs_with_ceil_mode(window, stride, padding, side):
    torch = pytest.importorskip("torch")
    x = normal(1, side, side + 3, 2) - 10  # Zeros would be maxima.
    pool = torch.nn.MaxPool2d(window, stride, padding, ceil_mode=True)
    expected = pool(torch.tensor(np.asarray(x).transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(pooling.ceil_max_pool(x, window, stride, padding), expected)


def test_padding_has_no_part_in_the_gradient():
    x = jnp.full((1, 4, 4, 1), -5.0)
    gradient = jax.grad(lambda x: jnp.sum(pooling.ceil_max_pool(x)))(x)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(jnp.sum(gradient), 9.0)  # ceil((4 + 2 - 3) / 2) + 1 = 3 cells a side


def test_maps_smaller_than_the_window_are_refused():
    with pytest.raises(ValueError, match="2 x 5 cells are smaller than a window of 3"):
        pooling.max_pool(normal(1, 2, 5, 1), 3, 2)
