"""Where single images come from: rendered scenes, COCO and VOC as they are shipped, folders."""

import json

import cv2
import jax
import numpy as np
import pytest
from dataset_folders import write_image, write_lines, write_xml

from jaxtrack.data.procedural import motion, objects, scene
from jaxtrack.data.procedural.scene import SceneConfig
from jaxtrack.errors import UserError
from jaxtrack.training.stills import sources
from jaxtrack.training.stills.batches import Fit
from jaxtrack.training.stills.sources import Annotated, Folder, Rendered

LOOK = SceneConfig(height=96, width=128, window=64, background=64, texture=32, levels=2, max_exposures=1)


@pytest.fixture
def voc(tmp_path):
    """Three images: two objects, of which one is difficult; one object; one that is difficult."""
    year = tmp_path / "VOC2007"
    for number in range(3):
        write_image(year / "JPEGImages" / f"{number:06d}.jpg", seed=number)
    some, hard = {"box": (2, 3, 21, 12)}, {"box": (5, 6, 30, 40), "difficult": 1}
    for number, found in enumerate(((some, hard), ({"box": (1, 1, 64, 48)},), (hard,))):
        write_xml(year / "Annotations" / f"{number:06d}.xml", *found)
    write_lines(year / "ImageSets" / "Main" / "trainval.txt", [f"{number:06d}" for number in range(3)])
    return tmp_path


def test_the_boxes_of_voc_without_difficult_objects(voc):
    """Corners are the first and the last pixel inside, counted from 1."""
    one, two = Annotated("voc", voc).stills()
    np.testing.assert_array_equal(one.boxes, [[1, 2, 20, 10]])
    np.testing.assert_array_equal(two.boxes, [[0, 0, 64, 48]])
    assert one.read().shape == (48, 64, 3)


def test_the_boxes_of_coco_without_crowds_and_specks(tmp_path):
    for number in (1, 2):
        write_image(tmp_path / "val2017" / f"{number}.jpg", seed=number)
    rows = [(1, [10.5, 12, 20, 15], 0), (1, [0, 0, 40, 40], 1), (1, [3, 3, 0.5, 9], 0), (2, [1, 2, 3, 4], 1)]
    content = {
        "images": [{"id": n, "file_name": f"{n}.jpg"} for n in (1, 2)],
        "annotations": [{"image_id": i, "bbox": box, "iscrowd": crowd} for i, box, crowd in rows],
    }
    write_lines(tmp_path / "annotations" / "instances_val2017.json", [json.dumps(content)])
    [one] = Annotated("coco", tmp_path, "val").stills()
    np.testing.assert_array_equal(one.boxes, [[10.5, 12, 20, 15]])


def test_the_content_of_a_dataset_is_its_boxes_wherever_it_lies(voc, tmp_path_factory):
    other = tmp_path_factory.mktemp("moved") / "data"
    before = Annotated("voc", voc).contents()
    voc.rename(other)
    assert Annotated("voc", other).contents() == before
    write_xml(other / "VOC2007" / "Annotations" / "000000.xml", {"box": (2, 3, 21, 13)})
    sources._annotated.cache_clear()
    assert Annotated("voc", other).contents() != before


def test_a_folder_holds_out_every_twentieth_image(tmp_path):
    for number in range(25):
        cv2.imwrite(str(tmp_path / f"{number:02d}.{'png' if number % 2 else 'jpg'}"), np.zeros((6, 8, 3), np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    parts = {part: [still.name for still in Folder(tmp_path, part).stills()] for part in ("all", "train", "validation")}
    assert parts["validation"] == ["00.jpg", "20.jpg"]
    assert sorted(parts["train"] + parts["validation"]) == parts["all"]
    assert len(parts["all"]) == 25
    batch = next(Folder(tmp_path, fit=Fit(shorter_px=0, canvas=(8, 8))).batches(0, 3, 0, 1))
    assert batch["pixels"].shape == (3, 8, 8, 3)
    assert not batch["boxes"].any()


# --- rendered ones


def test_rendered_frames_show_objects_of_some_size():
    source = Rendered(3, frames=4, look=LOOK, fit=Fit(shorter_px=0, canvas=(96, 128)))
    found = source.stills()
    assert 3 <= len(found) <= 12
    for still in found:
        assert still.read().shape == (96, 128, 3)
        assert 1 <= len(still.boxes) <= 5
        assert (still.boxes[:, 2:] >= 16).all()
        assert (still.boxes[:, :2] >= 0).all()
        assert (still.boxes[:, :2] + still.boxes[:, 2:] <= (128, 96)).all()
    assert source.stills() is found  # rendered once


def test_look_alikes_and_occluders_are_objects_where_they_are_there():
    """Each box is that of the body's pose, as far as it is in the image."""
    times = np.arange(0, 60, 10, dtype=np.float32)
    counts = set()
    for index in range(12):
        key = scene.scene_key("train", 0, index)
        layout, boxes, shown = jax.device_get(objects.annotated_layout(key, times, LOOK, 16.0))
        there = [layout.challenge.distractors > 1, layout.challenge.distractors > 0, True]
        there += [layout.challenge.occluders > 0, layout.challenge.occluders > 1]
        assert not shown[:, ~np.asarray(there)].any()
        counts.add(sum(there))
        for t, row in zip(times, boxes, strict=True):
            box, _ = motion.clip_box(motion.target_box(layout, t, LOOK), LOOK)
            np.testing.assert_allclose(row[objects.TARGET], box, atol=1e-3)
    assert len(counts) > 2


def test_what_is_behind_another_object_is_left_out():
    """Of each pair the one in front covers at most half of the other, whichever was drawn."""
    times = np.arange(0, 100, 5, dtype=np.float32)
    hidden = 0
    for index in range(10):
        key = scene.scene_key("train", 1, index)
        _, boxes, shown = jax.device_get(objects.annotated_layout(key, times, LOOK, 16.0))
        for row, seen in zip(boxes, shown, strict=True):
            for back in range(5):
                for front in range(back + 1, 5):
                    inside = (row[[back, front], :2] > 0).all() and (
                        row[[back, front], :2] + row[[back, front], 2:] < (128, 96)
                    ).all()
                    if seen[front] and inside:
                        share = float(objects.covered(row[back], row[front]))
                        hidden += share > 0.5
                        assert share <= 0.5 + 1e-4 or not seen[back]
    assert hidden > 0


# --- mistakes


def test_mistakes_are_one_sentence(tmp_path, voc):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match=r"empty has no images \(\.jpg"):
        Folder(empty).stills()
    with pytest.raises(UserError, match="there is no folder"):
        Folder(tmp_path / "none").stills()
    cv2.imwrite(str(empty / "one.png"), np.zeros((6, 8, 3), np.uint8))
    with pytest.raises(UserError, match="a single image, which is held out: training needs at least two"):
        Folder(empty, "train").stills()
    with pytest.raises(UserError, match="no split 'trainval'"):
        Annotated("coco", tmp_path, "trainval").stills()
    write_xml(voc / "VOC2007" / "Annotations" / "000000.xml")
    write_lines(voc / "VOC2007" / "ImageSets" / "Main" / "val.txt", ["000000", "000002"])
    with pytest.raises(UserError, match=r"no image of PASCAL VOC's val in .* has an object to train on"):
        Annotated("voc", voc, "val").stills()
    with pytest.raises(UserError, match="scenes of Rendered must be greater than 0"):
        Rendered(0)
