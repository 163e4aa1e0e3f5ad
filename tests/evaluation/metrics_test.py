import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from otb_scores import annotated, score

from jaxtrack.evaluation import metrics, protocols

TRUTH = np.tile([10.0, 10.0, 20.0, 20.0], (5, 1))
BOXES = np.array([[0, 0, 1, 1], [12, 11, 20, 20], [10, 10, 30, 30], [20, 10, 20, 20], [31, 10, 20, 20]], np.float64)


def score_of_overlaps(*overlaps):
    """The score of boxes of 100 pixels whose heights are chosen to give these overlaps, all above 0."""
    truth = np.tile([0.0, 0.0, 100.0, 100.0], (len(overlaps), 1))
    boxes = truth * np.array([[1, 1, 1, overlap] for overlap in overlaps])
    return score(boxes, truth)


def test_overlaps_and_errors_of_five_frames_worked_out_by_hand():
    measured = protocols.measure(BOXES, annotated(TRUTH), protocols.OTB)
    np.testing.assert_allclose(measured.overlaps, [1, 342 / 458, 4 / 9, 1 / 3, 0], atol=1e-12)
    np.testing.assert_allclose(measured.errors, [0, 5**0.5, 50**0.5, 10, 21], atol=1e-12)


def test_curves_of_five_frames_worked_out_by_hand():
    found = score(BOXES, TRUTH)
    np.testing.assert_allclose(found.success, [0.8] * 7 + [0.6] * 2 + [0.4] * 6 + [0.2] * 5 + [0], atol=1e-12)
    precision = [0.2] * 3 + [0.4] * 5 + [0.6] * 2 + [0.8] * 11 + [1.0] * 30
    np.testing.assert_allclose(found.precision, precision, atol=1e-12)
    assert found.auc == pytest.approx(0.485714, abs=1e-6)
    assert (found.precision_20, found.success_50, found.success_60) == pytest.approx((0.8, 0.4, 0.4))
    assert found.mean_overlap == pytest.approx((1 + 342 / 458 + 4 / 9 + 1 / 3) / 5)
    assert (found.frames, found.valid_frames) == (5, 5)


def test_every_metric_of_the_registry_reads_its_own_number():
    made = metrics.Score(np.linspace(1, 0, 21), np.linspace(0, 1, 51), 0.3, 7)
    read = {key: metric.of(made) for key, metric in metrics.METRICS.items()}
    assert read == pytest.approx(
        {"auc": 0.5, "precision_20": 0.4, "success_50": 0.5, "success_60": 0.4, "mean_overlap": 0.3}
    )


def test_a_perfect_tracker_has_an_auc_of_20_21sts_because_no_overlap_exceeds_1():
    perfect = score(TRUTH, TRUTH)
    assert perfect.auc == pytest.approx(20 / 21)
    assert perfect.success[-1] == 0
    assert perfect.precision.tolist() == [1.0] * 51


def test_an_overlap_equal_to_a_threshold_is_no_success_but_an_error_equal_to_one_is_a_hit():
    assert score_of_overlaps(1, 0.5).success[10] == 0.5
    shifted = TRUTH[:2] + np.array([[0, 0, 0, 0], [12, 16, 0, 0]])  # 20 pixels away
    precision = score(shifted, TRUTH[:2]).precision
    assert (precision[19], precision[20]) == (0.5, 1.0)


def test_an_overlap_of_13_20ths_exceeds_the_threshold_as_matlab_spells_it():
    assert score_of_overlaps(1, 13 / 20).success[13] == 1.0


def test_the_first_frame_counts_as_the_annotation_whatever_the_tracker_says():
    boxes = TRUTH.copy()
    boxes[0] = [500, 500, 1, 1]
    np.testing.assert_array_equal(metrics.prepare(boxes, TRUTH), TRUTH)
    assert boxes[0, 0] == 500  # the argument is untouched


@pytest.mark.parametrize(
    "broken", [[np.nan] * 4, [1, 1, 0, 5], [1, 1, 5, -2], [np.inf, 1, 5, 5]], ids=["nan", "w=0", "h<0", "inf"]
)
def test_an_unusable_row_becomes_the_last_usable_one(broken):
    boxes = BOXES.copy()
    boxes[2] = boxes[3] = broken
    np.testing.assert_array_equal(metrics.prepare(boxes, TRUTH)[1:4], BOXES[[1, 1, 1]])


def test_an_unusable_second_row_becomes_the_annotation_of_the_first():
    boxes = BOXES.copy()
    boxes[:2] = np.nan
    np.testing.assert_array_equal(metrics.prepare(boxes, TRUTH)[:3], [TRUTH[0], TRUTH[0], BOXES[2]])


def test_missing_rows_are_zero_in_the_files_coordinates_and_surplus_rows_are_cut():
    padded = metrics.prepare(BOXES[:3], TRUTH)
    np.testing.assert_array_equal(padded[3:], [[-1, -1, 0, 0]] * 2)
    measured = protocols.measure(BOXES[:3], annotated(TRUTH), protocols.OTB)
    np.testing.assert_array_equal(measured.overlaps[3:], [0, 0])
    np.testing.assert_allclose(measured.errors[3:], [21 * 2**0.5] * 2)
    np.testing.assert_array_equal(metrics.prepare(BOXES, TRUTH[:2]), [TRUTH[0], BOXES[1]])
    assert len(metrics.prepare(np.zeros((0, 4)), TRUTH)) == 5


def test_an_invalid_annotation_is_a_failure_of_overlap_and_officially_a_hit_of_precision():
    valid = np.array([True, True, False, True])
    truth = TRUTH[:4].copy()
    truth[2] = np.nan
    official = score(TRUTH[:4], truth, valid)
    assert (official.success[0], official.precision[0]) == (0.75, 1.0)
    measured = protocols.measure(TRUTH[:4], annotated(truth, valid), protocols.OTB)
    assert measured.overlaps.tolist() == [1, 1, -1, 1]
    strict = score(TRUTH[:4], truth, valid, dataclasses.replace(protocols.OTB, invalid="miss"))
    assert (strict.success[0], strict.precision[50]) == (0.75, 0.75)
    assert (official.mean_overlap, official.frames, official.valid_frames) == (1.0, 4, 3)


def test_a_sequence_without_a_valid_annotation_has_no_mean_overlap():
    nothing = score(BOXES, TRUTH, np.zeros(5, bool))
    assert np.isnan(nothing.mean_overlap)
    assert nothing.auc == 0
    some = score(TRUTH, TRUTH)
    assert metrics.average([nothing, some]).mean_overlap == 1.0
    assert np.isnan(metrics.average([nothing]).mean_overlap)


def test_a_sequence_of_one_frame_is_perfect():
    assert score(BOXES[:1], TRUTH[:1]).auc == pytest.approx(20 / 21)


def test_an_empty_union_has_no_overlap():
    assert metrics.overlap(np.zeros((1, 4)), np.zeros((1, 4))).tolist() == [0.0]


def test_sequences_have_equal_weight_in_the_average():
    long, short = score_of_overlaps(1, 0.02, 0.02, 0.02), score_of_overlaps(1)  # centres 49 pixels apart
    averaged = metrics.average([long, short])
    assert (averaged.success[1], averaged.precision[48]) == pytest.approx(((1 / 4 + 1) / 2,) * 2)
    assert averaged.mean_overlap == pytest.approx((1.06 / 4 + 1) / 2)
    assert (averaged.sequences, averaged.frames) == (2, 5)


def test_frames_per_second_leaves_out_the_initialisation_and_keeps_slow_frames():
    assert metrics.frames_per_second(np.array([9.0, 0.1, 0.1, 0.8])) == pytest.approx(3.0)
    assert np.isnan(metrics.frames_per_second(np.array([9.0])))
    assert np.isnan(metrics.frames_per_second(np.full(3, np.nan)))


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: score(BOXES[:, :3], TRUTH), r"boxes must be \[N, 4\], got \[5, 3\]"),
        (lambda: metrics.overlap(BOXES, TRUTH[:, :3]), r"truth must be \[N, 4\], got \[5, 3\]"),
        (lambda: metrics.prepare(BOXES, TRUTH[:0]), "at least one annotated frame"),
        (lambda: metrics.average([]), "no sequence"),
    ],
)
def test_wrong_arguments_are_refused_in_words(call, complaint):
    with pytest.raises(ValueError, match=complaint):
        call()


_integer_box = st.tuples(st.integers(-8, 8), st.integers(-8, 8), st.integers(1, 9), st.integers(1, 9))


@given(_integer_box, _integer_box)
def test_overlap_of_integer_boxes_counts_shared_pixels(a, b):
    def pixels(box):
        x, y, w, h = box
        return {(i, j) for i in range(x, x + w) for j in range(y, y + h)}

    expected = len(pixels(a) & pixels(b)) / len(pixels(a) | pixels(b))
    assert metrics.overlap(np.array([a]), np.array([b]))[0] == expected


@given(_integer_box, _integer_box, st.integers(-5, 5))
def test_moving_box_and_annotation_together_changes_nothing(a, b, shift):
    a, b, moved = np.array([a]), np.array([b]), np.array([shift, -shift, 0, 0])
    assert metrics.overlap(a + moved, b + moved) == metrics.overlap(a, b)
