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


def test_tuned_trackers_whose_weights_come_along_have_a_row_of_their_own_that_says_it(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    assert run("--list") == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert "with weights mdnet_small, tuned on four sequences of OTB100" in rows["mdnet_small"]
    assert rows["mdnet_small"].rstrip().endswith(", its weights chosen on four targets of OTB-100")
    assert rows["siamban_nano"].rstrip().endswith(", its weights chosen on six targets of OTB-100")
    assert rows["rpn2t_small"].rstrip().endswith("all positions, tuned on three sequences of OTB100")
    assert {"rankloc_small", "rpn2t_small_teacher"} <= set(rows)


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


def notes(capsys, *arguments):
    """What is said below the list of a benchmark's sequences."""
    assert run("--list", *arguments) == 0
    return [line for line in capsys.readouterr().out.splitlines() if "known from their files alone" in line]


def test_the_list_of_a_benchmark_says_what_files_tell_the_names_of_its_sequences(capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("JAXTRACK_DATA", raising=False)
    assert notes(capsys, "--benchmark", "tc128") == [
        "TC-128 has 129 sequences, 129 of which are known from their files alone: give the folder by --data-dir or the "
        "environment variable JAXTRACK_DATA, laid out as <folder>/<Sequence>/img/0001.jpg with <Sequence>_gt.txt and "
        "<Sequence>_frames.txt beside img, or PySOT's TC-128.json beside its folders of images"
    ]
    (tmp_path / "Ball" / "img").mkdir(parents=True)
    (tmp_path / "Ball" / "img" / "0001.jpg").touch()
    (tmp_path / "Ball" / "Ball_gt.txt").write_text("3,4,5,6\n")
    [note] = notes(capsys, "--benchmark", "tc128", f"--data-dir={tmp_path}")
    assert note.startswith("TC-128 has 129 sequences, 128 of which")
    # 51 sequences of UAV123 are parts of a folder, which a table has; the others are called after their folder.
    titles = [line.split(" has ")[0] for line in notes(capsys, "--benchmark", "ablation352")]
    assert titles == ["TC-128", "NFS30", "UAV123"]
    [note] = notes(capsys, "--benchmark", "uav123")
    assert note.startswith("UAV123 has 123 sequences, 72 of which")


@pytest.mark.parametrize("benchmark", ["otb2013", "lasot", "vot2018", "procedural"])
def test_the_list_of_a_benchmark_that_names_all_sequences_needs_no_note(capsys, monkeypatch, benchmark):
    monkeypatch.delenv("JAXTRACK_DATA", raising=False)
    assert notes(capsys, "--benchmark", benchmark) == []
