"""A report of a tracker of ours beside a published one, on two of VOT's videos in miniature."""

import dataclasses
import types

import html_pages
import pytest
from toy_vot import result_rows, sequence

from jaxtrack.data.regionfiles import regions
from jaxtrack.data.vot import VotBenchmark
from jaxtrack.evaluation.report import supervised
from jaxtrack.evaluation.vot import comparison, tables
from jaxtrack.evaluation.vot.measures import Rules

HOSTILE = "<script>alert(1)</script>"
RUN = types.SimpleNamespace(
    id="a1", tracker="mine", seed=3, identity={"config": {}, "seed": 3}, info={"environments": [], "created": "2020"}
)


@pytest.fixture(scope="module")
def comparisons():
    videos = [sequence(40, name="one"), sequence(30, name=HOSTILE)]
    benchmark = VotBenchmark("toy", "Toy", videos, edition=2018, complete=True)
    none = {each.name: [regions(result_rows(len(each)))] for each in benchmark.sequences}
    some = {"one": [regions(result_rows(40, failures=(20,)))]}
    rows = [
        comparison.Result("mine", "a1", {"baseline": comparison.score_all(some, benchmark, Rules())}),
        comparison.Result(
            "theirs", "published", {"baseline": comparison.score_all(none, benchmark, Rules())}, tuned_on="toys"
        ),
    ]
    return [comparison.Comparison(benchmark, "baseline", (10, 20), rows)]


@pytest.fixture(scope="module")
def report(comparisons):
    return html_pages.parse(supervised.html(comparisons, [RUN]))


def test_the_summary_has_the_numbers_of_the_comparison(report, comparisons):
    summary = html_pages.rows(html_pages.section(report, "experiment-0").all("table")[0])
    for row, record in zip(summary, tables.summary_rows(comparisons[0]), strict=True):
        assert row[1:5] == [
            f"{record['accuracy']:.3f}", f"{record['robustness']:.3f}", f"{record['lost']:.1f}", f"{record['eao']:.3f}"
        ]  # fmt: skip
        assert row[6:] == [str(record["sequences"]), "1"]
    assert [row[0] for row in summary] == ["mine", "theirs 1"]
    notes = [note.text for note in html_pages.section(report, "experiment-0").all("p")]
    assert notes == ["1 tuned on toys"] * 3


def test_only_rows_of_the_same_sequences_are_compared(report, comparisons):
    # `mine` lacks a sequence.
    assert html_pages.section(report, "experiment-0").all("table")[0].all("strong") == []
    assert "are not compared with the others" in report.all("caption")[0].text
    rows = [comparisons[0].results[1], *comparisons[0].results]
    again = html_pages.parse(supervised.html([dataclasses.replace(comparisons[0], results=rows)], [RUN]))
    bold = [len(row.all("strong")) for row in again.all("table")[0].all("tbody")[0].all("tr")]
    assert bold == [4, 0, 4]  # A, R, lost, EAO


def test_every_sequence_has_accuracy_and_failures_and_may_be_called_anything(report):
    table = html_pages.rows(html_pages.section(report, "experiment-0").all("table")[1])
    assert [row[:2] for row in table] == [["one", "40"], [HOSTILE, "30"]]
    assert table[0][3] == "1.0"
    assert table[1][2:4] == ["-", "-"]
    assert len(report.all("script")) == 1


def test_each_experiment_has_its_plots(comparisons):
    grey = dataclasses.replace(
        comparisons[0],
        experiment="grey",
        interval=None,
        results=[dataclasses.replace(row, scores={"grey": row.scores["baseline"]}) for row in comparisons[0].results],
    )
    page = html_pages.parse(supervised.html([comparisons[0], grey], [RUN]))
    first, second = (html_pages.section(page, f"experiment-{i}") for i in (0, 1))
    told = [[caption.text for caption in part.all("figcaption")] for part in (first, second)]
    assert [caption.split(",")[0] for caption in told[0]] == [
        "Expected overlap by length of the sequence",
        "Accuracy and robustness",
    ]
    assert [caption.split(",")[0] for caption in told[1]] == ["Accuracy and robustness"]
    assert len(page.all("svg")) == 3
    elements = [element for tag in ("path", "clippath", "g", "section") for element in page.all(tag)]
    identifiers = [element.attributes["id"] for element in elements if "id" in element.attributes]
    assert len(identifiers) == len(set(identifiers))


def test_ranks_are_shown_where_they_are_asked_for(comparisons, report):
    assert "ranks" not in [section.attributes["id"] for section in report.all("section")]
    asked = dataclasses.replace(comparisons[0], practical=0.5)
    page = html_pages.parse(supervised.html([asked], [RUN]))
    section = html_pages.section(page, "ranks")
    # On `one`, which both have: the overlaps differ by less than 0.5, and mine fails once.
    assert html_pages.rows(section) == [["mine", "1.50", "2.00", "1.75"], ["theirs 1", "1.50", "1.00", "1.25"]]
    assert "all trackers have (1). Mean overlaps that differ by no more than 0.5 share a rank." in section.text
    assert len(page.all("svg")) == 3


def test_without_an_interval_there_is_no_table_of_tags(comparisons):
    plain = dataclasses.replace(comparisons[0], interval=None)
    report = html_pages.parse(supervised.html([plain], [RUN]))
    captions = [caption.text for caption in report.all("caption")]
    assert not [caption for caption in captions if "EAO" in caption]


def test_each_row_says_what_it_came_from(report):
    ours, theirs = html_pages.section(report, "sources").all("article")
    assert html_pages.rows(ours)[0][:3] == ["a1", "3", "2020"]
    assert "others published" in theirs.text


def test_the_file_is_written(comparisons, tmp_path):
    [path] = supervised.write(comparisons, [RUN], tmp_path)
    assert path.name == "report.html"
    assert path.read_text("utf-8") == supervised.html(comparisons, [RUN])
