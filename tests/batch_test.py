"""Running many videos side by side."""

import types

import cv2
import jax.numpy as jnp
import numpy as np
import pytest
from contract import (
    BOX,
    WANDERING_PARAMS,
    Clip,
    assert_same,
    each_drawing_tracker,
    each_tracker,
    wander_init,
    wander_step,
    wandering,
)

from jaxtrack import Tracker, UserError, batch, compilation, run, run_batch


@pytest.fixture(scope="module")
def clip():
    return Clip("clip", 0, 12)


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


@each_drawing_tracker
def test_lanes_with_other_seeds_give_other_runs(tracker, params, clip):
    one, other = run_batch(tracker, params, [clip, clip], [BOX, BOX], [7, 8], width=4)
    assert not np.array_equal(one.boxes, other.boxes)


def test_videos_of_several_canvases_come_back_in_the_order_given():
    clips = [Clip("large", 1, 4, (400, 496)), Clip("small", 2, 3), Clip("large too", 3, 5, (400, 496))]
    done = []
    tracks = run_batch(wandering, WANDERING_PARAMS, clips, [BOX] * 3, [0] * 3, width=4, on_progress=done.append)
    for video, track in zip(clips, tracks, strict=True):
        np.testing.assert_allclose(track.boxes, run(wandering, WANDERING_PARAMS, video, BOX).boxes, atol=1e-4)
    assert done[-1] == 3 + 4 + 5


def test_a_batch_that_does_not_fit_into_memory_is_refused_in_words(clip):
    def huge(params, frame, box, key):
        return wander_init(params, frame, box, key), jnp.zeros((1 << 45,), jnp.uint8)

    def step(params, state, frame):
        new, prediction = wander_step(params, state[0], frame)
        return (new, state[1]), prediction

    with pytest.raises(UserError, match="4 videos side by side do not fit into the memory of 4 x cpu"):
        run_batch(Tracker(huge, step), WANDERING_PARAMS, [clip], [BOX], [0], width=4)


def test_a_batch_that_will_not_fit_is_refused_before_it_runs(clip, monkeypatch):
    monkeypatch.setattr(compilation, "_memory_bytes", lambda devices: 1000)
    with pytest.raises(UserError, match=r"8 videos side by side .* \(the program needs .* on each device"):
        run_batch(wandering, WANDERING_PARAMS, [clip], [BOX], [0], width=8)


def test_widths_and_lists_that_do_not_fit_together_are_refused(clip):
    with pytest.raises(UserError, match=r"width 3 does not divide over 4 devices: take one of 4, 8"):
        run_batch(wandering, {}, [clip], [BOX], [0], width=3)
    with pytest.raises(UserError, match=r"got 1 videos, 2 boxes, 1 seeds: give one of each a run$"):
        run_batch(wandering, {}, [clip], [BOX, BOX], [0], width=4)
    with pytest.raises(UserError, match=r"got 1 videos, 2 boxes: give one of each a run$"):
        run_batch(wandering, {}, [clip], [BOX, BOX], width=4)


def test_by_default_the_seed_is_0_and_a_device_has_one_lane_on_cpus(clip):
    given = run_batch(wandering, WANDERING_PARAMS, [clip, clip], [BOX, BOX], [0, 0], width=4)
    by_default = run_batch(wandering, WANDERING_PARAMS, [clip, clip], [BOX, BOX])
    one_for_all = run_batch(wandering, WANDERING_PARAMS, [clip, clip], [BOX, BOX], 7)
    for track, other in zip(given, by_default, strict=True):
        assert_same(track, other)
    assert_same(one_for_all[0], one_for_all[1])
    assert not np.array_equal(one_for_all[0].boxes, given[0].boxes)


def test_the_default_width_follows_from_the_devices_alone(clip, monkeypatch):
    widths = []

    def note(tracker, params, lanes, width, devices, report):
        widths.append((len(lanes), width))
        return [None] * len(lanes)

    monkeypatch.setattr(batch, "_run_lanes", note)
    gpu = types.SimpleNamespace(platform="gpu")
    for devices, count in ((None, 5), (None, 1), ([gpu, gpu], 17)):
        run_batch(wandering, WANDERING_PARAMS, [clip] * count, [BOX] * count, devices=devices)
    assert widths == [(4, 4), (1, 4), (1, 4), (16, 16), (1, 16)]


def test_videos_may_be_paths_and_lists_may_be_iterators(clip, tmp_path):
    cv2.imwrite(str(tmp_path / "1.png"), clip[0])
    [track] = run_batch(wandering, WANDERING_PARAMS, (str(tmp_path) for _ in range(1)), iter([BOX]))  # type: ignore
    assert track.boxes.tolist() == [BOX.tolist()]


def test_mistakes_get_a_sentence(clip):
    with pytest.raises(UserError, match="a tracker is a pair of functions"):
        run_batch("siamban_nano", {}, [clip], [BOX])  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"a list of videos, not the path of one: \['frames'\]"):
        run_batch(wandering, WANDERING_PARAMS, "frames", [BOX])  # type: ignore[arg-type]
    with pytest.raises(UserError, match="not a list_iterator"):
        run_batch(wandering, WANDERING_PARAMS, [iter(clip)], [BOX])  # type: ignore[arg-type]
