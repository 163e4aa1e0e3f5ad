import numpy as np
import pytest
from dataset_folders import write_image

from jaxtrack.data.preparation import crops, shards
from jaxtrack.data.preparation.shards import Shard
from jaxtrack.data.preparation.tracks import Annotation, Track, Video
from jaxtrack.errors import UserError

BOX = (10.0, 12.0, 30.0, 40.0)


@pytest.fixture
def write(tmp_path):
    """Writes a shard of the given tracks of a video; returns its index part."""
    write_image(tmp_path / "a.jpg")  # 64 x 48

    def write_tracks(*tracks, visible_only=False, read=None):
        video = Video("v", read or (lambda: list(tracks)))
        return shards.write_shard(Shard(tmp_path / "out", "got10k", "train", 0, 1, (video,), visible_only))

    return write_tracks


def track(tmp_path, *boxes, name="00", **options):
    frames = tuple(Annotation(tmp_path / "a.jpg", number, box) for number, box in enumerate(boxes))
    return Track("v", name, frames, **options)


@pytest.mark.parametrize(
    ("box", "options", "reason"),
    [
        (None, {}, "no box"),
        ((np.nan, 0.0, 5.0, 5.0), {}, "not finite"),
        ((5.0, 5.0, 5.0, 9.0), {}, "no width or height"),
        ((5.0, 9.0, 9.0, 8.0), {}, "no width or height"),
        ((64.0, 5.0, 70.0, 9.0), {}, "outside the image"),
        ((-9.0, 5.0, 0.0, 9.0), {}, "outside the image"),
        ((5.0, 48.0, 70.0, 59.0), {}, "outside the image"),
        ((-1.0, 5.0, 20.0, 9.0), {"inside": True}, "leaves the image"),
        ((1.0, 5.0, 64.5, 9.0), {"inside": True}, "leaves the image"),
        ((1.0, 5.0, 20.0, 49.0), {"inside": True}, "leaves the image"),
    ],
)
def test_a_box_that_is_no_good_is_dropped_with_its_reason(write, tmp_path, box, options, reason):
    part = write(track(tmp_path, BOX, box, **options))
    assert part.frames.tolist() == [0]
    assert part.drops.counts == {reason: 1}
    assert part.drops.examples == {reason: [f"{tmp_path / 'a.jpg'}, track 00"]}


@pytest.mark.parametrize(
    ("box", "options"), [((0.0, 0.0, 64.0, 48.0), {"inside": True}), ((-1.0, -1.0, 65.0, 49.0), {})]
)
def test_a_box_may_fill_the_image_and_leave_it_where_the_dataset_allows(write, tmp_path, box, options):
    assert write(track(tmp_path, box, **options)).drops.counts == {}


def test_hidden_targets_are_kept_unless_only_visible_ones_are_wanted(write, tmp_path):
    frames = (Annotation(tmp_path / "a.jpg", 0, BOX), Annotation(tmp_path / "a.jpg", 1, BOX, visible=False))
    assert write(Track("v", "00", frames)).frames.tolist() == [0, 1]
    (tmp_path / "out" / "parts" / "00000.npz").unlink()
    part = write(Track("v", "00", frames), visible_only=True)
    assert part.frames.tolist() == [0]
    assert part.drops.counts == {"not visible": 1}


def test_relative_boxes_become_pixels(write, tmp_path):
    part = write(track(tmp_path, (0.25, 0.5, 0.5, 1.0), relative=True))
    assert part.sizes.tolist() == [[16, 24]]  # a quarter of 64, half of 48


def test_an_unreadable_image_is_dropped_and_named(write, tmp_path):
    broken = Annotation(tmp_path / "b.jpg", 1, BOX)
    part = write(Track("v", "00", (Annotation(tmp_path / "a.jpg", 0, BOX), broken)))
    assert part.drops.counts == {"unreadable image": 1}
    assert part.drops.examples["unreadable image"] == [
        f"{tmp_path / 'b.jpg'} cannot be read: No such file or directory"
    ]


def test_a_video_whose_annotation_cannot_be_read_is_dropped_and_named(write):
    def fail():
        raise UserError("groundtruth.txt is empty")

    part = write(read=fail)
    assert len(part.videos) == 0
    assert part.drops.counts == {"unreadable annotation": 1}
    assert part.drops.examples == {"unreadable annotation": ["v: groundtruth.txt is empty"]}


def test_a_track_without_a_good_frame_is_no_track(write, tmp_path):
    part = write(track(tmp_path, None), track(tmp_path, None, BOX, name="01"))
    assert part.tracks.tolist() == ["01"]
    assert part.frames.tolist() == [1]


def test_the_image_of_a_still_with_several_objects_is_decoded_once(write, tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(crops, "read_image", lambda path: read.append(path) or np.zeros((48, 64, 3), np.uint8))
    shards._last_image.cache_clear()
    write(track(tmp_path, BOX), track(tmp_path, BOX, name="01"))
    shards._last_image.cache_clear()
    assert read == [tmp_path / "a.jpg"]


def test_a_shard_that_is_interrupted_leaves_nothing_behind(write, tmp_path, monkeypatch):
    def interrupt(image):
        raise KeyboardInterrupt

    monkeypatch.setattr(crops, "encode", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(track(tmp_path, BOX))
    assert list((tmp_path / "out").rglob("*")) == []


def test_a_finished_shard_is_not_made_again_unless_its_file_is_another(write, tmp_path):
    first = write(track(tmp_path, BOX))
    again = write(track(tmp_path, BOX, BOX))
    assert again.frames.tolist() == first.frames.tolist() == [0]
    [path] = (tmp_path / "out").glob("got10k*")
    assert path.name == "got10k-train.array_record-00000-of-00001"
    path.write_bytes(path.read_bytes()[:-1])
    assert write(track(tmp_path, BOX, BOX)).frames.tolist() == [0, 1]
    (tmp_path / "out" / "parts" / "00000.npz").write_bytes(b"half of an ind")
    assert write(track(tmp_path, BOX, BOX, BOX)).frames.tolist() == [0, 1, 2]
