import pytest
from dataset_folders import boxes, images, write_image, write_lines, write_xml

from jaxtrack.data.preparation import snippets
from jaxtrack.errors import UserError

SNIPPET = "VID/train/ILSVRC2015_VID_train_0000/ILSVRC2015_train_00000000"


def write_vid(root, *frames):
    """One snippet; of each frame (box, trackid) of its objects."""
    for number, objects in enumerate(frames):
        items = [{"trackid": trackid, "box": box, "occluded": int(box[0] == 9)} for box, trackid in objects]
        write_xml(root / "Annotations" / SNIPPET / f"{number:06d}.xml", *items)


def test_every_run_of_frames_of_an_id_is_a_track_of_its_own(tmp_path):
    a, b, hidden = (1, 2, 30, 40), (5, 5, 9, 9), (9, 2, 30, 40)
    write_vid(tmp_path / "ILSVRC2015", [(a, 0), (b, 1)], [(a, 0)], [(b, 1)], [(hidden, 0), (b, 1)], [(a, 0), (b, 1)])
    [video] = snippets.imagenet_vid(tmp_path, "train")
    assert video.name == "ILSVRC2015_train_00000000"
    tracks = {track.track: track for track in video.read()}
    assert set(tracks) == {"00", "00-2", "01", "01-2"}
    assert boxes(tracks["00"]) == [(0, a), (1, a)]
    assert boxes(tracks["00-2"]) == [(3, hidden), (4, a)]
    assert [annotation.visible for annotation in tracks["00-2"].frames] == [False, True]
    assert [frame for frame, _ in boxes(tracks["01-2"])] == [2, 3, 4]
    assert images(tracks["00"], tmp_path / "ILSVRC2015")[1] == f"Data/{SNIPPET}/000001.JPEG"
    assert all(track.inside for track in tracks.values())


def test_a_frame_without_neighbours_is_dropped(tmp_path):
    write_vid(tmp_path, [((1, 2, 30, 40), 0)], [])
    [video] = snippets.imagenet_vid(tmp_path, "train")
    [track] = video.read()
    assert boxes(track) == [(0, None)]
    assert track.frames[0].dropped == "single frame"


def test_a_missing_folder_of_vid_is_named(tmp_path):
    with pytest.raises(UserError, match=r"there is no folder .*Annotations/VID/val: expected ImageNet VID"):
        snippets.imagenet_vid(tmp_path, "val")


YOUTUBE = [
    "-ab_c,2000,0,person,1,present,0.1,0.5,0.2,0.8",
    "-ab_c,1000,0,person,1,present,0.2,0.5,0.2,0.8",
    "-ab_c,3000,0,person,1,absent,-1,-1,-1,-1",
    "-ab_c,1000,3,dog,0,present,0,1,0,0.5",
    "xyz,0,3,dog,0,present,0,1,0,0.5",
]


def test_youtubebb_has_relative_boxes_whose_columns_are_x_x_y_y(tmp_path):
    write_lines(tmp_path / "yt_bb_detection_train.csv", YOUTUBE)
    write_image(tmp_path / "train" / "0" / "-ab_c_1000_0_1.jpg")
    first, second = snippets.youtubebb(tmp_path, "train")
    assert (first.name, second.name) == ("-ab_c", "xyz")
    person, dog = first.read()
    assert (person.track, dog.track, person.relative) == ("0-1", "3-0", True)
    assert boxes(person) == [(1, (0.2, 0.2, 0.5, 0.8)), (2, (0.1, 0.2, 0.5, 0.8)), (3, None)]
    assert person.frames[2].dropped == "absent"
    assert images(person, tmp_path)[0] == "train/0/-ab_c_1000_0_1.jpg"


@pytest.mark.parametrize(
    "line",
    [
        "ab,1000,0,person,1,present,0.1,0.5,0.2",
        "ab,soon,0,person,1,present,0.1,0.5,0.2,0.8",
        "../../ab,1000,0,person,1,present,0.1,0.5,0.2,0.8",
        "ab,1000,..,person,1,present,0.1,0.5,0.2,0.8",
    ],
)
def test_a_broken_line_of_youtubebb_is_named(tmp_path, line):
    (tmp_path / "train").mkdir()
    write_lines(tmp_path / "yt_bb_detection_train.csv", [YOUTUBE[0], line])
    with pytest.raises(UserError, match=r"yt_bb_detection_train\.csv, line 2: expected the ten columns"):
        snippets.youtubebb(tmp_path, "train")


def test_what_is_missing_of_youtubebb_is_named(tmp_path):
    with pytest.raises(UserError, match=r"there is no folder .*train: expected YouTube-BB's frames"):
        snippets.youtubebb(tmp_path, "train")
    (tmp_path / "yt_bb_detection_train").mkdir()
    with pytest.raises(UserError, match=r"cannot read .*yt_bb_detection_train\.csv: No such file"):
        snippets.youtubebb(tmp_path, "train")
