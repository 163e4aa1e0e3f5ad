"""The error of a network's sizes, by hand; choices and penalties are tested with the trackers."""

import jax.numpy as jnp
import numpy as np

from jaxtrack.models.decision import size_error
from jaxtrack.models.grids import Candidates


def candidates(*rows):
    """From (score, cx, cy, w, h) each."""
    table = jnp.asarray(rows, jnp.float32)
    return Candidates(table[:, 0], table[:, 1:])


SIZE = jnp.asarray([40.0, 20.0])


def test_the_error_is_the_mean_logarithm_weighted_by_squared_scores():
    found = candidates((0.8, 0, 0, 44, 20), (0.4, 2, 0, 40, 25), (1.0, 90, 0, 10, 90))  # the last one is elsewhere
    expected = [0.64 / 0.80 * np.log(44 / 40), 0.16 / 0.80 * np.log(25 / 20)]
    np.testing.assert_allclose(size_error(found, SIZE), expected, rtol=1e-5)


def test_an_overlap_of_three_tenths_is_needed():
    # A box of the target's size, moved by a share s of the width, overlaps by (1 - s) / (1 + s).
    inside, outside = 40 * 0.53, 40 * 0.54  # 0.307, and 368 / 1240 = 0.297 for a box that is 20.2 high
    found = candidates((1.0, inside, 0, 40, 20), (1.0, outside, 0, 40, 20.2))
    np.testing.assert_allclose(size_error(found, SIZE), [0.0, 0.0], atol=1e-6)


def test_no_candidate_near_the_target_is_no_error():
    np.testing.assert_array_equal(size_error(candidates((1.0, 300, 0, 90, 90)), SIZE), [0.0, 0.0])
    np.testing.assert_array_equal(size_error(candidates((0.0, 0, 0, 60, 20)), SIZE), [0.0, 0.0])


def test_an_error_is_at_most_a_half():
    np.testing.assert_allclose(size_error(candidates((0.9, 0, 0, 72, 10.4)), SIZE), [0.5, -0.5])
