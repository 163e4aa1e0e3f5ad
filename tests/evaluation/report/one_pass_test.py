"""A report of two trackers, one run with two seeds, and of published results, on three small videos."""

import dataclasses

import html_pages
import numpy as np
import pytest
from otb_scores import score

from jaxtrack.data.sequences import Benchmark, Sequence
from jaxtrack.errors import UserError
from jaxtrack.evaluation import comparison, metrics, plots, store, tables
from jaxtrack.evaluation.report import confidence, one_pass
from jaxtrack.evaluation.run_record import Run
from jaxtrack.trackers import default_config

HOSTILE = """<script>alert("1")</script>&'$x$_"""
FRAMES = 10
TRUTH = np.array([20.0, 20, 10, 10]) + np.arange(FRAMES)[:, None] * [1, 0, 0, 0]
NAMES = ("Deer", HOSTILE, "Box")
UNLABELLED = (frozenset(),) * 3  # without plots by attribute, which take time
LABELS = (frozenset({"OCC", "IV"}), frozenset({"OCC", "IV", "FM"}), frozenset({"OCC"}))
MIL = default_config("opencv-mil")
ENVIRONMENT = {
    "packages": {"jax": "1.2.3", "opencv": None},
    "python": "3.99",
    "devices": {"kind": "Abacus 9", "count": 2},
    "platform": "Desk",
    "git_commit": "feedc0de+changes",
}


class NoImages:
    def __len__(self):
        return FRAMES

    def __getitem__(self, index):
        raise UserError(f"image {index} cannot be read: No such file or directory")


def benchmark(images=True, attributes=LABELS):
    frames = np.full((FRAMES, 48, 64, 3), 90, np.uint8) if images else NoImages()
    valid = np.ones(FRAMES, bool)
    found = [Sequence(name, frames, TRUTH, valid, labels) for name, labels in zip(NAMES, attributes, strict=True)]
    return Benchmark("toy", "Toy & Co", found)


def boxes(shift, lost=()):
    """The truth moved to the right; nowhere near it in the frames `lost`."""
    found = TRUTH + np.array([shift, 0, 0, 0])
    found[list(lost)] = [2, 2, 5, 5]
    found[0] = TRUTH[0]
    return found


def stored(folder, run, shifts, lost=()):
    results = store.open_run(folder, "toy", run, environment=ENVIRONMENT)
    for i, (name, shift) in enumerate(zip(NAMES, shifts, strict=True)):
        results.write(name, boxes(shift, lost if i == 1 else ()), np.full(FRAMES, 0.1 * (i + 1)))
    return results


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    mine = dataclasses.replace(MIL, search_radius_px=7.0)
    first = [Run("mine", mine, seed, "ab" * 32, extra={"method": "opencv-mil"}) for seed in (3, 4)]
    seeds = [stored(folder, run, (1 + i, 2, 3), lost=(4, 5, 6, 9)) for i, run in enumerate(first)]
    return [*seeds, stored(folder, Run("opencv-mil", MIL, 0), (2, 2, 5))]


def published(name="<i>theirs</i> (published)"):
    found = dict(zip(NAMES, [boxes(0), boxes(1, lost=(8, 9)), boxes(2)], strict=True))
    scores = {n: score(b, TRUTH) for n, b in found.items()}
    return comparison.TrackerResult(name, ("published",), (scores,), boxes=found, tuned_on="a & b")


def compared(runs, toy):
    return comparison.compare(toy, [*comparison.from_runs(toy, runs), published()])


@pytest.fixture(scope="module")
def report(runs):
    toy = benchmark()
    return html_pages.parse(one_pass.html(compared(runs, toy), toy, runs))


def table(report, anchor):
    return html_pages.rows(html_pages.section(report, anchor))


def facts(report):
    """Of each row of the comparison the terms and what is said of them."""
    found = {}
    for article in html_pages.section(report, "sources").all("article"):
        pairs = [pair for pair in article.all("div") if pair.all("dt")]
        terms = {pair.all("dt")[0].text: [each.text for each in pair.all("dd")] for pair in pairs}
        found[article.all("h3")[0].text] = terms
    return found


def test_the_summary_has_the_numbers_of_the_comparison(report, runs):
    records = tables.summary_rows(compared(runs, benchmark()))
    rows = table(report, "summary")
    assert len(rows) == len(records) == 3
    for row, record in zip(rows, records, strict=True):
        for cell, metric in zip(row[1:], metrics.METRICS, strict=False):
            assert cell.split()[0] == f"{record[metric]:.3f}"
            assert ("±" in cell) == (record["runs"] == 2)
        assert row[-3:] == [f"{record['fps_median']:.1f}".replace("nan", "-"), "3", str(record["runs"])]
    assert f"± {records[0]['auc_std']:.3f}" in rows[0][1]


def test_the_summary_has_an_interval_over_sequences_of_the_means_over_seeds(report, runs):
    [_, second], aucs = runs[:2], []
    for name in NAMES:
        seeds = [score(run.read(name).boxes, TRUTH).auc for run in (runs[0], second)]
        aucs.append(np.mean(seeds))
    expected = confidence.interval(np.array(aucs))
    assert expected.low < np.mean(aucs) < expected.high
    assert table(report, "summary")[0][1].endswith(f"{expected.low:.3f}–{expected.high:.3f}")


def test_the_best_number_is_bold(report):
    rows = html_pages.section(report, "summary").all("tbody")[0].all("tr")
    aucs = [row.all("td")[0] for row in rows]
    assert [len(cell.all("strong")) for cell in aucs] == [0, 0, 1]
    assert aucs[2].all("strong")[0].text == table(report, "summary")[2][1].split()[0]


def test_every_sequence_has_its_row_and_may_be_called_anything(report, runs):
    rows = {row[0]: row for row in table(report, "sequences")}
    assert list(rows) == list(NAMES)
    mil = score(boxes(5), TRUTH)
    assert rows["Box"][:3] == ["Box", "10", "OCC"]
    assert rows["Box"][5:7] == [f"{mil.auc:.3f}", f"{mil.precision_20:.3f}"]
    assert [script for script in report.all("script") if "alert" in script.text] == []
    assert report.all("i") == []


def test_all_plots_are_drawings_of_the_page(report, runs):
    count = len(plots.curves(compared(runs, benchmark())))
    assert len(html_pages.section(report, "plots").all("svg")) == count >= 2
    attributes = html_pages.section(report, "attributes")
    assert len(attributes.all("svg")) == 1 + 3  # the radar; a plot of each attribute
    assert len(attributes.all("details")[0].all("svg")) == 3
    assert [row[:2] for row in html_pages.rows(attributes)] == [
        ["IV illumination variation", "2"],
        ["OCC occlusion", "3"],
        ["FM fast motion", "1"],
    ]
    elements = [element for tag in ("path", "clippath", "g", "section", "h2") for element in report.all(tag)]
    identifiers = [element.attributes["id"] for element in elements if "id" in element.attributes]
    assert len(identifiers) == len(set(identifiers))


def test_attributes_are_scored_on_their_sequences(report, runs):
    part = compared(runs, benchmark()).with_attribute("FM")
    cells = [cell.split()[0] for cell in table(report, "attributes")[2][2:]]  # without the deviation
    assert cells == [f"{row['auc']:.3f}" for row in tables.summary_rows(part)]


def test_the_speed_is_that_of_the_sequences(report):
    # Nine frames in 0.9, 1.8 and 2.7 seconds.
    assert table(report, "speed")[1] == ["opencv-mil", "5.0", "3.3", "10.0", "Abacus 9"]
    assert table(report, "speed")[2][1:] == ["-", "-", "-", "unknown"]


def test_failures_are_counted_and_their_first_frames_shown(report):
    section = html_pages.section(report, "failures")
    rows = html_pages.rows(section)
    assert [row[1:] for row in rows] == [["2", "4", "1"], ["0", "0", "0"], ["1", "2", "1"]]
    pictures = section.all("img")
    assert [picture.attributes["alt"] for picture in pictures] == [
        f"{HOSTILE}, frame 4: lost for 3 frames, found again in frame 7",
        f"{HOSTILE}, frame 9: lost for 1 frame, to the end",
        f"{HOSTILE}, frame 8: lost for 2 frames, to the end",
    ]
    assert all(picture.attributes["src"].startswith("data:image/jpeg;base64,") for picture in pictures)
    assert "not at hand" not in section.text


def test_without_images_failures_have_no_pictures_and_a_note_says_so(runs):
    toy = benchmark(images=False, attributes=UNLABELLED)
    section = html_pages.section(html_pages.parse(one_pass.html(compared(runs, toy), toy, runs)), "failures")
    assert section.all("img") == []
    assert "Images of the benchmark are not at hand" in section.text
    assert html_pages.rows(section)[0][1:] == ["2", "4", "1"]


def test_a_row_whose_boxes_are_not_kept_has_unknown_failures(runs):
    toy = benchmark(attributes=UNLABELLED)
    row = dataclasses.replace(published(), boxes={})
    report = html_pages.parse(one_pass.html(comparison.compare(toy, [row]), toy, []))
    assert table(report, "failures")[0][1:] == ["-", "-", "-"]


def test_only_so_many_failures_are_shown_and_the_title_says_of_how_many(runs, monkeypatch):
    monkeypatch.setattr(one_pass, "_PICTURES_PER_TRACKER", 1)
    toy = benchmark(attributes=UNLABELLED)
    section = html_pages.section(html_pages.parse(one_pass.html(compared(runs, toy), toy, runs)), "failures")
    assert [title.text for title in section.all("h3")] == [
        "mine: the longest 1 of 2",
        "<i>theirs</i> (published): all 1",
    ]


def test_each_row_says_what_it_came_from(report, runs):
    found = facts(report)
    assert found["mine"]["Tracker"] == ["opencv-mil"]
    assert found["mine"]["Weights, sha256"] == ["ab" * 32]
    usual = MIL.search_radius_px
    assert found["mine"]["Differs from the default configuration in"] == [f"search_radius_px: 7.0 (default: {usual})"]
    assert found["opencv-mil"]["Differs from the default configuration in"] == ["nothing"]
    assert found["opencv-mil"]["Weights, sha256"] == ["none"]
    article = html_pages.section(report, "sources").all("article")[0]
    rows = html_pages.rows(article)
    assert [row[:2] for row in rows] == [[runs[0].id, "3"], [runs[1].id, "4"]]
    since = runs[0].info["environments"][0]["since"]
    assert rows[0][2:] == [since, "Abacus 9 x 2 Desk", "jax 1.2.3 python 3.99", "feedc0de+changes"]


def test_published_rows_say_so_with_their_remark(report):
    found = facts(report)["<i>theirs</i> (published)"]
    assert "others published" in found["Source"][0]
    assert found["Remark"] == ["tuned on a & b"]
    for anchor in ("summary", "sequences", "attributes", "speed", "failures"):
        assert "1 tuned on a & b" in [note.text for note in html_pages.section(report, anchor).all("p")]
    assert [row[0] for row in table(report, "summary")] == ["mine", "opencv-mil", "<i>theirs</i> (published) 1"]


def test_a_benchmark_without_attributes_says_so(runs):
    toy = benchmark(attributes=UNLABELLED)
    section = html_pages.section(html_pages.parse(one_pass.html(compared(runs, toy), toy, runs)), "attributes")
    assert "does not label its sequences" in section.text
    assert section.all("svg") == []


def test_the_file_is_written_and_the_same_each_time(runs, tmp_path):
    toy = benchmark(attributes=UNLABELLED)
    [path] = one_pass.write(compared(runs, toy), toy, runs, tmp_path / "new")
    assert path == tmp_path / "new" / "report.html"
    text = path.read_bytes()
    assert len(text) < 1_000_000
    one_pass.write(compared(runs, toy), toy, runs, tmp_path / "new")
    assert path.read_bytes() == text


class Noting:
    """Images that note which of them are looked at."""

    def __init__(self, name, log):
        self._name, self._log = name, log

    def __len__(self):
        return FRAMES

    def __getitem__(self, index):
        self._log.append((self._name, index))
        return np.full((48, 64, 3), 90, np.uint8)


def test_of_the_images_only_those_of_shown_failures_are_read_sequence_by_sequence(runs):
    toy, log = benchmark(attributes=UNLABELLED), []
    watched = [dataclasses.replace(each, frames=Noting(each.name, log)) for each in toy.sequences]
    toy = dataclasses.replace(toy, sequences=watched)
    rows = [published(name) for name in ("one", "two")]
    other = {**rows[1].boxes, "Box": boxes(0, lost=(3,)), HOSTILE: boxes(1, lost=(2,))}
    rows[1] = dataclasses.replace(rows[1], boxes=other)
    one_pass.html(comparison.compare(toy, rows), toy, [])
    assert log == [(HOSTILE, 2), (HOSTILE, 8), ("Box", 3)]


def test_frames_without_an_annotation_are_told_apart(runs):
    toy = benchmark(attributes=UNLABELLED)
    valid = np.array([True] * 5 + [False] * 3 + [True] * 2)
    toy = dataclasses.replace(toy, sequences=[dataclasses.replace(toy.sequences[0], valid=valid)])
    row = dataclasses.replace(published(), boxes={"Deer": boxes(0, lost=(4, 5, 6, 7))})
    page = html_pages.parse(one_pass.html(comparison.compare(toy, [row]), toy, []))
    [picture] = html_pages.section(page, "failures").all("img")
    told = "Deer, frame 4: lost for 1 frame (3 more are not annotated), found again in frame 8"
    assert picture.attributes["alt"] == told


def test_where_the_target_is_absent_it_cannot_be_lost(runs):
    """The first run is off the target in the frames 4, 5, 6 and 9, the last one, of one sequence."""
    toy = benchmark()
    absent = np.isin(np.arange(FRAMES), (4, 5, 6))
    without = dataclasses.replace(toy, sequences=[dataclasses.replace(each, absent=absent) for each in toy.sequences])
    found = html_pages.parse(one_pass.html(compared(runs, toy), without, runs))
    assert table(found, "failures")[0][1:] == ["1", "1", "1"]
