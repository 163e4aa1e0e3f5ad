import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack import UserError, boxes, images, run
from jaxtrack.models import cue_cnn
from jaxtrack.online import cue_maps, itsgd, memory, particles
from jaxtrack.online.cue_maps import Cues
from jaxtrack.online.itsgd import Loss, Training
from jaxtrack.online.particles import Sampling
from jaxtrack.tracker import sequence_key
from jaxtrack.trackers import deeptrack
from jaxtrack.trackers.deeptrack import Config

SMALL = Config(
    sampling=Sampling(particles=200, reach=(24, 24)),
    negatives_per_frame=30,
    negative_capacity=75,
    positive_capacity=20,
    first_positives=4,
    positives_per_frame=1,
    training=Training(first_rounds=30, rounds=2, positives=8, negatives=8),
)
BOX = np.array([60.0, 40.0, 30.0, 36.0], np.float32)


def moving_square(frames=8, colour=True, step=(3, 2)):
    """A textured rectangle that moves over a textured background of another kind."""
    rng = np.random.default_rng(0)
    background = rng.integers(60, 130, (120, 160, 3), np.uint8)
    target = np.repeat(np.repeat(rng.integers(0, 255, (6, 5, 3), np.uint8), 6, axis=0), 6, axis=1)
    clip = []
    for i in range(frames):
        image = background.copy()
        image[40 + step[1] * i : 76 + step[1] * i, 60 + step[0] * i : 90 + step[0] * i] = target
        clip.append(image if colour else np.repeat(image[..., :1], 3, axis=-1))
    return clip


@pytest.fixture(scope="module")
def started():
    """The first frame, and the state after it."""
    frame = images.make_frame(moving_square(1)[0])
    return frame, jax.jit(deeptrack.tracker(SMALL).init)({}, frame, BOX, sequence_key(0, ""))


def maps_of(config, frame, state):
    maps = cue_maps.raw(config.cues, config.sampling, frame, state.centre, state.size, state.grey, state.hue)
    return cue_maps.scaled(config.cues, maps, state.gradient_scale)


@pytest.fixture(scope="module", params=["colour", "grey"])
def track(request):
    return run(deeptrack.tracker(SMALL), {}, moving_square(colour=request.param == "colour"), BOX)


def test_a_moving_rectangle_is_followed_in_colour_and_in_grey(track):
    truth = np.array([[60 + 3 * i, 40 + 2 * i, 30, 36] for i in range(8)], np.float32)
    assert boxes.iou(track.boxes, truth).min() > 0.5
    assert track.boxes[-1, 2] / track.boxes[-1, 3] == pytest.approx(30 / 36, rel=1e-4)


def test_diagnostics_are_in_their_ranges(track):
    assert ((track.diagnostics["quality"] >= 0.01) & (track.diagnostics["quality"] <= 1)).all()
    assert (track.diagnostics["rivals"] >= 1).all()
    assert ((track.diagnostics["truncated"] >= 0) & (track.diagnostics["truncated"] <= 1)).all()
    assert (track.diagnostics["rounds"] <= 2).all()


def test_memories_hold_what_they_should_after_some_frames(started):
    _, state = started
    step = jax.jit(deeptrack.tracker(SMALL).step)
    for image in moving_square()[1:6]:
        state, _ = step({}, state, images.make_frame(image))
    valid = np.asarray(memory.valid(state.positives))
    assert sorted(np.asarray(state.positives.frame)[valid]) == [0] * 4 + [1, 2, 3, 4, 5]
    frames_of_negatives = np.asarray(state.negatives.frame)[np.asarray(memory.valid(state.negatives))]
    np.testing.assert_array_equal(np.unique(frames_of_negatives, return_counts=True), [[3, 4, 5], [15, 30, 30]])
    assert np.asarray(state.negatives.rows.overlap).max() <= 0.5
    own = np.asarray(state.positives.rows.overlap)[valid]
    assert (own > 0.5).all()
    assert (own == 1).sum() >= 6
    samples = np.asarray(state.positives.rows.patches)
    assert samples.min() >= 0
    assert samples.max() <= 10


def test_a_box_is_kept_with_its_centre_and_its_size_in_the_image():
    size = jnp.asarray([100, 200], jnp.int32)  # height, width
    centre, extent = deeptrack.within(jnp.asarray([-30.0, 90.0, 20.0, 40.0]), size)
    np.testing.assert_allclose(centre, [0, 100])
    np.testing.assert_allclose(extent, [20, 40])
    centre, extent = deeptrack.within(jnp.asarray([20.0, -50.0, 100.0, 200.0]), size)
    np.testing.assert_allclose(centre, [70, 50])
    np.testing.assert_allclose(extent, [50, 100])  # the ratio stays


def test_a_frame_whose_winner_is_called_background_teaches_nothing_and_widens_the_search(started):
    def state_after(image, **changes):
        step = jax.jit(deeptrack.tracker(dataclasses.replace(SMALL, **changes)).step)
        return step({}, started[1], images.make_frame(image))[0]

    empty = moving_square(1, step=(0, 0))[0]
    empty[30:90, 50:100] = empty[:60, :50]  # the target is gone
    doubtful, trusting = (state_after(empty, doubt=d) for d in (True, False))
    assert float(doubtful.spread) == SMALL.sampling.widening
    assert float(trusting.spread) == 1
    newest = [
        int(np.asarray(s.positives.frame)[np.asarray(memory.valid(s.positives))].max()) for s in (doubtful, trusting)
    ]
    assert newest == [0, 1]


def test_mined_negatives_are_those_that_the_network_gets_most_wrong():
    frame = images.make_frame(moving_square(1)[0])
    config = dataclasses.replace(SMALL, mining=0)
    state = jax.jit(deeptrack.tracker(config).init)({}, frame, BOX, sequence_key(0, ""))
    state = dataclasses.replace(state, frame=jnp.int32(5))
    maps = jax.jit(functools.partial(maps_of, config))(frame, state)
    mined = jax.jit(functools.partial(deeptrack._mine, config))(jax.random.key(1), state, maps, jnp.asarray(True))

    def loss(patches, overlap):
        """Eqs 5 and 10 for negatives."""
        hidden = itsgd.hidden_responses(state.network["cues"], jnp.moveaxis(patches, -1, 0))
        error = np.sum((cue_cnn.fuse(state.network["fusion"], hidden) - jnp.asarray([[0.0, 1.0]])) ** 2, axis=-1)
        return np.abs(np.tanh((np.asarray(overlap) - 0.5) / 2)) * error

    new = np.asarray(mined.negatives.frame) == 5
    assert new.sum() == config.negatives_per_frame
    chosen = loss(np.asarray(mined.negatives.rows.patches)[new], np.asarray(mined.negatives.rows.overlap)[new])
    anywhere = particles.surroundings(config.sampling, jax.random.key(2), 300, 10.0)
    overlap = boxes.iou(
        np.asarray(particles.to_boxes(config.sampling, state.centre, state.size, anywhere)), np.tile(BOX, (300, 1))
    )
    others = loss(particles.patches(config.sampling, maps, anywhere), overlap)[overlap <= 0.5]
    assert np.median(chosen) > np.percentile(others, 75)


def test_the_exact_and_the_shared_evaluation_score_the_same_particle_alike(started):
    frame, state = started
    exact = dataclasses.replace(SMALL, sampling=dataclasses.replace(SMALL.sampling, exact=True))
    one = particles.target(SMALL.sampling)
    several = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf, leaf]), one)
    several = several._replace(row=several.row + jnp.asarray([0.0, 3.0, -5.0]))

    def outputs(config, candidates):
        score = functools.partial(deeptrack._outputs, config)
        return jax.jit(score)(state.network, maps_of(config, frame, state), candidates)

    shared = outputs(SMALL, several)
    alone = outputs(exact, several._replace(level=jnp.zeros(3, jnp.int32)))
    np.testing.assert_allclose(shared, alone, atol=2e-3)


@pytest.mark.parametrize(
    "box", [(20.0, 30.0, 1.0, 1.0), (-10.0, -8.0, 30.0, 30.0), (150.0, 110.0, 40.0, 40.0), (0.0, 0.0, 160.0, 120.0)]
)
def test_targets_of_one_pixel_at_the_border_or_as_large_as_the_image_do_no_harm(box):
    track = run(deeptrack.tracker(SMALL), {}, moving_square(3), np.array(box))
    assert np.isfinite(track.boxes).all()
    assert (track.boxes[:, 2:] > 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: Cues(used=()), "cues.used must be some of 0, 1 and 2"),
        (lambda: Cues(used=(5,)), "cues.used must be some of 0, 1 and 2"),
        (lambda: Config(positives_per_frame=3), "first_positives must be a multiple"),
        (lambda: Config(positive_capacity=8), "at most positive_capacity"),
        (lambda: Config(hard_negatives=1.5), "hard_negatives is a share"),
        (lambda: Sampling(widening=0.5), "widening and widest must be at least 1"),
        (lambda: Config(negatives_per_frame=0), "negatives_per_frame of Config must be greater than 0, not 0"),
        (lambda: Cues(contrast_radii=(0.1, 0.0)), "contrast_radii"),
        (lambda: Sampling(particles=0), "particles of Sampling must be greater than 0"),
        (lambda: Sampling(context=-1.0), "context"),
        (lambda: Sampling(scale_levels=2), "scale_levels must be odd"),
        (lambda: Sampling(scale_std_rel=0.5), "sizes would become negative"),
        (lambda: Sampling(position_std_px=math.nan), "position_std_px"),
        (lambda: Training(negatives=0), "negatives of Training"),
        (lambda: Training(momentum=1.0), "momentum must be less than 1"),
        (lambda: Loss(beta=-1.0), "beta of Loss must be at least 0"),
    ],
)
def test_a_configuration_that_cannot_run_is_refused_in_a_sentence(change, message):
    with pytest.raises(UserError, match=message):
        change()
