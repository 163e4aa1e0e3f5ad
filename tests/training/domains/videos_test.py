"""Where domains come from: batches of one video's frames; rendered videos, benchmarks, datasets on disk."""

import itertools
import shutil

import cv2
import jax
import numpy as np
import pytest

from jaxtrack.data.procedural import bodies, motion, objects, scene
from jaxtrack.data.procedural.scene import SceneConfig
from jaxtrack.errors import UserError
from jaxtrack.training.domains import order, videos
from jaxtrack.training.domains.videos import Benchmark, Dataset, Scenes

LOOK = SceneConfig(height=96, width=128, window=64, background=64, texture=32, levels=2, max_exposures=1)


class OfTwoSizes:
    """Two videos whose images differ in size, every pixel the number of the frame."""

    def videos(self):
        def video(number, height, width):
            images = np.stack([np.full((height, width, 3), 10 * number + frame, np.uint8) for frame in range(5)])
            boxes = np.asarray([[frame, number, 20, 20] for frame in range(5)], np.float32)
            return videos.Video(f"video {number}", images, boxes)

        return video(1, 30, 50), video(2, 40, 45)


def some(count, *place, seed=0):
    return list(itertools.islice(videos.batches(OfTwoSizes().videos(), seed, *place), count))


def test_a_batch_is_of_the_steps_video_and_has_its_images_and_boxes():
    for step, batch in enumerate(some(6, 0, 4, 0, 1)):
        domain, visit = order.video(0, step, 2)
        chosen = order.frames(0, domain, visit, 4, 5)
        height, width = ((30, 50), (40, 45))[domain]
        assert batch["pixels"].shape == (4, 40, 50, 3)  # that holds both
        np.testing.assert_array_equal(batch["domain"], np.full(4, domain))
        np.testing.assert_array_equal(batch["size"], np.tile([height, width], (4, 1)))
        np.testing.assert_array_equal(batch["box"][:, 0], chosen)
        for image, frame in zip(batch["pixels"], chosen, strict=True):
            assert (image[:height, :width] == 10 * (domain + 1) + frame).all()
            assert not image[height:].any()
            assert not image[:, width:].any()


def test_batches_go_on_at_any_step():
    for whole, later in zip(some(7, 0, 4, 0, 1)[3:], some(4, 3, 4, 0, 1), strict=True):
        jax.tree.map(np.testing.assert_array_equal, whole, later)


def test_processes_share_a_batch():
    whole, *parts = (some(3, 0, 4, *place) for place in ((0, 1), (0, 2), (1, 2)))
    for step, batch in enumerate(whole):
        joined = jax.tree.map(lambda *share: np.concatenate(share), *(part[step] for part in parts))
        jax.tree.map(np.testing.assert_array_equal, batch, joined)


# --- rendered ones


@pytest.fixture(scope="module")
def rendered():
    return Scenes(count=2, frames=6, look=LOOK)


def test_rendered_videos_show_their_targets(rendered):
    found = rendered.videos()
    assert len(found) == len(rendered) == 2
    for video in found:
        images = np.stack([video.frames[i] for i in range(len(video.frames))])
        assert images.dtype == np.uint8
        assert images.shape == (len(video.boxes), 96, 128, 3)
        assert 3 <= len(images) <= 6
        assert (video.boxes[:, 2:] >= 8).all()
        assert (video.boxes[:, :2] >= 0).all()
        assert (video.boxes[:, :2] + video.boxes[:, 2:] <= (128, 96)).all()
    assert rendered.videos() is found  # rendered once


def test_frames_in_which_the_target_is_hidden_or_away_are_left_out():
    """A target that leaves, and an occluder in front of it: at most half of what is kept may be hidden."""
    times = np.arange(0, 120, 1, dtype=np.float32)
    seen = {True: 0, False: 0}
    for index in range(20):
        key = scene.scene_key("train", 0, index)
        layout, *rest = jax.device_get(objects.annotated_layout(key, times, LOOK, 8.0))
        boxes, shown = (part[:, objects.TARGET] for part in rest)
        if not layout.challenge.leave:
            continue
        whole = np.asarray(jax.vmap(lambda t, of=layout: motion.target_box(of, t, LOOK))(times))
        share = boxes[:, 2] * boxes[:, 3] / (whole[:, 2] * whole[:, 3])
        assert (share[shown] >= 0.5 - 1e-5).all()
        seen[True] += int(shown.sum())
        seen[False] += int((share < 0.5).sum())
        if seen[False]:
            break
    assert min(seen.values()) > 0


def test_how_much_an_occluder_covers():
    layout, _, _ = objects.annotated_layout(scene.scene_key("train", 0, 0), np.zeros(1, np.float32), LOOK, 8.0)
    pose = motion.occluder_pose(layout, np.float32(0), np.float32(0), LOOK)
    occluder = bodies.bounds(layout.occluder, pose)
    x, y, w, h = np.asarray(occluder)
    for box, share in (((x, y, w, h), 1.0), ((x - w, y, 2 * w, h), 0.5), ((x + 2 * w, y, w, h), 0.0)):
        found = objects.covered(np.asarray(box, np.float32), occluder)
        assert float(found) == pytest.approx(share, abs=1e-3)


def test_splits_and_seeds_have_scenes_of_their_own():
    places = {
        (s, i, j): scene.scene_key(s, i, j)
        for s in ("benchmark", "train", "validation")
        for i in (0, 1)
        for j in (0, 1)
    }
    assert len({tuple(np.asarray(jax.random.key_data(key)).tolist()) for key in places.values()}) == len(places)


# --- others


def test_the_sequences_of_a_benchmark_without_frames_that_show_no_target():
    source = Benchmark("procedural", sequences=("procedural-ov", "procedural-iv"))
    assert len(source) == 2
    by_name = {video.name: video for video in source.videos()}
    away = by_name["procedural-ov"]
    assert 0 < len(away.boxes) < 30
    assert len(away.frames) == len(away.boxes)
    assert source.contents() != Benchmark("procedural", sequences=("procedural-iv",)).contents()
    assert "is a test benchmark" in source.warnings()[0]


@pytest.fixture
def otb_folder(tmp_path):
    """Two sequences in OTB's layout; one row of the second is no box, one box is tiny."""
    for name, rows in (("one", "1,1,20,30\n5,6,20,30\n"), ("two", "3,3,9,9\n0,0,0,0\n3,4,2,9\n")):
        (tmp_path / name / "img").mkdir(parents=True)
        for i, _ in enumerate(rows.splitlines(), 1):
            image = np.full((60, 80, 3), 20 * i, np.uint8)
            cv2.imwrite(str(tmp_path / name / "img" / f"{i:04d}.png"), image)
        (tmp_path / name / "groundtruth_rect.txt").write_text(rows)
    return tmp_path


def test_folders_in_the_layout_of_otb(otb_folder):
    source = Dataset("otb", otb_folder)
    one, two = source.videos()
    assert (one.name, two.name, len(source)) == ("one", "two", 2)
    np.testing.assert_array_equal(one.boxes, [[0, 0, 20, 30], [4, 5, 20, 30]])
    np.testing.assert_array_equal(two.boxes, [[2, 2, 9, 9]])
    assert (one.frames[1] == 40).all()
    batch = next(source.batches(0, 3, 0, 1))
    assert batch["pixels"].shape == (3, 60, 80, 3)
    assert "has the layout of a test benchmark" in source.warnings()[0]


def test_the_content_of_a_dataset_is_its_boxes_wherever_it_lies(otb_folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("moved") / "data"
    before = Dataset("otb", otb_folder).contents()
    otb_folder.rename(other)
    assert Dataset("otb", other).contents() == before
    (other / "one" / "groundtruth_rect.txt").write_text("1,1,20,30\n5,6,20,31\n")
    videos._read.cache_clear()
    assert Dataset("otb", other).contents() != before


def test_a_video_of_small_targets_is_left_out_of_a_dataset(otb_folder):
    (otb_folder / "one" / "groundtruth_rect.txt").write_text("1,1,2,3\n5,6,2,3\n")
    assert [video.name for video in Dataset("otb", otb_folder).videos()] == ["two"]


def test_mistakes_are_one_sentence(otb_folder, tmp_path):
    shutil.rmtree(otb_folder / "two")
    (otb_folder / "one" / "groundtruth_rect.txt").write_text("1,1,2,3\n5,6,2,3\n")
    with pytest.raises(UserError, match="has a frame to train on, in which the target is to be seen and 8 pixels wide"):
        Dataset("otb", otb_folder).videos()
    with pytest.raises(UserError, match="there is no folder"):
        Dataset("vot58", tmp_path / "none").videos()
    with pytest.raises(UserError, match="count of Scenes must be greater than 0, not 0"):
        Scenes(count=0)
