"""The folder of a training: one training at a time, and what its weights say they were trained by."""

import dataclasses
import json
import sys
import time
import types

import jax
import pytest
import tiny_training

from jaxtrack import files
from jaxtrack.commands import _training_record, train
from jaxtrack.errors import UserError
from jaxtrack.training import loop
from jaxtrack.weights import store

pytestmark = pytest.mark.usefixtures("tiny", "events")

CONFIG = tiny_training.config(epochs=1)
ONE = jax.devices()[:1]
TAKEN = "another training runs in .*: wait until it has ended, or choose another folder"


def trained(folder, **changes):
    return loop.train(dataclasses.replace(CONFIG, **changes), folder, devices=ONE)


def wait_for(path):
    """Checkpoints are written beside the work."""
    end = time.monotonic() + 60
    while not path.is_dir() and time.monotonic() < end:
        time.sleep(0.01)


def test_a_second_start_in_the_folder_is_refused_and_disturbs_nothing(tmp_path):
    refused = []

    def again(record):
        half = tmp_path / "checkpoints" / "100.orbax-checkpoint-tmp"
        half.mkdir(exist_ok=True)
        before = (tmp_path / "log.jsonl").read_bytes()
        with pytest.raises(UserError, match=TAKEN):
            trained(tmp_path)
        assert (tmp_path / "log.jsonl").read_bytes() == before
        assert half.is_dir()
        refused.append(record["step"])

    loop.train(CONFIG, tmp_path, devices=ONE, report=again)
    assert refused == [3, 4]
    assert not (tmp_path / loop.LOCK).exists()
    trained(tmp_path)


def test_a_checkpoint_is_exported_while_the_training_goes_on(tmp_path):
    exported = []

    def export(record):
        half = tmp_path / "checkpoints" / "100.orbax-checkpoint-tmp"
        half.mkdir(exist_ok=True)
        if record["step"] == 4:
            wait_for(tmp_path / "checkpoints" / "3")
            exported.append(int(loop.checkpointed(CONFIG, tmp_path, "3").step))
        assert half.is_dir()

    loop.train(CONFIG, tmp_path, devices=ONE, report=export)
    assert exported == [3]


def test_the_other_processes_of_a_training_share_its_folder(tmp_path, monkeypatch):
    with files.locked(tmp_path / loop.LOCK, ""):
        with pytest.raises(UserError, match=TAKEN), loop._claimed(tmp_path, CONFIG):
            pytest.fail("two trainings")
        monkeypatch.setattr(jax, "process_index", lambda: 1)
        with loop._claimed(tmp_path, CONFIG):
            pass


def test_a_training_that_fails_before_its_first_step_makes_no_file_for_tensorboard(tmp_path, monkeypatch):
    module = types.ModuleType("tensorboardX")
    module.SummaryWriter = lambda *_, **__: pytest.fail("made")
    monkeypatch.setitem(sys.modules, "tensorboardX", module)

    class Broken(tiny_training.Squares):
        def batches(self, *place):
            raise UserError("no pairs")

    with pytest.raises(UserError, match="no pairs"):
        trained(tmp_path / "mine", source=Broken())
    assert not (tmp_path / "mine").exists()


def test_weights_of_another_configuration_are_not_exported(tmp_path):
    trained(tmp_path)
    for changes in ({"seed": 1}, {"objective": dataclasses.replace(CONFIG.objective, iou_ranking=0.5)}):
        with pytest.raises(UserError, match="holds a training with another configuration"):
            loop.checkpointed(dataclasses.replace(CONFIG, **changes), tmp_path, "4")
    assert int(loop.checkpointed(dataclasses.replace(CONFIG, keep=7), tmp_path, "4").step) == 4


def test_the_data_need_not_be_there_for_an_export(tmp_path):
    trained(tmp_path)
    inputs = json.loads((tmp_path / "inputs.json").read_text())
    (tmp_path / "inputs.json").write_text(json.dumps({**inputs, "train": ["other data"]}))
    with pytest.raises(UserError, match="on other data"):
        trained(tmp_path)
    loop.checkpointed(CONFIG, tmp_path, "4")


def test_weights_name_the_configuration_of_their_folder_and_can_be_packed(tmp_path):
    """After a resume with fields that may change, too."""
    trained(tmp_path)
    state = trained(tmp_path, keep=7)
    path = train.write_weights(dataclasses.replace(CONFIG, keep=7), tmp_path, state, "tiny")
    found = _training_record.configuration(path, store.read_meta(path), "")
    assert found == json.loads((tmp_path / "config.json").read_text())
    assert found["keep"] == 2
