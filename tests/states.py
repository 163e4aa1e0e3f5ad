"""Comparing the states of trainings."""

import jax
import numpy as np


def leaves(state):
    """Every array of a state by its path, the random key as its words."""
    plain = state.replace(key=jax.random.key_data(state.key))
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(plain)}


def assert_same_bits(a, b):
    """All arrays of two states are the same, bit for bit."""
    a, b = leaves(a), leaves(b)
    assert a.keys() == b.keys()
    for name, leaf in a.items():
        assert leaf.tobytes() == b[name].tobytes(), name
