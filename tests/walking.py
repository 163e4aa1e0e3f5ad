"""A tracker that walks at random: what it answers tells its key and how often it was asked."""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp

from jaxtrack.tracker import Prediction, Tracker


@flax.struct.dataclass
class State:
    box: jax.Array
    key: jax.Array
    frame: jax.Array


def _init(params, frame, box, key):
    del params, frame
    return State(box, key, jnp.zeros((), jnp.int32))


def _step(params, state, frame):
    del frame
    count = state.frame + 1
    shift = jax.random.normal(jax.random.fold_in(state.key, count), (4,), jnp.float32)
    box = state.box + params * shift
    return dataclasses.replace(state, box=box, frame=count), Prediction(box, shift[0], {})


WALK = Tracker(_init, _step)
"""Its parameter is the length of a step."""
