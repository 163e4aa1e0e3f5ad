"""The rules of the toolkits on toy sets: numbers of the specification, or worked out by hand."""

import dataclasses

import numpy as np
import pytest
import scipy.io

from jaxtrack.data import otb_table
from jaxtrack.data.boxfiles import annotated_rows, read_boxes
from jaxtrack.data.sequences import Sequence
from jaxtrack.errors import UserError
from jaxtrack.evaluation import metrics, protocols, raw_results
from jaxtrack.evaluation.protocols import OTB, PROTOCOLS

PYSOT, GOT10K, PYTRACKING = (PROTOCOLS[name] for name in ("pysot", "got10k", "pytracking"))
TRUTH = [(10, 20, 30, 40), (12, 22, 30, 40), (14, 24, 0, 0), (np.nan,) * 4, (18, 28, 30, 40), (-30, 5, 20, 20)]
RESULT = [(10, 20, 30, 40), (15, 25, 30, 40), (1, 1, 5, 5), (1, 1, 5, 5), (30, 40, 25, 30), (-28, 6, 20, 20)]


def sequence(rows, **more):
    """A sequence with these rows in its file (1-based)."""
    boxes = np.array(rows, np.float64) - [1, 1, 0, 0]
    return Sequence("toy", np.zeros((len(boxes), 8, 8, 3), np.uint8), boxes, annotated_rows(boxes), **more)


def score(rows, truth, rules):
    return protocols.score(np.array(rows, np.float64) - [1, 1, 0, 0], truth, rules)


def test_pysots_toy_set_is_exact():
    found = score(RESULT, sequence(TRUTH), PYSOT)
    assert found.auc == pytest.approx(0.452381, abs=1e-6)
    assert found.precision[[0, 5, 20, 50]] == pytest.approx([0.5, 2 / 3, 5 / 6, 1])
    assert found.norm_precision is not None
    assert found.norm_precision[[0, 20, 50]] == pytest.approx([0.5, 2 / 3, 5 / 6])
    assert found.norm_precision_20 == pytest.approx(2 / 3)


def test_otbs_toy_set_is_exact():
    truth = sequence([(10, 10, 20, 20)] * 5)
    rows = [(0, 0, 1, 1), (12, 11, 20, 20), (10, 10, 30, 30), (20, 10, 20, 20), (31, 10, 20, 20)]
    found = score(rows, truth, OTB)
    assert found.success == pytest.approx([0.8] * 7 + [0.6] * 2 + [0.4] * 6 + [0.2] * 5 + [0])
    assert found.auc == pytest.approx(0.485714, abs=1e-6)
    assert found.precision[[20, 21]] == pytest.approx([0.8, 1.0])
    # Errors of 0, 0.11, 0.35, 0.5 and 1.05 sides of the annotation.
    assert found.norm_precision is not None
    assert found.norm_precision[[0, 11, 12, 20, 35, 36, 49, 50]] == pytest.approx(
        [0.2, 0.2] + [0.4] * 3 + [0.6] * 2 + [0.8]
    )


def test_the_toy_sets_by_the_other_rules():
    # OTB: rows 3, 4 and 6 are not valid annotations; the overlaps of the others are 1, 0.713 and 0.349.
    found = score(RESULT, sequence(TRUTH), OTB)
    assert found.auc == pytest.approx((20 + 15 + 7) / (6 * 21))
    assert found.precision_20 == 1.0
    skipping = score(RESULT, sequence(TRUTH), dataclasses.replace(OTB, invalid="skip"))
    assert (skipping.frames, skipping.auc) == (3, pytest.approx((20 + 15 + 7) / (3 * 21)))


def test_pytracking_asks_for_width_and_height_alone_and_forgives_the_normalised_error():
    """As `calc_seq_err_robust` of its analysis: row 6, left of the image, is valid, with an overlap of 0.748."""
    everywhere = {name: score(RESULT, sequence(TRUTH), PYTRACKING.on(name)) for name in ("otb100", "lasot", "uav123")}
    for found in everywhere.values():
        assert found.auc == pytest.approx((20 + 15 + 7 + 15) / (6 * 21))
        # Rows 3 and 4 are hits at any threshold; the error of row 6 is 0.112 of its sides, that of row 2 0.125.
        assert found.norm_precision is not None
        assert found.norm_precision[[0, 11, 12, 13]] == pytest.approx([3 / 6, 3 / 6, 4 / 6, 5 / 6])
    assert {name: found.precision[0] for name, found in everywhere.items()} == pytest.approx(
        {"otb100": 1 / 6, "lasot": 1 / 6, "uav123": 3 / 6}
    )
    overruled = score(RESULT, sequence(TRUTH), dataclasses.replace(PYTRACKING, invalid="miss"))
    assert overruled.norm_precision is not None
    assert overruled.norm_precision[0] == pytest.approx(1 / 6)


@pytest.mark.parametrize(("rules", "first"), [(OTB, 1.0), (PYTRACKING, 1.0), (PYSOT, 0.5)])
def test_the_first_frame_is_right_by_definition_but_in_pysot(rules, first):
    found = score([(50, 50, 2, 2), (3, 4, 5, 6)], sequence([(3, 4, 5, 6)] * 2), rules)
    assert found.success[0] == first


def test_thresholds_are_spelled_in_two_ways():
    truth, rows = sequence([(1, 1, 100, 100)] * 2), [(1, 1, 100, 100), (1, 1, 100, 65)]
    assert [score(rows, truth, rules).success[13] for rules in (OTB, PYSOT)] == [1.0, 0.5]


def test_an_unusable_box_is_the_one_before_in_otb_and_a_failure_in_pysot():
    truth, rows = sequence([(3, 4, 5, 6)] * 2), [(3, 4, 5, 6), (3, 4, 0, 6)]
    assert [score(rows, truth, rules).success[0] for rules in (OTB, PYTRACKING, PYSOT)] == [1.0, 1.0, 0.5]


def test_frames_without_the_target_are_no_hits_but_stay_in_the_denominator():
    truth = sequence([(3, 4, 5, 6)] * 4, absent=np.array([False, True, False, False]))
    for rules in (OTB, PYSOT):
        found = score([(3, 4, 5, 6)] * 4, truth, rules)
        assert (found.success[0], found.precision[50], found.norm_precision_20) == (0.75, 0.75, 0.75)
        assert (found.mean_overlap, found.frames, found.valid_frames) == (1.0, 4, 3)


def test_got10k_leaves_out_the_first_frame_and_covered_ones_and_cuts_boxes_to_the_image():
    truth = sequence(
        [(0, 0, 10, 10)] * 3 + [(95, 0, 10, 10)],
        cover=np.array([8, 0, 1, 8], np.uint8),
        stated_size=(100, 80),
        object_class="bear",
    )
    rows = [(0, 0, 10, 10), (0, 0, 10, 10), (0, 0, 10, 6), (95, 0, 5, 10)]
    found = score(rows, truth, GOT10K)
    assert (found.frames, found.mean_overlap) == (2, pytest.approx((0.6 + 1) / 2))
    assert (found.success_50, found.success_75) == (1.0, 0.5)
    assert score(rows[:1], sequence(TRUTH[:1]), GOT10K).frames == 0


def test_got10k_moves_a_corner_into_the_image_and_keeps_the_width():
    """As `rect_iou` of the toolkit: it clips x, then w to what is right of x, and does not take off what was left."""
    truth = sequence([(10, 10, 20, 20)] * 3 + [(-5, 0, 10, 10)], stated_size=(100, 100))
    rows = [(10, 10, 20, 20), (-10, 10, 40, 20), (20, 90, 20, 20), (0, 0, 5, 10)]
    found = protocols.measure(np.array(rows, np.float64) - [1, 1, 0, 0], truth, GOT10K)
    # (0, 10, 40, 20) and (10, 10, 20, 20) share 400 of 800; (20, 90, 20, 10) nothing; (0, 0, 10, 10) and half of it.
    assert found.overlaps.tolist() == pytest.approx([1, 0.5, 0, 0.5])


def test_got10k_pools_frames_and_balances_classes():
    def part(overlap, frames, kind):
        return metrics.SequenceScore(np.full(21, overlap), np.full(51, 0.5), overlap, frames, frames, object_class=kind)

    mean = metrics.average([part(0.2, 30, "bear"), part(0.4, 10, "bear"), part(0.9, 10, "bus")], pooled=True)
    read = {key: metric.of(mean) for key, metric in metrics.GOT10K_METRICS.items()}
    pooled = (0.2 * 30 + 0.4 * 10 + 0.9 * 10) / 50
    assert read == pytest.approx({"ao": pooled, "sr_50": pooled, "sr_75": pooled, "mao": (0.3 + 0.9) / 2})
    assert np.isnan(metrics.average([part(0.2, 30, "")], pooled=True).class_overlap)


@pytest.mark.parametrize("rules", [PYSOT, GOT10K])
def test_results_that_a_protocol_does_not_repair_are_refused(rules):
    truth = sequence([(3, 4, 5, 6)] * 3, stated_size=(9, 9))
    with pytest.raises(
        UserError, match=r"result of toy is too short: 2 rows for 3 frames, which the protocol \w+ does"
    ):
        score([(3, 4, 5, 6)] * 2, truth, rules)
    with pytest.raises(UserError, match=r"result of toy is too long: 4 rows for 3 frames"):
        score([(3, 4, 5, 6)] * 4, truth, rules)
    with pytest.raises(UserError, match=r"result of toy is too long"):
        score([(3, 4, 5, 6)] * 4, truth, rules.on("uav123"))
    with pytest.raises(UserError, match=r"result of toy has NaN in row 2, which the protocol \w+ does not allow"):
        score([(3, 4, 5, 6), (np.nan, 4, 5, 6), (3, 4, 5, 6)], truth, rules)


def test_pysot_cuts_results_of_lasot_that_are_too_long():
    truth = sequence([(3, 4, 5, 6)] * 3)
    found = score([(3, 4, 5, 6)] * 3 + [(50, 50, 5, 6)], truth, PYSOT.on("lasot"))
    assert (found.frames, found.mean_overlap, found.auc) == (3, 1.0, pytest.approx(20 / 21))
    with pytest.raises(UserError, match="result of toy is too short"):
        score([(3, 4, 5, 6)] * 2, truth, PYSOT.on("lasot"))


def test_pytracking_has_no_rule_for_uav123_and_tc128_in_one():
    with pytest.raises(UserError, match="pytracking has no one rule for the parts of ablation352: score them apart"):
        PYTRACKING.on("ablation352")
    assert PYSOT.on("ablation352") == PYSOT


def test_mdnet_scores_as_in_the_matlab_toolkit(test_data):
    folder = test_data / "otb100"
    oracle = scipy.io.loadmat(folder / "toolkit_curves_15_trackers.mat")
    entries = sorted(otb_table.table(), key=lambda entry: ("tb50" not in entry.lists, entry.name.casefold()))
    results = raw_results.read_folder(folder / "results" / "MDNet")
    for i, entry in enumerate(entries):
        boxes = read_boxes(folder / "groundtruth_rect" / f"{entry.name}.txt")
        truth = Sequence(entry.name, np.zeros(len(boxes)), boxes, annotated_rows(boxes))
        found = protocols.score(results[entry.name], truth)
        for curve in ("success", "precision"):
            expected = oracle[f"{curve}_curve"][0, i].ravel()
            np.testing.assert_allclose(getattr(found, curve), expected, rtol=0, atol=1e-9, err_msg=entry.name)
