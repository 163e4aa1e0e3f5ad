import csv
import io
import json

import numpy as np
import pytest
from rich.console import Console

from jaxtrack.errors import UserError
from jaxtrack.evaluation import comparison, metrics, tables

ATTRIBUTES = {"A": frozenset({"OCC"}), "B": frozenset({"OCC", "IV"})}
RUN_ID = "0123456789ab"


def score(level):
    return metrics.SequenceScore(np.full(21, level), np.full(51, level), level, frames=10, valid_frames=10)


def result(name, *runs, **fields):
    scores = tuple({sequence: score(level) for sequence, level in run.items()} for run in runs)
    ids = tuple(f"{RUN_ID[:-1]}{i}" for i in range(len(runs)))
    return comparison.TrackerResult(name, ids, scores, **fields)


def comparing(*trackers):
    return comparison.Comparison("toy", "2 of the 9 sequences of Toy", ("A", "B"), ATTRIBUTES, trackers)


GOOD = result("good", {"A": 0.2, "B": 0.4}, {"A": 0.6, "B": 0.8}, fps={"A": 10.0, "B": 30.0})
POOR = result("poor", {"A": 0.1, "B": 0.2})
PARTIAL = result("partial", {"A": 0.9})


def rendered(table, width=80, styled=False):
    console = Console(file=io.StringIO(), width=width, force_terminal=styled, color_system=None, legacy_windows=False)
    console.print(table)
    return console.file.getvalue()


def bold(table):
    """The cells printed bold, as (row, column)."""
    return {
        (i, j)
        for j, column in enumerate(table.columns)
        for i, cell in enumerate(column.cells)
        if getattr(cell, "style", "") == "bold"
    }


def read_csv(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_constants_that_were_chosen_on_test_data_are_labelled():
    mine = result("mine", {"A": 0.5, "B": 0.5}, tuned_on="OTB100")
    lines = [line.strip() for line in rendered(tables.summary_table(comparing(GOOD, mine))).splitlines()]
    assert [line for line in lines if "tuned" in line] == ["¹ tuned on OTB100"]
    assert [line.split()[0] for line in lines if "0.500" in line] == ["good", "mine¹"]


def test_a_remark_takes_no_line_of_the_rows_within_80_columns():
    remark = "six targets of OTB-100, because no other test data was at hand when it was trained"
    rows = [result(name, {"A": 0.5, "B": 0.5}, chosen_on=remark) for name in ("siamban_nano", "siamban_pico")]
    text = rendered(tables.summary_table(comparing(*rows)))
    first, second, end, note, *_ = [line.strip() for line in text.splitlines()[5:]]
    assert first.split()[0] == "siamban_nano¹"
    assert second.split()[0] == "siamban_pico¹"
    assert (end, note) == ("", "¹ weights chosen on six targets of OTB-100, because no other test data was at")


def test_weights_that_were_chosen_on_test_data_are_labelled(tmp_path):
    mine = result("mine", {"A": 0.5, "B": 0.5}, tuned_on="OTB100", chosen_on="two videos")
    text = rendered(tables.summary_table(comparing(GOOD, mine)), width=140)
    assert "¹ tuned on OTB100; weights chosen on two videos" in [line.strip() for line in text.splitlines()]
    *files, summary = tables.write_tables(comparing(GOOD, mine), tmp_path)
    for path in files:
        assert {(row["tracker"], row["chosen_on"]) for row in read_csv(path)} == {("good", ""), ("mine", "two videos")}
    assert [tracker["chosen_on"] for tracker in json.loads(summary.read_text())["trackers"]] == ["", "two videos"]


def test_weights_that_were_trained_on_what_is_scored_are_labelled(tmp_path):
    seen = "1 of these 2 sequences (A)"
    mine = result("mine", {"A": 0.5, "B": 0.5}, trained_on=seen)
    lines = [line.strip() for line in rendered(tables.summary_table(comparing(GOOD, mine))).splitlines()]
    assert "¹ weights trained on 1 of these 2 sequences (A)" in lines
    *files, summary = tables.write_tables(comparing(GOOD, mine), tmp_path)
    for path in files:
        assert {(row["tracker"], row["trained_on"]) for row in read_csv(path)} == {
            ("good", ""),
            ("mine", seen),
        }
    assert [tracker["trained_on"] for tracker in json.loads(summary.read_text())["trackers"]] == ["", seen]


def test_the_number_of_the_remark_stands_over_columns_and_in_the_files(tmp_path):
    compared = comparing(GOOD, result("mine", {"A": 0.5, "B": 0.5}, tuned_on="OTB100"))
    for table in (tables.sequence_table(compared), tables.attribute_table(compared)):
        assert [str(column.header) for column in table.columns][1:] == ["good", "mine¹"]
        assert str(table.caption) == "¹ tuned on OTB100"
    *files, summary = tables.write_tables(compared, tmp_path)
    for path in files:
        rows = read_csv(path)
        assert {(row["tracker"], row["tuned_on"]) for row in rows} == {("good", ""), ("mine", "OTB100")}
    good, mine = json.loads(summary.read_text())["trackers"]
    assert (good["tuned_on"], mine["tuned_on"]) == ("", "OTB100")


def test_the_summary_names_list_numbers_speed_and_runs_within_80_columns():
    text = rendered(tables.summary_table(comparing(GOOD, POOR)))
    assert "OPE on 2 of the 9 sequences of Toy" in text
    good, deviations, poor = [line.split() for line in text.splitlines()[5:8]]
    assert good == ["good", *["0.500"] * 5, "20.0", "2", "0123456789a0"]
    assert deviations == [*["±0.283"] * 5, "0123456789a1"]  # of 0.3 and 0.7
    assert poor == ["poor", *["0.150"] * 5, "-", "2", "0123456789a0"]


def test_a_long_name_is_folded_and_no_number_is_cut():
    text = rendered(tables.summary_table(comparing(result("siamban_rbo (0123456789ab)", {"A": 0.1, "B": 0.2}))))
    assert "…" not in text
    assert RUN_ID[:-1] + "0" in text


def test_the_best_of_comparable_rows_is_bold():
    assert bold(tables.summary_table(comparing(POOR, GOOD))) == {(1, j) for j in range(1, 6)}


def test_numbers_that_print_alike_are_bold_alike():
    twin = result("twin", {"A": 0.1001, "B": 0.2})
    assert {i for i, _ in bold(tables.summary_table(comparing(POOR, twin)))} == {0, 1}


def test_a_single_row_is_not_the_best_of_anything():
    assert bold(tables.summary_table(comparing(GOOD))) == set()


def test_a_row_with_fewer_sequences_says_so_and_is_not_compared():
    table = tables.summary_table(comparing(PARTIAL, POOR, GOOD))
    assert {i for i, _ in bold(table)} == {2}
    text = " ".join(rendered(table).split())
    assert "partial 0.900 0.900 0.900 0.900 0.900 - 1/2" in text
    assert "are not compared with the others" in text
    assert "not compared" not in rendered(tables.summary_table(comparing(POOR, GOOD)))


def test_names_that_look_like_markup_are_printed_as_they_are():
    tracker = result("[bold]x", {"[red]A": 0.1})
    compared = comparison.Comparison("toy", "Toy [all]", ("[red]A",), {}, (tracker,))
    for table in (tables.summary_table(compared), tables.sequence_table(compared)):
        text = rendered(table)
        assert "[bold]x" in text
        assert "[all]" in text
    assert "[red]A" in text


def test_the_table_of_sequences_has_a_row_each_and_the_mean():
    table = tables.sequence_table(comparing(POOR, PARTIAL), "precision_20")
    rows = [line.split() for line in rendered(table).splitlines()]
    assert rows[0][:1] == ["P@20,"]
    assert ["A", "0.100", "0.900"] in rows
    assert ["B", "0.200", "-"] in rows
    assert ["mean", "0.150", "0.900"] in rows
    assert bold(table) == {(0, 2)}


def test_the_table_of_attributes_counts_their_sequences():
    text = rendered(tables.attribute_table(comparing(POOR, GOOD)))
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert "IV, illumination variation (1) 0.200 0.600" in rows
    assert "OCC, occlusion (2) 0.150 0.500" in rows


def test_print_summary_prints_the_summary():
    console = Console(file=io.StringIO(), width=80)
    tables.print_summary(comparing(GOOD), console)
    assert "OPE on 2 of the 9" in console.file.getvalue()


def test_the_csv_files_hold_the_same_numbers_with_their_runs(tmp_path):
    paths = tables.write_tables(comparing(GOOD, PARTIAL), tmp_path / "new")
    assert [p.name for p in paths] == ["summary.csv", "per_sequence.csv", "per_attribute.csv", "summary.json"]
    good, partial = read_csv(paths[0])
    assert (good["tracker"], good["title"]) == ("good", "2 of the 9 sequences of Toy")
    assert (float(good["auc"]), float(good["auc_std"])) == pytest.approx((0.5, 0.08**0.5))
    assert (good["runs"], good["sequences"], good["fps_median"]) == ("2", "2", "20.0")
    assert good["run_ids"] == "0123456789a0 0123456789a1"
    assert (partial["sequences"], partial["sequences_in_list"]) == ("1", "2")
    assert (partial["auc_std"], partial["fps_median"]) == ("", "")
    per_sequence = {(r["sequence"], r["tracker"], r["run"]): float(r["auc"]) for r in read_csv(paths[1])}
    assert per_sequence == pytest.approx(
        {
            ("A", "good", "0123456789a0"): 0.2,
            ("A", "good", "0123456789a1"): 0.6,
            ("A", "partial", "0123456789a0"): 0.9,
            ("B", "good", "0123456789a0"): 0.4,
            ("B", "good", "0123456789a1"): 0.8,
        }
    )
    per_attribute = {(r["attribute"], r["tracker"]): r["auc"] for r in read_csv(paths[2])}
    assert float(per_attribute["IV", "good"]) == pytest.approx(0.6)
    assert per_attribute["IV", "partial"] == ""


def test_the_json_file_holds_everything_with_the_runs(tmp_path):
    path = tables.write_tables(comparing(GOOD, PARTIAL), tmp_path)[-1]

    def refuse(constant):
        raise AssertionError(constant)

    content = json.loads(path.read_text(), parse_constant=refuse)  # no NaN, which is not JSON
    assert content["title"] == "2 of the 9 sequences of Toy"
    assert content["sequences"] == {"A": ["OCC"], "B": ["IV", "OCC"]}
    assert (len(content["success_thresholds"]), len(content["precision_thresholds_px"])) == (21, 51)
    good, partial = content["trackers"]
    assert good["auc"] == pytest.approx(0.5)
    assert good["run_ids"] == ["0123456789a0", "0123456789a1"]
    assert good["runs"][1]["sequences"]["B"]["success"] == [0.8] * 21
    assert good["runs"][1]["mean"]["precision"] == pytest.approx([0.7] * 51)
    assert good["attributes"]["IV"]["auc"] == pytest.approx(0.6)
    assert good["fps"] == {"A": 10.0, "B": 30.0}
    assert (partial["missing_sequences"], partial["auc_std"], partial["fps_median"]) == (["B"], None, None)
    assert partial["attributes"]["IV"]["auc"] is None


def test_tables_of_a_tracker_without_any_sequence_are_written_all_the_same(tmp_path):
    empty = result("empty", {})
    paths = tables.write_tables(comparing(empty), tmp_path)
    assert read_csv(paths[0])[0]["auc"] == ""
    assert paths[1].read_text() == ""
    assert json.loads(paths[3].read_text())["trackers"][0]["runs"][0]["mean"] is None
    assert "0/2" in rendered(tables.summary_table(comparing(empty)))


def test_a_folder_that_cannot_be_written_is_reported_in_words(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write tables to"):
        tables.write_tables(comparing(GOOD), tmp_path / "file")
