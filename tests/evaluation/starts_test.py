"""Starts of TRE and SRE: the vectors of the specification."""

import dataclasses

import numpy as np
import pytest

from jaxtrack.data import otb_table
from jaxtrack.data.sequences import Benchmark, Sequence
from jaxtrack.evaluation import metrics, starts

SPEC = [1, 7, 13, 20, 26, 32, 39, 45, 51, 58, 64, 71, 77, 83, 90, 96, 102, 109, 115, 121]


def sequence(frames=140, box=(99, 49, 40, 80), **more):
    images = np.broadcast_to(np.arange(frames, dtype=np.uint8)[:, None, None, None], (frames, 240, 320, 3))
    return Sequence("Deer", images, np.tile(np.array(box, float), (frames, 1)), np.ones(frames, bool), **more)


def test_tre_starts_of_140_frames():
    assert [frame + 1 for frame in starts.tre_frames(np.ones(140, bool))] == SPEC


def test_tre_passes_over_frames_that_are_omitted_or_not_annotated():
    # As if the 40 frames were not there: the 140 others are counted.
    allowed = np.ones(180, bool)
    allowed[10:50] = False
    expected = [frame if frame <= 10 else frame + 40 for frame in SPEC]
    assert [frame + 1 for frame in starts.tre_frames(allowed)] == expected
    valid = sequence(180)
    omitted = dataclasses.replace(valid, omitted=np.arange(180) // 10 == 1)
    late = dataclasses.replace(omitted, valid=(np.arange(180) < 20) | (np.arange(180) >= 50))
    assert [start.frame + 1 for start in starts.starts(late, "tre")] == expected


def test_a_short_sequence_starts_where_it_can():
    assert starts.tre_frames(np.ones(19, bool)) == [0] * 20
    assert sorted(set(starts.tre_frames(np.ones(22, bool)))) == [0, 1, 2]


def test_tiger1_omits_the_intervals_of_its_images():
    entry = next(entry for entry in otb_table.table() if entry.name == "Tiger1")
    omitted = otb_table.omitted_frames(entry)
    # Images 9-15 and 18-29 of a sequence that begins with image 6; the last interval ends with the last image.
    assert np.flatnonzero(omitted)[:8].tolist() == [3, 4, 5, 6, 7, 8, 9, 12]
    assert (len(omitted), omitted[-1], omitted[0]) == (349, True, False)


def test_sre_boxes_of_the_specification():
    boxes = starts.sre_boxes(np.array([100, 50, 40, 80]), (640, 480))
    assert {name: box.tolist() for name, box in boxes.items()} == {
        "left": [95, 50, 40, 80],
        "right": [105, 50, 40, 80],
        "up": [100, 41, 40, 80],
        "down": [100, 59, 40, 80],
        "top-left": [96, 42, 44, 88],
        "top-right": [100, 42, 44, 88],
        "bottom-left": [96, 50, 44, 88],
        "bottom-right": [100, 50, 44, 88],
        "scale-0.8": [104, 58, 32, 64],
        "scale-0.9": [102, 54, 36, 72],
        "scale-1.1": [98, 46, 44, 88],
        "scale-1.2": [96, 42, 48, 96],
    }


def test_sre_boxes_stay_in_the_image():
    boxes = starts.sre_boxes(np.array([2, 1, 40, 80]), (45, 82))
    assert boxes["left"].tolist() == [1, 1, 36, 80]  # from -3 to 36
    assert boxes["down"].tolist() == [2, 10, 40, 73]  # from 10 to 89
    assert boxes["right"].tolist() == [7, 1, 39, 80]


def test_runs_are_sequences_of_a_benchmark_of_their_own():
    toy = Benchmark("toys", "Toys", [sequence(140)])
    tre, sre = (starts.benchmark_of(toy, kind) for kind in ("tre", "sre"))
    assert starts.benchmark_of(toy, "ope") is toy
    assert (tre.name, sre.name) == ("toys-tre", "toys-sre")
    assert [each.name for each in tre.sequences][:2] == ["Deer", "Deer@7"]  # the first is the run of OPE
    assert [len(each) for each in tre.sequences] == [141 - frame for frame in SPEC]
    assert [int(each[0][0, 0, 0]) + 1 for each in tre.sequences] == SPEC
    assert tre.sequences[1][-1][0, 0, 0] == 139
    with pytest.raises(IndexError):
        tre.sequences[1][134]
    assert len(sre.sequences) == 12
    assert sre.sequences[0].name == "Deer@left"
    assert sre.sequences[0].boxes[:2].tolist() == [[94, 49, 40, 80], [99, 49, 40, 80]]


def test_equal_runs_of_a_short_sequence_are_run_once():
    assert len(starts.benchmark_of(Benchmark("toys", "Toys", [sequence(22)]), "tre").sequences) == 3


def test_pooled_runs_weigh_as_much_as_they_have_frames():
    long, short = (
        metrics.SequenceScore(np.full(21, level), np.full(51, level), level, n, n)
        for level, n in ((0.2, 30), (0.8, 10))
    )
    pooled = metrics.pool([long, short])
    assert (pooled.auc, pooled.precision_20, pooled.mean_overlap) == pytest.approx((0.35,) * 3)
    assert (pooled.frames, pooled.valid_frames) == (40, 40)
