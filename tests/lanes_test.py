import numpy as np
import pytest
import walking
from walking import WALK

from jaxtrack.errors import UserError
from jaxtrack.lanes import Lanes
from jaxtrack.session import Session
from jaxtrack.tracker import Tracker

IMAGE = np.zeros((48, 64, 3), np.uint8)


PARAMS = np.float32(0.5)


def session_boxes(seed, name, box, frames):
    session = Session(WALK, PARAMS, seed=seed, name=name)
    session.init(IMAGE, box)
    return np.stack([session.update(IMAGE).box for _ in range(frames)])


def test_each_lane_answers_as_a_session_with_its_seed_and_start():
    lanes = Lanes(WALK, PARAMS, 3)
    for lane in range(3):
        lanes.init(lane, IMAGE, (20 + lane, 10, 8, 8), seed=lane, name="toy")
    boxes = [lanes.update(IMAGE).box for _ in range(2)]
    lanes.init(1, IMAGE, (30, 10, 8, 8), seed=1, name="toy@3")
    boxes += [lanes.update(IMAGE).box for _ in range(2)]
    boxes = np.stack(boxes, 1)
    assert boxes.shape == (3, 4, 4)
    for lane in (0, 2):
        expected = session_boxes(lane, "toy", (20 + lane, 10, 8, 8), 4)
        assert boxes[lane] == pytest.approx(expected, abs=1e-4)
    assert boxes[1, :2] == pytest.approx(session_boxes(1, "toy", (21, 10, 8, 8), 2), abs=1e-4)
    assert boxes[1, 2:] == pytest.approx(session_boxes(1, "toy@3", (30, 10, 8, 8), 2), abs=1e-4)


def test_lanes_that_start_one_after_another_do_not_disturb_each_other():
    lanes = Lanes(WALK, PARAMS, 2)
    lanes.init(1, IMAGE, (20, 10, 8, 8), seed=5, name="toy")
    first = lanes.update(IMAGE).box[1]
    lanes.init(0, IMAGE, (9, 9, 9, 9), seed=6, name="toy")
    boxes = lanes.update(IMAGE).box
    assert np.stack([first, boxes[1]]) == pytest.approx(session_boxes(5, "toy", (20, 10, 8, 8), 2), abs=1e-4)
    assert boxes[0] == pytest.approx(session_boxes(6, "toy", (9, 9, 9, 9), 1)[0], abs=1e-4)


def test_what_compiling_takes_is_told():
    lanes = Lanes(Tracker(walking._init, lambda p, s, f: walking._step(p, s, f)), PARAMS, 2)
    assert lanes.compile_seconds == 0
    lanes.init(0, IMAGE, (20, 10, 8, 8), seed=0, name="toy")
    lanes.update(IMAGE)
    assert lanes.compile_seconds > 0


def test_mistakes_are_told():
    lanes = Lanes(WALK, PARAMS, 2)
    with pytest.raises(UserError, match=r"call init\(lane, image, box\) before update"):
        lanes.update(IMAGE)
    with pytest.raises(UserError, match=r"toy: the first box .* lies outside the image"):
        lanes.init(0, IMAGE, (99, 10, 8, 8), seed=0, name="toy")
    lanes.init(0, IMAGE, (20, 10, 8, 8), seed=0, name="toy")
    with pytest.raises(UserError, match="the image has 64x40 pixels, the first one 64x48"):
        lanes.update(IMAGE[:40])
