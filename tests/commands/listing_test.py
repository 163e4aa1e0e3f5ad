"""`evaluate.py --list`."""

import pytest

from jaxtrack.__main__ import main


def run(*arguments):
    return main(["evaluate", *arguments])


def test_the_list_names_trackers_and_benchmarks(capsys, data_dir):
    assert run("--list", f"--data-dir={data_dir}") == 0
    printed = capsys.readouterr().out
    for text in ("deeptrack", "opencv-mil", "otb100", "2 of 51", "procedural-full"):
        assert text in printed


def test_the_list_folds_tuned_settings_into_the_row_of_their_tracker(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    assert run("--list") == 0
    rows = [line.strip() for line in capsys.readouterr().out.splitlines()]
    first = [row.split()[0] for row in rows if row]
    assert {"siamrpn", "siamrpn_rbo", "siamban", "siamban_nano", "siampw_rbo", "nanotrack"} <= set(first)
    assert first.count("tuned") == 5
    assert [name for name in first if name.startswith(("siamban_", "nanotrack_"))] == ["siamban_nano"]
    after = rows[first.index("siamban") + rows.index(next(row for row in rows if row)) :]
    assert next(row for row in after if row.startswith("tuned")) == (
        "tuned on test data: siamban_otb, siamban_vot2018, siamban_vot2019"
    )
    assert "--list --tracker NAME tells of a tracker's tuned settings" in rows[-1]


@pytest.mark.parametrize("name", ["siamban", "siamban_otb"])
def test_the_list_of_a_tracker_tells_of_its_whole_family(capsys, monkeypatch, tmp_path, name):
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("JAXTRACK_WEIGHTS", str(tmp_path))
    assert run("--list", f"--tracker={name}") == 0
    printed = capsys.readouterr().out
    rows = {line.split()[0]: line for line in printed.splitlines() if line.strip()}
    assert {key for key in rows if key.startswith("siam")} == {
        "siamban", "siamban_otb", "siamban_vot2018", "siamban_vot2019",
    }  # fmt: skip
    assert "siamban_r50, default constants (weights not imported)" in rows["siamban"]
    assert "siamban_r50 with weights siamban_r50_otb, tuned on OTB100 (weights not imported)" in rows["siamban_otb"]
    assert "weights not imported: see jaxtrack weights list" in printed
    assert "procedural" not in printed


def test_the_lists_of_a_tracker_and_of_a_benchmark_can_be_had_together(capsys, data_dir):
    assert run("--list", "--tracker", "opencv-mil", "--benchmark", "otb2013", f"--data-dir={data_dir}") == 0
    first = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert {"opencv-mil", "Deer"} <= set(first)
    assert "deeptrack" not in first


def test_the_list_of_a_benchmark_names_its_sequences(capsys, data_dir):
    assert run("--list", "--benchmark", "otb2013", f"--data-dir={data_dir}") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    deer = next(row for row in rows if row and row[0] == "Deer")
    basketball = next(row for row in rows if row and row[0] == "Basketball")
    assert deer[1:5] == ["71", "8", "x", "8"]
    assert (deer[-1], basketball[-1]) == ("yes", "no")
