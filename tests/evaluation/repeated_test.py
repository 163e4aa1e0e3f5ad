import dataclasses

import numpy as np
import pytest

from jaxtrack.data.sequences import Benchmark, Sequence
from jaxtrack.errors import UserError
from jaxtrack.evaluation import repeated, store
from jaxtrack.evaluation.run_record import Run

RUN = Run("mdnet", {"rate": 0.1}, seed=3)
HERE = {"packages": {"jax": "1.0"}, "devices": {"kind": "cpu"}}
BOXES = np.array([[1.0, 2.0, 8.0, 9.0], [2.0, 2.0, 8.0, 9.0], [3.0, 2.0, 8.0, 9.0]])
SCORES = np.array([1.0, 0.5, 0.25], np.float32)


def benchmark(names="AB"):
    sequences = [
        Sequence(name, np.zeros((3, 1, 1, 3), np.uint8), BOXES, np.ones(3, np.bool_))  # type: ignore[arg-type]
        for name in names
    ]
    return Benchmark("toy", "Toy", sequences)


def stored(folder, run=RUN, environment=HERE, names="AB", **changed):
    """A run with the boxes of each sequence; `changed` has others, or (boxes, diagnostics)."""
    opened = store.open_run(folder, "toy", run, environment=environment)
    for name in names:
        boxes, diagnostics = changed.get(name, (BOXES, {"score": SCORES}))
        opened.write(name, boxes, np.ones(3), diagnostics)
    return opened


def moved(frame, by):
    boxes = BOXES.copy()
    boxes[frame] += by
    return boxes


def test_equal_results_do_not_differ_whatever_their_times(tmp_path):
    before, now = stored(tmp_path / "1"), store.open_run(tmp_path / "2", "toy", RUN, environment=HERE)
    for name in "AB":
        now.write(name, BOXES, np.full(3, 9.0), {"score": SCORES}, shared_by="2 workers")
    assert repeated.compare(before, now, benchmark()) is None


def test_the_first_sequence_and_frame_are_named_with_both_boxes_and_the_largest_difference(tmp_path):
    a, b = moved(1, [0, 0, 0.25, 0]), moved(2, [0, -1.5, 0, 0.5])
    before, now = stored(tmp_path / "1"), stored(tmp_path / "2", A=(a, {}), B=(b, {}))
    difference = repeated.compare(before, now, benchmark())
    assert str(difference) == (
        "2 sequences differ, first A in frame 1: box [2., 2., 8., 9.] stored, [2.  , 2.  , 8.25, 9.  ] now; the "
        "largest difference is 1.5 px, in frame 2 of B"
    )


def test_the_first_is_that_of_the_benchmark_s_order(tmp_path):
    both = {"A": (moved(0, 1.0), {}), "B": (moved(2, 1.0), {})}
    before, now = stored(tmp_path / "1"), stored(tmp_path / "2", **both)
    difference = repeated.compare(before, now, benchmark("BA"))
    assert difference is not None
    assert (difference.sequence, difference.frame) == ("B", 2)


def test_scores_are_compared_to_the_last_bit_where_boxes_are_equal(tmp_path):
    scores = np.nextafter(SCORES, np.float32(2), where=[False, True, False], out=SCORES.copy())
    before, now = stored(tmp_path / "1"), stored(tmp_path / "2", B=(BOXES, {"score": scores}))
    difference = repeated.compare(before, now, benchmark())
    assert difference is not None
    assert (difference.what, difference.sequence, difference.frame) == ("score", "B", 1)
    assert difference.largest == np.spacing(np.float32(0.5))


def test_what_is_no_number_in_both_is_equal_and_in_one_is_not(tmp_path):
    nan, ends = np.array([np.nan, 1, 2]), np.array([np.nan, np.nan, 2])
    one, other = stored(tmp_path / "1", A=(BOXES, {"psr": nan})), stored(tmp_path / "2", A=(BOXES, {"psr": nan}))
    assert repeated.compare(one, other, benchmark()) is None
    third = stored(tmp_path / "3", A=(BOXES, {"psr": ends}))
    for before, now in ((one, third), (third, one)):
        difference = repeated.compare(before, now, benchmark())
        assert difference is not None
        assert (difference.what, difference.frame) == ("psr", 1)
        assert np.isnan(difference.largest)


def test_the_counterpart_has_the_same_identity(tmp_path):
    stored(tmp_path, dataclasses.replace(RUN, seed=4))
    own = stored(tmp_path)
    [found] = repeated.counterparts(tmp_path, [RUN], benchmark())
    assert found.directory == own.directory


def test_a_whole_number_is_the_same_however_it_is_written(tmp_path):
    own = stored(tmp_path, dataclasses.replace(RUN, config={"radius_px": 6}))
    [found] = repeated.counterparts(tmp_path, [dataclasses.replace(RUN, config={"radius_px": 6.0})], benchmark())
    assert found.directory == own.directory


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"config": {"rate": 0.2}}, "no results of mdnet, seed 3, on toy with this configuration: config.rate: 0.2 "),
        ({"seed": 4}, "no results of mdnet, seed 3, on toy with this configuration: seed: 4 stored, 3 now"),
        ({"tracker": "tadt"}, "no results of mdnet, seed 3, on toy, but of tadt on toy"),
    ],
)
def test_results_of_something_else_are_refused(other, sentence, tmp_path):
    stored(tmp_path, dataclasses.replace(RUN, **other))
    with pytest.raises(UserError, match=f"--check: .* holds {sentence}"):
        repeated.counterparts(tmp_path, [RUN], benchmark())


def test_results_on_another_benchmark_are_refused(tmp_path):
    stored(tmp_path)
    other = dataclasses.replace(benchmark(), name="otb")
    with pytest.raises(UserError, match="no results of mdnet, seed 3, on otb, but of mdnet on toy"):
        repeated.counterparts(tmp_path, [RUN], other)


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(UserError, match="on toy, and of nothing else: name a folder that --results has filled"):
        repeated.counterparts(tmp_path, [RUN], benchmark())


def test_missing_sequences_are_named(tmp_path):
    stored(tmp_path, names="A")
    with pytest.raises(UserError, match="lacks B, C, D and 1 more: name by --sequences those to be compared"):
        repeated.counterparts(tmp_path, [RUN], benchmark("ABCDE"))


def test_environments_that_differ_are_told(tmp_path):
    elsewhere = {"packages": {"jax": "2.0"}, "devices": {"kind": "cpu"}}
    before, now = stored(tmp_path / "1"), stored(tmp_path / "2", environment=elsewhere)
    assert repeated.elsewhere(before, now) == "packages.jax: 1.0 stored, 2.0 now"
    assert repeated.elsewhere(before, stored(tmp_path / "3")) == ""
