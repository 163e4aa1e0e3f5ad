"""`jaxtrack weights` with weights that jaxtrack has trained."""

import functools
import hashlib
import json
import shutil
import types

import command_line
import jax
import numpy as np
import pytest

from jaxtrack.__main__ import main
from jaxtrack.commands.train import write_weights
from jaxtrack.evaluation import provenance
from jaxtrack.training.config import TrainConfig
from jaxtrack.weights import names, places, shapes, store

NANO = "nanotrack_v1"
error_of = functools.partial(command_line.error_of, "weights")


def run(*arguments):
    return main(["weights", *map(str, arguments)])


CONFIG = TrainConfig(name="mine", architecture=NANO)
COMMAND = "python train.py --config configs/mine.py"


@pytest.fixture
def trained(state, tmp_path):
    """What a training of 1000 steps leaves in its folder."""
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(provenance.to_json(CONFIG), indent=1))
    return write_weights(CONFIG, folder, types.SimpleNamespace(step=1000, **names.to_flax(state, NANO)), "mine")


def forget(weights):
    """Takes the configuration out of a record, as records of trainings had none once."""
    record = weights.with_suffix(".json")
    record.write_text(json.dumps(json.loads(record.read_text()) | {"config": {}}))


@pytest.fixture
def shipped(trained, tmp_path, monkeypatch):
    """The same weights, packed as the only ones that come with jaxtrack; the user's folder is empty."""
    monkeypatch.setattr(store, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setenv(places.FOLDER_VARIABLE, str(tmp_path / "weights"))
    assert run("pack", trained, "--out", tmp_path / "shipped", "--name", "nano", "--half", "--command", COMMAND) == 0
    return tmp_path / "shipped" / "nano.safetensors"


def test_trained_weights_are_packed_with_command_and_configuration(trained, tmp_path, capsys):
    arguments = ["--command", COMMAND, "--note", "on one CPU", "--name", "nano", "--out", tmp_path / "a"]
    assert run("pack", trained, *arguments) == 0
    path = tmp_path / "a" / "nano.safetensors"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert capsys.readouterr().out == f"{path}: nanotrack_v1, {path.stat().st_size:,} bytes, sha256 {digest}\n"
    variables, meta = store.load(path)
    assert (meta.command, meta.note) == (COMMAND, "trained by jaxtrack: mine, 1000 steps; on one CPU")
    assert meta.config == json.loads((trained.parent / "config.json").read_text())
    assert meta.trained
    jax.tree.map(np.testing.assert_array_equal, variables, store.load(trained)[0])


def test_packed_weights_can_be_half_as_large(shipped, trained):
    assert shipped.stat().st_size < 0.6 * trained.stat().st_size
    after, before = (shapes.flatten(store.load(path)[0]) for path in (shipped, trained))
    for name, array in after.items():
        np.testing.assert_allclose(array, before[name], rtol=2.0**-11, atol=2.0**-25)


def test_what_was_packed_can_be_packed_again_without_the_folder_of_its_training(shipped, tmp_path):
    assert run("pack", shipped, "--out", tmp_path / "b", "--command", "another") == 0
    _, meta = store.load(tmp_path / "b" / "nano.safetensors")
    assert (meta.config["name"], meta.command) == ("mine", "another")


def test_the_configuration_can_be_that_of_the_commands_config_file(trained, tmp_path, monkeypatch):
    (trained.parent / "config.json").write_text('{"name": "as an older version had it"}')
    forget(trained)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "mine.py").write_text(
        "from jaxtrack.training.config import TrainConfig\n"
        f"def config():\n    return TrainConfig(name='mine', architecture='{NANO}')\n"
    )
    assert run("pack", trained, "--command", COMMAND, "--out", "a") == 0
    assert store.read_meta(tmp_path / "a" / "mine.safetensors").config == provenance.to_json(CONFIG)


def test_the_record_of_a_training_has_its_configuration(trained, tmp_path):
    (trained.parent / "config.json").unlink()
    assert run("pack", trained, "--command", "train", "--out", tmp_path / "a") == 0
    assert store.read_meta(tmp_path / "a" / "mine.safetensors").config == provenance.to_json(CONFIG)


@pytest.mark.parametrize("text", [None, "{", '{"name": "other"}', "NaN", "[" * 100_000])
def test_without_the_configuration_that_it_was_trained_by_nothing_is_packed(trained, tmp_path, capsys, text):
    beside = trained.parent / "config.json"
    beside.unlink()
    forget(trained)
    if text is not None:
        beside.write_text(text)
    line = error_of(capsys, "pack", trained, "--command", COMMAND, "--out", tmp_path / "a")
    assert f"was trained by stands neither in {beside} nor in the config file that --command names" in line
    assert not (tmp_path / "a").exists()


def test_imported_weights_are_not_packed(imported, capsys, tmp_path):
    line = error_of(capsys, "pack", imported, "--command", COMMAND, "--out", tmp_path / "a")
    assert "was imported from nano.pth: only weights that jaxtrack has trained are packed" in line


def test_weights_do_not_take_their_own_place(trained, capsys):
    before = trained.read_bytes()
    line = error_of(capsys, "pack", trained, "--command", COMMAND, "--out", trained.parent)
    assert "would take its own place" in line
    assert trained.read_bytes() == before


def test_other_weights_are_not_replaced_by_packed_ones(trained, imported, capsys):
    line = error_of(capsys, "pack", trained, "--command", COMMAND, "--out", imported.parent, "--name", imported.stem)
    assert "is there already, and from another file" in line


@pytest.mark.parametrize("name", ["nano", "shipped/nano.safetensors"])
def test_shipped_weights_are_verified_and_inspected_by_name_or_path(shipped, tmp_path, capsys, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    where = shipped if name == "nano" else name
    assert run("verify", name) == 0
    assert capsys.readouterr().out == f"OK: {where} is nanotrack_v1, trained by jaxtrack: mine, 1000 steps\n"
    assert run("inspect", name) == 0
    lines = capsys.readouterr().out.splitlines()
    digest = store.read_meta(shipped).source_sha256
    assert [line for line in lines if not line.startswith(("configuration: ", "written by: "))][5:] == [
        f"source: a training of jaxtrack, its configuration, sha256 {digest}",
        "note: trained by jaxtrack: mine, 1000 steps",
        f"command: {COMMAND}",
        f"record: {where}".replace(".safetensors", ".json"),
    ]
    [configuration] = [line for line in lines if line.startswith("configuration: ")]
    assert configuration.startswith(f"configuration: TrainConfig: name mine, architecture {NANO}, source Procedural,")
    assert "seed 0" in configuration
    assert "scale_to_reference" not in configuration  # is off
    assert configuration.endswith("validation_pairs 256 (whole in the record)")
    assert run("inspect", name, "--tensors") == 0
    assert any(line.split()[-2:] == ["F16", "432"] for line in capsys.readouterr().out.splitlines() if line)


def test_what_weights_were_chosen_on_is_recorded_shown_and_kept(shipped, tmp_path, capsys):
    arguments = ["--command", COMMAND, "--chosen-on", "six targets"]
    assert run("pack", shipped, "--out", tmp_path / "a", *arguments) == 0
    capsys.readouterr()
    assert run("inspect", tmp_path / "a" / "nano.safetensors") == 0
    assert "chosen on: six targets\n" in capsys.readouterr().out
    assert run("pack", tmp_path / "a" / "nano.safetensors", "--out", tmp_path / "b", "--command", COMMAND) == 0
    assert store.read_meta(tmp_path / "b" / "nano.safetensors").chosen_on == "six targets"


def test_a_name_that_no_weights_have(shipped, capsys):
    capsys.readouterr()
    assert "there are no weights" in error_of(capsys, "verify", "other")


def test_the_list_shows_shipped_weights(shipped, capsys):
    capsys.readouterr()
    assert run("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "these come with jaxtrack, and need no import; licence: Apache-2.0"
    row = next(line for line in lines if line.split()[:1] == ["nano"])
    assert "trained by jaxtrack: mine, 1000 steps" in row
    assert row.split()[-2:] == [NANO, store.read_meta(shipped).sha256[:16]]
    assert not [line for line in lines if "in place of" in line]


def test_the_list_says_which_file_takes_the_place_of_shipped_weights(shipped, capsys, tmp_path):
    (tmp_path / "weights").mkdir()
    shutil.copy(shipped, tmp_path / "weights")
    capsys.readouterr()
    assert run("list") == 0
    assert f"{tmp_path / 'weights' / 'nano.safetensors'} is used in place of nano" in capsys.readouterr().out


def test_without_shipped_weights_the_list_says_nothing_of_them(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "SHIPPED", tmp_path)
    assert run("list") == 0
    assert "come with jaxtrack" not in capsys.readouterr().out
