"""The benchmarks that are folders, in miniature: three frames each, in the layout of their authors and in PySOT's."""

import shutil

import numpy as np
import pytest
from benchmark_folders import numbers, only_sequence

from jaxtrack.data import benchmarks, uav
from jaxtrack.errors import UserError

pytestmark = pytest.mark.usefixtures("no_data_folder")


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
    assert len(part.missing) + part.unnamed == 122


def test_other_uav123_sequences_are_whole_folders_also_in_a_flat_copy(tmp_path, write):
    write("data_seq/boat9", ["000001.jpg", "000002.jpg", "000010.jpg"])
    write.text("anno/boat9.txt", "3,4,5,6", "3,4,5,6", "3,4,5,6")
    assert numbers(only_sequence("uav123", tmp_path)) == [1, 2, 10]
    assert benchmarks.load("uav123", tmp_path).unnamed == 123 - 51 - 1
    assert benchmarks.load("uav123", tmp_path, ("boat9",)).unnamed == 0
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
    assert len(pool.missing) + pool.unnamed == 349
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
