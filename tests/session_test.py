"""Running frame by frame."""

import numpy as np
import pytest
from contract import BOX, WANDERING_PARAMS, Clip, each_tracker, wandering

from jaxtrack import Session, UserError, run


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
