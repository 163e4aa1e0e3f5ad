"""Anchors of a region proposal network: where they lie, what they are labelled, which boxes offsets from them mean.

Ren et al., *Faster R-CNN*, NIPS 2015, section 3.1, in the arithmetic of py-faster-rcnn. Its corners are inclusive, so
that its widths have a pixel more; boxes (x, y, w, h) here are the same rectangles.
"""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack import boxes as boxes_lib
from jaxtrack.errors import UserError, check_numbers
from jaxtrack.losses.classification import random_subset
from jaxtrack.models.rpn import STRIDE_PX

_RATIOS, _SCALES = (0.5, 1.0, 2.0), (8, 16, 32)
# Of the offsets; of log(w / anchor's w) such that a side of more is out of every image.
_MOST = np.asarray([np.inf, np.inf, np.log(1000 / 16), np.log(1000 / 16)], np.float32)


@dataclasses.dataclass(frozen=True)
class Labels:
    """How anchors are labelled and sampled; the defaults are py-faster-rcnn's."""

    positive_iou: float = 0.7
    """Least overlap with an object of a positive; the best anchors of each object are, too."""
    negative_iou: float = 0.3
    """All overlaps of a negative are less."""
    sampled: int = 256
    """Anchors of an image that are learnt from."""
    positives: int = 128
    """Most positives among them; negatives fill up."""

    def __post_init__(self) -> None:
        """Refuses numbers that label nothing."""
        check_numbers(self, positive=("positive_iou", "negative_iou", "sampled", "positives"))
        if self.positives > self.sampled:
            raise UserError(f"positives of Labels are at most sampled, {self.sampled}, not {self.positives}")


def cell_anchors() -> np.ndarray:
    """The nine anchors of the first cell, ratios (height over width) before scales; `float32 [9, 4]`, (x, y, w, h).

    >>> cell_anchors()[0].tolist()
    [-84.0, -40.0, 184.0, 96.0]
    """
    widths = np.round(np.sqrt(STRIDE_PX**2 / np.asarray(_RATIOS)))
    base = np.stack([widths, np.round(widths * _RATIOS)], axis=1)
    sides = (base[:, None] * np.asarray(_SCALES)[None, :, None]).reshape(-1, 2)
    return np.concatenate([STRIDE_PX / 2 - sides / 2, sides], axis=1).astype(np.float32)


def grid(rows: int, columns: int) -> np.ndarray:
    """The anchors of all cells, row by row; `float32 [rows * columns * 9, 4]`."""
    y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    shift = STRIDE_PX * np.stack([x, y, np.zeros_like(x), np.zeros_like(x)], axis=-1).reshape(-1, 1, 4)
    return (shift + cell_anchors()).reshape(-1, 4).astype(np.float32)


def label(config: Labels, anchors: jax.Array, boxes: jax.Array, size: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The labels of all anchors of an image.

    Args:
      config: the limits.
      anchors: `float32 [A, 4]`.
      boxes: `float32 [M, 4]`, of objects; those without area are none.
      size: `int32 [2]`, (height, width) of the image.

    Returns:
      `int32 [A]`: 1 object, 0 background, -1 neither, as of all anchors that cross the image's border; and for each
      anchor the box that it overlaps most, `float32 [A, 4]`, the anchor itself where that is none.
    """
    chex.assert_shape([anchors, boxes], (None, 4))
    edge = size[::-1].astype(jnp.float32)[None]
    inside = jnp.all((anchors[:, :2] >= 0) & (anchors[:, :2] + anchors[:, 2:] <= edge), axis=1)
    shape = (len(anchors), len(boxes), 4)
    overlap = boxes_lib.iou(jnp.broadcast_to(anchors[:, None], shape), jnp.broadcast_to(boxes[None], shape))
    overlap = jnp.where(inside[:, None], overlap, 0.0)  # [A, M]
    most = jnp.max(overlap, axis=1)
    best = jnp.any((overlap == jnp.max(overlap, axis=0)[None]) & (overlap > 0), axis=1)
    labels = jnp.where(most < config.negative_iou, 0, -1)
    labels = jnp.where(best | (most >= config.positive_iou), 1, labels)
    nearest = jnp.where((most > 0)[:, None], boxes[jnp.argmax(overlap, axis=1)], anchors)
    return jnp.where(inside, labels, -1).astype(jnp.int32), nearest


def sample(config: Labels, key: jax.Array, labels: jax.Array) -> jax.Array:
    """Labels `int32 [A]` of a random sample of the anchors; the others are -1."""
    positive_key, negative_key = jax.random.split(key)
    positive = random_subset(positive_key, labels == 1, config.positives)
    scores = jnp.where(labels == 0, jax.random.uniform(negative_key, labels.shape), -1.0)
    best, index = jax.lax.top_k(scores, min(config.sampled, len(labels)))
    wanted = (best >= 0) & (jnp.arange(len(best)) < config.sampled - jnp.sum(positive))
    negative = jnp.zeros_like(positive).at[index].set(wanted)
    return jnp.where(positive, 1, jnp.where(negative, 0, -1)).astype(jnp.int32)


def decode(anchors: jax.Array, offsets: jax.Array) -> jax.Array:
    """The boxes (x, y, w, h) of offsets, sides limited to what images hold; `[A, 4]`, `[A, 4]` to `[A, 4]`."""
    return boxes_lib.decode(anchors, jnp.minimum(offsets, _MOST[None]))
