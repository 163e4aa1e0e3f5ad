import numpy as np
import pytest
from toy_vot import SIZE, SQUARE, result_rows

from jaxtrack.data.regionfiles import regions
from jaxtrack.evaluation.vot import measures


def scored(*runs, size=SIZE, rules=None):
    """The score of rows of results on the square that stands still."""
    found = [regions(rows) for rows in runs]
    return measures.score(found, regions([list(SQUARE)] * len(found[0])), size, rules)


@pytest.fixture(scope="module")
def toys():
    return [scored(result_rows(420, {120, 260})), scored(result_rows(300)), scored(result_rows(150, {60}))]


def test_the_toy_set_has_the_references_numbers(toys):
    assert measures.average_overlap(measures.expected_overlaps(toys), (108, 371)) == pytest.approx(0.434595, abs=5e-7)
    assert measures.accuracy(toys) == pytest.approx(0.755490, abs=5e-7)
    assert measures.robustness(toys) == pytest.approx(0.344828, abs=5e-7)
    assert sum(int(np.isfinite(score.frame_accuracy).sum()) for score in toys) == 795
    assert measures.lost(toys) == 3


def test_repetitions_that_are_equal_change_nothing(toys):
    lengths = ((420, {120, 260}), (300, ()), (150, {60}))
    thrice = [scored(*[result_rows(*length)] * 3) for length in lengths]
    for measure in (measures.accuracy, measures.robustness, measures.lost, measures.weighted_accuracy):
        assert measure(thrice) == pytest.approx(measure(toys))
    assert measures.expected_overlaps(thrice) == pytest.approx(measures.expected_overlaps(toys))


def test_of_an_initialisation_ten_frames_do_not_count():
    score = scored([[1]] + [[100, 100, 40, 40]] * 11)
    assert np.flatnonzero(np.isfinite(score.frame_accuracy)).tolist() == [10, 11]


def test_repetitions_are_averaged_where_they_count():
    perfect = [[1]] + [[100, 100, 40, 40]] * 14
    lost_once = [[1], [100, 100, 40, 40], [2], [0], [0], [0], [0], [1]] + [[100, 100, 40, 40]] * 7
    score = scored(perfect, lost_once)
    assert score.lost == 0.5
    assert measures.robustness([score]) == pytest.approx(100 * 0.5 / 15)
    assert measures.accuracy([score]) == 1  # frames 10 to 14 of the first run alone


def test_accuracy_pools_frames_and_the_toolkits_weighs_sequences_by_length():
    # 41 x 41 pixels, moved by 20.5 pixels or so: any number below 1 will do.
    half = [[1]] + [[120, 100, 40, 40]] * 19
    whole = [[1]] + [[100, 100, 40, 40]] * 99
    scores = [scored(half), scored(whole)]
    value = 21 / 61
    assert measures.accuracy(scores) == pytest.approx((10 * value + 90) / 100)
    assert measures.weighted_accuracy(scores) == pytest.approx((20 * value + 100) / 120)


def test_reliability_is_the_chance_of_thirty_frames_without_failure():
    score = scored([[1], [2], [0], [0], [0], [0], [1]] + [[100, 100, 40, 40]] * 53)
    assert measures.reliability([score]) == pytest.approx(np.exp(-30 / 60))


def test_a_tracker_that_never_finds_anything_has_no_accuracy():
    score = scored([[1], [2], [0], [0], [0], [0], [1], [2], [0]])
    assert np.isnan(measures.accuracy([score]))
    assert np.isnan(measures.weighted_accuracy([score]))
    assert measures.lost([score]) == 2


def by_hand(overlaps, failures, tags=None):
    """Expected overlaps by loops over segments and lengths; one run of each sequence."""
    segments = []
    for i, values in enumerate(overlaps):
        starts = [0] + [f + 5 for f in failures[i] if f + 5 <= len(values)]
        for k, start in enumerate(starts):
            last = k == len(starts) - 1
            part = values[start:] if last else values[start : starts[k + 1] + 1]
            weight = 1.0 if tags is None else (np.mean(tags[i][start : start + len(part)]) if len(part) else 0.0)
            segments.append(([0.0 if np.isnan(v) else v for v in part], last, weight))
    curve = [1.0]
    for length in range(1, max(map(len, overlaps))):
        total, summed, known = 0.0, 0.0, False
        for part, last, weight in segments:
            if len(part) > length or not last:
                padded = part + [0.0] * 1000
                summed += weight * sum(padded[1 : length + 1]) / length
                total, known = total + weight, True
        curve.append(summed / total if total else np.nan if known else 0.0)
    return curve


@pytest.mark.parametrize("tagged", [False, True])
def test_expected_overlaps_are_those_of_a_loop_over_segments(tagged):
    runs = [
        result_rows(60, {20, 41}),
        result_rows(35),
        result_rows(48, {45}),
        result_rows(52, {47}),
        result_rows(9, {3}),
    ]
    scores = [scored(rows) for rows in runs]
    random = np.random.default_rng(0)
    tags = [random.random(score.frames) < 0.4 for score in scores] if tagged else None
    expected = by_hand([s.overlaps[0] for s in scores], [s.failures[0] for s in scores], tags)
    assert measures.expected_overlaps(scores, tags) == pytest.approx(expected, nan_ok=True)


def test_lengths_of_which_only_segments_without_the_tag_are_known_do_not_count():
    # 6 frames with the tag, 10 without: PySOT divides 0 by 0 for the lengths from 6 on, and leaves them out of EAO.
    scores = [scored([[1]] + [[100, 100, 40, 40]] * n) for n in (5, 9)]
    curve = measures.expected_overlaps(scores, [np.ones(6, bool), np.zeros(10, bool)])
    assert curve == pytest.approx([1] * 6 + [np.nan] * 4, nan_ok=True)
    assert measures.average_overlap(curve, (2, 10)) == 1


def test_a_failure_near_the_end_that_nothing_follows_does_not_end_its_segment():
    # As in PySOT's toolkit: the run is known up to its end only, and not padded by zeros.
    score = scored([[1]] + [[100, 100, 40, 40]] * 7 + [[2], [0]])
    longer = scored([[1]] + [[100, 100, 40, 40]] * 19)
    curve = measures.expected_overlaps([score, longer])
    assert curve[10] == 1
    assert curve[9] == pytest.approx((7 / 9 + 1) / 2)


def test_a_run_of_two_counts_half():
    failing = [[1], [2], [0], [0], [0], [0]] + [[1]] + [[100, 100, 40, 40]] * 3
    perfect = [[1]] + [[100, 100, 40, 40]] * 9
    twice = scored(perfect, failing)
    # Length 3: a perfect segment of weight 1/2, an ended one and a restarted one of weight 1/2 each, and a weight of 1.
    curve = measures.expected_overlaps([twice, scored(perfect)])
    assert curve[3] == pytest.approx((0.5 * 1 + 0.5 * 0 + 0.5 * 1 + 1 * 1) / 2.5)


def test_an_annotation_that_is_missing_counts_as_nothing_found_for_eao_and_not_for_accuracy():
    truth = regions([list(SQUARE)] * 11 + [[float("nan")] * 4] + [list(SQUARE)] * 4)
    score = measures.score([regions([[1]] + [[100, 100, 40, 40]] * 15)], truth, SIZE)
    assert measures.accuracy([score]) == 1
    assert np.isfinite(score.frame_accuracy).sum() == 5
    assert measures.expected_overlaps([score])[15] == pytest.approx(14 / 15)


def test_an_interval_counts_from_one_and_is_cut_where_the_curve_ends():
    curve = np.array([1.0, 0.9, 0.7, 0.5])
    assert measures.average_overlap(curve, (2, 3)) == pytest.approx(0.8)
    assert measures.average_overlap(curve, (3, 99)) == pytest.approx(0.6)
    assert np.isnan(measures.average_overlap(curve, (5, 9)))


def test_accuracy_and_eao_bound_regions_by_one_pixel_differently():
    truth = regions([[300, 200, 50, 60]] * 12)
    score = measures.score([regions([[1]] + [[290, 190, 60, 60]] * 11)], truth, SIZE)
    assert score.frame_accuracy[11] == pytest.approx(0.544592, abs=5e-7)
    assert score.overlaps[0, 11] == pytest.approx(0.533333, abs=5e-7)


@pytest.mark.parametrize(("edition", "bounded", "drawing"), [(2015, False, "legacy"), (2016, True, "rounded")])
def test_editions_differ_in_the_overlap(edition, bounded, drawing):
    rules = measures.rules_of(edition)
    assert (rules.bounded, rules.drawing) == (bounded, drawing)
    outside = regions([[400, 300, 20, 20]] * 12)
    score = measures.score([regions([[1]] + [[400, 300, 20, 20]] * 11)], outside, SIZE, rules)
    assert score.frame_accuracy[11] == (0 if bounded else 1)
