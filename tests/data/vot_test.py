import json

import numpy as np
import pytest
from toy_vot import write_sequence

from jaxtrack.data import benchmarks, vot
from jaxtrack.data.vot import BENCHMARKS, TAGS, VotEdition
from jaxtrack.errors import UserError


@pytest.fixture(autouse=True)
def no_data_folder(monkeypatch):
    monkeypatch.delenv("JAXTRACK_DATA", raising=False)


@pytest.fixture
def root(tmp_path):
    """`vot2018` with the sequence bag of four images."""
    write_sequence(tmp_path / "vot2018" / "bag", 4)
    return tmp_path


def record(frames, **more):
    """What PySOT's file says of a sequence."""
    rows = [[4, 4, 19, 4, 19, 15, 4, 15]] * frames
    return {"video_dir": "bag", "img_names": [], "gt_rect": rows, **{tag: [] for tag in TAGS}, **more}


def test_every_edition_is_a_benchmark_with_the_official_number_of_sequences():
    counts = {name: len(edition.lengths) for name, edition in BENCHMARKS.items()}
    assert counts == {f"vot{year}": 60 for year in range(2015, 2020)} | {"vot2013": 16, "vot2014": 25}
    assert set(BENCHMARKS) <= set(benchmarks.names())


def test_editions_have_the_official_numbers_of_frames():
    assert sum(vot.table()[2015].values()) == sum(vot.table()[2016].values()) == 21_455
    assert sum(vot.table()[2017].values()) == sum(vot.table()[2018].values()) == 21_356
    # Twelve sequences of 2019 are new, their lengths are not in the table.
    assert sum(length == 0 for length in vot.table()[2019].values()) == 12


@pytest.mark.parametrize("color", [True, False])
@pytest.mark.parametrize("given", [".", "vot2018"])
def test_the_authors_layout_is_read_old_and_new(tmp_path, color, given):
    write_sequence(tmp_path / "vot2018" / "bag", 4, color=color)
    [bag] = benchmarks.load("VOT-2018", tmp_path / given).sequences
    assert (bag.name, len(bag), bag.size) == ("bag", 4, (48, 36))
    assert bag[3].shape == (36, 48, 3)
    assert bag.boxes.tolist() == [[4, 4, 16, 12]] * 4
    assert bag.regions.corners[0].tolist() == [[4, 4], [19, 4], [19, 15], [4, 15]]


def test_a_workspace_of_the_toolkit_is_read(tmp_path):
    write_sequence(tmp_path / "sequences" / "bag", 2)
    assert [s.name for s in benchmarks.load("vot2018", tmp_path).sequences] == ["bag"]


def test_of_two_copies_the_one_that_lies_in_the_given_folder_is_read(root):
    write_sequence(root / "bag", 3)
    assert [len(s) for s in benchmarks.load("vot2018", root).sequences] == [3]


def test_a_part_is_called_a_part(root):
    part = benchmarks.load("vot2018", root)
    assert part.title == "1 of the 60 sequences of VOT2018"
    assert len(part.missing) == 59
    assert (part.edition, part.complete) == (2018, False)
    assert benchmarks.load("vot2018", root, ("Bag",)).title == "1 selected of the 60 sequences of VOT2018"


def test_tags_are_padded_and_found_under_their_old_names(root):
    folder = root / "vot2018" / "bag"
    (folder / "occlusion.tag").write_text("0\n1\n")
    (folder / "size.label").write_text("1\n0\n0\n1\n1\n")  # one more than there are frames
    (folder / "motion.label").write_text("0\n0\n0\n1\n")
    [bag] = benchmarks.load("vot2018", root).sequences
    assert bag.tagged("occlusion").tolist() == [False, True, False, False]
    assert bag.tagged("size_change").tolist() == [True, False, False, True]
    assert bag.tagged("motion_change").tolist() == [False, False, False, True]
    assert bag.tagged("empty").tolist() == [False, False, True, False]
    assert bag.tagged("all").all()
    assert bag.attributes == {"occlusion", "size_change", "motion_change"}


def test_a_tag_that_is_no_list_of_zeros_and_ones_is_refused(root):
    (root / "vot2018" / "bag" / "occlusion.tag").write_text("0\n2\n")
    with pytest.raises(UserError, match=r"bag: .*occlusion.tag must have a 0 or a 1 per frame"):
        benchmarks.load("vot2018", root)


def test_pysots_layout_is_read_with_its_tags_and_sizes(root):
    (root / "vot2018" / "bag" / "groundtruth.txt").unlink()
    content = {"bag": record(4, occlusion=[0, 0, 1, 0], width=48, height=36)}
    (root / "vot2018" / "VOT2018.json").write_text(json.dumps(content))
    [bag] = benchmarks.load("vot2018", root).sequences
    assert bag.stated_size == (48, 36)
    assert bag.boxes.tolist() == [[4, 4, 16, 12]] * 4
    assert bag.tagged("occlusion").tolist() == [False, False, True, False]
    assert not bag.tagged("camera_motion").any()


def test_annotations_alone_do_where_nothing_is_to_be_run(tmp_path):
    content = {"bag": record(3, width=480, height=360), "birds1": record(2, width=None, height=None)}
    (tmp_path / "VOT2018.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="No sequence of VOT2018 found"):
        benchmarks.load("vot2018", tmp_path)
    bag, birds = benchmarks.load("vot2018", tmp_path, images=False).sequences
    assert (len(bag), bag.size) == (3, (480, 360))
    with pytest.raises(UserError, match="birds1: the images are not there, and no file says how large they are"):
        birds.size  # noqa: B018


def test_another_editions_folder_is_not_taken_for_this_one(root):
    with pytest.raises(UserError, match="No sequence of VOT2016 found"):
        benchmarks.load("vot2016", root / "vot2018")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot read .*VOT2018.json"),
        ("[]", "is no PySOT annotation"),
        ('{"bag": []}', "is no PySOT annotation"),
        (json.dumps({"bag": {"gt_rect": []}}), "bag: the JSON file has no list gt_rect"),
        (
            json.dumps({"bag": {"gt_rect": [[1, 2, 3, 4, 5, 6]]}}),
            "bag: gt_rect of the JSON file, row 1: expected a code",
        ),
        (json.dumps({"bag": {"gt_rect": [["a"]]}}), "bag: gt_rect of the JSON file must be rows of numbers"),
        (json.dumps({"bag": {"gt_rect": [3]}}), "bag: gt_rect of the JSON file must be rows of numbers"),
        (json.dumps({"bag": {"gt_rect": ["1"]}}), "bag: gt_rect of the JSON file must be rows of numbers"),
        (json.dumps({"bag": {"gt_rect": [[10**400, 2, 3, 4]]}}), "bag: gt_rect of the JSON file must be rows of numb"),
        (json.dumps({"bag": record(1, width=10**30, height=36)}), "bag: width and height .* pixels from 1 to 65535"),
        (json.dumps({"bag": record(1, width=48, height=0)}), "bag: width and height of the JSON file must be whole"),
        (json.dumps({"bag": record(1, width=48)}), "bag: width and height of the JSON file must be whole"),
        (json.dumps({"bag": record(1, width="48", height=36.0)}), "bag: width and height of the JSON file must be"),
    ],
)
def test_a_broken_json_file_is_refused(tmp_path, content, said):
    (tmp_path / "VOT2018.json").write_text(content)
    with pytest.raises(UserError, match=said):
        benchmarks.load("vot2018", tmp_path, images=False)


def test_images_and_annotations_must_agree_in_number(root):
    (root / "vot2018" / "bag" / "color" / "00000004.jpg").unlink()
    with pytest.raises(UserError, match=r"bag: 3 images in .* but 4 annotations: copy the sequence again"):
        benchmarks.load("vot2018", root)


def test_a_first_frame_without_annotation_is_refused(root):
    (root / "vot2018" / "bag" / "groundtruth.txt").write_text("nan,nan,nan,nan\n" * 4)
    with pytest.raises(UserError, match="bag: the first frame has no annotation"):
        benchmarks.load("vot2018", root)


def test_a_polygon_of_three_corners_is_refused(root):
    (root / "vot2018" / "bag" / "groundtruth.txt").write_text("1,2,3,4,5,6\n" * 4)
    with pytest.raises(UserError, match=r"groundtruth.txt, row 1: expected .* but found '1,2,3,4,5,6'"):
        benchmarks.load("vot2018", root)


def test_a_sequence_that_is_asked_for_and_not_there_is_named(root):
    with pytest.raises(UserError, match=r"birds1 of VOT2018 not found below .*: expected a folder birds1"):
        benchmarks.load("vot2018", root, ("birds1",))
    with pytest.raises(UserError, match="no sequence of VOT2018 called 'bags': did you mean bag"):
        VotEdition(2018).canonical_name("bags")


def test_no_folder_is_told_with_the_layout():
    with pytest.raises(UserError, match=r"No sequence of VOT2018 found: no data folder was given.*groundtruth.txt"):
        benchmarks.load("vot2018")


def test_sequences_are_listed_found_or_not(root):
    assert BENCHMARKS["vot2018"].count(root) == (1, 60)
    assert BENCHMARKS["vot2018"].count(None) == (0, 60)
    infos = {info.name: info for info in BENCHMARKS["vot2018"].catalogue(root)}
    assert (infos["bag"].found, infos["bag"].frames, infos["bag"].box_size) == (True, 4, (16, 12))
    assert (infos["birds1"].found, infos["birds1"].frames) == (False, 339)
    (root / "vot2018" / "bag" / "groundtruth.txt").write_text("1,2\n")
    infos = {info.name: info for info in BENCHMARKS["vot2018"].catalogue(root)}
    assert "expected a code" in infos["bag"].problem


def test_the_real_sequences_agree_with_pysots_file(test_data):
    found = benchmarks.load("vot2018", test_data)
    assert found.title == "4 of the 60 sequences of VOT2018"
    told = {s.name: s for s in benchmarks.load("vot2018", test_data / "vot2018", images=False).sequences}
    assert {name: len(s) for name, s in told.items()} == dict(vot.table()[2018])
    for sequence in found.sequences:
        height, width = sequence[0].shape[:2]
        assert sequence.size == told[sequence.name].size == (width, height)
        assert np.array_equal(sequence.regions.corners, told[sequence.name].regions.corners)
    # Of the whole edition one sequence has rectangles.
    assert [name for name, s in told.items() if s.regions.rectangle.any()] == ["conduction1"]
