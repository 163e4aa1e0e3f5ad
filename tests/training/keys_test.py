"""Keys of trainings: the same wherever JAX is configured to draw random numbers otherwise."""

import types

import jax
import numpy as np
import pytest
import tiny_training

from jaxtrack.models.siamese import ARCHITECTURES
from jaxtrack.training import loop
from jaxtrack.training.keys import restored_key, seed_key
from jaxtrack.training.sources import Disk


@pytest.fixture(autouse=True)
def otherwise(monkeypatch):
    """Another generator is JAX's default, as `JAX_DEFAULT_PRNG_IMPL` makes it; its keys have four words."""
    monkeypatch.setitem(ARCHITECTURES, "tiny", tiny_training.ARCHITECTURE)
    with jax.default_prng_impl("rbg"):
        assert jax.random.key_data(jax.random.key(7)).shape == (4,)
        yield


def test_a_seeds_key_is_threefrys():
    """Two words, of which the lower one is a small seed."""
    np.testing.assert_array_equal(jax.random.key_data(seed_key(7)), [0, 7])
    np.testing.assert_array_equal(jax.random.key_data(restored_key(np.uint32([1, 2]))), [1, 2])


def test_parameters_labels_and_augmentation_are_drawn_by_keys_that_configuration_does_not_change():
    config = tiny_training.config(seed=7)
    assert loop._like(config, loop.make_recipe(config), "frozen").key.dtype == seed_key(7).dtype
    drawing = types.SimpleNamespace(draw=jax.random.key_data)
    np.testing.assert_array_equal(loop._drawn_variables(config, drawing), [0, 7])
    assert Disk(seed=7)._keys({"index": np.arange(2, dtype=np.uint32)}).dtype == seed_key(7).dtype
