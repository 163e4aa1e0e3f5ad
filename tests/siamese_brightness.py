"""A made-up Siamese network that finds what is red, wherever the crop lies, and videos for it."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack.data.sequences import Sequence
from jaxtrack.models.siamese import ARCHITECTURES
from jaxtrack.trackers.siamese import Config, Network, Parts

PATCH_PX = 31
TARGET_PX = 63.5  # side of a square target in every crop


def _search(params, kept, crop):
    """Scores of `siamban_r50`'s 25 x 25 points from the redness of the patch around each; boxes of a square
    target's size."""
    red = crop[:, 16:239, 16:239, 2] - crop[:, 16:239, 16:239, 1]  # BGR
    mean = jax.lax.reduce_window(red, 0.0, jax.lax.add, (1, PATCH_PX, PATCH_PX), (1, 8, 8), "valid") / PATCH_PX**2
    logits = (mean - 60.0) / 20.0  # [1, 25, 25]
    return jnp.stack([jnp.zeros_like(logits), logits], axis=-1), jnp.full((1, 25, 25, 4), TARGET_PX / 2)


NETWORK = Network(template=lambda params, crop: jnp.zeros(()), search=_search)


def red_parts(**changes):
    """The tracker around the network, with SiamBAN's constants or others."""
    config = Config(**{"architecture": "siamban_r50", "penalty": 0.14, "window_influence": 0.45, **changes})
    return Parts(config, ARCHITECTURES["siamban_r50"], NETWORK)


def red_square(name="red", frames=12, step_px=3.0, seed=0, distractor=False):
    """A red square of 16 pixels on its way to the right, over grey noise; a paler one may pass by."""
    noise = np.random.default_rng(seed).integers(60, 100, (96, 160, 1), np.uint8)
    images, boxes = [], []
    for i in range(frames):
        x = 20 + int(step_px * i)
        image = np.repeat(noise, 3, axis=2)
        if distractor:
            image[40:56, 120 - x : 136 - x] = (200, 60, 60)
        image[32:48, x : x + 16] = (240, 40, 40)
        images.append(image)
        boxes.append((x, 32, 16, 16))
    return Sequence(name, images, np.asarray(boxes, np.float64), np.ones(frames, bool))
