import numpy as np
import pytest
from walking import WALK

from jaxtrack import trackers
from jaxtrack.errors import UserError
from jaxtrack.integrations.sessions import Sessions, Target
from jaxtrack.running import programs
from jaxtrack.tracker import Prediction
from jaxtrack.trackers import opencv

IMAGE = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
BOX = (20.0, 16.0, 16.0, 12.0)


class Says:
    def __init__(self, *boxes):
        self.boxes = iter(boxes)

    def init(self, image, box):
        pass

    def update(self, image):
        return Prediction(np.array(next(self.boxes), np.float32), np.float32(0.5), {})


def test_where_a_box_is_not_finite_the_one_before_is_answered():
    nan = float("nan")
    target = Target(Says((nan, 1, 2, 3), (1, 2, 3, 4), (5, 6, 7, float("inf"))))
    target.init(IMAGE, BOX)
    assert [target.update(IMAGE)[0].tolist() for _ in range(3)] == [list(BOX), [1, 2, 3, 4], [1, 2, 3, 4]]


def test_a_canvas_is_compiled_for_once(walk):
    sessions = Sessions("siamban_nano")
    for height, width in ((48, 64), (50, 70), (480, 640), (400, 500)):
        sessions.warm_up(np.zeros((height, width, 3), np.uint8))
    assert [image.shape[:2] for image in walk] == [(48, 64), (480, 640)]


def test_the_warm_up_leaves_no_program_to_compile(walk):
    sessions = Sessions("siamban_nano")
    sessions.warm_up(np.zeros((700, 900, 3), np.uint8))
    before = [program.compile_seconds for program in programs(WALK)]
    target = sessions.begin(0, "")
    target.init(np.zeros((700, 1000, 3), np.uint8), BOX)
    target.update(np.zeros((700, 1000, 3), np.uint8))
    assert [program.compile_seconds for program in programs(WALK)] == before


def test_trackers_of_opencv_and_configurations_will_do():
    fast = opencv.MilConfig(search_radius_px=6, init_max_negatives=8, track_max_negatives=8)
    sessions = Sessions(fast)
    assert sessions.name == "opencv-mil"
    sessions.warm_up(IMAGE)
    target = sessions.begin(0, "")
    target.init(IMAGE, BOX)
    box, score = target.update(IMAGE)
    assert np.abs(box - BOX).max() < 8
    assert isinstance(score, float)
    assert Sessions("OpenCV_MIL").name == "opencv-mil"


def test_an_unknown_tracker_is_refused():
    with pytest.raises(UserError, match="There is no tracker called 'siambam_nano': did you mean siamban_nano"):
        Sessions("siambam_nano")
    assert "siamban_nano" in trackers.names()
