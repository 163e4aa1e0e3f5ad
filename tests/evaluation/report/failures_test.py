import base64
import dataclasses

import cv2
import numpy as np
import pytest
from otb_scores import annotated

from jaxtrack.errors import UserError
from jaxtrack.evaluation.report import failures

AT, FAR = (10.0, 10.0, 8.0, 8.0), (30.0, 10.0, 8.0, 8.0)


def find(pattern, valid=None):
    """Failures of a tracker that is at the target where `pattern` has an x, and far from it elsewhere."""
    boxes = np.array([AT if letter == "x" else FAR for letter in pattern])
    valid = None if valid is None else np.array([letter == "v" for letter in valid])
    return failures.find(annotated(np.tile(AT, (len(pattern), 1)), valid), boxes)


def shape(found):
    return [(failure.frame, failure.frames, failure.found_again) for failure in found]


def test_each_run_of_lost_frames_is_one_failure():
    found = find("xx..x...")
    assert shape(found) == [(2, 2, 4), (5, 3, None)]
    assert {failure.sequence for failure in found} == {"toy"}
    np.testing.assert_array_equal(found[0].truth, AT)
    np.testing.assert_array_equal(found[0].box, FAR)


def test_a_tracker_that_never_fails_has_no_failure():
    assert find("xxxx") == []


def test_a_little_overlap_is_no_failure():
    barely = np.array([AT, (17.9, 10.0, 8.0, 8.0)])
    assert failures.find(annotated(np.tile(AT, (2, 1))), barely) == []


def test_boxes_that_only_touch_do_not_overlap():
    touching = np.array([AT, (18.0, 10.0, 8.0, 8.0)])
    assert shape(failures.find(annotated(np.tile(AT, (2, 1))), touching)) == [(1, 1, None)]


def test_frames_without_an_annotation_neither_begin_nor_end_a_failure():
    [failure] = found = find("x.....xx", valid="v-vv-v-v")
    assert shape(found) == [(2, 3, 7)]
    assert failure.unannotated == 2  # frames 4 and 6


def test_frames_without_an_annotation_after_the_last_one_are_part_of_a_failure_to_the_end():
    [failure] = found = find("xx....", valid="vvvv--")
    assert shape(found) == [(2, 2, None)]
    assert failure.unannotated == 2
    [failure] = find("xx..xx", valid="vvvvvv")
    assert failure.unannotated == 0


def test_frames_without_the_target_neither_begin_nor_end_a_failure():
    absent = np.array([letter == "-" for letter in "v-vv-v"])
    sequence = dataclasses.replace(annotated(np.tile(AT, (6, 1))), absent=absent)
    boxes = np.array([AT, FAR, FAR, FAR, AT, AT])
    [failure] = failures.find(sequence, boxes)
    assert (failure.frame, failure.frames, failure.unannotated, failure.found_again) == (2, 2, 1, 5)


def test_missing_rows_are_lost():
    truth = np.tile(AT, (4, 1))
    assert shape(failures.find(annotated(truth), truth[:2])) == [(2, 2, None)]


def test_the_longest_are_kept_in_their_order():
    found = find("x.x...x..x....x")
    assert shape(failures.longest(found, 2)) == [(3, 3, 6), (10, 4, 14)]
    assert failures.longest(found, 9) == found


def decoded(source):
    head, _, data = source.partition(",")
    assert head == "data:image/jpeg;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)


class Still:
    """One grey image for every frame, or none."""

    def __init__(self, width, height, there=True):
        self.image, self.there = np.full((height, width, 3), 128, np.uint8), there

    def __len__(self):
        return 9

    def __getitem__(self, index):
        if not self.there:
            raise UserError("Toy: image 0001.jpg cannot be read: No such file or directory")
        return self.image


@pytest.mark.parametrize("scale", [1, 4])
def test_a_picture_shows_both_boxes_in_their_colours(scale):
    box = np.array
    failure = failures.Failure("Toy", 3, 1, 0, None, box([40, 40, 60, 80.0]) * scale, box([200, 60, 80, 60.0]) * scale)
    picture = decoded(failures.thumbnail(failure, Still(400 * scale, 200 * scale)))
    assert picture.shape == (200, 400, 3)
    for (row, column), colour in {(80, 40): failures.TRUTH_COLOUR, (90, 200): failures.FOUND_COLOUR}.items():
        np.testing.assert_allclose(picture[row, column - 1 : column + 1].mean(axis=0), colour, atol=60)
        assert np.abs(picture[row, column + 20] - 128).max() < 12  # inside


def test_a_small_image_is_not_enlarged():
    failure = failures.Failure("Toy", 0, 1, 0, None, np.array(AT), np.array(FAR))
    assert decoded(failures.thumbnail(failure, Still(64, 48))).shape == (48, 64, 3)


def test_an_image_that_is_missing_gives_no_picture():
    failure = failures.Failure("Toy", 0, 1, 0, None, np.array(AT), np.array(FAR))
    assert failures.thumbnail(failure, Still(64, 48, there=False)) is None
