import numpy as np
import pytest

from jaxtrack.data.preparation import index as indexing
from jaxtrack.data.preparation.index import Drops
from jaxtrack.errors import UserError


def part(*rows, bytes_=100, drops=None):
    return indexing.from_rows("got10k", "train", rows, bytes_, drops or Drops())


A = part(("a", "00", [(0, 5, 6), (2, 7, 8)]), ("a", "01", [(1, 9, 10)]))
B = part(("longer name", "00", [(4, 1, 2)]), bytes_=200)
EMPTY = part(bytes_=50)


def test_tracks_of_a_video_and_records_of_a_track_follow_each_other():
    assert A.videos.tolist() == ["a"]
    assert A.tracks.tolist() == ["00", "01"]
    assert (A.tracks_of(0), A.records_of(0), A.records_of(1)) == (range(2), range(2), range(2, 3))
    assert A.frames.tolist() == [0, 2, 1]
    assert A.sizes.tolist() == [[5, 6], [7, 8], [9, 10]]


def test_shards_are_joined_in_their_order_also_empty_ones():
    whole = indexing.join([A, EMPTY, B])
    assert whole.videos.tolist() == ["a", "longer name"]
    assert whole.tracks_of(1) == range(2, 3)
    assert whole.records_of(2) == range(3, 4)
    assert whole.frames.tolist() == [0, 2, 1, 4]
    assert whole.shard_records.tolist() == [3, 0, 1]
    assert whole.shard_bytes.tolist() == [100, 50, 200]


def test_drops_are_counted_by_reason_and_the_first_of_each_are_named():
    first, second = Drops(), Drops()
    first.add("absent", "a")
    for i in range(30):
        second.add("absent", f"b{i}")
    second.add("not finite", "c")
    first.merge(second)
    assert first.counts == {"absent": 31, "not finite": 1}
    assert first.examples == {"absent": ["a", *[f"b{i}" for i in range(19)]], "not finite": ["c"]}


def test_an_index_comes_back_from_its_file(tmp_path):
    drops = Drops()
    drops.add("absent", "a.jpg")
    indexing.save(tmp_path / "index.npz", part(("a", "00", [(0, 5, 6)]), drops=drops))
    back = indexing.load(tmp_path / "index.npz")
    assert (back.dataset, back.split, back.drops) == ("got10k", "train", drops)
    assert (back.videos.tolist(), back.tracks.tolist(), back.frames.tolist()) == (["a"], ["00"], [0])
    assert back.sizes.tolist() == [[5, 6]]
    assert back.frames.dtype == np.int32


def changed(path, **changes):
    with np.load(path) as file:
        np.savez(path, **{**{name: file[name] for name in file.files}, **changes})


def test_an_index_of_another_version_is_refused(tmp_path):
    path = tmp_path / "index.npz"
    indexing.save(path, A)
    changed(path, format="0.9.0")
    with pytest.raises(UserError, match=r"index\.npz was prepared with version 0\.9\.0 .* this jaxtrack reads 1\.0\.0"):
        indexing.load(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"track_records": np.array([0, 2, 4])},
        {"track_records": np.array([0, 2])},
        {"video_tracks": np.array([1, 2])},
        {"track_records": np.array([0, 3, 3])},
        {"sizes": np.zeros((3, 3), np.float32)},
        {"shard_records": np.array([4])},
        {"drops": "no json"},
        {"more": np.array([4])},
    ],
    ids=str,
)
def test_an_index_that_does_not_agree_with_itself_is_refused(tmp_path, changes):
    path = tmp_path / "index.npz"
    indexing.save(path, A)
    changed(path, **changes)
    with pytest.raises(UserError, match=r"index\.npz is damaged \(.*\): prepare the dataset again"):
        indexing.load(path)


@pytest.mark.parametrize("content", [None, b"", b"no index", b"PK\x03\x04 but no more"])
def test_a_file_that_is_no_index_is_refused(tmp_path, content):
    path = tmp_path / "index.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"index\.npz is damaged or no index of a prepared dataset"):
        indexing.load(path)


def test_an_index_that_was_cut_off_is_refused(tmp_path):
    path = tmp_path / "index.npz"
    indexing.save(path, A)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(UserError, match=r"index\.npz is damaged"):
        indexing.load(path)
