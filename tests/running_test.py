"""Running over a video."""

import dataclasses

import cv2
import numpy as np
import pytest
from contract import BOX, WANDERING_PARAMS, Clip, assert_same, each_drawing_tracker, each_tracker, wandering

from jaxtrack import UserError, images, run
from jaxtrack.running import programs
from jaxtrack.trackers import deeptrack


@pytest.fixture(scope="module")
def clip():
    return Clip("clip", 0, 12)


@each_tracker
def test_two_runs_agree_bit_for_bit_and_start_with_the_given_box(tracker, params, clip):
    first, second = run(tracker, params, clip, BOX, seed=3), run(tracker, params, clip, BOX, seed=3)
    assert_same(first, second)
    assert first.boxes.shape == (12, 4)
    assert first.boxes.dtype == np.float32
    np.testing.assert_array_equal(first.boxes[0], BOX)
    assert all(len(values) == 11 for values in first.diagnostics.values())
    assert (first.seconds > 0).all()


@each_drawing_tracker
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


def test_a_frame_of_another_size_is_refused_with_its_number():
    video = Clip("broken", 0, 6)
    video[4] = video[4][:100]
    with pytest.raises(UserError, match=r"broken: frame 4 has 160x100 pixels, the first one 160x120"):
        run(wandering, WANDERING_PARAMS, video, BOX)


def test_an_image_that_is_none_is_refused_with_its_number(clip):
    with pytest.raises(UserError, match="the video: frame 2 is None"):
        run(wandering, WANDERING_PARAMS, [*clip[:2], None], BOX)
    with pytest.raises(UserError, match="the video: frame 0 is None"):
        run(wandering, WANDERING_PARAMS, [None], BOX)


@pytest.mark.parametrize(
    ("video", "sentence"),
    [
        ((image for image in Clip("c", 0, 2)), r"not a generator: list\(\.\.\.\) makes a list"),
        (iter(Clip("c", 0, 2)), "not a list_iterator"),
        (None, "not a NoneType"),
        (Clip("c", 0, 1)[0], r"a list of images, not a single image \[120, 160, 3\]"),
        ("nowhere", "there is no folder nowhere"),
    ],
)
def test_what_is_no_video_is_answered_with_what_to_give(video, sentence):
    with pytest.raises(UserError, match=sentence):
        run(wandering, WANDERING_PARAMS, video, BOX)


def test_paths_of_images_and_their_folder_are_videos(clip, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(12)]
    for path, image in zip(paths, clip, strict=True):
        cv2.imwrite(str(path), image[..., ::-1])
    arrays = run(wandering, WANDERING_PARAMS, list(clip), BOX)
    for video in (paths, tuple(map(str, paths)), tmp_path, str(tmp_path)):
        assert_same(run(wandering, WANDERING_PARAMS, video, BOX), arrays)


def test_arrays_in_one_array_are_a_video(clip):
    arrays = run(wandering, WANDERING_PARAMS, list(clip), BOX)
    assert_same(run(wandering, WANDERING_PARAMS, np.stack(clip), BOX), arrays)


def test_what_is_no_tracker_and_what_are_no_parameters_is_told(clip):
    with pytest.raises(UserError, match="a tracker is a pair of functions"):
        run("siamban_nano", WANDERING_PARAMS, clip, BOX)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="params must be an array, not 'weights'"):
        run(wandering, "weights", clip, BOX)


def test_a_box_as_a_text_is_refused(clip):
    with pytest.raises(
        UserError, match="clip: the first box must be four finite numbers x, y, w, h, not '28,20,16,16'"
    ):
        run(wandering, WANDERING_PARAMS, clip, "28,20,16,16")


@pytest.mark.parametrize("box", [[200, 10, 5, 5], [10, 10, 0, 5], [10, 10, -3, 5], [np.nan, 0, 5, 5], [1, 2, 3]])
def test_a_first_box_no_tracker_could_start_from_is_refused(clip, box):
    with pytest.raises(UserError, match="first box"):
        run(wandering, WANDERING_PARAMS, clip, np.array(box, float))


def test_a_video_without_frames_is_refused():
    with pytest.raises(UserError, match="has no frames"):
        run(wandering, WANDERING_PARAMS, [], BOX)


def test_equal_configurations_share_one_tracker():
    config = deeptrack.Config()
    assert deeptrack.tracker(config) is deeptrack.tracker(dataclasses.replace(config))
