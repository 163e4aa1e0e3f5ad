"""Where the clips of `benchmarks/restarts.py` begin and what is measured on them, by hand."""

import dataclasses

import numpy as np
import pytest
import restarts

from jaxtrack.data.sequences import Sequence


def test_starts_are_even_and_the_last_clip_ends_with_the_video():
    assert restarts.first_frames(200, 4, 80) == ([0, 40, 80, 120], 80)
    assert restarts.first_frames(81, 3, 80) == ([0, 20, 41], 40)  # half of the video is less than 80


def test_a_clip_is_a_part_of_the_video():
    frames = [np.full((4, 4, 3), number, np.uint8) for number in range(9)]
    clip = restarts.Clip(Sequence("v", frames, np.ones((9, 4)), np.ones(9, bool)), 5, 3)
    assert [clip[index][0, 0, 0] for index in range(len(clip))] == [5, 6, 7]


def test_the_given_box_does_not_count():
    truth = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]], np.float64)
    tracked = np.array([[50, 50, 1, 1], [5, 0, 10, 10], [20.5, 0, 10, 10]], np.float32)
    overlap, precision = restarts.overlap_and_precision(tracked, truth)
    assert overlap == pytest.approx((5 / 15 + 0) / 2)
    assert precision == 0.5  # 5 and 20.5 px off


def test_only_what_is_asked_for_is_changed():
    plain = restarts.config_of(restarts.Options("data"))
    assert plain == restarts.siamese.CONFIGS["siamban_nano"]
    changed = restarts.config_of(restarts.Options("data", weights="w.safetensors", calibration=0.0))
    assert changed == dataclasses.replace(plain, weights="w.safetensors", calibration=0.0)
