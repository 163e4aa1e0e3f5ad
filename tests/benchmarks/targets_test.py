"""The beginnings of real targets."""

import numpy as np
from targets import beginning

from jaxtrack.data.sequences import Sequence

FRAMES = [np.full((4, 4, 3), number, np.uint8) for number in range(6)]
BOXES = np.arange(24.0).reshape(6, 4)
LATE = np.arange(6) == 4


def test_the_beginning_of_a_sequence_is_a_sequence():
    part = beginning(Sequence("a", FRAMES, BOXES, ~LATE, frozenset({"OCC"})), 5)
    assert (len(part), len(part.frames), part[3][0, 0, 0]) == (5, 5, 3)
    np.testing.assert_array_equal(part.boxes, BOXES[:5])
    assert (part.name, part.attributes, part.valid.tolist()) == ("a", {"OCC"}, [True, True, True, True, False])
    assert part.absent is part.cover is part.omitted is None


def test_what_is_said_of_single_frames_is_said_of_those_that_are_left():
    cover = np.arange(6, dtype=np.uint8)
    part = beginning(Sequence("a", FRAMES, BOXES, ~LATE, absent=LATE, cover=cover, omitted=~LATE), 5)
    assert part.absent.tolist() == [False, False, False, False, True]
    assert part.cover.tolist() == [0, 1, 2, 3, 4]
    assert part.omitted.tolist() == [True, True, True, True, False]


def test_a_beginning_is_no_longer_than_the_sequence():
    whole = Sequence("a", FRAMES, BOXES, ~LATE)
    assert len(beginning(whole, 9)) == len(beginning(whole, None)) == 6
