"""Result files of others: their separators and formats, and what is said of bad ones."""

import json
import logging

import numpy as np
import pytest
import scipy.io

from jaxtrack.data.naming import match_name
from jaxtrack.data.sequences import Benchmark, Sequence
from jaxtrack.errors import UserError
from jaxtrack.evaluation import raw_results, result_files
from jaxtrack.evaluation.protocols import PROTOCOLS

ROWS = [[3, 4, 5, 6], [4.5, 4, 5, 6], [5, 4, 5, 6]]
BOXES = [[2, 3, 5, 6], [3.5, 3, 5, 6], [4, 3, 5, 6]]


def sequence(name):
    return Sequence(name, np.zeros((3, 2, 2, 3), np.uint8), np.array(BOXES), np.ones(3, bool))


TOYS = Benchmark("toys", "Toys", [sequence("Deer"), sequence("TC-128/Duck")])


def name_of(spelling):
    return match_name(spelling, ["Deer", "TC-128/Duck"], what="toy")


def scored(folder, protocol="otb"):
    return raw_results.tracker_result("them", folder, TOYS, name_of, rules=PROTOCOLS[protocol]).scores[0]


@pytest.mark.parametrize("separator", [",", ", ", "\t", " ", "  "])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_text_in_any_separation(tmp_path, separator, end):
    text = end.join(separator.join(map(str, row)) for row in ROWS) + end
    (tmp_path / "Deer.txt").write_bytes(text.encode())
    assert result_files.read(tmp_path / "Deer.txt").tolist() == BOXES


def test_complex_numbers_are_no_numbers_unless_they_are_real(tmp_path):
    # LaSOT's toolkit takes the box before where a result is complex; MATLAB has no row complex whose numbers are real.
    (tmp_path / "Deer.txt").write_text("3,4,5,6\n3+0i,4-0i,5,6\n3.5-0.5i,4,5,6e0\n")
    assert result_files.read(tmp_path / "Deer.txt")[:2].tolist() == [[2, 3, 5, 6]] * 2
    assert np.isnan(result_files.read(tmp_path / "Deer.txt")[2]).tolist() == [True, False, False, False]
    assert scored(tmp_path)["Deer"].frames == 3
    (tmp_path / "Deer.txt").write_text("3,4,5,6\n3,i,5,6x\n")
    with pytest.raises(UserError, match=r"Deer.txt, line 2: expected four finite numbers"):
        result_files.read(tmp_path / "Deer.txt")


@pytest.mark.parametrize("name", ["Deer.mat", "deer_KCF.mat"])
@pytest.mark.parametrize("compressed", [True, False])
def test_matlab_files_of_otbs_toolkit(tmp_path, name, compressed):
    cell = np.empty((1, 1), object)
    cell[0, 0] = {"res": np.array(ROWS), "type": "rect", "len": 3}
    scipy.io.savemat(tmp_path / name, {"results": cell}, do_compression=compressed)
    assert raw_results.read_folder(tmp_path, name_of)["Deer"].tolist() == BOXES


@pytest.mark.parametrize("variable", ["res", "boxes", "bboxes"])
def test_matlab_files_with_one_variable(tmp_path, variable):
    scipy.io.savemat(tmp_path / "Deer.mat", {variable: np.array(ROWS)})
    assert result_files.read(tmp_path / "Deer.mat").tolist() == BOXES


@pytest.mark.parametrize("content", [ROWS, {"res": ROWS}, [{"res": ROWS, "type": "rect"}]])
def test_json_files_of_one_sequence(tmp_path, content):
    (tmp_path / "Deer.json").write_text(json.dumps(content))
    assert raw_results.read_folder(tmp_path, name_of)["Deer"].tolist() == BOXES


def test_one_json_file_of_all_sequences(tmp_path):
    (tmp_path / "all.json").write_text(json.dumps({"deer": ROWS, "tc128_duck": {"res": ROWS}}))
    found = raw_results.read_folder(tmp_path, name_of)
    assert {name: boxes.tolist() for name, boxes in found.items()} == {"Deer": BOXES, "TC-128/Duck": BOXES}


def test_a_folder_per_benchmark_and_one_per_sequence(tmp_path):
    for path in ("tc128/Duck.txt", "Deer/Deer_001.txt", "Deer/Deer_002.txt", "Deer/Deer_time.txt"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("3,4,5,6\n4.5,4,5,6\n5,4,5,6\n")
    (tmp_path / "Deer/Deer_002.txt").write_text("3,4,5,6\n90,4,5,6\n90,4,5,6\n")
    found = raw_results.read_repetitions(tmp_path, name_of)
    assert {name: len(runs) for name, runs in found.items()} == {"Deer": 2, "TC-128/Duck": 1}
    assert scored(tmp_path)["Deer"].success[0] == 4 / 6  # both repetitions, pooled


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("3;4;5;6\n", r"Deer.txt, line 1: expected four finite numbers x,y,w,h but found '3;4;5;6'"),
        ("3,4,5,6\n3,4,5\n", r"Deer.txt, line 2: expected four finite numbers x,y,w,h but found '3,4,5'"),
        ("3,4,5,6\n3,4,,6\n", r"Deer.txt, line 2: expected four"),
        ("3,4,5,6\n3,4,5,inf\n", r"Deer.txt, line 2: expected four"),
        ("3,4,5,6\n3,4,5,six\n", r"Deer.txt, line 2: expected four"),
        ("", "Deer.txt is empty"),
    ],
)
def test_bad_text_is_answered_with_file_and_line(tmp_path, text, said):
    (tmp_path / "Deer.txt").write_text(text)
    with pytest.raises(UserError, match=said):
        scored(tmp_path)


@pytest.mark.parametrize(
    ("rows", "warning", "refusal"),
    [
        ("3,4,5,6\n4,4,5,6\n", r"Deer \(2 rows for 3 frames\)", "Deer is too short: 2 rows for 3 frames"),
        ("3,4,5,6\n" * 4, r"Deer \(4 rows for 3 frames\)", "Deer is too long: 4 rows for 3 frames"),
        ("3,4,5,6\nNaN,4,5,6\n5,4,5,6\n", r"NaN replaced .*: Deer \(1 rows\)", "Deer has NaN in row 2"),
    ],
)
def test_lengths_and_nan_are_repaired_aloud_or_refused(tmp_path, caplog, rows, warning, refusal):
    (tmp_path / "Deer.txt").write_text(rows)
    with caplog.at_level(logging.WARNING):
        assert scored(tmp_path)["Deer"].frames == 3
    assert len(caplog.records) == 1
    assert raw_results.re.search(warning, caplog.records[0].getMessage())
    with pytest.raises(UserError, match=refusal):
        scored(tmp_path, "pysot")


@pytest.mark.parametrize("suffix", ["mat", "json"])
def test_results_that_are_no_rectangles_are_refused(tmp_path, suffix):
    # Of corners OTB's files have two rows a frame, of four numbers each, like boxes.
    if suffix == "mat":
        scipy.io.savemat(tmp_path / "Deer.mat", {"results": [{"res": np.ones((6, 4)), "type": "4corner", "len": 3}]})
    else:
        (tmp_path / "Deer.json").write_text(json.dumps({"res": [[1, 2, 3, 4]] * 6, "type": "4corner"}))
    with pytest.raises(UserError, match=rf"Deer\.{suffix}: results of the type '4corner' are not read, only those of"):
        scored(tmp_path)


def test_bad_matlab_and_json_files_are_refused(tmp_path):
    scipy.io.savemat(tmp_path / "Deer.mat", {"other": np.zeros((3, 4))})
    with pytest.raises(UserError, match=r"Deer.mat has no results\{1\}.res and none of the variables res, boxes"):
        scored(tmp_path)
    scipy.io.savemat(tmp_path / "Deer.mat", {"res": np.zeros((3, 6))})
    with pytest.raises(UserError, match=r"Deer.mat: expected a row x, y, w, h per frame, found 3x6"):
        scored(tmp_path)
    (tmp_path / "Deer.mat").unlink()
    for content, said in (
        ("{", "cannot read .*Deer.json"),
        ("[[1,2],[3]]", "no rectangular table"),
        (json.dumps([[10**400, 2, 3, 4]]), "Deer.json: expected a row x, y, w, h per frame, found no rect"),
        ("[[1,2,3,4], [1,2,3,1e999]]", "Deer.json: row 2 has an infinite number"),
        ("3", "expected a row"),
    ):
        (tmp_path / "Deer.json").write_text(content)
        with pytest.raises(UserError, match=said):
            scored(tmp_path)
