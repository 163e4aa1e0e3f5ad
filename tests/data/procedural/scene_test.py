"""Scenes that are drawn for training."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from procedural_scenes import CONFIG

from jaxtrack.data.procedural import Challenge, motion, render, sample_challenge, sample_scene, scene_key
from jaxtrack.data.procedural.scene import sample_layout


def test_training_scenes_share_no_key_with_the_benchmarks():
    keys = {
        split: {tuple(jax.random.key_data(scene_key(split, seed, i)).tolist()) for seed in range(4) for i in range(8)}
        for split in ("benchmark", "train", "validation")
    }
    assert all(len(found) == 32 for found in keys.values())
    assert len(set.union(*keys.values())) == 96


def test_scenes_are_drawn_from_keys_under_vmap():
    def draw(key):
        first, second = jax.random.split(key)
        return sample_scene(second, sample_challenge(first), CONFIG)

    keys = jax.random.split(scene_key("train", 0, 0), 3)
    scenes = jax.eval_shape(jax.vmap(draw), keys)
    assert scenes.look.background.shape == (3, 4, 512, 512)
    assert scenes.layout.body.pivot.shape == (3, 8, 2)
    frames = jax.eval_shape(jax.vmap(functools.partial(render, config=CONFIG)), scenes, jnp.zeros(3))
    assert (frames.image.shape, frames.image.dtype) == ((3, 240, 320, 3), jnp.uint8)
    assert (frames.box.shape, frames.box.dtype, frames.visible.dtype) == ((3, 4), jnp.float32, jnp.bool_)


def test_drawn_challenges_keep_to_their_ranges():
    drawn = jax.jit(jax.vmap(sample_challenge))(jax.random.split(jax.random.key(0), 200))
    assert set(np.unique(drawn.occluders)) == {0, 1, 2}
    assert set(np.unique(drawn.grey)) == {0, 1}
    assert (np.asarray(drawn.size) >= 10).all()
    assert (np.asarray(drawn.size) <= 50).all()
    assert 0.2 < (np.asarray(drawn.bend) > 0).mean() < 0.5
    np.testing.assert_array_equal(drawn.body, Challenge.body)


def test_targets_of_drawn_scenes_fit_their_window_and_stay_in_view_unless_they_leave():
    def follow(key):
        first, second = jax.random.split(key)
        challenge = sample_challenge(first)
        # Larger than ever drawn, so that the limit counts.
        challenge = dataclasses.replace(challenge, size=1.6 * challenge.size)
        layout = sample_layout(second, challenge, CONFIG)
        return layout.challenge, jax.vmap(lambda t: motion.target_box(layout, t, CONFIG))(jnp.arange(60.0))

    keys = jax.vmap(lambda k: jax.random.fold_in(scene_key("validation", 0, 0), k))(jnp.arange(300))
    challenge, boxes = jax.jit(jax.vmap(follow))(keys)
    boxes = np.asarray(boxes)
    assert 0.8 * CONFIG.window < boxes[..., 2:].max() <= CONFIG.window
    assert boxes[..., 2:].min() > 1
    stays = np.asarray(challenge.leave) == 0
    low, high = boxes[stays][..., :2], boxes[stays][..., :2] + boxes[stays][..., 2:]
    assert (low > 0).all()
    assert (high < (CONFIG.width, CONFIG.height)).all()
