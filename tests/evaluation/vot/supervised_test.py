import functools
import itertools
import types

import numpy as np
import pytest
from toy_vot import SQUARE, Scripted, sequence
from walking import WALK

from jaxtrack.data.regionfiles import FAILED, REGION, SKIPPED, STARTED
from jaxtrack.evaluation.vot import supervised
from jaxtrack.evaluation.vot.measures import Rules
from jaxtrack.session import Session

HIT, MISS, AWAY = (101, 100, 40, 40), (10, 10, 20, 20), (np.nan,) * 4


def supervise(video, answers, *, seed=0, **options):
    """A run whose tracker answers what `answers` has, a box per frame; returns the trajectory and what was asked."""
    log = []
    runs = supervised.SessionRuns(lambda seed, name: Scripted(answers, log, name), [seed])
    [trajectory] = supervised.run(video, runs, **options)
    return trajectory, log


def test_a_tracker_that_never_fails_is_started_once():
    trajectory, log = supervise(sequence(6), [HIT] * 6)
    assert trajectory.codes.tolist() == [STARTED] + [REGION] * 5
    assert trajectory.boxes[1:].tolist() == [list(HIT)] * 5
    assert np.isnan(trajectory.boxes[0]).all()
    assert log[0] == ("init", 0, "toy", [100, 100, 41, 41])
    assert [entry[1] for entry in log] == list(range(6))


def test_after_a_failure_a_fresh_tracker_starts_five_frames_later():
    answers = [HIT] * 20
    answers[3] = answers[10] = MISS
    trajectory, log = supervise(sequence(20), answers)
    expected = [STARTED, REGION, REGION, FAILED] + [SKIPPED] * 4 + [STARTED, REGION, FAILED] + [SKIPPED] * 4
    assert trajectory.codes.tolist() == expected + [STARTED] + [REGION] * 4
    starts = [entry[1:3] for entry in log if entry[0] == "init"]
    assert starts == [(0, "toy"), (8, "toy@8"), (15, "toy@15")]
    # Frames in which it waits are not even shown to it.
    assert [entry[1] for entry in log] == [0, 1, 2, 3, 8, 9, 10, 15, 16, 17, 18, 19]
    assert (trajectory.seconds > 0).tolist() == [code != SKIPPED for code in trajectory.codes]


def test_boxes_that_share_only_an_edge_or_are_no_boxes_are_failures():
    for answer in ((140, 100, 40, 40), (60, 100, 40, 40), AWAY, (100, 100, 0, 0)):
        trajectory, _ = supervise(sequence(3), [HIT, answer, HIT])
        assert trajectory.codes.tolist() == [STARTED, FAILED, SKIPPED], answer


def test_a_failure_near_the_end_is_the_end():
    trajectory, _ = supervise(sequence(8), [HIT] * 3 + [MISS] * 5)
    assert trajectory.codes.tolist() == [STARTED, REGION, REGION, FAILED] + [SKIPPED] * 4


def test_what_is_judged_is_what_will_be_stored():
    trajectory, _ = supervise(sequence(2), [HIT, (100.00004, 100.00006, 40, 40)])
    assert trajectory.boxes[1].tolist() == [100, 100.0001, 40, 40]


def test_a_frame_without_annotation_is_no_failure():
    truth = [list(SQUARE)] * 2 + [[float("nan")] * 4] * 2 + [list(SQUARE)]
    trajectory, _ = supervise(sequence(5, truth=truth), [HIT, HIT, MISS, AWAY, HIT])
    assert trajectory.codes.tolist() == [STARTED, REGION, REGION, SKIPPED, REGION]


@pytest.mark.parametrize(
    "useless",
    [(320, 100, 9, 9), (100, 240, 9, 9), (-9, 100, 9, 9), (100, -9, 9, 9), (100, 100, 0, 9), (100, 100, 9, 0)],
)
def test_a_restart_waits_for_a_target_that_is_annotated_and_inside_the_image(useless):
    truth = [list(SQUARE)] * 6 + [[float("nan")] * 4, list(useless)] + [list(SQUARE)] * 2
    trajectory, _ = supervise(sequence(10, truth=truth), [HIT, MISS] + [HIT] * 8)
    assert trajectory.codes.tolist() == [STARTED, FAILED] + [SKIPPED] * 6 + [STARTED, REGION]


def test_the_overlap_that_decides_may_be_bounded_by_the_image_or_not():
    outside = [330, 100, 360, 100, 360, 140, 330, 140]
    video = sequence(2, truth=[list(SQUARE), outside])
    answer = [HIT, (330, 100, 30, 40)]
    assert supervise(video, answer)[0].codes[1] == FAILED
    assert supervise(video, answer, rules=Rules(bounded=False))[0].codes[1] == REGION


def test_for_failures_the_image_ends_with_column_w():
    last = (319.5, 100, 20, 40)  # its pixels begin in column 320
    assert supervise(sequence(2, truth=[list(SQUARE), list(last)]), [HIT, last])[0].codes[1] == REGION


def test_polygons_become_boxes_to_start_from_by_the_rule():
    turned = [40, 70, 100, 40, 140, 110, 80, 140]
    for rule, box in (("area", [53.229, 53.229, 74.541, 74.541]), ("enclosing", [40, 40, 100, 100])):
        _, log = supervise(sequence(1, truth=[turned]), [HIT], start_box=rule)
        assert log[0][3] == pytest.approx(box, abs=1e-3)


def test_noise_moves_the_first_boxes_by_up_to_a_tenth_and_repeats_with_the_seed():
    boxes, high = [], [100, 100, 20, 80]
    for seed in (0, 0, *range(1, 40)):
        _, log = supervise(sequence(1, truth=[high]), [HIT], seed=seed, experiment="region_noise")
        boxes.append(log[0][3])
    assert boxes[0] == boxes[1] != boxes[2]
    moved = (np.array(boxes) - high) / [20, 80, 20, 80]
    assert (np.abs(moved) <= 0.1).all()
    assert (moved.min(axis=0) < -0.06).all()
    assert (moved.max(axis=0) > 0.06).all()


def test_noise_is_another_one_in_each_sequence_and_at_each_start():
    _, log = supervise(sequence(9), [HIT, MISS] + [HIT] * 7, experiment="region_noise")
    _, other = supervise(sequence(1, name="other"), [HIT], experiment="region_noise")
    boxes = [entry[3] for entry in (*log, *other) if entry[0] == "init"]
    assert len(boxes) == 3
    assert boxes[0] != boxes[1] != boxes[2] != boxes[0]


def test_noise_does_not_move_a_box_out_of_the_image():
    corner = [-98.0, -98.0, 100.0, 100.0]  # half of the shifts leave nothing inside
    starts = []
    for seed in range(20):
        _, log = supervise(sequence(1, truth=[corner]), [HIT], seed=seed, experiment="region_noise")
        starts.append(log[0][3])
    assert all(x + w > 0 and y + h > 0 for x, y, w, h in starts)
    assert 0 < sum(start == corner for start in starts) < 20


def test_the_grey_experiment_shows_grey_images():
    video = sequence(1)
    colourful = np.zeros((240, 320, 3), np.uint8)
    colourful[..., 0] = 200
    object.__setattr__(video, "frames", [colourful])
    seen = []

    class Looking(Scripted):
        def init(self, image, box):
            seen.append(image)

    runs = supervised.SessionRuns(lambda seed, name: Looking([HIT], [], name), [0])
    supervised.run(video, runs, experiment="grey")
    assert seen[0].shape == (240, 320, 3)
    assert (seen[0] == 60).all()  # 0.299 of the red


def test_repetitions_side_by_side_fail_and_start_again_each_for_itself():
    answers = {0: [HIT] * 12, 1: [HIT, HIT, MISS] + [HIT] * 9, 2: [HIT] * 5 + [MISS] + [HIT] * 6}
    asked = []

    def begin(seed, name):
        asked.append((seed, name))
        return Scripted(answers[seed], [], name)

    together = supervised.run(sequence(12), supervised.SessionRuns(begin, [0, 1, 2]))
    alone = [supervised.run(sequence(12), supervised.SessionRuns(begin, [seed]))[0] for seed in range(3)]
    for one, other in zip(together, alone, strict=True):
        assert one.codes.tolist() == other.codes.tolist()
        assert np.array_equal(one.boxes, other.boxes, equal_nan=True)
    assert asked[:5] == [(0, "toy"), (1, "toy"), (2, "toy"), (1, "toy@7"), (2, "toy@10")]


def test_lanes_of_a_tracker_in_jax_are_sessions_one_after_another():
    # Steps so long that the walks leave the square, at different times, and start again.
    video, params = sequence(40), np.float32(18)
    together = supervised.run(video, supervised.LaneRuns(WALK, params, [0, 1, 2]))
    begin = functools.partial(_session, params)
    alone = [supervised.run(video, supervised.SessionRuns(begin, [seed]))[0] for seed in range(3)]
    assert len({run.codes.tobytes() for run in alone}) == 3
    assert all((run.codes == FAILED).any() for run in alone)
    for one, other in zip(together, alone, strict=True):
        assert one.codes.tolist() == other.codes.tolist()
        assert one.boxes == pytest.approx(other.boxes, abs=1e-3, nan_ok=True)


def _session(params, seed, name):
    return Session(WALK, params, seed=seed, name=name)


def test_runs_share_the_time_of_a_frame(monkeypatch):
    ticks = itertools.count()  # a clock on which everything takes a second
    monkeypatch.setattr(supervised, "time", types.SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    runs = supervised.SessionRuns(lambda seed, name: Scripted([HIT] * 2, [], name), [0, 1])
    assert [run.seconds.tolist() for run in supervised.run(sequence(2), runs)] == [[1, 0.5]] * 2


def test_compiling_is_not_counted():
    clock = iter(range(0, 10_000, 100))  # a tracker that claims to compile for ever
    runs = supervised.SessionRuns(lambda seed, name: Scripted([HIT] * 2, [], name), [0], lambda: float(next(clock)))
    [trajectory] = supervised.run(sequence(2), runs)
    assert trajectory.seconds.tolist() == [0, 0]


def test_progress_is_told_up_to_the_last_frame():
    heard = []
    supervise(sequence(6), [HIT] * 6, on_progress=heard.append)
    assert heard == [1, 5, 6]
