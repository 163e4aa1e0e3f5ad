"""Gradients against central differences, in float64."""

import jax
import numpy as np


def central_differences(function, x, step=1e-6):
    """The gradient of a function of one array, entry by entry; everything is float64."""
    x = np.asarray(x, np.float64)
    gradient = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = (float(function(up)) - float(function(down))) / (2 * step)
    return gradient


def assert_gradients(function, *arrays):
    """A JAX function's gradient by each of its arrays is that of central differences, and is not just zero."""
    with jax.enable_x64(True):
        arrays = [np.asarray(array, np.float64) for array in arrays]
        compiled = jax.jit(function)
        found = jax.jit(jax.grad(function, tuple(range(len(arrays)))))(*arrays)
        for i, gradient in enumerate(found):
            expected = central_differences(lambda x, i=i: compiled(*arrays[:i], x, *arrays[i + 1 :]), arrays[i])
            assert np.abs(expected).max() > 1e-3
            np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8)
