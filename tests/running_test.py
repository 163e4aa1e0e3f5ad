"""The contract of trackers, tried on a small one and on DeepTrack with small numbers."""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack import Prediction, Session, Tracker, UserError, images, run, run_batch
from jaxtrack.online.itsgd import Training
from jaxtrack.online.particles import Sampling
from jaxtrack.running import programs
from jaxtrack.trackers import deeptrack


@flax.struct.dataclass
class Wandering:
    """State of a tracker that learns a little: a box, a random key, the mean colour of all boxes so far."""

    box: jax.Array
    key: jax.Array
    colour: jax.Array


def wander_init(params, frame, box, key):
    patch = images.crop(frame.pixels, frame.size, box, (4, 4))
    return Wandering(box, key, params["rate"] * jnp.mean(patch, axis=(0, 1)))


def wander_step(params, state, frame):
    key, move = jax.random.split(state.key)
    patch = images.crop(frame.pixels, frame.size, state.box, (4, 4))
    colour = state.colour + params["rate"] * (jnp.mean(patch, axis=(0, 1)) - state.colour)
    shift = jax.random.normal(move, (2,)) + 0.01 * colour[:2]
    box = state.box.at[:2].add(shift)
    return Wandering(box, key, colour), Prediction(box, jnp.mean(colour), {"colour": colour})


wandering = Tracker(wander_init, wander_step)
small_deeptrack = deeptrack.tracker(
    deeptrack.Config(
        sampling=Sampling(particles=100, reach=(16, 16)),
        negatives_per_frame=20,
        negative_capacity=50,
        positive_capacity=8,
        first_positives=4,
        positives_per_frame=1,
        training=Training(first_rounds=3, rounds=2, positives=4, negatives=4),
    )
)
each_tracker = pytest.mark.parametrize(
    ("tracker", "params"),
    [(wandering, {"rate": np.float32(0.5)}), (small_deeptrack, {})],
    ids=["wandering", "deeptrack"],
)
BOX = np.array([40.0, 30.0, 24.0, 32.0])


class Clip(list):
    def __init__(self, name, seed, length, size=(120, 160)):
        noise = np.random.default_rng(seed).integers(0, 255, (size[0] // 8, size[1] // 8 + length, 3), np.uint8)
        wide = np.repeat(np.repeat(noise, 8, axis=0), 8, axis=1)
        super().__init__(wide[:, 2 * i : 2 * i + size[1]] for i in range(length))
        self.name = name


@pytest.fixture(scope="module")
def clip():
    return Clip("clip", 0, 12)


def assert_same(a, b):
    np.testing.assert_array_equal(a.boxes, b.boxes)
    np.testing.assert_array_equal(a.scores, b.scores)


@each_tracker
def test_two_runs_agree_bit_for_bit_and_start_with_the_given_box(tracker, params, clip):
    first, second = run(tracker, params, clip, BOX, seed=3), run(tracker, params, clip, BOX, seed=3)
    assert_same(first, second)
    assert first.boxes.shape == (12, 4)
    assert first.boxes.dtype == np.float32
    np.testing.assert_array_equal(first.boxes[0], BOX)
    assert all(len(values) == 11 for values in first.diagnostics.values())
    assert (first.seconds > 0).all()


@each_tracker
def test_another_seed_or_another_name_gives_another_run(tracker, params, clip):
    reference = run(tracker, params, clip, BOX, seed=3).boxes
    assert not np.array_equal(run(tracker, params, clip, BOX, seed=4).boxes, reference)
    renamed = Clip("other", 0, 12)
    assert not np.array_equal(run(tracker, params, renamed, BOX, seed=3).boxes, reference)


@each_tracker
def test_one_compilation_serves_videos_of_different_length(tracker, params, clip):
    run(tracker, params, clip, BOX)
    parts = programs(tracker)
    before = (parts.init.compilations, parts.chunk.compilations)
    for length in (2, 16, 17, 23):
        track = run(tracker, params, Clip("longer", 1, length), BOX)
        assert len(track.boxes) == length
        assert track.compile_seconds == 0
    assert (parts.init.compilations, parts.chunk.compilations) == before
    assert before[0] >= 1


@each_tracker
def test_a_longer_video_begins_as_its_beginning_does(tracker, params):
    whole, part = Clip("same", 5, 20), Clip("same", 5, 20)
    del part[9:]
    np.testing.assert_array_equal(run(tracker, params, whole, BOX).boxes[:9], run(tracker, params, part, BOX).boxes)


@each_tracker
def test_a_video_of_one_frame_is_its_first_box(tracker, params):
    track = run(tracker, params, Clip("one", 0, 1), BOX)
    np.testing.assert_array_equal(track.boxes, BOX[None])
    assert all(len(values) == 0 for values in track.diagnostics.values())


@each_tracker
def test_the_canvas_does_not_matter(tracker, params, clip, monkeypatch):
    small = run(tracker, params, clip, BOX, seed=1)
    monkeypatch.setattr(images, "CANVASES", ((640, 800),))
    large = run(tracker, params, clip, BOX, seed=1)
    np.testing.assert_array_equal(small.boxes, large.boxes)


@each_tracker
def test_a_session_gives_the_boxes_of_a_run(tracker, params, clip):
    track = run(tracker, params, clip, BOX, seed=2)
    session = Session(tracker, params, seed=2, name="clip", colour="bgr")
    session.init(clip[0][..., ::-1], BOX)
    # Two programs of the same function may round differently; an online learner amplifies that later.
    for image, box in zip(clip[1:4], track.boxes[1:4], strict=True):
        np.testing.assert_allclose(session.update(image[..., ::-1]).box, box, atol=1e-3)


@each_tracker
def test_a_batch_gives_each_video_the_same_boxes_whatever_its_neighbours(tracker, params, clip):
    others = [Clip("a", 1, 5), Clip("b", 2, 12), Clip("c", 3, 9)]
    seeds = [7, 0, 1, 2]
    together = run_batch(tracker, params, [clip, *others], [BOX] * 4, seeds, width=4)
    alone = run_batch(tracker, params, [clip], [BOX], [7], width=4)
    assert_same(together[0], alone[0])
    assert [len(track.boxes) for track in together] == [12, 5, 12, 9]
    # Another order puts the videos on other lanes and devices.
    turned = run_batch(tracker, params, [*others, clip], [BOX] * 4, [0, 1, 2, 7], width=4)
    for one, other in zip(turned, together[1:] + together[:1], strict=True):
        assert_same(one, other)


@each_tracker
def test_a_batch_agrees_with_a_run_over_the_first_frames(tracker, params, clip):
    single = run(tracker, params, clip, BOX, seed=7)
    lanes = run_batch(tracker, params, [clip, clip], [BOX, BOX], [7, 8], width=4)
    np.testing.assert_allclose(lanes[0].boxes[:10], single.boxes[:10], atol=1e-4)
    assert not np.array_equal(lanes[0].boxes, lanes[1].boxes)


def test_videos_of_several_canvases_come_back_in_the_order_given():
    clips = [Clip("large", 1, 4, (400, 496)), Clip("small", 2, 3), Clip("large too", 3, 5, (400, 496))]
    params = {"rate": np.float32(0.5)}
    done = []
    tracks = run_batch(wandering, params, clips, [BOX] * 3, [0] * 3, width=4, on_progress=done.append)
    for video, track in zip(clips, tracks, strict=True):
        np.testing.assert_allclose(track.boxes, run(wandering, params, video, BOX).boxes, atol=1e-4)
    assert done[-1] == 3 + 4 + 5


def test_a_frame_of_another_size_is_refused_with_its_number(clip):
    video = Clip("broken", 0, 6)
    video[4] = video[4][:100]
    with pytest.raises(UserError, match=r"broken: frame 5 has 160x100 pixels, the first one 160x120"):
        run(wandering, {"rate": np.float32(0.5)}, video, BOX)
    session = Session(wandering, {"rate": np.float32(0.5)})
    session.init(clip[0], BOX)
    with pytest.raises(UserError, match="the image has 160x100"):
        session.update(clip[1][:100])


@pytest.mark.parametrize("box", [[200, 10, 5, 5], [10, 10, 0, 5], [10, 10, -3, 5], [np.nan, 0, 5, 5], [1, 2, 3]])
def test_a_first_box_no_tracker_could_start_from_is_refused(clip, box):
    with pytest.raises(UserError, match="first box"):
        run(wandering, {"rate": np.float32(0.5)}, clip, np.array(box, float))


def test_other_mistakes_get_a_sentence(clip):
    with pytest.raises(UserError, match="has no frames"):
        run(wandering, {}, [], BOX)
    with pytest.raises(UserError, match=r"width 3 does not divide over 4 devices: take one of 4, 8"):
        run_batch(wandering, {}, [clip], [BOX], [0], width=3)
    with pytest.raises(UserError, match="2 boxes"):
        run_batch(wandering, {}, [clip], [BOX, BOX], [0], width=4)
    with pytest.raises(UserError, match="call init"):
        Session(wandering, {}).update(clip[0])
    with pytest.raises(UserError, match="'rgb' or 'bgr'"):
        Session(wandering, {}, colour="hsv")


def test_a_batch_that_does_not_fit_into_memory_is_refused_in_words(clip):
    def huge(params, frame, box, key):
        return wander_init(params, frame, box, key), jnp.zeros((1 << 45,), jnp.uint8)

    def step(params, state, frame):
        new, prediction = wander_step(params, state[0], frame)
        return (new, state[1]), prediction

    with pytest.raises(UserError, match="4 videos side by side do not fit into the memory of 4 x cpu"):
        run_batch(Tracker(huge, step), {"rate": np.float32(0.5)}, [clip], [BOX], [0], width=4)


def test_equal_configurations_share_one_tracker():
    config = deeptrack.Config()
    assert deeptrack.tracker(config) is deeptrack.tracker(dataclasses.replace(config))
