import collections
import json

import numpy as np
import pytest

from jaxtrack.data.boxfiles import annotated_rows, read_boxes
from jaxtrack.data.otb_table import canonical_name, table
from jaxtrack.errors import UserError

BY_NAME = {entry.name: entry for entry in table()}


def members(name):
    return [entry for entry in table() if name in entry.lists]


def counts(name, labels="attributes"):
    return collections.Counter(label for entry in members(name) for label in getattr(entry, labels))


@pytest.mark.parametrize(
    ("name", "entries", "frames"), [("otb100", 100, 59_035), ("otb2013", 51, 29_486), ("tb50", 50, 26_972)]
)
def test_each_list_has_its_published_number_of_sequences_and_frames(name, entries, frames):
    assert len(members(name)) == entries
    assert sum(entry.frames for entry in members(name)) == frames


def test_28_sequences_are_in_both_smaller_lists_and_27_in_neither():
    both = [entry for entry in table() if {"otb2013", "tb50"} <= entry.lists]
    neither = [entry.name for entry in table() if entry.lists == {"otb100"}]
    assert len(both) == 28
    assert " ".join(neither) == (
        "Bird2 BlurCar1 BlurCar3 BlurCar4 Board Bolt2 Car2 Car24 Coupon Dancer Dancer2 Dog Girl2 Gym Human2 Human5 "
        "Human7 Human8 KiteSurf Man Rubik Skater Skater2 Toy Trans Twinnings Vase"
    )


def test_attributes_are_counted_as_in_the_published_plots():
    assert counts("otb100") == {
        "SV": 64, "OPR": 63, "IPR": 51, "OCC": 49, "DEF": 44, "FM": 39,
        "IV": 38, "BC": 31, "MB": 29, "OV": 14, "LR": 9,
    }  # fmt: skip
    assert counts("otb2013")["OPR"] == 39


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("otb100", "SV 65, OPR 64, IPR 51, OCC 49, DEF 44, FM 43, IV 38, BC 32, MB 31, OV 14, LR 10"),
        ("otb2013", "OPR 40, IPR 31, OCC 29, SV 28, IV 25, BC 22, DEF 19, FM 18, MB 12, OV 6, LR 4"),
        ("tb50", "SV 38, OPR 32, OCC 29, IPR 29, FM 27, DEF 23, IV 22, BC 20, MB 20, OV 11, LR 10"),
    ],
)
def test_the_python_toolkits_labels_are_counted_as_it_counts_them(name, expected):
    expected = {label: int(number) for label, number in (pair.split() for pair in expected.split(", "))}
    assert counts(name, "attributes_python_toolkit") == expected


def test_every_name_is_known_by_itself_and_names_differ():
    assert [canonical_name(entry.name) for entry in table()] == [entry.name for entry in table()]
    assert len(BY_NAME) == 100


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("jogging_1", "Jogging-1"),
        ("Jogging.1", "Jogging-1"),
        ("skating2.2", "Skating2-2"),
        ("Faceocc1", "FaceOcc1"),
        ("human4-2", "Human4-2"),
        ("Human4", "Human4-2"),
        ("human4_2", "Human4-2"),
        ("kitesurf", "KiteSurf"),
    ],
)
def test_other_toolkits_spellings_are_understood(spelling, name):
    assert canonical_name(spelling) == name


def test_a_video_of_two_targets_is_no_sequence_but_its_targets_are_suggested():
    with pytest.raises(UserError, match=r"'Jogging': did you mean Jogging-\d or Jogging-\d\?"):
        canonical_name("Jogging")


def test_oddities_are_in_the_table():
    assert BY_NAME["Tiger1"].first_tracked == 6
    assert [entry.name for entry in table() if entry.first_tracked != entry.first_image] == ["Tiger1"]
    starts = {entry.name: entry.first_image for entry in table() if entry.first_image != 1}
    assert starts == {"BlurCar1": 247, "BlurCar3": 3, "BlurCar4": 18, "David": 300}
    assert BY_NAME["Board"].image_names[0] == "00001.jpg"
    assert BY_NAME["Board"].image_names[-1] == "00698.jpg"
    assert {entry.digits for entry in table() if entry.name != "Board"} == {4}
    assert (BY_NAME["Human4-2"].folder, BY_NAME["Human4-2"].annotation) == ("Human4", "groundtruth_rect.2.txt")
    assert len({entry.folder for entry in table()}) == 98


def test_intervals_that_tre_omits_are_in_the_table():
    assert BY_NAME["Walking2"].init_omit == ((188, 233), (370, 378))
    assert BY_NAME["Tiger1"].init_omit[0] == (1, 5)
    assert BY_NAME["Deer"].init_omit == ()
    assert sum(bool(entry.init_omit) for entry in table()) == 27
    assert all(first <= last for entry in table() for first, last in entry.init_omit)


def test_the_table_agrees_with_the_annotations_of_all_sequences(test_data):
    folder = test_data / "otb100" / "groundtruth_rect"
    for entry in table():
        boxes = read_boxes(folder / f"{entry.name}.txt")
        assert len(boxes) == entry.frames, entry.name
        assert annotated_rows(boxes)[0], entry.name
    uncut = read_boxes(folder / "Tiger1_full354.txt")
    assert len(uncut) == BY_NAME["Tiger1"].rows
    np.testing.assert_array_equal(uncut[5:], read_boxes(folder / "Tiger1.txt"))


def test_the_table_agrees_with_the_published_description(test_data):
    description = json.loads((test_data / "otb100" / "otb100_sequences.json").read_text())
    assert list(description) == list(BY_NAME)
    for name, facts in description.items():
        entry = BY_NAME[name]
        assert entry.frames == facts["n_gt"], name
        assert entry.image_names[-1] == facts["last_image"], name
        assert entry.image_names[entry.first_tracked - entry.first_image] == facts["first_image"], name
        assert entry.attributes == set(facts["attributes"]), name
        assert entry.attributes_python_toolkit == set(facts["attributes_jwlim"]), name
        assert ("tb50" in entry.lists, "otb2013" in entry.lists) == (facts["in_tb50"], facts["in_cvpr13"]), name
