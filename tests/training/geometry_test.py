"""From a rendered pair by its labels and the tracker's decoding back to where the object was rendered."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.images import make_frame
from jaxtrack.models.siamese import ARCHITECTURES
from jaxtrack.trackers import siamese, transt
from jaxtrack.training.labels import EllipseLabels, TokenLabels, ellipse_labels, token_labels

# The search crop of this box is the first 255 x 255 pixels of the image, not scaled: its context makes it 127 wide.
# It is of whole pixels and so not quite about the box's centre, (127.8, 127.6).
START = np.array([127.8 - 31.75, 127.6 - 31.75, 63.5, 63.5], np.float32)
CONFIG = dataclasses.replace(
    siamese.CONFIGS["siamban"], architecture="siamban_nano", penalty=0.0, window_influence=0.0, smoothing=1.0
)


TOKENS = dataclasses.replace(transt.CONFIGS["transt_nano"], window_influence=0.0)


def network_that_knows(labels, side):
    """A network that says of every point or token what its label says, and is sure of one in the target."""
    chosen = int(jnp.argmax(labels.label == 1))
    logits = jnp.full((side * side, 2), 20.0).at[:, 1].set(-20.0).at[chosen].set(jnp.array([-20.0, 20.0]))
    maps = logits.reshape(1, side, side, 2), labels.target.reshape(1, side, side, 4)
    return siamese.Network(template=lambda params, crop: jnp.zeros(()), search=lambda params, kept, crop: maps)


def of_points(box):
    labels = ellipse_labels(jax.random.key(0), box, False, EllipseLabels())
    return siamese.make_tracker(CONFIG, ARCHITECTURES["siamban_nano"], network_that_knows(labels, 25))


def of_tokens(box):
    labels = token_labels(box, False, TokenLabels(cut=True), side=15, stride=16, search_px=255, first_px=0.5)
    return transt.make_tracker(TOKENS, ARCHITECTURES["transt_nano"], network_that_knows(labels, 15))


@pytest.mark.parametrize("made", [of_points, of_tokens])
@pytest.mark.parametrize("box", [(100.0, 90.0, 160.0, 150.0), (60.25, 101.5, 131.0, 199.75)])
def test_a_tracker_whose_network_gives_the_labels_finds_the_rendered_box(made, box):
    frame = make_frame(np.zeros((300, 280, 3), np.uint8))
    tracker = made(jnp.asarray(box))
    state = tracker.init({}, frame, jnp.asarray(START), jax.random.key(0))
    _, prediction = tracker.step({}, state, frame)
    # In a pair pixel centres are at integers, in a video at halves.
    x1, y1, x2, y2 = box
    np.testing.assert_allclose(prediction.box, [x1 + 0.5, y1 + 0.5, x2 - x1, y2 - y1], atol=1e-3)
