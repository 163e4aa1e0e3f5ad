import dataclasses

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack import images
from jaxtrack.online import particles
from jaxtrack.online.particles import Sampling

SMALL = Sampling(particles=4000, reach=(20, 24))
CENTRE, SIZE = np.array([81.3, 62.7], np.float32), np.array([20.0, 30.0], np.float32)


@pytest.fixture(scope="module")
def frame():
    noise = np.random.default_rng(0).uniform(0, 255, (140, 180, 3)).astype(np.float32)
    return images.make_frame(cv2.GaussianBlur(noise, (0, 0), 3).astype(np.uint8))


def maps_of(frame, sampling):
    boxes = [particles.map_box(sampling, CENTRE, SIZE, jnp.asarray(f)) for f in sampling.factors()]
    return jnp.stack([images.crop(frame.pixels, frame.size, box, sampling.map_size) for box in boxes])


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("context", [1.0, 1.3])
def test_a_particles_patch_shows_the_image_inside_its_box(frame, exact, context):
    sampling = dataclasses.replace(SMALL, exact=exact, context=context, particles=12, scale_std_rel=0.05)
    drawn = particles.draw(sampling, jax.random.key(1), jnp.asarray(SIZE))
    patches = np.asarray(particles.patches(sampling, maps_of(frame, sampling), drawn))
    for patch, box in zip(patches, np.asarray(particles.to_boxes(sampling, CENTRE, SIZE, drawn)), strict=True):
        x, y, w, h = box
        wide, high = context * w, context * h
        columns = x + w / 2 - wide / 2 + (np.arange(32) + 0.5) * wide / 32 - 0.5
        rows = y + h / 2 - high / 2 + (np.arange(32) + 0.5) * high / 32 - 0.5
        grid = np.meshgrid(columns.astype(np.float32), rows.astype(np.float32))
        image = np.asarray(frame.pixels[:140, :180]).astype(np.float32)
        seen = cv2.remap(image, grid[0], grid[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        # An exact patch is sampled twice, first on the map; that blurs it a little.
        assert np.abs(patch - seen).mean() < (2.0 if exact else 0.2)


def test_the_target_itself_is_a_particle(frame):
    del frame
    box = particles.to_boxes(SMALL, CENTRE, SIZE, particles.target(SMALL))
    np.testing.assert_allclose(box, [[71.3, 47.7, 20, 30]], atol=1e-4)


def test_exact_particles_are_spread_as_the_paper_says():
    sampling = dataclasses.replace(SMALL, exact=True, reach=(200, 200))
    size = jnp.asarray([30.0, 16.0])  # half the height, 8, is less than 10
    boxes = np.asarray(
        particles.to_boxes(sampling, jnp.zeros(2), size, particles.draw(sampling, jax.random.key(0), size))
    )
    middle = boxes[:, :2] + boxes[:, 2:] / 2
    np.testing.assert_allclose(middle.mean(axis=0), 0, atol=4 * 8 / np.sqrt(4000))
    # Truncation at three deviations takes 1.3 % off the standard deviation.
    np.testing.assert_allclose(middle.std(axis=0), 8 * 0.987, rtol=0.05)
    assert np.abs(middle).max() <= 3 * 8 + 1e-3
    ratio = boxes[:, 3] / 16
    np.testing.assert_allclose(ratio.std(), 0.01 * 0.987, rtol=0.05)
    np.testing.assert_allclose(boxes[:, 2] / boxes[:, 3], 30 / 16, rtol=1e-4)


def test_tall_targets_are_sought_ten_pixels_around():
    size = jnp.asarray([64.0, 96.0])
    drawn = particles.draw(SMALL, jax.random.key(0), size)
    boxes = np.asarray(particles.to_boxes(SMALL, jnp.zeros(2), size, drawn))
    middle = boxes[:, :2] + boxes[:, 2:] / 2
    # Rounding to cells of 2 and 3 pixels adds a twelfth of their square to the variance.
    np.testing.assert_allclose(middle.std(axis=0), [9.87, 9.87], rtol=0.06)


def test_particles_never_leave_the_map_and_sizes_keep_their_levels():
    size = jnp.asarray([4.0, 40.0])  # so narrow that 10 pixels are 80 cells
    for draw in (
        particles.draw(SMALL, jax.random.key(2), size),
        particles.surroundings(SMALL, jax.random.key(3), 500, 3.0),
    ):
        assert np.asarray(draw.row).min() >= 0
        assert np.asarray(draw.row).max() <= 2 * 20
        assert np.asarray(draw.column).min() >= 0
        assert np.asarray(draw.column).max() <= 2 * 24
        assert set(np.asarray(draw.level).tolist()) <= {0, 1, 2}
    np.testing.assert_allclose(SMALL.factors(), [0.9875, 1, 1.0125], atol=1e-6)


def test_a_wider_search_spreads_positions_and_not_sizes():
    size = jnp.asarray([60.0, 60.0])
    wide = Sampling(reach=(400, 400))
    near, far = (particles.draw(wide, jax.random.key(0), size, spread) for spread in (1.0, 3.0))
    assert float(jnp.std(far.row)) == pytest.approx(3 * float(jnp.std(near.row)), rel=0.01)
    np.testing.assert_array_equal(near.level, far.level)
