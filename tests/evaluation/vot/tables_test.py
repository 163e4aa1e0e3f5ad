import math

import numpy as np
import pytest
from toy_vot import SIZE, SQUARE, sequence

from jaxtrack.data.regionfiles import regions
from jaxtrack.data.vot import VotBenchmark
from jaxtrack.errors import UserError
from jaxtrack.evaluation.vot import measures, tables
from jaxtrack.evaluation.vot.tables import Column, Comparison, Result

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
    assert tables.best(values, Column("A", measures.accuracy)) == {2}
    assert tables.best(values, Column("R", measures.robustness, higher=False)) == {0, 1}
    assert tables.best([math.nan, 0.5], Column("A", measures.accuracy)) == set()


def test_a_tracker_that_covers_less_is_not_compared_with_the_others():
    good, fair = score(*[EXACT] * 99), score(*[BESIDE] * 99)
    short = {"short": score(*[BESIDE] * 19)}
    compared = comparison({**short, "long": fair}, {**short, "long": good}, {"long": good})
    table = tables.summary_table(compared)
    shown = {str(column.header): list(column.cells) for column in table.columns}
    assert [cell.style for cell in shown["A"]] == ["", "bold", ""]
    assert shown["seqs"] == ["2", "2", "1/2"]
    assert "Rows with fewer sequences" in table.caption


def test_ranks_are_those_on_the_sequences_that_all_have():
    good, fair = score(*[EXACT] * 99), score(*[BESIDE] * 99)
    compared = comparison({"long": good}, {"short": score(*[BESIDE] * 19), "long": fair})
    assert compared.shared == ["long"]
    assert [r.accuracy for r in tables.rank_rows(compared, 0.0)] == [1, 2]
    assert [r.accuracy for r in tables.rank_rows(compared, 0.7)] == [1.5, 1.5]
    apart = comparison({"long": good}, {"short": score(*[BESIDE] * 19)})
    with pytest.raises(UserError, match="ranks: there is no sequence of VOT2018 that all trackers have"):
        tables.rank_rows(apart, 0.0)
