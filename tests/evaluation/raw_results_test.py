import functools
import json
import logging

import numpy as np
import pytest

from jaxtrack.data import otb_table
from jaxtrack.data.boxfiles import annotated_rows, read_boxes
from jaxtrack.data.naming import match_name
from jaxtrack.data.sequences import Benchmark, Sequence
from jaxtrack.errors import UserError
from jaxtrack.evaluation import metrics, raw_results


def sequence(name, frames):
    boxes = np.tile([4.0, 4.0, 10.0, 10.0], (frames, 1))
    return Sequence(name, np.zeros((frames, 2, 2, 3), np.uint8), boxes, np.ones(frames, bool))


def write(folder, name, rows):
    (folder / name).write_text("".join(f"{row}\n" for row in rows))


def test_names_in_any_spelling_and_numbers_in_any_separation_are_read(tmp_path):
    write(tmp_path, "jogging_1.txt", ["5,5,10,10", "6,5,10,10"])
    write(tmp_path, "Faceocc1.txt", ["5\t5\t10\t10"])
    write(tmp_path, "human4-2.txt", ["5 5  10 10.5"])
    results = raw_results.read_folder(tmp_path)
    assert {name: boxes.tolist() for name, boxes in results.items()} == {
        "Jogging-1": [[4, 4, 10, 10], [5, 4, 10, 10]],
        "FaceOcc1": [[4, 4, 10, 10]],
        "Human4-2": [[4, 4, 10, 10.5]],
    }


def test_two_numbers_in_a_name_are_not_one(tmp_path):
    # UAV123 has both; with one of them at hand, the other's file is none of its.
    names = ["car11", "car1_1", "person2_1", "person21"]
    for i, name in enumerate(names):
        write(tmp_path, f"{name}.txt", [f"{i + 1},1,10,10"])
    for known in (names, names[:1], names[1:2]):
        found = raw_results.read_folder(tmp_path, functools.partial(match_name, names=known, what="sequence"))
        assert {name: boxes[0, 0] for name, boxes in found.items()} == {name: names.index(name) for name in known}


def test_names_with_the_prefixes_of_pytracking_are_known(tmp_path):
    write(tmp_path, "uav_car1_s.txt", ["5,5,10,10"])
    write(tmp_path, "nfs_Gymnastics.txt", ["6,5,10,10"])
    (tmp_path / "tpl.json").write_text(json.dumps({"tpl_Ball_ce1": [[7, 5, 10, 10]]}))
    known = functools.partial(match_name, names=["car1_s", "Gymnastics", "Ball_ce1"], what="sequence")
    found = raw_results.read_folder(tmp_path, known)
    assert {name: boxes[0, 0] for name, boxes in found.items()} == {"car1_s": 4, "Gymnastics": 5, "Ball_ce1": 6}


def test_files_of_times_are_passed_over_silently_and_other_strangers_with_a_warning(tmp_path, caplog):
    write(tmp_path, "Deer.txt", ["5,5,10,10"])
    write(tmp_path, "Deer_time.txt", ["0.1"])
    write(tmp_path, "notes.txt", ["made in May"])
    with caplog.at_level(logging.WARNING):
        assert list(raw_results.read_folder(tmp_path)) == ["Deer"]
    assert "notes.txt" in caplog.text
    assert "Deer_time.txt" not in caplog.text


def test_of_a_json_file_with_all_sequences_those_of_the_benchmark_are_read(tmp_path, caplog):
    rows = [[5, 5, 10, 10], [6, 5, 10, 10]]
    content = {"deer": rows, "Deers": rows, "fps": [30, 31], "tracker": "KCF"}
    (tmp_path / "KCF.json").write_text(json.dumps(content))
    (tmp_path / "KCF_times.json").write_text("no JSON")
    (tmp_path / "config.json").write_text('{"gamma": [1, 2]}')
    with caplog.at_level(logging.WARNING):
        found = raw_results.read_folder(tmp_path)
    assert {name: boxes.tolist() for name, boxes in found.items()} == {"Deer": [[4, 4, 10, 10], [5, 4, 10, 10]]}
    assert "passed over" in caplog.text
    assert "config.json" in caplog.text
    assert "KCF" not in caplog.text


def test_two_files_of_one_sequence_are_refused(tmp_path):
    write(tmp_path, "Jogging-1.txt", ["5,5,10,10"])
    write(tmp_path, "jogging.1.txt", ["5,5,10,10"])
    with pytest.raises(UserError, match=r"Jogging-1\.txt and jogging\.1\.txt .* both results of Jogging-1"):
        raw_results.read_folder(tmp_path)


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no result file"):
        raw_results.read_folder(tmp_path / "absent")


def test_rows_for_the_images_before_tiger1_is_tracked_are_dropped():
    rows = np.arange(354 * 4.0).reshape(354, 4)
    np.testing.assert_array_equal(raw_results.tracked_rows("Tiger1", rows, 349), rows[5:])
    np.testing.assert_array_equal(raw_results.tracked_rows("Tiger1", rows[:349], 349), rows[:349])
    np.testing.assert_array_equal(raw_results.tracked_rows("Tiger2", rows, 349), rows)


def test_the_row_without_an_image_is_dropped_from_board():
    rows = np.arange(698 * 4.0).reshape(698, 4)
    np.testing.assert_array_equal(raw_results.tracked_rows("Board", rows, 697), rows[:697])
    np.testing.assert_array_equal(raw_results.tracked_rows("Board", rows, 698), rows)


def test_a_folder_becomes_one_row_of_a_table_without_the_sequences_that_it_lacks(tmp_path, caplog):
    write(tmp_path, "Deer.txt", ["1,1,1,1", "5,5,10,10", "5,5,10,5"])
    write(tmp_path, "Coke.txt", ["5,5,10,10"])
    benchmark = Benchmark("otb100", "OTB-100", [sequence("Coke", 2), sequence("Deer", 3), sequence("Dog", 9)])
    result = raw_results.tracker_result("KCF", tmp_path, benchmark)
    assert (result.name, result.run_ids) == ("KCF", ("published",))
    assert {name: score.mean_overlap for name, score in result.scores[0].items()} == pytest.approx(
        {"Coke": (1 + 0) / 2, "Deer": (1 + 1 + 0.5) / 3}
    )
    assert "Coke (1 rows for 2 frames)" in caplog.text
    assert "Deer" not in caplog.text


@pytest.mark.parametrize(
    ("tracker", "auc", "precision_20"),
    [("MDNet", 0.678, 0.909), ("SiamBAN", 0.696, 0.910), ("SiamFC", 0.587, 0.772)],
)
def test_published_trackers_reach_their_published_numbers_on_otb100(test_data, tracker, auc, precision_20):
    sequences = []
    for entry in otb_table.table():
        boxes = read_boxes(test_data / "otb100" / "groundtruth_rect" / f"{entry.name}.txt")
        boxes = boxes[: entry.frames - entry.spare_rows]  # rows that have an image, as papers score them
        sequences.append(Sequence(entry.name, np.zeros(len(boxes)), boxes, annotated_rows(boxes)))
    folder = test_data / "otb100" / "results" / tracker
    result = raw_results.tracker_result(tracker, folder, Benchmark("otb100", "OTB-100", sequences))
    mean = metrics.average(result.scores[0].values())
    assert mean.sequences == 100
    assert (round(mean.auc, 3), round(mean.precision_20, 3)) == (auc, precision_20)
