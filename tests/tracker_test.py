"""What is checked of a tracker and of its parameters before it runs."""

import numpy as np
import pytest
from contract import WANDERING_PARAMS, wandering

from jaxtrack import Tracker, UserError
from jaxtrack.tracker import Track, check_arguments, explain_params
from jaxtrack.trackers import siamese

EXPECTED = {"net": {"kernel": np.zeros((3, 2)), "bias": np.zeros(2)}}


def picky(params, frame, box, key):
    """An `init` that fails on parameters as a network does: by an error of its own."""
    return params["net"]["kernel"].reshape(3, 2) + params["net"]["bias"]


def start(params, init=picky):
    return explain_params(Tracker(init, init), lambda: EXPECTED, "the network tiny").init(params, None, None, None)  # type: ignore


def test_a_pair_of_functions_and_arrays_are_fine():
    check_arguments(wandering, WANDERING_PARAMS)
    check_arguments(wandering, {})
    check_arguments(wandering, None)


@pytest.mark.parametrize("what", [siamese.CONFIGS["siamban_nano"], (wandering, {}), None, siamese])
def test_what_is_no_tracker_is_refused(what):
    with pytest.raises(UserError, match=f"a jaxtrack.Tracker, not a {type(what).__name__}: jaxtrack.trackers.load"):
        check_arguments(what, {})


def test_the_name_of_a_tracker_is_answered_with_what_to_write():
    with pytest.raises(UserError, match=r"not 'siamrpn': jaxtrack\.trackers\.load\('siamrpn'\) gives one"):
        check_arguments("siamrpn", {})


@pytest.mark.parametrize(
    ("params", "where"),
    [("a.safetensors", "params must be an array, not 'a.safetensors'"), ({"a": 1.0}, r"params\['a'\] .* not a float")],
)
def test_parameters_that_are_no_arrays_are_refused(params, where):
    with pytest.raises(UserError, match=where):
        check_arguments(wandering, params)


def test_parameters_that_fit_pass_unchanged():
    assert start(EXPECTED).shape == (3, 2)


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({}, "there are none"),
        (None, "there are none"),
        ({"net": {"bias": np.zeros(2)}}, r"params\['net'\]\['kernel'\] is missing"),
        ({"net": {"bias": np.zeros(2), "kernel": np.zeros((4, 2))}}, r"\['kernel'\] is \[4, 2\], not \[3, 2\]"),
    ],
)
def test_parameters_of_another_structure_are_explained(params, problem):
    with pytest.raises(UserError, match=f"^the parameters are not those of the network tiny: .*{problem}; jaxtrack"):
        start(params)


def test_a_defect_of_a_tracker_is_not_blamed_on_its_parameters():
    def broken(params, frame, box, key):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        start(EXPECTED, broken)


def test_a_track_prints_in_one_short_line():
    boxes = np.tile(np.array([1.25, 2, 30, 40], np.float32), (3, 1))
    track = Track(boxes, np.array([1, 0.5, 0.75], np.float32), np.array([9, 0.1, 0.1]), {"peak": boxes}, 1.5)
    told = "<Track: 3 frames; last box (1.2, 2.0, 30.0, 40.0); median score 0.625; 10.0 frames/s; diagnostics peak>"
    assert str(track) == told
    assert str([track]) == f"[{told}]"


def test_the_track_of_one_frame_has_no_score_and_no_speed():
    track = Track(np.zeros((1, 4), np.float32), np.ones(1, np.float32), np.array([9.0]), {}, 1.5)
    assert str(track) == "<Track: 1 frame; last box (0.0, 0.0, 0.0, 0.0)>"
