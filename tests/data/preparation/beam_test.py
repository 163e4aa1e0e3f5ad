import dataclasses
import sys

import pytest
from dataset_folders import write_got10k

from jaxtrack.data.preparation import Preparation, beam, prepare
from jaxtrack.data.preparation.registry import DATASETS
from jaxtrack.errors import UserError


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setitem(DATASETS, "got10k", dataclasses.replace(DATASETS["got10k"], videos_per_shard=1))
    return Preparation("got10k", write_got10k(tmp_path / "source", [2, 1]), tmp_path / "out")


def test_without_beam_a_sentence_says_what_to_install(config, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(UserError, match=r"Apache Beam is not installed: in a checkout of jaxtrack, pip install"):
        beam.prepare_with_beam(config)


@pytest.mark.filterwarnings("ignore")  # Beam's own
def test_beam_makes_the_same_dataset_as_the_command(config, tmp_path):
    pytest.importorskip("apache_beam", exc_type=ImportError)
    index = beam.prepare_with_beam(config)
    assert index.frames.tolist() == [0, 1, 0]
    folder = prepare(dataclasses.replace(config, out=tmp_path / "other")).folder
    for path in folder.glob("*.array_record*"):
        assert (config.out / "got10k" / "train" / path.name).read_bytes() == path.read_bytes()
    assert prepare(config).reused == 2
