import dataclasses
import pickle

import pytest
from dataset_folders import write_got10k, write_image, write_lines

from jaxtrack.data.preparation import registry
from jaxtrack.data.preparation.tracks import Track, Video
from jaxtrack.errors import UserError


def test_datasets_are_found_in_any_spelling():
    assert registry.find("GOT-10k")[0] == "got10k"
    assert registry.find("YouTube-BB")[0] == "youtubebb"
    with pytest.raises(UserError, match=r"There is no dataset for training called 'lasso': did you mean lasot\?"):
        registry.find("lasso")


def test_a_split_that_a_dataset_does_not_have_is_refused(tmp_path):
    with pytest.raises(UserError, match="GOT-10k has no split 'test': there is train, val, all"):
        registry.videos_of("got10k", tmp_path, "test")


def test_a_folder_with_nothing_in_it_is_refused(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(UserError, match=r"nothing of GOT-10k's train was found in "):
        registry.videos_of("got10k", tmp_path, "train")


def test_two_videos_of_one_name_are_refused(tmp_path):
    for folder in ("airplane/airplane-2", "airplane-2"):
        write_image(tmp_path / folder / "img" / "00000001.jpg")
        write_lines(tmp_path / folder / "groundtruth.txt", ["1,2,3,4"])
    with pytest.raises(UserError, match=r"has airplane-2 of LaSOT twice: remove one of them"):
        registry.videos_of("lasot", tmp_path, "train")


def test_boxes_in_fractions_of_images_are_no_boxes_in_pixels(tmp_path, monkeypatch):
    pixels, fractions = Track("a", "0", ()), Track("b", "0", (), relative=True)
    for tracks in ([pixels], [pixels, fractions]):
        dataset = dataclasses.replace(
            registry.DATASETS["youtubebb"], videos=lambda folder, split, found=tracks: [Video("v", lambda: found)]
        )
        monkeypatch.setitem(registry.DATASETS, "youtubebb", dataset)
        if fractions in tracks:
            with pytest.raises(UserError, match="YouTube-BB has boxes in fractions of images of unknown size: train"):
                registry.tracks_in_pixels("youtubebb", tmp_path, "train")
        else:
            assert registry.tracks_in_pixels("youtubebb", tmp_path, "train") == [pixels]


def test_videos_can_be_sent_to_other_processes(tmp_path):
    [video] = registry.videos_of("got10k", write_got10k(tmp_path, [2]), "train")
    assert pickle.loads(pickle.dumps(video)).read() == video.read()


def test_another_dataset_is_one_function_and_one_row(monkeypatch, tmp_path):
    def mine(folder, split):
        return [Video(f"{folder.name}-{split}", lambda: [Track("a", "00", ())])]

    monkeypatch.setitem(registry.DATASETS, "mine", registry.Dataset("mine", mine, ("all",), 1))
    [video] = registry.videos_of("mine", tmp_path / "there", "all")
    assert video.name == "there-all"


def test_every_dataset_has_a_train_split_as_the_command_takes_by_default():
    assert all("train" in dataset.splits and dataset.videos_per_shard for dataset in registry.DATASETS.values())
    assert dataclasses.is_dataclass(registry.Dataset)
