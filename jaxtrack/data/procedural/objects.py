"""The objects of a scene with their boxes, and its images: what is trained on, frame by frame."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxtrack.data.procedural import bodies, motion, scene
from jaxtrack.data.procedural.render import render
from jaxtrack.data.procedural.scene import Layout, SceneConfig

# Objects from the hindmost to the foremost: two look-alikes, the target, two occluders, of which some may not be there.
OBJECTS, TARGET = 5, 2
_MOST_HIDDEN = 0.5  # share of an object that may be outside the image, and that may be behind another


def sample_layout(key: Array, look: SceneConfig) -> Layout:
    """The layout of the scene of a key, with difficulties of its own; jittable."""
    challenge_key, layout_key, _ = _keys(key)
    return scene.sample_layout(layout_key, scene.sample_challenge(challenge_key), look)


def boxes_at(layout: Layout, t: Array, look: SceneConfig, least_side_px: float) -> tuple[Array, Array]:
    """Boxes of the objects at a time, and which of them are to be seen; jittable.

    Args:
      layout: the scene's.
      t: time in frames, `float32 []`.
      look: sizes of images.
      least_side_px: of a box that counts.

    Returns:
      `float32 [5, 4]`, (x, y, w, h), cut off at the image's border; `bool [5]`: the object is there, and half of its
      box is in the image and in front of each of the others.
    """
    poses = [
        motion.distractor_pose(layout, jnp.float32(1), t, look),
        motion.distractor_pose(layout, jnp.float32(0), t, look),
        motion.target_pose(layout, t, look),
        motion.occluder_pose(layout, jnp.float32(0), t, look),
        motion.occluder_pose(layout, jnp.float32(1), t, look),
    ]
    challenge = layout.challenge
    look_alikes, occluders = (jnp.asarray(number) for number in (challenge.distractors, challenge.occluders))
    there = jnp.stack([look_alikes > 1, look_alikes > 0, jnp.ones((), bool), occluders > 0, occluders > 1])
    shapes = [layout.body] * 3 + [layout.occluder] * 2
    whole = jnp.stack([bodies.bounds(shape, pose) for shape, pose in zip(shapes, poses, strict=True)])
    boxes, visible = jax.vmap(lambda box: motion.clip_box(box, look))(whole)
    inside = jnp.prod(boxes[:, 2:], axis=1) >= (1 - _MOST_HIDDEN) * jnp.prod(whole[:, 2:], axis=1)
    hidden = jax.vmap(lambda box: jax.vmap(lambda other: covered(box, other))(whole))(whole) > _MOST_HIDDEN
    in_front = jnp.arange(OBJECTS)[:, None] < jnp.arange(OBJECTS)[None]
    clear = ~jnp.any(hidden & in_front & there[None], axis=1)
    return boxes, there & visible & inside & clear & jnp.all(boxes[:, 2:] >= least_side_px, axis=1)


@functools.partial(jax.jit, static_argnums=(2, 3))
def annotated_layout(
    key: Array, times: np.ndarray | Array, look: SceneConfig, least_side_px: float
) -> tuple[Layout, Array, Array]:
    """The layout of the scene of a key; boxes of its objects at times `float32 [F]`, and which of them are to be seen.

    Boxes are `float32 [F, 5, 4]`, the others `bool [F, 5]`, both as those of `boxes_at`.
    """
    layout = sample_layout(key, look)
    boxes, shown = jax.vmap(lambda t: boxes_at(layout, t, look, least_side_px))(jnp.asarray(times))
    return layout, boxes, shown


def covered(box: Array, other: Array) -> Array:
    """Share of a box `[4]` that another one covers, `float32 []`."""
    low = jnp.maximum(box[:2], other[:2])
    high = jnp.minimum(box[:2] + box[2:], other[:2] + other[2:])
    return jnp.prod(jnp.maximum(high - low, 0.0)) / jnp.prod(box[2:])


def images(key: Array, layout: Layout, times: np.ndarray | Array, look: SceneConfig) -> np.ndarray:
    """The images of the scene of a key at some times, `uint8 [F, H, W, 3]`."""
    drawn = scene.Scene(layout, _look(_keys(key)[2], layout.challenge, look))
    return np.stack([np.asarray(_image(drawn, t, look)) for t in jnp.asarray(times)])


def _keys(key: Array) -> tuple[Array, Array, Array]:
    """Keys of what is difficult in a scene, of its layout and of its look."""
    challenge, layout, look = jax.random.split(key, 3)
    return challenge, layout, look


_look = jax.jit(scene.sample_look, static_argnums=2)


@functools.partial(jax.jit, static_argnums=2)
def _image(drawn: scene.Scene, t: Array, look: SceneConfig) -> Array:
    return render(drawn, t, look).image
