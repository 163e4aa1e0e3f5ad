"""Weights that were trained on what is scored are told by the configuration in their record."""

import types
from pathlib import Path

import numpy as np
import pytest
from dataset_folders import prepared_got10k, write_image, write_lines

from jaxtrack.data.sequences import Benchmark, Sequence
from jaxtrack.errors import UserError
from jaxtrack.evaluation import provenance, trained_on
from jaxtrack.evaluation.comparison import TrackerResult
from jaxtrack.evaluation.runner import Entry
from jaxtrack.trackers import mdnet, opencv, siamese
from jaxtrack.training.config import TrainConfig
from jaxtrack.training.domains import videos
from jaxtrack.training.domains.config import DomainConfig
from jaxtrack.training.sources import Disk


def found(source, benchmark, *names):
    return trained_on.sequences(provenance.to_json({"source": source}), benchmark, names)


def test_sequences_of_a_benchmark_are_known_in_any_spelling():
    source = videos.Benchmark("otb100", sequences=("jogging_1", "Deer"))
    assert found(source, "otb100", "Boy", "Deer", "Jogging-1", "Jogging-2") == ["Deer", "Jogging-1"]


def test_lists_of_otb_have_sequences_in_common_and_without_names_all_of_a_list_are_meant():
    assert found(videos.Benchmark("tb50"), "otb100", "Basketball", "Boy") == ["Basketball"]  # Boy is not in TB-50
    assert found(videos.Benchmark("otb100"), "otb2013", "Basketball", "Boy") == ["Basketball", "Boy"]


def test_another_benchmarks_video_of_the_same_name_is_another():
    assert found(videos.Benchmark("uav123", sequences=("car1",)), "otb100", "Car1") == []
    assert found(videos.Benchmark("otb100", sequences=("Car1",)), "uav123", "car1") == []


def test_a_folder_in_otbs_layout_tells_what_it_holds_as_long_as_it_is_there(tmp_path):
    for name in ("Deer", "Jogging", "mine"):
        write_image(tmp_path / "otb" / name / "img" / "0001.jpg")
        write_lines(tmp_path / "otb" / name / "groundtruth_rect.txt", ["1,1,9,9"])
    source = videos.Dataset("otb", tmp_path / "otb")
    assert found(source, "otb100", "Boy", "Deer", "Jogging-2") == ["Deer", "Jogging-2"]
    assert found(videos.Dataset("otb", tmp_path / "gone"), "otb100", "Deer") == []


def test_a_prepared_dataset_tells_too(tmp_path):
    source = Disk((tmp_path / "gone", prepared_got10k(tmp_path, [4, 4])))
    names = ("GOT-10k_Train_000002", "GOT-10k_Train_000009")
    assert found(source, "got10k", *names) == ["GOT-10k_Train_000002"]
    assert found(source, "otb100", *names) == []


@pytest.mark.parametrize("config", [TrainConfig(), DomainConfig()])
def test_rendered_videos_are_nobodys_sequences(config):
    assert trained_on.sequences(provenance.to_json(config), "procedural", ["scene 0"]) == []


@pytest.mark.parametrize(
    "training", [{}, {"source": {"class": []}}, {"source": None}, {"source": {"class": "Benchmark"}}, {"source": [1]}]
)
def test_a_record_that_does_not_tell_says_nothing(training):
    assert trained_on.sequences(training, "otb100", ["Deer"]) == []


@pytest.fixture
def records(monkeypatch):
    """Records of weights by the name of their file, each with the configuration of a training; others are not there."""
    known = {}

    def located(name):
        if name not in known:
            raise UserError("there are no such weights")
        return Path(name)

    def meta(path):
        return types.SimpleNamespace(config=provenance.to_json(known[path.name]))

    monkeypatch.setattr(trained_on.places, "locate", located)
    monkeypatch.setattr(trained_on.store, "read_meta", meta)
    return known


def trained(*names, start=""):
    return DomainConfig(source=videos.Benchmark("otb100", sequences=names), start=start)


def test_the_row_of_a_tracker_says_how_many_of_the_scored_sequences_it_has_seen(records):
    names = ("Boy", "Deer", "Doll", "Dog", "Skating1")
    frames, boxes = np.zeros((1, 2, 2, 3), np.uint8), np.ones((1, 4))
    scored = Benchmark("otb100", "OTB-100", [Sequence(n, frames, boxes, np.ones(1, bool), frozenset()) for n in names])
    records |= {"mine": trained("Deer", "Boy", "Dog", "Skating1"), "few": trained("Deer")}
    entries = [Entry(name, "mdnet", mdnet.Config(weights=name)) for name in ("mine", "few", "lost")]
    entries.append(Entry("opencv-mil", "opencv-mil", opencv.MilConfig()))  # has no weights
    rows = trained_on.marked([TrackerResult(entry.label, ("id",), ({},)) for entry in entries], entries, scored)
    assert [row.label for row in rows] == [
        "mine (weights trained on 4 of these 5 sequences (Boy, Deer, Dog, …))",
        "few (weights trained on 1 of these 5 sequences (Deer))",
        "lost",
        "opencv-mil",
    ]


def test_weights_that_no_option_names_are_those_of_the_networks_name(records):
    records["siamban_nano"] = trained("Deer")
    assert trained_on.remark(siamese.CONFIGS["siamban"], "otb100", ["Deer"]) == ""
    config = siamese.Config("siamban_nano")
    assert trained_on.remark(config, "otb100", ["Deer"]) == "1 of these 1 sequences (Deer)"


def test_what_the_weights_have_seen_that_a_training_began_with_counts_too(records):
    scored = ("Boy", "Deer", "Doll", "Dog")

    def remark():
        return trained_on.remark(mdnet.Config(weights="mine"), "otb100", scored)

    records["mine"] = trained("Doll", start="before")
    assert remark() == "1 of these 4 sequences (Doll)"  # what it began with is not there any more
    records["before"] = trained("Deer", "Doll", start="first")
    records["first"] = trained("Boy")
    assert remark() == "3 of these 4 sequences (Boy, Deer, Doll)"
    # A training that went on under the name of what it began with.
    records["first"] = trained("Boy", start="mine")
    assert remark() == "3 of these 4 sequences (Boy, Deer, Doll)"
