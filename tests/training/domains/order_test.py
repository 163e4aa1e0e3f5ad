"""The order of videos and of their frames."""

import itertools

import numpy as np
import pytest

from jaxtrack.training.domains import order


def test_a_cycle_visits_every_video_once():
    for cycle in range(5):
        visited = [order.video(3, 7 * cycle + place, 7) for place in range(7)]
        assert sorted(number for number, _ in visited) == list(range(7))
        assert {visits for _, visits in visited} == {cycle}


def test_cycles_and_seeds_have_orders_of_their_own():
    orders = {
        (seed, cycle): tuple(order.video(seed, 9 * cycle + place, 9)[0] for place in range(9))
        for seed, cycle in itertools.product((0, 1), (0, 1))
    }
    assert len(set(orders.values())) == 4


@pytest.mark.parametrize("length", [8, 11, 3])
def test_no_frame_comes_again_before_all_have_come(length):
    stream = np.concatenate([order.frames(5, 2, visit, 8, length) for visit in range(11)])
    laps = stream[: len(stream) // length * length].reshape(-1, length)
    np.testing.assert_array_equal(np.sort(laps, axis=1), np.tile(np.arange(length), (len(laps), 1)))
    assert len({tuple(lap) for lap in laps}) > 1  # they are shuffled anew


def test_videos_and_seeds_have_streams_of_their_own():
    streams = {tuple(order.frames(seed, video, 0, 8, 20)) for seed in (0, 1) for video in (0, 1)}
    assert len(streams) == 4


def test_a_visit_is_the_same_whenever_it_is_asked_for():
    later = order.frames(1, 4, 6, 8, 13)
    np.testing.assert_array_equal(order.frames(1, 4, 6, 8, 13), later)
