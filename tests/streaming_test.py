"""Tracking piece by piece: the boxes are those of a run, whatever the kind of tracker and the number of targets."""

import numpy as np
import pytest
from contract import BOX, WANDERING_PARAMS, Clip, small_siamese, wandering

from jaxtrack import UserError, run
from jaxtrack.lanes import side_by_side
from jaxtrack.running import programs
from jaxtrack.streaming import stream, stream_sessions
from jaxtrack.tracker import Tracker
from jaxtrack.trackers import opencv

OTHER = np.array([80.0, 50.0, 20.0, 24.0])


class Endless:
    """Frames without a length, as a camera's or those of a file; notes how far it was read."""

    def __init__(self, clip, name="clip"):
        self.name, self._clip, self.furthest = name, list(clip), 0

    def __getitem__(self, index):
        image = self._clip[index]
        self.furthest = max(self.furthest, index)
        return image


def joined(pieces):
    """(images, boxes [N, K, 4], scores [N, K]) of all pieces."""
    pieces = list(pieces)
    images = [image for piece in pieces for image in piece.images]
    return images, *(np.concatenate(leaves) for leaves in ([p.boxes for p in pieces], [p.scores for p in pieces]))


@pytest.fixture(scope="module")
def clip():
    return Clip("clip", 0, 20)


TRACKERS = [pytest.param(wandering, WANDERING_PARAMS, id="wandering"), pytest.param(*small_siamese(), id="siamese")]


@pytest.mark.parametrize(("tracker", "params"), TRACKERS)
@pytest.mark.parametrize("length", [1, 2, 17, 20])  # one frame, part of a chunk, a whole one, and more
def test_a_target_s_boxes_are_those_of_a_run_bit_for_bit(tracker, params, length):
    part = Clip("clip", 0, 20)[:length]
    named = Clip("clip", 0, 20)
    del named[length:]
    track = run(tracker, params, named, BOX, seed=3)
    images, boxes, scores = joined(stream(tracker, params, Endless(part), BOX[None], 3))
    np.testing.assert_array_equal(boxes[:, 0], track.boxes)
    np.testing.assert_array_equal(scores[:, 0], track.scores)
    assert len(images) == length
    for image, original in zip(images, part, strict=True):
        np.testing.assert_array_equal(image, original)


def test_a_run_and_its_pieces_share_their_programs(clip):
    run(wandering, WANDERING_PARAMS, clip, BOX)
    before = programs(wandering).chunk.compilations
    pieces = list(stream(wandering, WANDERING_PARAMS, Endless(clip), BOX[None]))
    assert programs(wandering).chunk.compilations == before
    assert [piece.compile_seconds for piece in pieces] == [0] * len(pieces)
    assert all(piece.seconds > 0 for piece in pieces)


@pytest.mark.parametrize("live", [False, True])
def test_what_compiling_takes_is_told_in_the_pieces_that_waited_for_it(clip, live):
    fresh = Tracker(wandering.init, lambda *arguments: wandering.step(*arguments))
    start, first, *others = stream(fresh, WANDERING_PARAMS, Endless(clip), BOX[None], live=live)
    assert start.compile_seconds > 0
    assert first.compile_seconds > 0
    assert [piece.compile_seconds for piece in others] == [0] * (18 if live else 1)


def test_a_target_among_several_has_the_boxes_that_it_has_alone(clip):
    tracker, params = wandering, WANDERING_PARAMS
    _, boxes, scores = joined(stream(tracker, params, Endless(clip), np.stack([BOX, OTHER, BOX]), 3))
    assert boxes.shape == (20, 3, 4)
    assert scores.shape == (20, 3)
    # Its neighbours do not matter, bit for bit; alone it is another program, which may round differently.
    np.testing.assert_array_equal(boxes[:, 0], boxes[:, 2])
    _, turned, _ = joined(stream(tracker, params, Endless(clip), np.stack([OTHER, BOX, OTHER]), 3))
    np.testing.assert_array_equal(turned[:, 1], boxes[:, 0])
    for k, box in enumerate((BOX, OTHER)):
        np.testing.assert_allclose(boxes[:, k], run(tracker, params, clip, box, seed=3).boxes, atol=1e-3)


def test_several_targets_are_one_program_whatever_the_video_s_length(clip):
    lanes = programs(side_by_side(wandering))
    list(stream(wandering, WANDERING_PARAMS, Endless(clip), np.stack([BOX, OTHER])))
    before = (lanes.init.compilations, lanes.chunk.compilations)
    list(stream(wandering, WANDERING_PARAMS, Endless(clip[:9]), np.stack([OTHER, OTHER])))
    assert (lanes.init.compilations, lanes.chunk.compilations) == before
    assert min(before) >= 1


@pytest.mark.parametrize("targets", [1, 2])
def test_a_live_video_is_tracked_frame_by_frame_as_it_comes(clip, targets):
    given = np.stack([BOX, OTHER])[:targets]
    video = Endless(clip)
    read = []
    pieces = []
    for piece in stream(wandering, WANDERING_PARAMS, video, given, 3, live=True):
        read.append(video.furthest)
        pieces.append(piece)
    assert read == list(range(20))
    _, boxes, _ = joined(pieces)
    _, chunked, _ = joined(stream(wandering, WANDERING_PARAMS, Endless(clip), given, 3))
    np.testing.assert_allclose(boxes, chunked, atol=1e-3)


def test_a_video_is_not_read_far_ahead(clip):
    video = Endless([*clip] * 5)
    pieces = stream(wandering, WANDERING_PARAMS, video, BOX[None])
    for _ in range(2):
        next(pieces)
    pieces.close()
    assert video.furthest < 3 * 16 + 1


def test_sessions_see_every_frame_and_know_nothing_of_one_another(clip):
    config = opencv.MilConfig(search_radius_px=6, init_max_negatives=8, track_max_negatives=8)

    def boxes_of(given):
        sessions = [opencv.session(config, seed=5) for _ in given]
        return joined(stream_sessions(sessions, Endless(clip[:6]), np.stack(given)))[1]

    together = boxes_of([BOX, OTHER])
    assert together.shape == (6, 2, 4)
    np.testing.assert_array_equal(together[0], np.stack([BOX, OTHER]))
    for k, box in enumerate((BOX, OTHER)):
        np.testing.assert_array_equal(together[:, k], boxes_of([box])[:, 0])
    assert not np.array_equal(together[5], together[0])


@pytest.mark.parametrize("live", [False, True])
def test_a_frame_of_another_size_is_refused_with_its_number(clip, live):
    broken = [*clip[:7], clip[7][:100], *clip[8:]]
    with pytest.raises(UserError, match="clip: frame 7 has 160x100 pixels, the first one 160x120"):
        list(stream(wandering, WANDERING_PARAMS, Endless(broken), BOX[None], live=live))
    session = opencv.session(opencv.MilConfig(search_radius_px=6), seed=0)
    with pytest.raises(UserError, match="clip: frame 7 has 160x100 pixels"):
        list(stream_sessions([session], Endless(broken), BOX[None]))


@pytest.mark.parametrize("live", [False, True])
def test_the_frames_before_one_that_is_refused_are_tracked_as_without_it(clip, live):
    broken = [*clip[:7], clip[7][:100], *clip[8:]]
    pieces = []
    with pytest.raises(UserError, match="frame 7"):
        pieces.extend(stream(wandering, WANDERING_PARAMS, Endless(broken), BOX[None], live=live))
    _, boxes, _ = joined(pieces)
    _, expected, _ = joined(stream(wandering, WANDERING_PARAMS, Endless(clip[:7]), BOX[None], live=live))
    np.testing.assert_array_equal(boxes, expected)


def test_a_video_without_frames_is_refused():
    with pytest.raises(UserError, match="the video has no frames"):
        next(stream(wandering, WANDERING_PARAMS, [], BOX[None]))
    with pytest.raises(UserError, match="the video has no frames"):
        next(stream_sessions([], [], BOX[None]))
