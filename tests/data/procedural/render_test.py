import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from procedural_scenes import CONFIG, changed_pixels, render_two, scene, sequence, stack, with_challenge

from jaxtrack.data.procedural import benchmark, motion
from jaxtrack.data.procedural.render import paint


def test_a_long_exposure_blurs_what_moves():
    drawn = scene("mb")
    times = jnp.arange(8, dtype=jnp.float32)
    sharpness = [
        np.abs(np.diff(np.asarray(benchmark._render_chunk(one, times, CONFIG), float), axis=2)).mean()
        for one in (with_challenge(drawn, noise=0, exposure=0), with_challenge(drawn, noise=0))
    ]
    assert sharpness[1] < 0.8 * sharpness[0]


def test_vmapped_over_scenes_the_renderer_draws_the_same_frames():
    names, times = ("def", "crowd"), np.array([2, 9], np.float32)
    out = render_two(stack(*(scene(name) for name in names)), times)
    for k, name in enumerate(names):
        t = int(times[k])
        # Fused differently, values an ulp apart may round to neighbouring grey levels.
        difference = np.abs(np.asarray(out.image[k], int) - sequence(name)[t])
        assert np.percentile(difference, 99.5) <= 1, name
        np.testing.assert_allclose(out.box[k], sequence(name).boxes[t], atol=1e-3)
        assert out.visible[k]


# Ground truth against pixels


@jax.jit
def alpha_of_target_alone(layout, look, t):
    """Coverage of the whole image by the target, painted without the window that the renderer uses."""
    columns, rows = (jnp.arange(size, dtype=jnp.float32) + 0.5 for size in (CONFIG.width, CONFIG.height))
    x, y = jnp.meshgrid(columns, rows)
    pose = motion.target_pose(layout, t, CONFIG)
    return paint(layout.body, look.target, look.colours, look.light, pose, x, y, jnp.float32(0))[3]


def mask_box(mask):
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return np.array([columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]], float)


@pytest.mark.parametrize("name", ["sv", "def", "ipr", "opr", "occ", "grey", "lr", "chase"])
def test_boxes_are_tight_around_the_silhouette(name):
    drawn = scene(name)
    for t in (0, 7, 19, 26):
        alpha = np.asarray(alpha_of_target_alone(drawn.layout, drawn.look, jnp.float32(t)))
        x, y, w, h = mask_box(alpha > 0.5)
        truth = sequence(name).boxes[t]
        corners = np.array([truth[0], truth[1], truth[0] + truth[2], truth[1] + truth[3]])
        np.testing.assert_allclose([x, y, x + w, y + h], corners, atol=1.0)


def test_the_target_in_the_image_is_where_its_silhouette_is():
    drawn = scene("opr")
    gone = dataclasses.replace(drawn, layout=dataclasses.replace(drawn.layout, start=jnp.array([-900.0, 120.0])))
    changed = changed_pixels(drawn, gone, 5)
    alpha = np.asarray(alpha_of_target_alone(drawn.layout, drawn.look, jnp.float32(5)))
    _, top, _, height = sequence("opr").boxes[5]
    upper = slice(0, int(top + height / 2))  # the shadow on the ground lies below
    assert changed[upper][alpha[upper] > 0.9].mean() > 0.97
    assert not changed[upper][alpha[upper] < 0.01].any()
