import json

import pytest
from dataset_folders import boxes, images, write_image, write_lines, write_xml

from jaxtrack.data.preparation import still_images
from jaxtrack.errors import UserError


def write_coco(root, annotations, split="train2017", inner=""):
    write_image(root / inner / split / "000000000009.jpg")
    table = {"images": [{"id": 9, "file_name": "000000000009.jpg"}], "annotations": annotations}
    write_lines(root / "annotations" / f"instances_{split}.json", [json.dumps(table)])


@pytest.mark.parametrize("inner", ["", "images"])
def test_every_object_of_coco_is_a_track_of_one_frame(tmp_path, inner):
    objects = [
        {"image_id": 9, "bbox": [1.5, 2, 3, 4], "iscrowd": 0},
        {"image_id": 9, "bbox": [5, 6, 7, 8], "iscrowd": 1},
    ]
    write_coco(tmp_path, objects, inner=inner)
    [video] = still_images.coco(tmp_path, "train")
    first, second = video.read()
    assert (first.video, first.track, second.track) == ("000000000009", "00", "01")
    assert boxes(first) == [(0, (1.5, 2, 4.5, 6))]
    assert boxes(second) == [(0, (5, 6, 12, 14))]
    assert (first.frames[0].visible, second.frames[0].visible) == (True, False)
    assert (tmp_path / inner / "train2017" / "000000000009.jpg") == first.frames[0].path


def test_the_train_and_val_of_coco_are_those_of_2017_and_others_have_their_names(tmp_path):
    for split in ("val2017", "train2014"):
        write_coco(tmp_path, [{"image_id": 9, "bbox": [1, 2, 3, 4]}], split)
    for split, name in (("val", "val2017"), ("train2014", "train2014")):
        assert still_images.coco(tmp_path, split)[0].read()[0].frames[0].path.parent.name == name


@pytest.mark.parametrize(
    "annotations", [[{"image_id": 8, "bbox": [1, 2, 3, 4]}], [{"image_id": 9, "bbox": "1234x"}], 5]
)
def test_a_table_that_is_not_cocos_is_refused(tmp_path, annotations):
    write_coco(tmp_path, annotations)
    with pytest.raises(UserError, match=r"instances_train2017\.json is not an annotation file of COCO"):
        still_images.coco(tmp_path, "train")


def test_a_path_in_cocos_table_does_not_lead_out_of_its_folder(tmp_path):
    write_coco(tmp_path, [{"image_id": 9, "bbox": [1, 2, 3, 4]}])
    table = tmp_path / "annotations" / "instances_train2017.json"
    table.write_text(table.read_text().replace("000000000009.jpg", "../../secret.jpg"))
    [video] = still_images.coco(tmp_path, "train")
    assert video.read()[0].frames[0].path == tmp_path / "train2017" / "secret.jpg"


def test_det_finds_the_image_of_each_annotation_and_drops_negative_corners(tmp_path):
    root = tmp_path / "ILSVRC"
    for name in ("ILSVRC2013_train/n01/n01_1", "ILSVRC2014_train_0006/ILSVRC2014_train_00060000"):
        write_xml(root / "Annotations/DET/train" / f"{name}.xml", {"box": (1, 2, 30, 40)}, {"box": (-1, 2, 30, 40)})
    first, second = still_images.imagenet_det(tmp_path, "train")
    assert (first.name, second.name) == ("n01_1", "ILSVRC2014_train_00060000")
    good, bad = first.read()
    assert (good.track, bad.track) == ("00", "01")
    assert boxes(good) == [(0, (1, 2, 30, 40))]
    assert images(good, root) == ["Data/DET/train/ILSVRC2013_train/n01/n01_1.JPEG"]
    assert boxes(bad) == [(0, None)]
    assert bad.frames[0].dropped == "negative corner"
    with pytest.raises(UserError, match=r"there is no folder .*Annotations/DET/val: expected ImageNet DET"):
        still_images.imagenet_det(tmp_path, "val")


def write_voc(year_folder, name="000005"):
    write_lines(year_folder / "ImageSets" / "Main" / "trainval.txt", [name])
    (year_folder / "JPEGImages").mkdir()
    write_xml(year_folder / "Annotations" / f"{name}.xml", {"box": (1, 1, 64, 48), "difficult": 1})


def test_vocs_corners_are_pixels_counted_from_1_both_inside(tmp_path):
    write_voc(tmp_path / "VOCdevkit" / "VOC2007")
    write_voc(tmp_path / "VOCdevkit" / "VOC2012")
    first, second = still_images.voc(tmp_path, "trainval")
    assert (first.name, second.name) == ("VOC2007-000005", "VOC2012-000005")
    [track] = first.read()
    assert boxes(track) == [(0, (0, 0, 64, 48))]  # the whole image of 64 x 48
    assert not track.frames[0].visible
    assert images(track, tmp_path) == ["VOCdevkit/VOC2007/JPEGImages/000005.jpg"]
    assert len(still_images.voc(tmp_path / "VOCdevkit" / "VOC2007", "trainval")) == 1


def test_a_split_that_voc_does_not_have_is_named(tmp_path):
    write_voc(tmp_path / "VOC2007")
    with pytest.raises(UserError, match=r"nothing of PASCAL VOC's train in .*: expected .*ImageSets/Main/train\.txt"):
        still_images.voc(tmp_path, "train")
