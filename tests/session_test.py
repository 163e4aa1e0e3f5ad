"""Running frame by frame."""

import numpy as np
import pytest
from contract import BOX, WANDERING_PARAMS, Clip, each_tracker, wandering

from jaxtrack import Session, UserError, run
from jaxtrack.trackers import siamese


@pytest.fixture(scope="module")
def clip():
    return Clip("clip", 0, 12)


@each_tracker
def test_a_session_gives_the_boxes_of_a_run(tracker, params, clip):
    track = run(tracker, params, clip, BOX, seed=2)
    session = Session(tracker, params, seed=2, name="clip", colour="bgr")
    session.init(clip[0][..., ::-1], BOX)
    # Two programs of the same function may round differently; an online learner amplifies that later.
    for image, box in zip(clip[1:4], track.boxes[1:4], strict=True):
        np.testing.assert_allclose(session.update(image[..., ::-1]).box, box, atol=1e-3)


def test_a_frame_of_another_size_is_refused(clip):
    session = Session(wandering, WANDERING_PARAMS)
    session.init(clip[0], BOX)
    with pytest.raises(UserError, match="the image has 160x100"):
        session.update(clip[1][:100])


def test_other_mistakes_get_a_sentence(clip):
    with pytest.raises(UserError, match="call init"):
        Session(wandering, {}).update(clip[0])
    with pytest.raises(UserError, match="'rgb' or 'bgr'"):
        Session(wandering, {}, colour="hsv")
    with pytest.raises(UserError, match="not 'siamban_nano'"):
        Session("siamban_nano", {})  # type: ignore[arg-type]
    with pytest.raises(UserError, match="not 'weights'"):
        Session(wandering, "weights")


def test_a_camera_at_its_end_is_told(clip):
    session = Session(wandering, WANDERING_PARAMS)
    with pytest.raises(UserError, match="the image is None"):
        session.init(None, BOX)  # type: ignore[arg-type]
    session.init(clip[0], BOX)
    with pytest.raises(UserError, match="the image is None"):
        session.update(None)  # type: ignore[arg-type]
    session.update(clip[1])  # goes on


@pytest.mark.parametrize("box", ["28,20,16,16", (1, 2, 3), (1, 2, 0, 4), (np.nan, 2, 3, 4), (500, 20, 9, 9)])
def test_a_first_box_no_tracker_could_start_from_is_refused(clip, box):
    with pytest.raises(UserError, match="the first frame: the first box"):
        Session(wandering, WANDERING_PARAMS).init(clip[0], box)


def test_a_tracker_that_needs_parameters_says_so(clip):
    session = Session(siamese.tracker(siamese.CONFIGS["siamban_nano"]))
    with pytest.raises(UserError, match="not those of the network siamban_nano: there are none"):
        session.init(clip[0], BOX)


def test_grey_images_and_a_fourth_channel_are_taken(clip):
    def second(images, **options):
        session = Session(wandering, WANDERING_PARAMS, **options)
        session.init(images[0], BOX)
        return session.update(images[1]).box

    pair = np.stack(clip[:2])
    bgra = np.concatenate([pair[..., ::-1], pair[..., :1]], axis=-1)
    np.testing.assert_array_equal(second(bgra, colour="bgr"), second(pair))
    grey = pair[..., 0]
    np.testing.assert_array_equal(second(grey), second(np.repeat(grey[..., None], 3, axis=-1)))
