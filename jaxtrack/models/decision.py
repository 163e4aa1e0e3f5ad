"""Which of its candidates a Siamese tracker follows: a penalty on changes, a window, and a size that changes slowly.

This is the specification of the references' trackers; no paper has all of it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxtrack import boxes
from jaxtrack.images import Frame
from jaxtrack.models.grids import Candidates

MIN_SIDE_PX = 10.0  # No box gets smaller.
# Candidates that tell how wrong the network's sizes are: those about the target. An error beyond a factor of 1.65 is
# rather a target that the network does not see.
_ABOUT_TARGET_IOU = 0.3
_LARGEST_SIZE_ERROR = 0.5


class Constants(NamedTuple):
    """The three constants that are tuned, as arrays: `penalty`, `window_influence`, `smoothing`, `float32 []` each."""

    penalty: jax.Array
    window_influence: jax.Array
    smoothing: jax.Array


class Decision(NamedTuple):
    """The chosen candidate: unclipped centre `[2]` and size `[2]` in image pixels, its score `[]`."""

    centre: jax.Array
    size: jax.Array
    score: jax.Array


def context_side(size: jax.Array, context: float) -> jax.Array:
    """Side of the square around a target of a size that the template shows, before rounding; `[..., 2]` to `[...]`."""
    margin = context * jnp.sum(size, axis=-1, keepdims=True)
    return jnp.sqrt(jnp.prod(size + margin, axis=-1))


def changes(sides: jax.Array, last: jax.Array) -> jax.Array:
    """How much candidates' sides `[N, 2]` differ from the last size `[2]`: what is penalised, `[N]`, 0 if equal."""
    size = context_side(sides, 0.5) / context_side(last, 0.5)
    shape = (last[0] / last[1]) / (sides[:, 0] / sides[:, 1])
    return jnp.maximum(shape, 1 / shape) * jnp.maximum(size, 1 / size) - 1


def decide(
    found: Candidates,
    constants: Constants,
    windows: jax.Array,
    centre: jax.Array,
    size: jax.Array,
    scale: jax.Array,
) -> Decision:
    """Chooses a candidate and smooths the size (specification of the references' trackers, not in a paper).

    Args:
      found: the network's candidates.
      constants: the three constants.
      windows: `float32 [N]`, the window.
      centre: `float32 [2]`, the last centre, pixels.
      size: `float32 [2]`, the last size, pixels.
      scale: `float32 []`, crop pixels per image pixel.
    """
    penalty = jnp.exp(-changes(found.boxes_cxcywh[:, 2:], size * scale) * constants.penalty)
    weight = constants.window_influence
    best = jnp.argmax(penalty * found.scores * (1 - weight) + windows * weight)
    box = found.boxes_cxcywh[best] / scale
    rate = penalty[best] * found.scores[best] * constants.smoothing
    return Decision(centre + box[:2], size * (1 - rate) + box[2:] * rate, found.scores[best])


def size_error(found: Candidates, size: jax.Array) -> jax.Array:
    """By how much a network's sizes of a known target are wrong: our own, no paper has it.

    Networks cannot know from a template where the target's box ends: whether a face's has the hair in it, a person's
    the arms. The first frame tells.

    Args:
      found: candidates in a crop with the target in its middle.
      size: `float32 [2]`, the target's (width, height) in crop pixels.

    Returns:
      `float32 [2]`: log(width / true width) and that of the height, mean over the candidates that overlap the target
      with an IoU above 0.3, weighted by their squared scores; at most 0.5 either way, 0 without such candidates.
    """
    sides = found.boxes_cxcywh[:, 2:]
    target = box_of(jnp.zeros(2), size)
    overlap = boxes.iou(boxes.box_from_cxcywh(found.boxes_cxcywh), jnp.broadcast_to(target, (len(sides), 4)))
    weight = jnp.where(overlap > _ABOUT_TARGET_IOU, found.scores**2, 0.0)[:, None]
    error = jnp.log(jnp.maximum(sides, 1e-3) / size[None])
    total = jnp.maximum(jnp.sum(weight), 1e-6)
    return jnp.clip(jnp.sum(weight * error, axis=0) / total, -_LARGEST_SIZE_ERROR, _LARGEST_SIZE_ERROR)


def clipped(centre: jax.Array, size: jax.Array, frame: Frame) -> tuple[jax.Array, jax.Array]:
    """Centre and size within the image, no side below 10 pixels."""
    extent = frame.size[::-1].astype(jnp.float32)
    return jnp.clip(centre, 0.0, extent), jnp.clip(size, MIN_SIDE_PX, extent)


def box_of(centre: jax.Array, size: jax.Array) -> jax.Array:
    """The box (x, y, w, h) of a centre and a size, `float32 [4]`."""
    return jnp.concatenate([centre - size / 2, size])
