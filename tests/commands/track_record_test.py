"""What `track` keeps: the file of boxes, where scores are low, where they fell."""

import numpy as np
import pytest

from jaxtrack.commands._track_record import HEADER, Fall, Record, falls, lowest
from jaxtrack.streaming import Piece

IMAGE = np.zeros((4, 4, 3), np.uint8)


def piece(boxes, scores, seconds=0.5, compile_seconds=0.0):
    """Of boxes [n, K, 4] and scores [n, K]."""
    boxes, scores = np.asarray(boxes, np.float32), np.asarray(scores, np.float32)
    return Piece([IMAGE] * len(boxes), boxes, scores, seconds, compile_seconds)


FIRST = [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_the_file_has_a_row_for_each_target_in_each_frame():
    record = Record(7)
    record.add(piece([FIRST], [[1, 1]]))
    record.add(piece([[[1.5, -2, 3, 4], [0.1, 6, 7, 8]]], [[0.25, -3]]))
    assert record.text().splitlines() == [
        HEADER,
        "7,0,1.0,2.0,3.0,4.0,1.0",
        "7,1,5.0,6.0,7.0,8.0,1.0",
        "8,0,1.5,-2.0,3.0,4.0,0.25",
        "8,1,0.1,6.0,7.0,8.0,-3.0",
    ]
    assert record.text().endswith("\n")


def test_numbers_of_the_file_read_back_as_the_same_float32():
    numbers = np.random.default_rng(0).normal(size=(50, 1, 4)).astype(np.float32) * 10.0 ** np.arange(-4, 4).repeat(
        25
    ).reshape(50, 1, 4).astype(np.float32)
    record = Record(0)
    record.add(piece(numbers, np.ones((50, 1))))
    rows = [line.split(",")[2:6] for line in record.text().splitlines()[1:]]
    np.testing.assert_array_equal(np.asarray(rows, np.float64).astype(np.float32), numbers[:, 0])


def test_frames_come_back_with_their_numbers_and_the_first_without_scores():
    record = Record(7)
    [first] = record.add(piece([FIRST], [[1, 1]]))
    second, third = record.add(piece([FIRST, FIRST], [[0.5, 0.25], [0.75, 0.125]]))
    assert (first.number, second.number, third.number) == (7, 8, 9)
    assert first.scores is None
    assert third.scores.tolist() == [0.75, 0.125]
    assert third.image is IMAGE
    assert len(record) == 3


def test_a_box_that_is_not_finite_is_the_one_before_it_of_the_same_target():
    record = Record(0)
    record.add(piece([FIRST], [[1, 1]]))
    lost = [[np.nan, 2, 3, 4], [50, 60, 70, 80]]
    frames = record.add(piece([lost, [[9, 9, 9, 9], [1, 1, np.inf, 1]]], np.ones((2, 2))))
    assert frames[0].boxes.tolist() == [[1, 2, 3, 4], [50, 60, 70, 80]]
    assert frames[1].boxes.tolist() == [[9, 9, 9, 9], [50, 60, 70, 80]]
    assert record.kept == 2


def test_the_speed_is_that_of_the_frames_after_the_first():
    record = Record(0)
    record.add(piece([FIRST], [[1, 1]], seconds=100, compile_seconds=3))
    assert record.fps is None
    record.add(piece([FIRST] * 8, np.ones((8, 2)), seconds=2, compile_seconds=4))
    record.add(piece([FIRST] * 2, np.ones((2, 2)), seconds=0.5))
    assert record.fps == 4
    assert record.compile_seconds == 7


def test_the_summary_names_low_scores_by_their_frames():
    record = Record(100)
    record.add(piece([FIRST], [[1, 1]]))
    scores = np.ones((60, 2))
    scores[:, 0] = 0.75
    scores[20:23, 0] = (0.25, 0.125, 0.25)
    record.add(piece([FIRST] * 60, scores))
    assert record.summary() == [
        "target 0: median score 0.7500; lowest 0.1250 in frame 122, 0.7500 in frame 101, 0.7500 in frame 111",
        "  the score fell strongly in frames 121 to 123: from 0.7500 to 0.1250",
        "target 1: score 1.0000 in all frames",
    ]


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        ((0.9998, 0.9996), "median score 0.9997; lowest 0.9996 in frame 2"),
        ((12.3456, -0.5), "median score 5.923; lowest -0.5 in frame 2"),
        ((3.25e-5, 1.5e-5), "median score 2.375e-05; lowest 1.5e-05 in frame 2"),
    ],
)
def test_scores_have_digits_enough_to_tell_them_apart(scores, told):
    record = Record(0)
    record.add(piece([FIRST[:1]] * 3, [[1], *([score] for score in scores)]))
    assert record.summary() == [f"target 0: {told}"]


def test_of_many_falls_some_are_told():
    record = Record(0)
    record.add(piece([FIRST[:1]], [[1]]))
    scores = np.ones((200, 1))
    scores[[20, 50, 80, 110, 140, 170, 190]] = 0
    record.add(piece([FIRST[:1]] * 200, scores))
    lines = record.summary()
    assert len(lines) == 7
    assert lines[1] == "  the score fell strongly in frame 21: from 1.0000 to 0.0000"
    assert lines[-1] == "  and 2 times more"


def test_a_video_of_one_frame_has_no_scores_to_tell_of():
    record = Record(0)
    record.add(piece([FIRST], [[1, 1]]))
    assert record.summary() == []


def test_low_scores_near_a_lower_one_are_passed_over():
    scores = np.full(50, 3.0)
    scores[[10, 11, 12, 19, 30]] = (1.0, 0.5, 0.75, 0.6, 2.0)
    assert lowest(scores) == [11, 30, 0]


# --- falls ---------------------------------------------------------------------------------------------------------


def steps(*parts):
    """Scores of (value, frames) one after the other."""
    return np.concatenate([np.full(count, value) for value, count in parts])


def test_a_fall_lasts_until_the_score_is_back():
    assert falls(steps((0.8, 20), (0.5, 12), (0.3, 1), (0.7, 9))) == [Fall(20, 33, 0.8, 0.3)]


def test_a_fall_may_last_to_the_end():
    assert falls(steps((0.8, 20), (0.1, 100))) == [Fall(20, 120, 0.8, 0.1)]


def test_falls_close_to_one_another_are_one():
    assert falls(steps((4, 20), (1, 1), (4, 9), (2, 1), (4, 10), (0, 1))) == [Fall(20, 31, 4, 1), Fall(41, 42, 4, 0)]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_scale_of_scores_does_not_matter(scale):
    [fall] = falls(scale * steps((-2, 20), (-3, 5)))
    assert (fall.start, fall.end) == (20, 25)
    assert falls(scale * steps((-2, 20), (-2.4, 5))) == []


def test_a_small_or_slow_decline_is_no_fall():
    assert falls(steps((0.8, 20), (0.61, 20))) == []  # a quarter less than 0.8 is 0.6
    assert falls(np.linspace(1, 0.3, 400)) == []


def test_scores_that_scatter_must_fall_farther():
    calm, wild = (0.5 + width * np.tile([-1.0, 1.0], 15) for width in (0.01, 0.1))
    assert len(falls(np.append(calm, 0.3))) == 1
    assert falls(np.append(wild, 0.3)) == []


def test_the_first_few_scores_are_no_measure():
    assert falls(steps((1, 4), (0, 1), (1, 10))) == []
    assert falls(np.empty(0)) == []
