"""The boxes that a region proposal network proposes, and how many objects are among them."""

import jax
import jax.numpy as jnp

from jaxtrack import boxes as boxes_lib
from jaxtrack.training.detection import anchors as anchors_lib

# py-faster-rcnn's constants of testing.
_LEAST_SIDE_PX, _CONSIDERED, _OVERLAP = 16.0, 6000, 0.7


def proposals(
    anchors: jax.Array, scores: jax.Array, offsets: jax.Array, size: jax.Array, scale: jax.Array, count: int
) -> tuple[jax.Array, jax.Array]:
    """The best boxes of an image of which no two overlap by more than 0.7.

    Args:
      anchors: `float32 [A, 4]`.
      scores: `float32 [A, 2]`, background and object.
      offsets: `float32 [A, 4]`.
      size: `int32 [2]`, (height, width) of the image.
      scale: `float32 []`, its size over the original's, in which a side of less than 16 pixels is none.
      count: how many.

    Returns:
      `float32 [count, 4]`, the best first, and `bool [count]`, whether there are so many.
    """
    boxes = boxes_lib.clip(anchors_lib.decode(anchors, offsets), size.astype(jnp.float32))
    large = jnp.all(boxes[:, 2:] >= _LEAST_SIDE_PX * scale, axis=1)
    quality = jnp.where(large, scores[:, 1] - scores[:, 0], -jnp.inf)
    quality, index = jax.lax.top_k(quality, min(_CONSIDERED, len(anchors)))
    boxes = boxes[index]

    def take(number: jax.Array, state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, ...]:
        left, found, there = state
        best = jnp.argmax(left)
        overlap = boxes_lib.iou(boxes, jnp.broadcast_to(boxes[best], boxes.shape))
        found, there = found.at[number].set(boxes[best]), there.at[number].set(left[best] > -jnp.inf)
        return jnp.where(overlap > _OVERLAP, -jnp.inf, left), found, there

    start = (quality, jnp.zeros((count, 4)), jnp.zeros(count, bool))
    _, found, there = jax.lax.fori_loop(0, count, take, start)
    return found, there


def found(boxes: jax.Array, proposed: jax.Array, there: jax.Array, overlap: float = 0.5) -> jax.Array:
    """Which objects `[M, 4]` a proposal `[P, 4]` that is `there [P]` overlaps enough, `bool [M]`."""
    shape = (len(boxes), len(proposed), 4)
    shared = boxes_lib.iou(jnp.broadcast_to(boxes[:, None], shape), jnp.broadcast_to(proposed[None], shape))
    return jnp.any((shared >= overlap) & there[None], axis=1)
