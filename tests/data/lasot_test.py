"""LaSOT in miniature: as shipped, and as its evaluation toolkit has it."""

import pytest
from benchmark_folders import numbers, only_sequence

from jaxtrack.data import benchmarks, lasot
from jaxtrack.errors import UserError

pytestmark = pytest.mark.usefixtures("no_data_folder")


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
