import dataclasses

import cv2
import numpy as np
import pytest

from jaxtrack.errors import UserError
from jaxtrack.trackers import opencv

CONTRIB = [name for name, config in opencv.CONFIGS.items() if hasattr(cv2, config.factory)]
# Fewer samples than by default: the same code in a fifth of the time.
SMALL_MIL = opencv.MilConfig(search_radius_px=10.0, init_max_negatives=20, track_max_negatives=20)
FIRST_BOX = (20.0, 15.0, 16.0, 12.0)


def video(frames=6):
    """A textured rectangle of 16 x 12 pixels that moves by (2, 1) a frame over a textured ground."""
    random = np.random.default_rng(0)
    ground = cv2.GaussianBlur(random.integers(0, 120, (64, 80, 3), np.uint8), (0, 0), 2)
    target = cv2.resize(random.integers(100, 256, (3, 4, 3), np.uint8), (16, 12), interpolation=cv2.INTER_NEAREST)
    images = np.stack([ground] * frames)
    for i, image in enumerate(images):
        image[15 + i : 27 + i, 20 + 2 * i : 36 + 2 * i] = target
    return images


def track(config, seed=0, box=FIRST_BOX, images=None):
    images = video() if images is None else images
    session = opencv.session(config, seed=seed)
    session.init(images[0], box)
    return [session.update(image) for image in images[1:]]


def boxes(predictions):
    return np.stack([prediction.box for prediction in predictions])


class FakeOpencv:
    """Stands for an OpenCV tracker: keeps what it is given, answers what it is told."""

    def __init__(self, answers=(), init_error=None):
        self.answers, self.init_error, self.images, self.box = list(answers), init_error, [], None

    def init(self, image, box):
        self.images.append(image)
        self.box = box
        if self.init_error:
            raise self.init_error

    def update(self, image):
        self.images.append(image)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def fake(monkeypatch):
    def install(*answers, init_error=None):
        tracker = FakeOpencv(answers, init_error)
        monkeypatch.setattr(opencv, "_factory", lambda config: (lambda params: tracker, None))
        return tracker

    return install


@pytest.mark.parametrize("name", CONTRIB)
def test_follows_a_target_that_moves(name):
    config = SMALL_MIL if name == "opencv-mil" else opencv.CONFIGS[name]
    predictions = track(config, images=video(10))
    last = predictions[-1]
    np.testing.assert_allclose(last.box[:2], [20 + 2 * 9, 15 + 9], atol=4)
    assert last.box.dtype == np.float32
    assert last.score == 1


@pytest.mark.parametrize("name", CONTRIB)
def test_default_options_are_those_of_opencv(name):
    config = opencv.CONFIGS[name]
    standard = getattr(cv2, f"{config.factory}_Params")()
    for field in dataclasses.fields(config):
        opencv_value = getattr(standard, field.metadata.get("opencv", field.name))
        assert getattr(config, field.name) == pytest.approx(opencv_value, rel=1e-6), field.name


def test_options_reach_opencv():
    _, params = opencv._factory(opencv.MilConfig(search_radius_px=7.0, track_max_negatives=11))
    assert (params.samplerSearchWinSize, params.samplerTrackMaxNegNum) == (7.0, 11)


def test_two_runs_with_one_seed_agree_whatever_was_drawn_between_them():
    first = boxes(track(SMALL_MIL, seed=3))
    track(SMALL_MIL, seed=4)
    cv2.randu(np.zeros((7, 7), np.uint8), 0, 255)
    np.testing.assert_array_equal(boxes(track(SMALL_MIL, seed=3)), first)


def test_the_seed_matters():
    runs = [boxes(track(SMALL_MIL, seed=seed)).tobytes() for seed in range(4)]
    assert len(set(runs)) > 1


def test_opencv_is_given_bgr_and_whole_pixels(fake):
    tracker = fake((True, (1, 2, 3, 4)))
    image = np.zeros((20, 30, 3), np.uint8)
    image[..., 0] = 255  # red
    session = opencv.session(opencv.MilConfig(), seed=0)
    session.init(image, (4.4, 5.6, 10.0, 8.0))
    session.update(image)
    assert tracker.box == (4, 6, 10, 8)  # 4.4 to 14.4 and 5.6 to 13.6, rounded
    for given in tracker.images:
        assert given.flags.c_contiguous
        np.testing.assert_array_equal(given[0, 0], [0, 0, 255])


def test_a_lost_target_keeps_the_last_box_with_score_0(fake):
    fake((True, (8, 9, 5, 5)), (False, (0, 0, 0, 0)), cv2.error("inside OpenCV"), (True, (7, 7, 5, 5)))
    predictions = track(opencv.MilConfig(), images=video(5))
    np.testing.assert_array_equal(boxes(predictions), [[8, 9, 5, 5], [8, 9, 5, 5], [8, 9, 5, 5], [7, 7, 5, 5]])
    assert [float(p.score) for p in predictions] == [1, 0, 0, 1]


def test_an_empty_box_counts_as_lost(fake):
    fake((True, (5, 5, 0, 4)), (True, (5, 5, 4, 0)))
    predictions = track(opencv.MilConfig(), images=video(3))
    np.testing.assert_array_equal(boxes(predictions), [FIRST_BOX] * 2)
    assert [float(p.score) for p in predictions] == [0, 0]


def test_what_opencv_complains_of_in_every_frame_is_said_once(fake, caplog):
    fake(cv2.error("first"), cv2.error("second"))
    track(opencv.MilConfig(), images=video(3))
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == ["first"]


def test_a_tracker_that_cannot_start_stays_on_the_first_box_and_says_so(fake, caplog):
    fake(init_error=cv2.error("no samples"))
    predictions = track(opencv.MilConfig(), box=(20.5, 15.0, 16.0, 12.0))
    np.testing.assert_array_equal(boxes(predictions), [[20.5, 15, 16, 12]] * 5)
    assert all(p.score == 0 for p in predictions)
    assert [record.getMessage() for record in caplog.records] == [
        "OpenCV fails, the box stays at [20.5, 15.0, 16.0, 12.0]: no samples"
    ]


def test_a_target_as_large_as_the_image_does_not_stop_the_run():
    predictions = track(SMALL_MIL, box=(0, 0, 80, 64))
    assert [float(p.score) for p in predictions] == [0] * 5


@pytest.mark.parametrize("box", [(-6.0, -5.0, 16.0, 12.0), (70.0, 58.0, 16.0, 12.0), (40.0, 30.0, 1.0, 1.0)])
def test_a_target_at_the_border_or_of_one_pixel_can_be_tracked(box):
    assert all(p.score == 1 for p in track(SMALL_MIL, box=box))


@pytest.mark.parametrize(
    ("box", "least", "expected"),
    [
        ((3.0, 4.0, 10.0, 20.0), 2, (3, 4, 10, 20)),
        ((3.4, 4.6, 10.0, 20.0), 2, (3, 5, 10, 20)),
        ((-5.0, -2.0, 10.0, 20.0), 2, (0, 0, 5, 18)),
        ((95.0, 45.0, 10.0, 20.0), 2, (95, 45, 5, 5)),
        ((50.0, 20.0, 1.0, 1.0), 5, (48, 18, 5, 5)),
        ((99.0, 49.0, 1.0, 1.0), 5, (95, 45, 5, 5)),
        ((0.0, 0.0, 1.0, 1.0), 5, (0, 0, 5, 5)),
        ((-0.9, 10.0, 1.0, 10.0), 5, (0, 10, 5, 10)),
        ((0.0, 0.0, 100.0, 50.0), 5, (0, 0, 100, 50)),
        ((0.0, 0.0, 100.0, 50.0), 200, (0, 0, 100, 50)),
    ],
)
def test_boxes_of_whole_pixels_stay_inside_the_image_of_100_x_50(box, least, expected):
    assert opencv.whole_pixels(box, (50, 100), least) == expected


def test_a_build_without_the_tracker_says_what_to_install(monkeypatch):
    monkeypatch.delattr(cv2, "TrackerCSRT", raising=False)
    with pytest.raises(UserError, match=r"has no TrackerCSRT.*pip install opencv-contrib-python-headless"):
        opencv.session(opencv.CsrtConfig(), seed=0)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_numbers_that_would_crash_opencv_are_refused(value):
    with pytest.raises(UserError, match="search_radius_px of MilConfig must be greater than 0"):
        opencv.MilConfig(search_radius_px=value)


def test_a_switch_may_be_off():
    assert not opencv.CsrtConfig(use_hog=False).use_hog


def test_frames_of_another_size_are_refused():
    session = opencv.session(SMALL_MIL, seed=0)
    session.init(video(1)[0], FIRST_BOX)
    with pytest.raises(UserError, match="the image has 80x32 pixels, the first one 80x64"):
        session.update(video(1)[0][:32])


def test_update_before_init_is_refused():
    with pytest.raises(UserError, match="call init"):
        opencv.session(SMALL_MIL, seed=0).update(video(1)[0])


def test_a_box_outside_the_image_is_refused():
    with pytest.raises(UserError, match="outside the image"):
        opencv.session(SMALL_MIL, seed=0).init(video(1)[0], (100.0, 5.0, 10.0, 10.0))
