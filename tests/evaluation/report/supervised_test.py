"""A report of a tracker of ours beside a published one, on two of VOT's videos in miniature."""

import dataclasses
import types

import html_pages
import pytest
from toy_vot import result_rows, sequence

from jaxtrack.data.regionfiles import regions
from jaxtrack.data.vot import VotBenchmark
from jaxtrack.evaluation.report import supervised
from jaxtrack.evaluation.vot import tables
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
        tables.Result("mine", "a1", {"baseline": tables.score_all(some, benchmark, Rules())}),
        tables.Result("theirs", "published", {"baseline": tables.score_all(none, benchmark, Rules())}, tuned_on="toys"),
    ]
    return [tables.Comparison(benchmark, "baseline", (10, 20), rows)]


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
    assert [row[0] for row in summary] == ["mine", "theirs tuned on toys"]


def test_every_sequence_has_accuracy_and_failures_and_may_be_called_anything(report):
    table = html_pages.rows(html_pages.section(report, "experiment-0").all("table")[1])
    assert [row[:2] for row in table] == [["one", "40"], [HOSTILE, "30"]]
    assert table[0][3] == "1.0"
    assert table[1][2:4] == ["-", "-"]
    assert len(report.all("script")) == 1


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
