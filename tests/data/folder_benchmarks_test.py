"""The benchmarks that are folders, in miniature: three frames each, in the layout of their authors and in PySOT's."""

import json
import shutil

import numpy as np
import pytest

from jaxtrack.data import benchmarks, lasot, uav
from jaxtrack.errors import UserError


@pytest.fixture(autouse=True)
def no_data_folder(monkeypatch):
    monkeypatch.delenv("JAXTRACK_DATA", raising=False)


@pytest.fixture
def write(tmp_path, jpeg):
    """Writes images (of which image i has red i) and text files below `tmp_path`."""

    def images(folder, names):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            number = int("".join(filter(str.isdigit, name.split(".")[0])))
            (tmp_path / folder / name).write_bytes(jpeg(rgb=(number % 256, 0, 0)))

    def text(path, *lines):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("\n".join(lines) + "\n")

    images.text = text
    return images


def only_sequence(name, folder, **options):
    [sequence] = benchmarks.load(name, folder, **options).sequences
    return sequence


def numbers(sequence):
    """The numbers of the images of a sequence."""
    return [int("".join(filter(str.isdigit, path.stem))) for path in sequence.frames.paths]


def test_tc128_takes_the_images_that_its_frames_file_says(tmp_path, write):
    write("Ball_ce1/img", [f"{i:04d}.jpg" for i in range(4, 9)])
    write.text("Ball_ce1/Ball_ce1_gt.txt", "3,4,5,6", "4,4,5,6", "5,4,5,6")
    write.text("Ball_ce1/Ball_ce1_frames.txt", "5,7")
    ball = only_sequence("tc128", tmp_path)
    assert (ball.name, numbers(ball)) == ("Ball_ce1", [5, 6, 7])
    assert ball.boxes.tolist() == [[2, 3, 5, 6], [3, 3, 5, 6], [4, 3, 5, 6]]
    write.text("Ball_ce1/Ball_ce1_frames.txt", "5;7")
    with pytest.raises(UserError, match=r"Ball_ce1_frames.txt must hold the numbers of the first and the last image"):
        benchmarks.load("tc128", tmp_path)


def test_the_second_part_of_a_uav123_folder_begins_at_its_image(tmp_path, write):
    write("data_seq/UAV123/bird1", [f"{i:06d}.jpg" for i in range(770, 1480)])
    rows = ["3,4,5,6", "NaN,NaN,NaN,NaN"] + ["3,4,5,6"] * 701
    write.text("anno/UAV123/bird1_2.txt", *rows)
    write.text("anno/UAV123/att/bird1_2.txt", "1,0,0,0,1,0,0,0,0,0,0,1")
    part = benchmarks.load("uav123", tmp_path)
    [bird] = part.sequences
    assert (numbers(bird)[0], numbers(bird)[-1], len(bird)) == (775, 1477, 703)
    assert bird.valid[:3].tolist() == [True, False, True]
    assert np.isnan(bird.boxes[1]).all()
    assert bird.attributes == {"SV", "FOC", "SOB"}
    assert part.title == "1 of the 123 sequences of UAV123"
    assert "bird1_1" in part.missing


def test_other_uav123_sequences_are_whole_folders_also_in_a_flat_copy(tmp_path, write):
    write("data_seq/boat9", ["000001.jpg", "000002.jpg", "000010.jpg"])
    write.text("anno/boat9.txt", "3,4,5,6", "3,4,5,6", "3,4,5,6")
    assert numbers(only_sequence("uav123", tmp_path)) == [1, 2, 10]
    assert only_sequence("uav123_10fps", tmp_path, sequences=("Boat9",)).name == "boat9"
    with pytest.raises(UserError, match="No sequence of UAV20L found"):
        benchmarks.load("uav20l", tmp_path)


def test_uav123_at_10_fps_is_not_taken_for_uav123_nor_the_reverse(tmp_path, write):
    for folder, rows in (("slow", 251), ("fast", 751)):  # car1_1 has the images 1 to 751 at 30 fps
        write(f"{folder}/data_seq/car1", ["000001.jpg", "000002.jpg"])
        for name in ("boat9", "car1_1"):
            write.text(f"{folder}/anno/{name}.txt", *["3,4,5,6"] * rows)
    slow, fast = tmp_path / "slow", tmp_path / "fast"
    said = (
        r"^boat9: the annotations in .*slow/anno are those of UAV123@10fps, not of UAV123 \(car1_1 has 251 rows there, "
        r"but 751 frames in UAV123\): name the other benchmark, or copy the files of UAV123$"
    )
    with pytest.raises(UserError, match=said):
        benchmarks.load("uav123", slow, ("boat9",), images=False)
    with pytest.raises(
        UserError, match=r"^boat9: .*fast/anno are those of UAV123, not of UAV123@10fps \(car1_1 has 751"
    ):
        benchmarks.load("uav123_10fps", fast, images=False)
    for name, folder in (("uav123", fast), ("uav123_10fps", slow)):
        assert len(only_sequence(name, folder, sequences=("boat9",), images=False)) in (251, 751)
    [info] = [info for info in benchmarks.catalogue("uav123", slow) if info.found]
    assert info.problem.startswith("car1_1: the annotations in ")  # before the images that are missing


def test_uav20l_takes_its_images_from_uav123(tmp_path, write):
    write("data_seq/UAV123/car9", [f"{i:06d}.jpg" for i in range(1, 1880)])
    write.text("anno/UAV20L/car9.txt", *["3,4,5,6"] * 1879)
    assert len(only_sequence("uav20l", tmp_path)) == 1879


def test_the_tables_of_the_uav_sets_add_up():
    assert (len(uav.table("uav123")), len(uav.table("uav20l"))) == (51, 20)
    assert sum(part.last for part in uav.table("uav20l").values()) == 58_670
    at_10 = uav.at_10_fps(uav.table("uav123"))
    ends = {name: (at_10[name].first, at_10[name].last) for name in ("car1_1", "bird1_2", "person12_1", "truck4_2")}
    assert ends == {"car1_1": (1, 251), "bird1_2": (259, 493), "person12_1": (1, 201), "truck4_2": (193, 421)}


def test_nfs_at_30_fps_takes_every_eighth_row_of_a_file_for_240(tmp_path, write):
    write("ball/30/ball", [f"{i:05d}.jpg" for i in (1, 2, 3)])
    write.text("ball/30/ball.txt", *[f'0 {i + 1} 5 {i + 11} 25 {i} 0 0 0 "ball"' for i in range(24)])
    ball = only_sequence("nfs30", tmp_path)
    assert ball.boxes.tolist() == [[0, 4, 10, 20], [8, 4, 10, 20], [16, 4, 10, 20]]
    shutil.rmtree(tmp_path / "ball/30/ball")
    with pytest.raises(UserError, match=r"ball.txt has a row for each image at 30 .* or at 240, which its"):
        benchmarks.load("nfs30", tmp_path, images=False)


@pytest.mark.parametrize(("images", "rows", "frames"), [(3, 4, 3), (4, 3, 3)])
def test_nfs_cuts_a_difference_of_one(tmp_path, write, images, rows, frames):
    write("ball/240/ball", [f"{i:05d}.jpg" for i in range(1, images + 1)])
    write.text("ball/240/ball.txt", *['0 1 5 11 25 0 0 0 0 "ball"'] * rows)
    assert len(only_sequence("nfs240", tmp_path)) == frames


def test_nfs_is_read_re_packed(tmp_path, write):
    write("nfs/sequences/ball", ["00001.jpg", "00002.jpg"])
    write.text("nfs/anno/nfs_ball.txt", "3\t4\t5\t6", "4\t4\t5\t6")
    ball = only_sequence("nfs", tmp_path)
    assert (ball.name, ball.boxes[1].tolist()) == ("ball", [3, 3, 5, 6])


def test_lasot_is_absent_where_either_flag_is_set_nested_or_flat(tmp_path, write):
    for folder in ("bird/bird-2", "bird/bird-1", "rubicCube-6"):  # bird-1 is for training
        write(f"LaSOT/{folder}/img", [f"{i:08d}.jpg" for i in (1, 2, 3)])
        write.text(f"LaSOT/{folder}/groundtruth.txt", "3,4,5,6", "3,4,5,6", "0,0,0,0")
        write.text(f"LaSOT/{folder}/full_occlusion.txt", "0,1,0")
        write.text(f"LaSOT/{folder}/out_of_view.txt", "0", "0", "1")
    bird, cube = benchmarks.load("lasot", tmp_path).sequences
    assert (bird.name, cube.name) == ("bird-2", "rubicCube-6")
    assert bird.absent.tolist() == cube.absent.tolist() == [False, True, True]
    assert bird.valid.tolist() == [True, True, False]
    missing = benchmarks.load("lasot", tmp_path).missing
    assert len(missing) == 278
    assert {"airplane-1", "zebra-17"} < set(missing)
    with pytest.raises(UserError, match="bird-1"):
        benchmarks.load("lasot", tmp_path, ("bird-1",))
    write.text("LaSOT/testing_set.txt", "bird-2")
    assert only_sequence("lasot", tmp_path).name == "bird-2"
    with pytest.raises(UserError, match="No sequence of LaSOT extension found"):
        benchmarks.load("lasot_ext", tmp_path / "LaSOT")


def test_lasots_test_sequences_are_four_of_each_of_70_classes():
    names = lasot.names_of_test_set()
    assert len(names) == 280
    classes = [name.rpartition("-")[0] for name in names]
    assert len(set(classes)) == 70
    assert all(classes.count(each) == 4 for each in set(classes))
    # As text, in the order of names, the other 1120 of 20 in each class make the published list of 10,637 characters.
    everything = {f"{each}-{number}" for each in set(classes) for number in range(1, 21)}
    assert len("".join(f"{name}\n" for name in everything - names)) == 10_637


def test_lasot_without_its_absence_file_is_refused(tmp_path, write):
    write("bird-2/img", ["00000001.jpg"])
    write.text("bird-2/groundtruth.txt", "3,4,5,6")
    write.text("bird-2/full_occlusion.txt", "0")
    with pytest.raises(UserError, match=r"bird-2 lacks out_of_view.txt, which say.* where the target is absent"):
        benchmarks.load("lasot", tmp_path)
    write.text("bird-2/out_of_view.txt", "0,2")
    with pytest.raises(UserError, match=r"out_of_view.txt must hold numbers from 0 to 1, .* but has '2'"):
        benchmarks.load("lasot", tmp_path)


@pytest.fixture
def toolkit(tmp_path, write):
    """The annotations of LaSOT's evaluation toolkit, of one sequence."""
    folder = tmp_path / "LaSOT_Evaluation_Toolkit"
    write.text(f"{folder.name}/annos/bird-2.txt", "3,4,5,6", "3,4,5,6", "0,0,0,0")
    write.text(f"{folder.name}/annos/absent/bird-2.txt", "0", "1", "1")
    write.text(f"{folder.name}/annos/att/bird-2.txt", "0,1,0,0,0,0,0,0,0,0,0,0,0,1")
    return folder


def test_lasots_toolkit_has_the_annotations_without_the_images(tmp_path, toolkit):
    with pytest.raises(UserError, match="No sequence of LaSOT found"):
        benchmarks.load("lasot", tmp_path)
    for folder in (tmp_path, toolkit):
        bird = only_sequence("lasot", folder, images=False)
        assert (bird.name, len(bird), bird.boxes[0].tolist()) == ("bird-2", 3, [2, 3, 5, 6])
        assert bird.absent.tolist() == [False, True, True]
        assert bird.valid.tolist() == [True, True, False]
        assert bird.attributes == {"POC", "ARC"}


@pytest.mark.parametrize("images", [True, False])
def test_lasots_folders_go_before_its_toolkit(toolkit, write, images):
    folder = f"{toolkit.name}/bird/bird-2"
    write(f"{folder}/img", ["00000001.jpg", "00000002.jpg"])
    write.text(f"{folder}/groundtruth.txt", "9,4,5,6", "9,4,5,6")
    for name in ("full_occlusion", "out_of_view"):
        write.text(f"{folder}/{name}.txt", "0,0")
    bird = only_sequence("lasot", toolkit, images=images)
    assert (numbers(bird), bird.boxes[0].tolist()) == ([1, 2], [8, 3, 5, 6])


def test_a_damaged_copy_of_lasots_toolkit_is_refused(toolkit, write):
    write.text(f"{toolkit.name}/annos/att/bird-2.txt", "0,1")
    with pytest.raises(UserError, match=r"att/bird-2.txt has 2 flags, not the 14 of IV POC"):
        benchmarks.load("lasot", toolkit, images=False)
    write.text(f"{toolkit.name}/annos/absent/bird-2.txt", "0", "1")
    with pytest.raises(UserError, match=r"annos/bird-2.txt has 3 rows, .*absent/bird-2.txt 2 values: copy the toolkit"):
        benchmarks.load("lasot", toolkit, images=False)
    (toolkit / "annos/absent/bird-2.txt").unlink()
    with pytest.raises(UserError, match=r"absent/bird-2.txt is not there, which says where the target is absent"):
        benchmarks.load("lasot", toolkit, images=False)


def test_more_sequences_than_the_benchmark_has_are_refused(tmp_path, write):
    for i in range(281):
        write.text(f"atv-{i}/groundtruth.txt", "3,4,5,6")
        write.text(f"atv-{i}/full_occlusion.txt", "0")
    with pytest.raises(UserError, match=r"281 sequences found .* LaSOT extension has 150: .* testing_set.txt there"):
        benchmarks.load("lasot_ext", tmp_path, images=False)


def test_got10k_val_has_cover_class_and_size(tmp_path, write):
    folder = "val/GOT-10k_Val_000003"
    write(folder, [f"{i:08d}.jpg" for i in (1, 2, 3)])
    write.text(f"{folder}/groundtruth.txt", "3.5,4,5,6", "3,4,5,6", "3,4,5,6")
    write.text(f"{folder}/cover.label", "8", "0", "3")
    write.text(f"{folder}/absence.label", "0", "1", "0")
    write.text(f"{folder}/meta_info.ini", "[METAINFO]", "object_class: brown bear", "resolution: (16, 12)")
    bear = only_sequence("got10k_val", tmp_path)
    assert (bear.object_class, bear.stated_size) == ("brown bear", (16, 12))
    assert (bear.cover.tolist(), bear.absent.tolist()) == ([8, 0, 3], [False, True, False])
    assert benchmarks.load("got10k_val", tmp_path).protocol == "got10k"
    (tmp_path / folder / "cover.label").unlink()
    with pytest.raises(UserError, match=r"GOT-10k_Val_000003 lacks cover.label, which says what frames do not count"):
        benchmarks.load("got10k_val", tmp_path)
    with pytest.raises(UserError, match="say got10k_val or got10k_test"):
        benchmarks.load("GOT-10k", tmp_path)


def test_test_sets_with_hidden_annotations_have_the_first_box_alone(tmp_path, write):
    write("test/GOT-10k_Test_000001", [f"{i:08d}.jpg" for i in (1, 2, 3)])
    write.text("test/GOT-10k_Test_000001/groundtruth.txt", "3,4,5,6")
    write("TEST/frames/-ab_1", [f"{i}.jpg" for i in range(11)])
    write.text("TEST/anno/-ab_1.txt", "3,4,5,6")
    for name, frames, first in (("got10k_test", 3, [2, 3, 5, 6]), ("trackingnet", 11, [3, 4, 5, 6])):
        benchmark = benchmarks.load(name, tmp_path)
        [sequence] = benchmark.sequences
        assert not benchmark.annotated
        assert (len(sequence), sequence.boxes[0].tolist()) == (frames, first)
        assert sequence.valid.tolist() == [True] + [False] * (frames - 1)
    assert [path.name for path in sequence.frames.paths] == [f"{i}.jpg" for i in range(11)]


@pytest.mark.parametrize("place", ["UAV-benchmark-SOT_v1.0/anno", "UAV-benchmark-S/S0101"])
def test_uavdt_annotations_are_found_in_both_places(tmp_path, write, place):
    write("UAV-benchmark-S/S0101", ["img000001.jpg", "img000002.jpg"])
    write.text(f"{place}/S0101_gt.txt", "3,4,5,6", "4,4,5,6")
    write.text(f"{place}/att/S0101_att.txt", "0,1,0,0,0,0,0,1")
    sequence = only_sequence("uavdt", tmp_path)
    assert (numbers(sequence), sequence.attributes) == ([1, 2], {"CR", "LO"})


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


def test_images_and_rows_must_agree(tmp_path, write):
    write("data_seq/UAV123/boat9", ["000001.jpg", "000002.jpg"])
    write.text("anno/UAV123/boat9.txt", "3,4,5,6")
    with pytest.raises(UserError, match=r"boat9: 2 images in .*boat9 but 1 annotations: copy the sequence again"):
        benchmarks.load("uav123", tmp_path)
    [info] = [info for info in benchmarks.catalogue("uav123", tmp_path) if info.found]
    assert "2 images" in info.problem


def test_an_image_missing_from_a_range_is_named(tmp_path, write):
    write("data_seq/UAV123/truck4", [f"{i:06d}.jpg" for i in range(1, 577)])
    write.text("anno/UAV123/truck4_1.txt", *["3,4,5,6"] * 577)
    with pytest.raises(UserError, match=r"truck4_1: image 577 is missing in .*truck4 \(1 of the images 1 to 577 are\)"):
        benchmarks.load("uav123", tmp_path)


def test_annotations_do_where_only_results_are_scored(tmp_path, write):
    write.text("anno/UAV123/boat9.txt", "3,4,5,6", "3,4,5,6")
    with pytest.raises(
        UserError, match=r"No sequence of UAV123 found: looked in .*laid out as <folder>/data_seq/UAV123"
    ):
        benchmarks.load("uav123", tmp_path)
    boat = only_sequence("uav123", tmp_path, images=False)
    assert len(boat) == 2
    with pytest.raises(UserError, match="boat9: the images are not there"):
        boat[0]


def test_a_sequence_that_is_not_at_hand_is_answered_with_those_that_are(tmp_path, write):
    write.text("anno/UAV123/boat9.txt", "3,4,5,6")
    with pytest.raises(UserError, match=r"no sequence of UAV123 at hand called 'boat8': did you mean boat9\?"):
        benchmarks.load("uav123", tmp_path, ("boat8",), images=False)


def test_the_ablations_list_pools_three_benchmarks(tmp_path, write):
    write.text("uav123/anno/UAV123/boat9.txt", "3,4,5,6")
    write.text("TC128/Ball/Ball_gt.txt", "3,4,5,6")
    write.text("TC128/Ball/Ball_frames.txt", "1,1")
    write.text("nfs/anno/nfs_boat9.txt", "3 4 5 6")
    pool = benchmarks.load("ablation352", tmp_path, images=False)
    assert [sequence.name for sequence in pool.sequences] == ["TC-128/Ball", "NFS30/boat9", "UAV123/boat9"]
    assert pool.title == "3 of the 352 sequences of TC-128 + NFS30 + UAV123"
    assert pool.protocol == "pysot"
    chosen = benchmarks.load("ablation352", tmp_path, ("NFS30/boat9",), images=False)
    assert [sequence.name for sequence in chosen.sequences] == ["NFS30/boat9"]
    with pytest.raises(UserError, match=r"boat9 is no sequence of .*: they are called TC-128/NAME"):
        benchmarks.load("ablation352", tmp_path, ("boat9",), images=False)
    with pytest.raises(UserError, match="No sequence of TC-128"):
        benchmarks.load("ablation352", tmp_path / "nowhere")


def test_one_real_sequence_of_uav123_is_read(test_data):
    [wakeboard] = benchmarks.load("uav123", test_data / "uav123").sequences
    assert (wakeboard.name, len(wakeboard)) == ("wakeboard7", 67)
    assert wakeboard.boxes[0].tolist() == [622, 298, 11, 38]
    assert wakeboard[66].shape == (720, 1280, 3)
