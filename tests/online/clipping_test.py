"""Gradients that are cut to a length."""

import jax.numpy as jnp
import pytest

from jaxtrack.online.clipping import clip_scale


@pytest.mark.parametrize(("norm", "scale"), [(13.0, 1.0), (26.0, 1.0), (6.5, 0.5), (0.0, 0.0)])
def test_all_arrays_are_cut_together(norm, scale):
    """The norm of (3, 4) and 12 is 13."""
    gradients = {"kernel": jnp.asarray([3.0, 4.0]), "bias": jnp.asarray(12.0)}
    assert float(clip_scale(gradients, norm)) == pytest.approx(scale)


def test_a_gradient_of_zero_is_left_as_it_is():
    assert float(clip_scale([jnp.zeros(3)], 2.0)) == 1.0
