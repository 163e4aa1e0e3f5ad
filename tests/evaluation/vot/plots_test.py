import dataclasses
import math

import numpy as np
import pytest
from toy_vot import SIZE, SQUARE, sequence

from jaxtrack.data.regionfiles import regions
from jaxtrack.data.vot import VotBenchmark
from jaxtrack.evaluation.vot import measures, plots
from jaxtrack.evaluation.vot.comparison import Comparison, Result

EXACT, BESIDE = [100, 100, 40, 40], [120, 100, 40, 40]
SHARE = 21 / 61  # the overlap of a box that is 20 of 41 pixels beside the square
LOST = [EXACT] * 12 + [[2], [0], [0], [0], [0], [1]] + [EXACT] * 11


def score(*rows):
    """Of a tracker that is started, then answers these rows."""
    found = [[1], *rows]
    return measures.score([regions(found)], regions([list(SQUARE)] * len(found)), SIZE)


def comparison(*scores, interval=(2, 10), practical=None):
    """Trackers `A`, `_B$`, ... with their scores of `toy`, 30 frames."""
    benchmark = VotBenchmark("vot2018", "VOT2018", [sequence(30)], edition=2018, complete=True)
    rows = [Result(name, "run", {"baseline": found}) for name, found in zip(["A", "_B$", "C"], scores, strict=False)]
    return Comparison(benchmark, "baseline", interval, rows, practical)


@pytest.fixture(scope="module")
def three():
    """One beside the target, one on it, one that loses it once."""
    return comparison(
        {"toy": score(*[BESIDE] * 29)}, {"toy": score(*[EXACT] * 29)}, {"toy": score(*LOST)}, practical=0.0
    )


def legend(figure):
    [found] = figure.legends
    return [text.get_text() for text in found.get_texts()]


def points(figure):
    """(x, y, marker) of each tracker."""
    return [(*map(float, line.get_xydata()[0]), line.get_marker()) for line in figure.axes[0].get_lines()]


def test_eao_curves_are_those_of_the_lengths_and_the_interval_is_shaded(three):
    figure = plots.eao_plot(three)
    [axes] = figure.axes
    assert axes.get_title() == "EAO curves - supervised (baseline) on VOT2018"
    # Lost in frame 13 of 30: over the 9 lengths of the interval nothing is missing.
    assert legend(figure) == ["EAO: 2 to 10 frames", r"B\$ [1.000]", "C [1.000]", "A [0.344]"]
    exact, _, beside = axes.get_lines()
    np.testing.assert_array_equal(beside.get_xdata(), np.arange(1, 31))
    np.testing.assert_allclose(beside.get_ydata(), [1] + [SHARE] * 29)
    np.testing.assert_allclose(exact.get_ydata(), 1)
    [shade] = [patch for patch in axes.patches if patch.get_label().startswith("EAO")]
    assert (shade.get_x(), shade.get_width()) == (2, 8)
    assert axes.get_xlim() == (1, 30)


def test_the_axis_reaches_the_end_of_the_interval(three):
    assert plots.eao_plot(dataclasses.replace(three, interval=(2, 99))).axes[0].get_xlim() == (1, 99)


def test_an_a_r_plot_has_reliability_to_the_right_and_accuracy_upwards(three):
    figure = plots.ar_plot(three)
    beside, exact, lost = points(figure)
    assert beside[:2] == pytest.approx((1, SHARE))
    assert exact[:2] == pytest.approx((1, 1))
    assert lost[:2] == pytest.approx((math.exp(-30 / 30), 1))
    assert len({marker for *_, marker in (beside, exact, lost)}) == 3
    assert figure.axes[0].get_xlabel() == "Robustness (S = 30)"
    assert legend(figure) == ["A", r"B\$", "C"]


def test_a_tracker_has_one_colour_in_all_plots(three):
    def colours(figure):
        return {line.get_label().partition(" ")[0]: line.get_color() for line in figure.axes[0].get_lines()}

    assert colours(plots.eao_plot(three)) == colours(plots.ar_plot(three)) == colours(plots.rank_plot(three))


def test_ranks_are_best_at_the_top_right(three):
    figure = plots.rank_plot(three)
    # A has the least overlap; B and C share ranks 1 and 2. C alone fails: A and B share ranks 1 and 2.
    assert [point[:2] for point in points(figure)] == [(1.5, 3), (1.5, 1.5), (3, 1.5)]
    [axes] = figure.axes
    assert axes.get_xlim()[0] > axes.get_xlim()[1]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]


def test_a_tracker_without_sequences_has_no_curve_and_keeps_the_others_colours(three):
    none = comparison({}, {"toy": score(*[EXACT] * 29)})
    [line] = plots.eao_plot(none).axes[0].get_lines()
    assert line.get_color() == plots.eao_plot(three).axes[0].get_lines()[0].get_color()
    assert legend(plots.ar_plot(none)) == [r"B\$"]


def test_a_tracker_of_which_no_frame_counts_is_not_in_the_a_r_plot():
    never = comparison({"toy": score([2], [0], [0], [0], [0], [1], *[BESIDE] * 9)})
    assert points(plots.ar_plot(never)) == []
    assert plots.ar_plot(never).legends == []


def test_remarks_and_missing_sequences_stand_in_the_legend():
    compared = comparison({"toy": score(*[EXACT] * 29)})
    videos = [*compared.benchmark.sequences, sequence(20, name="more")]
    [row] = compared.results
    compared = dataclasses.replace(
        compared,
        benchmark=dataclasses.replace(compared.benchmark, sequences=videos),
        results=[dataclasses.replace(row, tuned_on="toys")],
    )
    assert legend(plots.ar_plot(compared)) == ["A (tuned on toys) on 1/2 sequences"]


def test_files_are_called_after_experiment_and_plot(three, tmp_path):
    paths = plots.write_plots([dataclasses.replace(three, interval=None)], tmp_path / "new")
    assert [path.name for path in paths] == [f"baseline_{x}" for x in ("ar.png", "ar.svg", "ranks.png", "ranks.svg")]
    assert all(path.stat().st_size > 1000 for path in paths)
    assert list(plots.kinds(dataclasses.replace(three, practical=None))) == ["eao", "ar"]
