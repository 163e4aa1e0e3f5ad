import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.models.resampling import bilinear, cubic, resize

MAP = np.random.default_rng(0).normal(size=(45, 45)).astype(np.float32)


def half_pixel(new, old):
    """Where the cells of a line of `new` cells lie among `old` ones that cover the same."""
    return (jnp.arange(new, dtype=jnp.float32) + 0.5) * (old / new) - 0.5


@pytest.mark.parametrize("side", [47, 45, 90, 180])
def test_enlarging_bilinearly_is_opencvs(side):
    matrix = bilinear(half_pixel(side, 45), jnp.float32(side / 45), 45)
    expected = cv2.resize(MAP, (side, side), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(resize(jnp.asarray(MAP), matrix, matrix), expected, atol=1e-4)


def test_shrinking_averages_over_a_wider_triangle():
    # Half the size: cells at distances 1/2 and 3/2 count 3/4 and 1/4.
    matrix = np.asarray(bilinear(half_pixel(4, 8), jnp.float32(0.5), 8))
    np.testing.assert_allclose(matrix[1], [0, 0.125, 0.375, 0.375, 0.125, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)


def test_what_lies_beyond_the_cells_is_zero():
    matrix = np.asarray(bilinear(jnp.asarray([-0.6, -0.5, 0.25, 2.5, 2.6]), jnp.float32(1), 3))
    np.testing.assert_allclose(matrix, [[0, 0, 0], [1, 0, 0], [0.75, 0.25, 0], [0, 0, 1], [0, 0, 0]], atol=1e-6)


def keys(distance):
    """Keys' cubic kernel with a = -1/2."""
    d = abs(distance)
    if d <= 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0.0


def test_cubic_interpolation_is_keys_with_its_border_replicated():
    positions = [-0.5, -0.25, 0.0, 1.3, 3.75, 4.5]
    line = np.array([3.0, -1.0, 2.0, 0.5, 4.0])
    padded = np.concatenate([[3.0] * 3, line, [4.0] * 3])
    expected = [sum(keys(p - k) * padded[k + 3] for k in range(-3, 8)) for p in positions]
    matrix = np.asarray(cubic(jnp.float32(positions), 5))
    np.testing.assert_allclose(matrix @ line, expected, atol=1e-5)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)


def test_resizing_is_exact_on_gpus_too():
    matrix = cubic(half_pixel(7, 45), 45)
    assert "HIGHEST" in str(jax.make_jaxpr(resize)(MAP, matrix, matrix))


def test_several_maps_are_resized_at_once():
    maps = jnp.asarray(np.stack([MAP, 2 * MAP]))
    rows, columns = cubic(half_pixel(7, 45), 45), cubic(half_pixel(9, 45), 45)
    found = resize(maps, rows, columns)
    assert found.shape == (2, 7, 9)
    np.testing.assert_allclose(found[1], 2 * found[0], atol=1e-5)
