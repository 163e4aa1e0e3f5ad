"""Image cues on maps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack import images
from jaxtrack.online import cue_maps
from jaxtrack.online.cue_maps import Cues
from jaxtrack.online.particles import Sampling

BOX = np.array([60.0, 40.0, 30.0, 36.0], np.float32)


def test_cues_of_a_grey_video_forget_its_brightness_and_those_of_a_colour_video_do_not():
    grey_noise = np.repeat(np.random.default_rng(0).integers(0, 255, (120, 160, 1), np.uint8), 3, axis=-1)
    frame, darker = images.make_frame(grey_noise), images.make_frame(grey_noise // 2)

    @functools.partial(jax.jit, static_argnums=2)
    def cue(f, grey, value_contrast=False):
        cues = Cues(value_contrast=value_contrast)
        return cue_maps.raw(cues, Sampling(), f, BOX[:2] + BOX[2:] / 2, BOX[2:], grey, jnp.float32(0.3))

    grey, colour = cue(frame, True), cue(frame, False)
    assert float(jnp.abs(cue(darker, True)[..., :2] - grey[..., :2]).mean()) < 0.1
    np.testing.assert_allclose(cue(darker, False)[..., 1], 0.5 * colour[..., 1], atol=0.03)
    np.testing.assert_array_equal(colour[..., 0], 0)  # grey has no hue
    np.testing.assert_allclose(cue(frame, False, True)[..., 1], grey[..., 1], atol=1e-4)


def test_likeness_to_the_targets_hue_knows_no_cut_and_fades_where_there_is_no_colour():
    red = np.zeros((90, 90, 3), np.uint8)
    red[:, ::2] = (200, 20, 10)  # hues on both sides of red, where the circle is cut
    red[:, 1::2] = (200, 10, 20)
    hue = cue_maps.target_hue(images.make_frame(red), jnp.asarray([10.0, 10.0, 64.0, 64.0]))
    assert min(float(hue), 1 - float(hue)) < 0.01
    plain = Cues(hue_fade=0.0)
    np.testing.assert_allclose(cue_maps.hue_cue(plain, jnp.asarray(red, jnp.float32), hue), 1, atol=0.01)
    colours = jnp.asarray(
        [[[0.0, 200.0, 200.0], [100.0, 200.0, 0.0]]]
    )  # opposite of red, and a quarter of the circle away
    np.testing.assert_allclose(cue_maps.hue_cue(plain, colours, hue), [[0, 0.5]], atol=0.02)
    pale = jnp.asarray([[[120.0, 100.0, 100.0]]])  # red with a chroma of 20, where it has faded by half
    np.testing.assert_allclose(cue_maps.hue_cue(Cues(), pale, hue), 0.5, atol=0.01)
    assert float(cue_maps.hue_cue(Cues(hue_likeness=False), colours, hue)[0, 0]) == 0.5  # the H channel itself
