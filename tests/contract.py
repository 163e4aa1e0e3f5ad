"""Trackers and a clip on which the contract of trackers is tried: a tiny one, and others with small numbers."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from siamese_synthetic import narrow, state
from tadt_synthetic import small_tadt

from jaxtrack import Prediction, Tracker, images
from jaxtrack.models import siamese as models
from jaxtrack.online.itsgd import Training
from jaxtrack.online.particles import Sampling
from jaxtrack.trackers import deeptrack, siamese, transt
from jaxtrack.weights import names


@flax.struct.dataclass
class Wandering:
    """State of a tracker that learns a little: a box, a random key, the mean colour of all boxes so far."""

    box: jax.Array
    key: jax.Array
    colour: jax.Array


def wander_init(params, frame, box, key):
    patch = images.crop(frame.pixels, frame.size, box, (4, 4))
    return Wandering(box, key, params["rate"] * jnp.mean(patch, axis=(0, 1)))


def wander_step(params, state, frame):
    key, move = jax.random.split(state.key)
    patch = images.crop(frame.pixels, frame.size, state.box, (4, 4))
    colour = state.colour + params["rate"] * (jnp.mean(patch, axis=(0, 1)) - state.colour)
    shift = jax.random.normal(move, (2,)) + 0.01 * colour[:2]
    box = state.box.at[:2].add(shift)
    return Wandering(box, key, colour), Prediction(box, jnp.mean(colour), {"colour": colour})


wandering = Tracker(wander_init, wander_step)
WANDERING_PARAMS = {"rate": np.float32(0.5)}
small_deeptrack = deeptrack.tracker(
    deeptrack.Config(
        sampling=Sampling(particles=100, reach=(16, 16)),
        negatives_per_frame=20,
        negative_capacity=50,
        positive_capacity=8,
        first_positives=4,
        positives_per_frame=1,
        training=Training(first_rounds=3, rounds=2, positives=4, negatives=4),
    )
)


def small_siamese():
    """A narrow NanoTrack with made-up weights, and its parameters."""
    architecture = narrow("nanotrack_v1")
    params = models.for_inference(architecture, names.to_flax(state(architecture), architecture))
    network = siamese.network_of(architecture)
    return siamese.make_tracker(siamese.CONFIGS["nanotrack_v1"], architecture, network), params


def small_transt():
    """A narrow TransT with made-up weights, and its parameters."""
    architecture = narrow("transt")
    params = models.for_inference(architecture, names.to_flax(state(architecture), architecture))
    return transt.make_tracker(transt.CONFIGS["transt"], architecture, transt.network_of(architecture)), params


DRAWING = [pytest.param(wandering, WANDERING_PARAMS, id="wandering"), pytest.param(small_deeptrack, {}, id="deeptrack")]
each_drawing_tracker = pytest.mark.parametrize(("tracker", "params"), DRAWING)
each_tracker = pytest.mark.parametrize(
    ("tracker", "params"),
    [
        *DRAWING,
        pytest.param(*small_siamese(), id="siamese"),
        pytest.param(*small_tadt(), id="tadt"),
        pytest.param(*small_transt(), id="transt"),
    ],
)
BOX = np.array([40.0, 30.0, 24.0, 32.0])


class Clip(list):
    def __init__(self, name, seed, length, size=(120, 160)):
        noise = np.random.default_rng(seed).integers(0, 255, (size[0] // 8, size[1] // 8 + length, 3), np.uint8)
        wide = np.repeat(np.repeat(noise, 8, axis=0), 8, axis=1)
        super().__init__(wide[:, 2 * i : 2 * i + size[1]] for i in range(length))
        self.name = name


def assert_same(a, b):
    """Two tracks are equal bit for bit."""
    np.testing.assert_array_equal(a.boxes, b.boxes)
    np.testing.assert_array_equal(a.scores, b.scores)
