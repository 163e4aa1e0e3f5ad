import dataclasses
import subprocess
import sys

import cv2
import matplotlib as mpl
import numpy as np
import pytest

from jaxtrack.errors import UserError
from jaxtrack.evaluation import comparison, figures, metrics, plots


def score(level):
    success = np.linspace(level, 0, 21)
    precision = np.linspace(0, level, 51)
    return metrics.SequenceScore(success, precision, level, frames=10, valid_frames=10)


def result(name, *levels, sequences=("A", "B"), **fields):
    scores = tuple(dict.fromkeys(sequences, score(level)) for level in levels)
    return comparison.TrackerResult(name, tuple("abcdef"[: len(levels)]), scores, **fields)


def comparing(*trackers, title="OTB-100"):
    return comparison.Comparison("otb100", title, ("A", "B"), {"A": frozenset({"OCC"})}, trackers)


THREE = comparing(result("low", 0.2), result("high", 0.9, 0.7), result("middle", 0.6))


def legend(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_the_success_plot_is_titled_and_its_legend_sorted_by_auc():
    figure = plots.success_plot(THREE)
    assert figure.axes[0].get_title() == "Success plots of OPE - OTB-100"
    # A straight line from the level to 0 has half the level as its mean.
    assert legend(figure) == ["high [0.400 ± 0.071]", "middle [0.300]", "low [0.100]"]


def test_the_precision_plot_is_sorted_by_the_value_at_20_pixels():
    figure = plots.precision_plot(THREE)
    assert figure.axes[0].get_title() == "Precision plots of OPE - OTB-100"
    # 20 of 50 pixels: 0.4 of the level.
    assert legend(figure) == ["high [0.320 ± 0.057]", "middle [0.240]", "low [0.080]"]


def test_the_curves_are_means_over_the_runs_at_the_thresholds_with_a_band():
    axes = plots.success_plot(THREE).axes[0]
    high = axes.get_lines()[0]
    np.testing.assert_allclose(high.get_xdata(), metrics.SUCCESS_THRESHOLDS)
    np.testing.assert_allclose(high.get_ydata(), np.linspace(0.8, 0, 21))
    [band] = axes.collections
    at_zero = [y for x, y in band.get_paths()[0].vertices if x == 0]
    assert (min(at_zero), max(at_zero)) == pytest.approx((0.8 - 0.02**0.5, 0.8 + 0.02**0.5))
    precision = plots.precision_plot(THREE).axes[0].get_lines()[0]
    np.testing.assert_allclose(precision.get_xdata(), np.arange(51))
    np.testing.assert_allclose(precision.get_ydata(), np.linspace(0, 0.8, 51))


def test_a_tracker_keeps_its_colour_in_every_plot_and_ten_can_be_told_apart():
    ten = comparing(*(result(f"t{i}", 0.05 * i + 0.1) for i in range(10)))

    def looks(figure):
        lines = figure.axes[0].get_lines()
        return {line.get_label().split()[0]: (line.get_color(), str(line.get_linestyle())) for line in lines}

    assert looks(plots.success_plot(ten)) == looks(plots.precision_plot(ten))
    colours = {colour for colour, _ in looks(plots.success_plot(ten)).values()}
    assert len(colours) == 10


def test_more_than_ten_trackers_have_distinct_lines_and_a_legend_beside_the_plot():
    many = comparing(*(result(f"t{i}", 0.9) for i in range(24)))
    figure = plots.success_plot(many)
    looks = {
        (line.get_color(), line._dash_pattern[1] and tuple(line._dash_pattern[1]))
        for line in figure.axes[0].get_lines()
    }
    assert len(looks) == 24
    figure.canvas.draw()
    assert figure.axes[0].get_legend().get_window_extent().x0 > figure.axes[0].get_window_extent().x1


def test_a_tracker_with_fewer_sequences_says_so_and_one_with_none_is_left_out():
    figure = plots.success_plot(comparing(result("some", 0.8, sequences=["A"]), result("none", 0.8, sequences=["Z"])))
    assert legend(figure) == ["some [0.400] on 1/2 sequences"]


def test_constants_that_were_chosen_on_test_data_are_labelled_in_the_legend():
    figure = plots.success_plot(comparing(result("mine", 0.8, tuned_on="OTB100")))
    assert legend(figure) == ["mine (tuned on OTB100) [0.400]"]


def test_weights_that_were_chosen_on_test_data_are_labelled_in_the_legend():
    figure = plots.success_plot(comparing(result("mine", 0.8, chosen_on="OTB100")))
    assert legend(figure) == ["mine (weights chosen on OTB100) [0.400]"]


def test_a_plot_without_any_curve_is_drawn_all_the_same(tmp_path):
    assert figures.save(plots.success_plot(comparing()), tmp_path / "empty")[0].exists()


def test_names_with_signs_that_matplotlib_reads_are_shown_as_they_are(tmp_path):
    figure = plots.success_plot(comparing(result("_my$tracker$", 0.8)))
    assert legend(figure) == [r"my\$tracker\$ [0.400]"]


def test_a_long_title_is_wrapped():
    title = "5 of the 100 sequences of OTB-100, out-of-plane rotation and more (5)"
    lines = plots.success_plot(comparing(title=title)).axes[0].get_title().splitlines()
    assert len(lines) == 2
    assert " ".join(lines) == f"Success plots of OPE - {title}"


def test_all_parts_lie_within_the_picture():
    many = comparing(*(result(f"a tracker with a long name {i}", 0.5) for i in range(14)))  # its legend is beside it
    for figure in (plots.success_plot(many), plots.plot_trace({"numbers": np.arange(9.0)}, title="two lines " * 12)):
        bounds, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        assert min(bounds.x0, bounds.y0, width - bounds.x1, height - bounds.y1) > 0


def test_files_are_the_same_byte_for_byte_when_drawn_twice(tmp_path):
    first = figures.save(plots.success_plot(THREE), tmp_path / "first")
    second = figures.save(plots.success_plot(THREE), tmp_path / "second")
    assert [path.name for path in first] == ["first.png", "first.svg"]
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes()
    assert b"<dc:date>" not in first[1].read_bytes()


def test_the_png_shows_the_curves_in_their_colours(tmp_path):
    path, _ = figures.save(plots.success_plot(THREE), tmp_path / "plot")
    image = cv2.imread(str(path))[..., ::-1].astype(int)
    for colour in ((0xD5, 0x5E, 0x00), (0x00, 0x72, 0xB2), (0x00, 0x9E, 0x73)):
        assert (np.abs(image - colour).sum(axis=-1) < 12).sum() > 300


def test_the_users_settings_neither_matter_nor_change(tmp_path):
    plain = figures.save(plots.success_plot(THREE), tmp_path / "plain")[1].read_bytes()
    with mpl.rc_context({"lines.linewidth": 9, "axes.facecolor": "red", "svg.hashsalt": "mine"}):
        before = dict(mpl.rcParams)
        changed = figures.save(plots.success_plot(THREE), tmp_path / "changed")[1].read_bytes()
        assert dict(mpl.rcParams) == before
    assert plain == changed


def test_pyplot_and_its_global_figures_are_never_used():
    code = (
        "import sys, numpy\nfrom jaxtrack.evaluation import plots\n"
        "plots.plot_trace({'x': numpy.zeros(3)})\nassert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_write_plots_writes_a_pair_and_on_request_one_per_attribute(tmp_path):
    paths = plots.write_plots(THREE, tmp_path / "new")
    assert [p.name for p in paths] == ["success.png", "success.svg", "precision.png", "precision.svg"]
    more = plots.write_plots(THREE, tmp_path, attributes=True)
    assert [p.relative_to(tmp_path).as_posix() for p in more[4:]] == [
        "attributes/OCC_success.png",
        "attributes/OCC_success.svg",
        "attributes/OCC_precision.png",
        "attributes/OCC_precision.svg",
    ]
    assert all(p.stat().st_size > 0 for p in more)
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_folder_that_cannot_be_written_is_reported_in_words(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write plots to"):
        plots.write_plots(THREE, tmp_path / "file" / "plots")


def test_a_trace_has_a_panel_for_each_diagnostic_with_its_level():
    figure = plots.plot_trace(
        {"Q": np.array([1.0, np.nan, 0.5]), "losses": np.arange(6.0).reshape(3, 2)},
        title="Deer",
        levels={"Q": 0.8},
    )
    top, bottom = figure.axes
    assert (top.get_title(), top.get_ylabel(), bottom.get_ylabel()) == ("Deer", "Q", "losses")
    curve, level = top.get_lines()
    np.testing.assert_array_equal(curve.get_ydata(), [1.0, np.nan, 0.5])
    np.testing.assert_array_equal(curve.get_xdata(), [0, 1, 2])
    assert list(level.get_ydata()) == [0.8, 0.8]
    assert [line.get_ydata().tolist() for line in bottom.get_lines()] == [[0, 2, 4], [1, 3, 5]]
    assert bottom.get_xlabel() == "frame"


def test_panels_of_one_line_differ_in_colour_and_so_do_the_lines_of_one_panel():
    figure = plots.plot_trace({"a": np.zeros(3), "b": np.zeros(3), "two": np.zeros((3, 2))})
    (a,), (b,), two = ([line.get_color() for line in axes.get_lines()] for axes in figure.axes)
    assert a != b
    assert len(set(two)) == 2


def test_a_trace_of_nothing_or_of_a_volume_is_refused():
    with pytest.raises(ValueError, match="nothing to plot"):
        plots.plot_trace({})
    with pytest.raises(ValueError, match=r"x: expected \[N\] or \[N, K\], got \[1, 1, 1\]"):
        plots.plot_trace({"x": np.zeros((1, 1, 1))})


ATTRIBUTES = {"A": frozenset({"OCC", "IV", "FM"}), "B": frozenset({"OCC"})}


def radar_of(*trackers):
    return plots.attribute_radar(comparison.Comparison("otb100", "OTB-100", ("A", "B"), ATTRIBUTES, trackers))


def two_levels(name, a, b):
    return comparison.TrackerResult(name, ("a",), ({"A": score(a), "B": score(b)},))


def test_the_radar_has_a_ray_for_each_attribute_and_a_closed_line_for_each_tracker():
    axes = radar_of(two_levels("one", 0.4, 0.8), two_levels("other", 0.2, 0.2)).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["IV (1)", "OCC (2)", "FM (1)"]
    one, other = axes.get_lines()
    # A straight line from the level to 0 has half the level as its mean.
    np.testing.assert_allclose(one.get_ydata(), [0.2, 0.3, 0.2, 0.2])
    np.testing.assert_allclose(other.get_ydata(), [0.1] * 4)
    np.testing.assert_allclose(one.get_xdata(), np.array([0, 1, 2, 0]) * 2 * np.pi / 3)


def test_the_radar_leaves_out_a_tracker_that_lacks_an_attribute():
    lacking = comparison.TrackerResult("lacking", ("a",), ({"B": score(0.9)},))
    [line] = radar_of(lacking, two_levels("one", 0.4, 0.8)).axes[0].get_lines()
    assert line.get_label() == "one"


def test_a_radar_of_two_attributes_is_refused():
    with pytest.raises(ValueError, match="at least three attributes"):
        plots.attribute_radar(THREE)


def test_svg_for_a_page_has_its_letters_as_text_and_is_always_the_same():
    text = figures.svg_text(plots.success_plot(comparing(result("a<b", 0.5))))
    assert "a&lt;b [0.250]</text>" in text
    assert figures.svg_text(plots.success_plot(comparing(result("a<b", 0.5)))) == text


def normalised(level):
    return dataclasses.replace(score(level), norm_precision=np.linspace(0, level, 51))


def test_the_normalised_precision_is_plotted_where_it_was_measured(tmp_path):
    low, high = (
        comparison.TrackerResult(name, ("a",), (dict.fromkeys("AB", normalised(level)),))
        for name, level in (("low", 0.2), ("high", 0.9))
    )
    axes = plots.norm_precision_plot(comparing(low, high)).axes[0]
    assert axes.get_title() == "Normalised precision plots of OPE - OTB-100"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["high [0.360]", "low [0.080]"]
    np.testing.assert_allclose(axes.get_lines()[0].get_xdata(), np.linspace(0, 0.5, 51))
    assert list(plots.curves(comparing(low, high))) == ["success", "precision", "norm_precision"]
    assert list(plots.curves(comparing(low, result("unmeasured", 0.5)))) == ["success", "precision"]
    assert tmp_path / "norm_precision.svg" in plots.write_plots(comparing(low), tmp_path)
