import dataclasses
import math

import numpy as np
import pytest
from toy_vot import SIZE, SQUARE, sequence

from jaxtrack.data.regionfiles import regions
from jaxtrack.data.vot import VotBenchmark
from jaxtrack.errors import UserError
from jaxtrack.evaluation.vot import measures, tables
from jaxtrack.evaluation.vot.comparison import Comparison, Result
from jaxtrack.evaluation.vot.tables import Column

EXACT, BESIDE = [100, 100, 40, 40], [120, 100, 40, 40]
SHARE = 21 / 61  # the overlap of a box that is 20 of 41 pixels beside the square


def score(*rows):
    """Of a tracker that is started, then answers these rows."""
    found = [[1], *rows]
    return measures.score([regions(found)], regions([list(SQUARE)] * len(found)), SIZE)


def comparison(*scores, interval=(2, 10), tags=None, experiment="baseline"):
    """Trackers `A`, `B`, ... with their scores by sequence: `short` of 20 frames and `long` of 100."""
    videos = [sequence(20, name="short", tags=tags), sequence(100, name="long")]
    benchmark = VotBenchmark("vot2018", "VOT2018", videos, edition=2018, complete=True)
    rows = [Result(name, "run", {experiment: found}) for name, found in zip("ABCDE", scores, strict=False)]
    return Comparison(benchmark, experiment, interval, rows)


def test_a_row_has_the_measures_of_all_conventions():
    lost = [EXACT] * 20 + [[2], [0], [0], [0], [0], [1]] + [EXACT] * 73
    [row] = tables.summary_rows(comparison({"short": score(*[BESIDE] * 19), "long": score(*lost)}))
    counted = 10 + 10 + 1 + 64  # frames of `short`, and of `long` before and after the failure
    assert row["accuracy"] == pytest.approx((10 * SHARE + counted - 10) / counted)
    assert row["accuracy_by_sequence"] == pytest.approx((20 * SHARE + 100) / 120)
    assert (row["lost"], row["lost_per_sequence"], row["frames"], row["sequences"]) == (1, 0.5, 120, 2)
    assert row["lost_by_length"] == pytest.approx((20 * 0 + 100 * 1) / 120)
    assert row["robustness"] == pytest.approx(100 / 120)
    assert row["reliability"] == pytest.approx(math.exp(-30 / 120))
    assert (row["eao_low"], row["eao_high"]) == (2, 10)


def test_the_eao_of_a_tag_is_that_of_the_frames_that_have_it():
    both = {"short": score(*[BESIDE] * 19), "long": score(*[EXACT] * 99)}
    compared = comparison(both, tags={"occlusion": np.arange(20) < 5})
    [result] = compared.results
    assert compared.eao(result) == pytest.approx((SHARE + 1) / 2)
    assert compared.eao(result, "occlusion") == pytest.approx(SHARE)
    assert compared.eao(result, "empty") == pytest.approx((0.75 * SHARE + 1) / 1.75)
    assert math.isnan(comparison(both, interval=None).eao(result))


def test_best_is_what_is_printed_as_the_best():
    values = [0.1234, 0.1231, 0.5, math.nan]
    accuracy, robustness = Column("A", measures.accuracy), Column("R", measures.robustness, higher=False)
    assert tables.best(values, accuracy, [True] * 4) == {2}
    assert tables.best(values, robustness, [True] * 4) == {0, 1}
    assert tables.best(values, accuracy, [True, True, False, True]) == {0, 1}
    assert tables.best([math.nan, 0.5], accuracy, [True, True]) == set()


def test_a_tracker_that_covers_less_is_not_compared_with_the_others():
    good, fair = score(*[EXACT] * 99), score(*[BESIDE] * 99)
    short = {"short": score(*[BESIDE] * 19)}
    compared = comparison({**short, "long": fair}, {**short, "long": good}, {"long": good})
    table = tables.summary_table(compared)
    shown = {str(column.header): list(column.cells) for column in table.columns}
    assert [cell.style for cell in shown["A"]] == ["", "bold", ""]
    assert shown["seqs"] == ["2", "2", "1/2"]
    assert "Rows with fewer or other sequences" in table.caption


def test_a_tracker_of_as_many_but_other_sequences_is_not_compared_either():
    good, fair = score(*[EXACT] * 99), score(*[BESIDE] * 99)
    compared = comparison({"long": fair}, {"short": score(*[EXACT] * 19)}, {"long": good})
    assert compared.comparable == [True, False, True]
    table = tables.summary_table(compared)
    [accuracies] = [list(column.cells) for column in table.columns if column.header == "A"]
    assert [cell.style for cell in accuracies] == ["", "", "bold"]
    assert "are not compared" in table.caption


def test_remarks_are_footnotes():
    both = {"short": score(*[BESIDE] * 19), "long": score(*[BESIDE] * 99)}
    compared = comparison(both, both)
    first, second = compared.results
    compared = dataclasses.replace(compared, results=[first, dataclasses.replace(second, tuned_on="toys")])
    summary, ranks = tables.summary_table(compared), tables.rank_table([compared])
    for table in (summary, ranks):
        assert [str(cell) for cell in table.columns[0].cells] == ["A", "B¹"]
        assert str(table.caption).splitlines()[-1] == "¹ tuned on toys"
    for table in (tables.sequence_table(compared), tables.tag_table(compared)):
        assert [str(column.header) for column in table.columns[1:]] == ["A", "B¹"]
        assert str(table.caption) == "¹ tuned on toys"


def test_ranks_are_those_on_the_sequences_that_all_have():
    good, fair = score(*[EXACT] * 99), score(*[BESIDE] * 99)
    compared = comparison({"long": good}, {"short": score(*[BESIDE] * 19), "long": fair})
    assert compared.shared == ["long"]
    assert [r.accuracy for r in tables.rank_rows(compared)] == [1, 2]
    near = dataclasses.replace(compared, practical=0.7)
    assert [r.accuracy for r in tables.rank_rows(near)] == [1.5, 1.5]
    assert (compared.ranked, near.ranked) == (False, True)  # nobody has asked for the former
    apart = comparison({"long": good}, {"short": score(*[BESIDE] * 19)})
    with pytest.raises(UserError, match="ranks: there is no sequence of VOT2018 that all trackers have"):
        tables.rank_rows(apart)
    assert not dataclasses.replace(apart, practical=0.0).ranked
