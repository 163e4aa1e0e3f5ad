import dataclasses
import shutil

import numpy as np
import pytest
from dataset_folders import prepared_got10k, write_got10k, write_lines

from jaxtrack.data.preparation import Preparation, crops, prepare
from jaxtrack.data.preparation import index as indexing
from jaxtrack.data.prepared import fingerprint, open_prepared
from jaxtrack.errors import UserError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Videos of 2, 1 and 3 frames in two shards, of 3 records each."""
    return prepared_got10k(tmp_path_factory.mktemp("prepared"), [2, 1, 3])


@pytest.fixture
def folder(made, tmp_path):
    """A copy to damage."""
    return shutil.copytree(made, tmp_path / "copy")


def shard(folder, number):
    return folder / f"got10k-train.array_record-0000{number}-of-00002"


def test_a_record_is_the_crop_of_its_frame_in_bgr(made):
    prepared = open_prepared(made)
    path = made.parents[2] / "source" / "train" / "GOT-10k_Train_000003" / "00000002.jpg"
    expected = crops.crop(crops.read_image(path), (11, 12, 31, 23))[..., ::-1].astype(int)
    track, record = 2, 4  # third video: records 3, 4, 5
    found = prepared.crop(track, record)
    assert found.shape == (511, 511, 3)
    assert np.abs(found - expected).mean() < 2  # JPEG
    np.testing.assert_array_equal(prepared.box(record), crops.box_in_crop(np.array([20.0, 11.0])))


def test_a_folder_that_is_not_there_or_something_else_is_refused(tmp_path):
    with pytest.raises(
        UserError, match=r"none is not there: make one by jaxtrack prepare, and give its OUT/NAME/SPLIT"
    ):
        open_prepared(tmp_path / "none")
    with pytest.raises(UserError, match="is no folder of a prepared dataset: make one by jaxtrack prepare"):
        open_prepared(tmp_path)


def test_a_preparation_that_was_not_finished_is_refused(folder):
    (folder / "index.npz").unlink()
    with pytest.raises(
        UserError, match=r"the preparation of .*copy was not finished: the same command goes on with it"
    ):
        open_prepared(folder)


def test_a_missing_shard_is_named(folder):
    shard(folder, 1).unlink()
    with pytest.raises(UserError, match=r"array_record-00001-of-00002 is missing, one of 2 files of records"):
        open_prepared(folder)


def test_a_shard_of_another_size_is_refused(folder):
    with shard(folder, 0).open("ab") as file:
        file.write(b"more")
    with pytest.raises(UserError, match=r"array_record-00000-of-00002 has \d+ bytes and the index tells of \d+: copy"):
        open_prepared(folder)


def test_metadata_of_another_preparation_is_refused(folder, tmp_path):
    other = prepared_got10k(tmp_path / "other", [1, 1, 1])
    shutil.copy(other / "dataset_info.json", folder)
    with pytest.raises(UserError, match=r"dataset_info\.json of .*copy does not match its index"):
        open_prepared(folder)


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_metadata_that_tfds_cannot_read_is_refused(folder, name):
    (folder / name).write_text("no json")
    with pytest.raises(UserError, match=r"TFDS cannot open .*copy \(.*\): prepare the dataset again"):
        open_prepared(folder)
    (folder / name).unlink()
    with pytest.raises(UserError, match=r"TFDS cannot open .*copy \(.*\): prepare the dataset again"):
        open_prepared(folder)


def test_a_corrupt_record_is_named_and_the_others_are_read(folder):
    path = shard(folder, 1)
    data = bytearray(path.read_bytes())
    middle = data.index(b"\xff\xd8\xff") + 2000  # in the image of the shard's first record
    data[middle : middle + 8] = b"\0" * 8
    path.write_bytes(data)
    prepared = open_prepared(folder)
    with pytest.raises(UserError, match=r"^record 3 of .*copy cannot be read \(.*\): prepare the dataset again"):
        prepared.crop(2, 3)
    assert prepared.crop(2, 4).shape == (511, 511, 3)


def test_an_index_of_other_records_is_noticed_when_one_is_read(folder):
    index = indexing.load(folder / "index.npz")
    indexing.save(folder / "index.npz", dataclasses.replace(index, frames=index.frames + 5))
    with pytest.raises(
        UserError, match=r"record 4 of .* holds frame 1 of track 00 of GOT-10k_Train_000003 where the index has frame 6"
    ):
        open_prepared(folder).crop(2, 4)


def test_a_record_of_another_video_is_noticed(folder):
    index = indexing.load(folder / "index.npz")
    indexing.save(folder / "index.npz", dataclasses.replace(index, videos=index.videos[[1, 0, 2]]))
    prepared = open_prepared(folder)
    with pytest.raises(UserError, match=r"record 0 of .* holds frame 0 of track 00 of GOT-10k_Train_000001 where"):
        prepared.crop(0, 0)


def test_a_record_without_a_crop_is_refused(made):
    prepared = open_prepared(made)
    example = {**prepared.records[0], "image": b"no image"}
    broken = dataclasses.replace(prepared, records=[example])
    with pytest.raises(UserError, match=r"record 0 of .* holds no JPEG of 511x511 pixels"):
        broken.crop(0, 0)


# --- what tells a dataset from others --------------------------------------------------------------------------------


def prepared_with_a_drop(root):
    """A dataset of a video of which a frame is dropped, and its index."""
    write_got10k(root / "source", [3])
    boxes = ["10,12,20,10", "11,12,0,11", "12,12,20,12"]
    write_lines(root / "source" / "train" / "GOT-10k_Train_000001" / "groundtruth.txt", boxes)
    folder = prepare(Preparation("got10k", root / "source", root / "out")).folder
    return folder, indexing.load(folder / "index.npz")


def test_a_dataset_is_the_same_wherever_it_was_prepared_from(tmp_path):
    (here, first), (there, second) = (prepared_with_a_drop(tmp_path / name) for name in ("here", "there"))
    assert first.drops.examples != second.drops.examples  # they name the file that was dropped
    assert fingerprint(here) == fingerprint(there)


def test_other_frames_names_or_boxes_make_another_dataset(made, folder):
    index = indexing.load(folder / "index.npz")
    found = {fingerprint(made)}
    changes = [{"frames": index.frames + 5}, {"sizes": index.sizes * 2}, {"videos": index.videos[[1, 0, 2]]}]
    for change in (*changes, {"split": "val"}, {"shard_bytes": index.shard_bytes + 1}):
        indexing.save(folder / "index.npz", dataclasses.replace(index, **change))
        found.add(fingerprint(folder))
    assert len(found) == 6
