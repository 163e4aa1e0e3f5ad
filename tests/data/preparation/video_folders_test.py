import pytest
from dataset_folders import boxes, images, write_got10k, write_image, write_lines

from jaxtrack.data.preparation import video_folders
from jaxtrack.errors import UserError


def test_got10k_cuts_fractions_off_and_counts_frames_from_0(tmp_path):
    folder = tmp_path / "train" / "GOT-10k_Train_000007"
    for number in (1, 2, 3):
        write_image(folder / f"{number:08d}.jpg")
    write_lines(folder / "groundtruth.txt", ["10.7,20.2,5.9,6.0", "1,2,3,4", "NaN,NaN,NaN,NaN"])
    write_lines(folder / "absence.label", ["0", "1", "0"])
    write_lines(folder / "cover.label", ["8", "8", "0"])
    [video] = video_folders.got10k(tmp_path, "train")
    [track] = video.read()
    assert (track.video, track.track, track.inside) == ("GOT-10k_Train_000007", "00", True)
    assert boxes(track)[:2] == [(0, (10, 20, 15, 26)), (1, (1, 2, 4, 6))]
    assert images(track, folder) == ["00000001.jpg", "00000002.jpg", "00000003.jpg"]
    assert [annotation.visible for annotation in track.frames] == [True, False, False]


def test_got10k_without_labels_is_visible_and_all_is_both_parts(tmp_path):
    write_got10k(tmp_path, [2], "train")
    write_got10k(tmp_path, [1], "val")
    both = video_folders.got10k(tmp_path, "all")
    assert [video.name for video in both] == ["GOT-10k_Train_000001", "GOT-10k_Val_000001"]
    assert all(annotation.visible for annotation in both[0].read()[0].frames)


def test_a_missing_part_says_what_was_expected(tmp_path):
    with pytest.raises(UserError, match=r"there is no folder .*val: expected GOT-10k's folder val with GOT-10k_Val_0"):
        video_folders.got10k(tmp_path, "val")
    for reader, name in ((video_folders.lasot, "LaSOT"), (video_folders.otb_folders, "groundtruth_rect")):
        with pytest.raises(UserError, match=f"there is no folder .*none: expected .*{name}"):
            reader(tmp_path / "none", "train")
    with pytest.raises(UserError, match=r"there is no folder .*TRAIN_0 or any up to TRAIN_11: expected TrackingNet"):
        video_folders.trackingnet(tmp_path, "train")
    with pytest.raises(UserError, match=r"there is no folder .*vot2013: expected the sequences of VOT 2013"):
        video_folders.vot58(tmp_path, "train")


def test_an_annotation_must_have_a_row_for_each_image(tmp_path):
    write_got10k(tmp_path, [3])
    write_lines(tmp_path / "train" / "GOT-10k_Train_000001" / "groundtruth.txt", ["1,2,3,4"] * 2)
    [video] = video_folders.got10k(tmp_path, "train")
    with pytest.raises(UserError, match=r"groundtruth\.txt has 2 rows for 3 images"):
        video.read()


def test_lasot_leaves_out_its_280_test_sequences(tmp_path):
    for name in ("airplane-1", "airplane-2", "rubicCube-14", "rubicCube-15"):
        folder = tmp_path / name.split("-")[0] / name
        write_image(folder / "img" / "00000001.jpg")
        write_image(folder / "img" / "00000002.jpg")
        write_lines(folder / "groundtruth.txt", ["3,4,5,6", "7,8,9,10"])
        write_lines(folder / "full_occlusion.txt", ["0,1"])
        write_lines(folder / "out_of_view.txt", ["0,0"])
    videos = video_folders.lasot(tmp_path, "train")
    assert [video.name for video in videos] == ["airplane-2", "rubicCube-15"]
    [track] = videos[0].read()
    assert boxes(track) == [(0, (3, 4, 8, 10)), (1, (7, 8, 16, 18))]
    assert [annotation.visible for annotation in track.frames] == [True, False]
    assert track.inside
    flat = video_folders.lasot(tmp_path / "airplane", "train")
    assert [video.name for video in flat] == ["airplane-2"]


def test_trackingnet_reads_every_part_that_is_there_and_unpadded_names(tmp_path):
    for part, name in (("TRAIN_0", "-abc_0"), ("TRAIN_11", "xyz_1")):
        for number in range(11):
            write_image(tmp_path / part / "frames" / name / f"{number}.jpg")
        write_lines(tmp_path / part / "anno" / f"{name}.txt", [f"{number}.5,2,3,4" for number in range(11)])
    first, second = video_folders.trackingnet(tmp_path, "train")
    assert (first.name, second.name) == ("-abc_0", "xyz_1")
    [track] = first.read()
    assert boxes(track)[10] == (10, (10.5, 2, 13.5, 6))
    assert images(track, tmp_path)[9:] == ["TRAIN_0/frames/-abc_0/9.jpg", "TRAIN_0/frames/-abc_0/10.jpg"]


@pytest.fixture
def vot(tmp_path):
    """All 58 sequences with two images each; bag's lie in `color`, ball of 2014 has an image too many."""
    for year, names in video_folders.VOT58.items():
        for name in names.split():
            folder = tmp_path / f"vot{year}" / name
            inner = folder / "color" if name == "bag" else folder
            for number in range(1, 4 if (year, name) == (2014, "ball") else 3):
                write_image(inner / f"{number:08d}.jpg", 4, 4)
            row = "3,4,5,6" if year == 2013 else "5,11,21,3,31,13,15,23"
            write_lines(folder / "groundtruth.txt", [row] * 2)
    return tmp_path


def test_the_list_of_vot_has_58_sequences_of_three_years(vot):
    videos = {video.name: video for video in video_folders.vot58(vot, "train")}
    assert len(videos) == 58
    assert [sum(name.startswith(f"vot{year}") for name in videos) for year in (2013, 2014, 2015)] == [3, 11, 44]
    assert boxes(videos["vot2013-cup"].read()[0]) == [(0, (2, 3, 7, 9)), (1, (2, 3, 7, 9))]
    [bag] = videos["vot2015-bag"].read()
    assert boxes(bag)[0] == (0, (4, 2, 30, 22))
    assert images(bag, vot)[0] == "vot2015/bag/color/00000001.jpg"
    [ball] = videos["vot2014-ball"].read()
    assert images(ball, vot) == ["vot2014/ball/00000002.jpg", "vot2014/ball/00000003.jpg"]


def test_a_sequence_of_vot_that_is_missing_is_named(vot):
    (vot / "vot2014" / "torus").rename(vot / "torus")
    with pytest.raises(UserError, match=r"there is no folder .*torus: expected the sequence torus of VOT 2014"):
        video_folders.vot58(vot, "train")


def test_folders_in_otbs_layout_with_two_targets_and_rows_without_a_box(tmp_path):
    for number in (1, 2):
        write_image(tmp_path / "Walk" / "img" / f"{number:04d}.jpg")
    write_lines(tmp_path / "Walk" / "groundtruth_rect.1.txt", ["11,21,5,6", "0,0,0,0"])
    write_lines(tmp_path / "Walk" / "groundtruth_rect.2.txt", ["1\t1\t5\t6"] * 2)
    (tmp_path / "notes").mkdir()
    first, second = video_folders.otb_folders(tmp_path, "train")
    assert (first.name, second.name) == ("Walk.1", "Walk.2")
    assert boxes(first.read()[0]) == [(0, (10, 20, 15, 26)), (1, None)]
    write_lines(tmp_path / "Walk" / "groundtruth_rect.2.txt", ["1,1,5,6"])
    with pytest.raises(UserError, match="has 1 rows for 2 images"):
        second.read()


def test_folders_in_otbs_layout_are_found_where_an_evaluation_finds_them(tmp_path):
    for folder in ("Walk", "otb/Walk", "otb/Run", "other/Jump"):
        write_image(tmp_path / folder / "img" / "0001.jpg")
        write_lines(tmp_path / folder / "groundtruth_rect.txt", ["11,21,5,6"])
    walk, run = video_folders.otb_folders(tmp_path, "train")
    assert (walk.name, run.name) == ("Walk", "Run")
    assert images(walk.read()[0], tmp_path / "Walk" / "img") == ["0001.jpg"]
    assert images(run.read()[0], tmp_path / "otb" / "Run" / "img") == ["0001.jpg"]


def test_where_folders_in_otbs_layout_were_looked_for_is_told(tmp_path):
    write_lines(tmp_path / "OTB100" / "Walk" / "groundtruth_rect.txt", ["11,21,5,6"])  # no images
    looked = rf"no folder X/img with X/groundtruth_rect\.txt beside it in {tmp_path} or {tmp_path}/OTB100$"
    with pytest.raises(UserError, match=looked):
        video_folders.otb_folders(tmp_path, "train")


def test_otbs_own_sequences_keep_their_exceptions(test_data):
    videos = {video.name: video for video in video_folders.otb_folders(test_data / "otb", "train")}
    assert {"Jogging-1", "Jogging-2", "David"} <= set(videos)
    [track] = videos["David"].read()
    assert track.frames[0].path.name == "0300.jpg"
    assert len(videos["Football1"].read()[0].frames) == 74
