"""PySOT's JSON files: a benchmark in one file, whole and damaged."""

import json

import pytest
from benchmark_folders import numbers, only_sequence

from jaxtrack.data import benchmarks
from jaxtrack.errors import UserError

pytestmark = pytest.mark.usefixtures("no_data_folder")


PYSOT = {
    "tc128": "TC128.json", "uav123": "UAV123.json", "uav20l": "UAV20L.json", "nfs30": "NFS30.json",
    "nfs240": "NFS240.json", "lasot": "LaSOT.json", "lasot_ext": "LaSOT_ext.json", "got10k_val": "GOT-10k_val.json",
    "got10k_test": "GOT-10k.json", "trackingnet": "TrackingNet.json", "uavdt": "UAVDT.json",
}  # fmt: skip


@pytest.mark.parametrize(("name", "file"), PYSOT.items())
def test_pysots_layout_is_read(tmp_path, write, name, file):
    sequence = "bird-2" if name == "lasot" else "car9"
    write("car9", ["000001.jpg", "000002.jpg", "000003.jpg"])
    images = [f"car9/{i:06d}.jpg" for i in (1, 2, 3)]
    rows = [[3, 4, 5, 6], [4, 4, 5, 6], [None, float("nan"), 5, 6]]
    record = {"video_dir": "car9", "img_names": images, "gt_rect": rows, "attr": ["Fast Motion"], "absent": [1, 0, 1]}
    write.text(file, json.dumps({sequence: record}))
    car = only_sequence(name, tmp_path)
    assert (numbers(car), car.attributes) == ([1, 2, 3], {"Fast Motion"})
    assert car.boxes[:2].tolist() == [[3 - car.origin, 4 - car.origin, 5, 6], [4 - car.origin, 4 - car.origin, 5, 6]]
    assert car.valid.tolist() == [True, True, False]
    assert car.absent.tolist() == [False, True, False]  # PySOT's 1 means that the target is there


def test_pysots_layout_of_otb_gives_what_folders_lack(tmp_path, write):
    names = [f"{i:04d}.jpg" for i in range(1, 355)]
    write("otb/Tiger1/img", names)
    record = {"img_names": [f"Tiger1/img/{name}" for name in names], "gt_rect": [[i, 4, 5, 6] for i in range(1, 355)]}
    write.text("otb/OTB100.json", json.dumps({"Tiger1": record, "Nobody": {}}))
    tiger = only_sequence("otb100", tmp_path)
    assert (len(tiger), numbers(tiger)[0], tiger.boxes[0].tolist()) == (349, 6, [5, 3, 5, 6])
    assert "OCC" in tiger.attributes
    assert tiger.omitted[3]
    write.text("otb/Tiger1/groundtruth_rect.txt", *["9,9,5,6"] * 354)
    assert only_sequence("otb100", tmp_path).boxes[0].tolist() == [8, 8, 5, 6]


def test_otbs_annotations_do_where_only_results_are_scored(tmp_path, write):
    write.text("otb/Tiger1/groundtruth_rect.txt", *[f"{i},4,5,6" for i in range(1, 355)])
    write.text("otb/Board/groundtruth_rect.txt", *["3,4,5,6"] * 698)  # the last row has no image
    with pytest.raises(UserError, match="no image in"):
        benchmarks.load("otb100", tmp_path)
    board, tiger = benchmarks.load("otb100", tmp_path, images=False).sequences
    assert (len(board), len(tiger), tiger.boxes[0].tolist()) == (697, 349, [5, 3, 5, 6])
    # A file that begins with the row of the first tracked image.
    write.text("otb/Tiger1/groundtruth_rect.txt", *[f"{i},4,5,6" for i in range(6, 355)])
    assert only_sequence("otb100", tmp_path, sequences=("Tiger1",), images=False).boxes[0].tolist() == [5, 3, 5, 6]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"img_names": ["../../secret.jpg"]}, "img_names of car9 must be paths inside"),
        ({"img_names": ["/secret.jpg"]}, "img_names of car9 must be paths inside"),
        ({"img_names": ["..\\secret.jpg"]}, "img_names of car9 must be paths inside"),
        ({"img_names": ["C:secret.jpg"]}, "img_names of car9 must be paths inside"),
        ({"img_names": ["1.jpg", "\0.jpg"]}, "img_names of car9 must be paths inside"),
        ({"img_names": ["1.jpg", "\ud800.jpg"]}, "img_names of car9 must be paths inside"),
        ({"img_names": [""]}, "img_names of car9 must be paths inside"),
        ({"img_names": None}, "img_names of car9 must be paths inside"),
        ({"gt_rect": [[1, 2, 3]]}, "gt_rect of car9 must be a list of rows x, y, w, h"),
        ({"gt_rect": None}, "gt_rect of car9 must be a list of rows x, y, w, h"),
        ({"gt_rect": [[10**400, 2, 3, 4]]}, "gt_rect of car9 must be a list of rows x, y, w, h, finite numbers"),
        ({"gt_rect": [[3, 4, 5, 6], [3, 4, 5, float("inf")]]}, "gt_rect of car9 must be a list of rows x, y, w, h"),
        ({"gt_rect": ["3456"]}, "gt_rect of car9 must be a list of rows x, y, w, h"),
        ({"gt_rect": {"3456": 1}}, "gt_rect of car9 must be a list of rows x, y, w, h"),
        ({"gt_rect": [[3, 4, 5, 6]], "absent": 3}, "absent of car9 must be a list of numbers"),
        ({"gt_rect": [[3, 4, 5, 6]], "absent": ["1"]}, "absent of car9 must be a list of numbers"),
        ({"gt_rect": [[3, 4, 5, 6]], "attr": 3}, "attr of car9 must be a list of texts"),
        ({"gt_rect": [[3, 4, 5, 6]], "attr": "IV"}, "attr of car9 must be a list of texts"),
        ({"gt_rect": [[3, 4, 5, 6]], "attr": [["IV"]]}, "attr of car9 must be a list of texts"),
        ({"gt_rect": [[None] * 4]}, "car9: the first frame has no annotation"),
        ({"gt_rect": [[3, 4, 5, 6]], "absent": []}, "car9: absence has 0 values for 1 frames"),
    ],
)
def test_a_damaged_json_file_is_refused_in_words(tmp_path, write, record, said):
    write.text("UAVDT.json", json.dumps({"car9": record}))
    with pytest.raises(UserError, match=said):
        benchmarks.load("uavdt", tmp_path, images=False)


def test_a_json_file_opens_no_images_outside_its_folder(tmp_path, write):
    write("outside", ["000001.jpg"])
    for name in ("../outside", "a/../../outside", "..\\outside", str(tmp_path / "outside"), "", "."):
        write.text("UAVDT/UAVDT.json", json.dumps({name: {"img_names": [], "gt_rect": [[3, 4, 5, 6]]}}))
        for images in (True, False):
            with pytest.raises(UserError, match=r"a video must be called like a folder inside .*UAVDT, not '"):
                benchmarks.load("uavdt", tmp_path / "UAVDT", images=images)
