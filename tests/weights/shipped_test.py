"""The weights that come with jaxtrack: each file is small, whole, and says how it was made; wheels hold them."""

import ast
import hashlib
import re
import shlex
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from jaxtrack.commands import train
from jaxtrack.evaluation import provenance
from jaxtrack.models import mdnet, rpn2t, siamese
from jaxtrack.weights import places, shapes, store

ROOT = Path(__file__).resolve().parents[2]
LARGEST_BYTES = 4_000_000


@pytest.mark.parametrize("path", places.shipped() or [None], ids=lambda path: path.stem if path else "none")
def test_a_shipped_file_is_small_and_whole_and_says_how_it_was_made(path):
    if path is None:
        pytest.skip("no weights are shipped yet")
    assert path.stat().st_size <= LARGEST_BYTES
    variables, meta = store.load(path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == meta.sha256
    assert meta.architecture in {**siamese.ARCHITECTURES, **mdnet.ARCHITECTURES, **rpn2t.ARCHITECTURES}
    assert all(np.isfinite(array).all() for array in shapes.flatten(variables).values())
    assert meta.trained
    assert re.fullmatch(r"\d+\.\d+\.\d+", meta.jaxtrack)
    assert hashlib.sha256(provenance.canonical(meta.config).encode()).hexdigest() == meta.source_sha256
    assert meta.config["architecture"] == meta.architecture
    words = shlex.split(meta.command)
    assert words[:3] == ["python", "train.py", "--config"]
    assert (ROOT / words[3]).is_file()


def test_the_default_trackers_weights_say_on_which_targets_and_at_which_step_they_were_chosen():
    meta = store.read_meta(store.SHIPPED / "siamban_nano.safetensors")
    for text in ("4,512 of the 10,000 steps", "OTB-100: Skiing, Couple, Crossing, David, Jumping, Freeman1"):
        assert text in meta.note
    assert places.chosen_on(meta.sha256) == meta.chosen_on == "six targets of OTB-100"


def is_part_of(stored, now):
    """Whether a configuration, of which later ones have fields more, says what another says."""
    if not isinstance(stored, dict):
        return stored == now
    return all(name in now and is_part_of(value, now[name]) for name, value in stored.items())


def test_the_config_file_has_the_commands_that_make_the_default_trackers_weights(monkeypatch):
    """By the command of the record alone no checkpoint of the shipped step is left."""
    monkeypatch.chdir(ROOT)
    meta = store.read_meta(store.SHIPPED / "siamban_nano.safetensors")
    text = ast.get_docstring(ast.parse((ROOT / shlex.split(meta.command)[3]).read_text("utf-8"))) or ""
    found = re.search(r"after ([\d,]+) of the", meta.note)
    assert found
    step = int(found[1].replace(",", ""))
    [export] = [line for line in text.splitlines() if line.startswith("python train.py") and "--export" in line]
    assert export.removesuffix(f" --export {step}") in text.splitlines()
    options, config = train._parse(shlex.split(export)[2:], "train.py")
    assert options.export == str(step)
    saved = [at for at in range(1, config.steps + 1) if at % config.checkpoint_steps == 0 or at == config.steps]
    assert step in saved[-config.keep :]
    places_of_checkpoints = {name: meta.config[name] for name in ("checkpoint_steps", "keep")}
    assert is_part_of(meta.config, {**provenance.to_json(config), **places_of_checkpoints})


def test_nothing_else_lies_in_the_folder():
    expected = {"README.md", *(file.name for path in places.shipped() for file in (path, path.with_suffix(".json")))}
    assert {path.name for path in store.SHIPPED.iterdir()} == expected


def test_a_wheel_holds_shipped_weights_even_if_git_ignores_such_files(tmp_path):
    wheel = pytest.importorskip("hatchling.builders.wheel", reason="hatchling, which builds wheels, is not installed")
    for name in ("pyproject.toml", "README.md", "LICENSE", "jaxtrack/__init__.py", ".gitignore"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    folder = tmp_path / store.SHIPPED.relative_to(ROOT)
    folder.mkdir(parents=True)
    for name in ("made_up.safetensors", "made_up.json"):
        (folder / name).write_text("{}")
    with (tmp_path / ".gitignore").open("a") as file:
        file.write("*.safetensors\n")
    [built] = wheel.WheelBuilder(str(tmp_path)).build(directory=str(tmp_path / "dist"), versions=["standard"])
    names = zipfile.ZipFile(built).namelist()
    assert {"jaxtrack/weights/shipped/made_up.safetensors", "jaxtrack/weights/shipped/made_up.json"} <= set(names)
