"""What is read of stored weights that are damaged, changed or none, and what is said about it."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from weight_files import KERNEL, change_record, record, rewrite

from jaxtrack.errors import UserError
from jaxtrack.weights import names, store

# --- reading ----------------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"there is no file .*none\.safetensors$"):
        store.load(tmp_path / "none.safetensors")


def test_a_folder_with_the_name_of_a_file(tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(UserError, match=r"cannot read .*folder\.safetensors: Is a directory"):
        store.load(tmp_path / "folder.safetensors")


def test_another_ending(tmp_path):
    with pytest.raises(UserError, match=r"x\.pth holds no weights: expected the path of a \.safetensors file"):
        store.load(tmp_path / "x.pth")


def test_without_its_record(saved):
    record(saved).unlink()
    message = (
        r"nano\.safetensors has no nano\.json beside it .* import the published file .*, or if jaxtrack trained it"
    )
    with pytest.raises(UserError, match=message):
        store.load(saved)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"architecture": "nanotrack_v1"}', "\xff", "[" * 100_000],
    ids=["empty", "cut off", "list", "object", "field missing", "no UTF-8", "deep"],
)
def test_a_record_that_is_none(saved, text):
    record(saved).write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"nano\.json is no record of weights"):
        store.load(saved)


@pytest.mark.parametrize("fields", [{"tensors": "194"}, {"sha256": None}, {"more": 1}])
def test_a_record_with_a_field_of_another_kind(saved, fields):
    change_record(saved, **fields)
    with pytest.raises(UserError, match=r"nano\.json is no record of weights"):
        store.load(saved)


def test_a_conversion_of_another_version(saved, monkeypatch):
    monkeypatch.setattr(names, "MAPPING_VERSION", names.MAPPING_VERSION + 1)
    with pytest.raises(UserError, match="was converted by version 1 of the conversion, this jaxtrack has version 2"):
        store.load(saved)


def test_a_single_changed_bit(saved):
    content = bytearray(saved.read_bytes())
    content[-100] ^= 1
    saved.write_bytes(content)
    with pytest.raises(UserError, match=r"nano\.safetensors was changed or cut off after it was written"):
        store.load(saved)


def test_a_file_cut_off(saved):
    saved.write_bytes(saved.read_bytes()[:-1])
    with pytest.raises(UserError, match="was changed or cut off after it was written"):
        store.load(saved)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", bytes(64), b"\xff" * 64, b"<html>404</html>" * 9])
def test_no_safetensors_file_under_a_record_that_agrees(saved, content):
    saved.write_bytes(content)
    change_record(saved, sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(UserError, match=r"nano\.safetensors is cut off or damaged, or no safetensors file"):
        store.load(saved)


def test_an_architecture_that_there_is_not(saved):
    change_record(saved, architecture="nanotrack_v9")
    with pytest.raises(UserError, match="is of the architecture 'nanotrack_v9', which this jaxtrack does not have"):
        store.load(saved)


def test_the_record_of_another_architecture(saved):
    change_record(saved, architecture="nanotrack_v3")
    with pytest.raises(UserError, match=r"does not fit the architecture nanotrack_v3: it lacks .* and [0-9]+ more"):
        store.load(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.pop(KERNEL), f"it lacks {KERNEL}$"),
        (lambda arrays: arrays.update(extra=np.ones(3)), "it has besides extra$"),
        (
            lambda arrays: arrays.update({KERNEL: np.ones((3, 3, 16, 3), np.float32)}),
            rf"{KERNEL} is float32 \[3, 3, 16, 3\], expected float32 \[3, 3, 3, 16\]",
        ),
        (
            lambda arrays: arrays.update({KERNEL: arrays[KERNEL].astype(np.float64)}),
            rf"{KERNEL} is float64 \[3, 3, 3, 16\], expected float32 \[3, 3, 3, 16\]",
        ),
    ],
    ids=["missing", "surplus", "shape", "dtype"],
)
def test_arrays_that_do_not_fit(saved, change, message):
    rewrite(saved, change)
    with pytest.raises(UserError, match=message):
        store.load(saved)


# --- what to do about it ----------------------------------------------------------------------------------------


def test_a_damaged_import_is_to_be_imported_again(saved):
    saved.write_bytes(saved.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"import the published file again with `jaxtrack weights import`$"):
        store.load(saved)


def test_a_damaged_file_of_a_training_is_to_be_written_by_it_again(trained):
    trained.write_bytes(trained.read_bytes()[:-1])
    run = r"run .* again, `python train\.py --config FILE`"
    with pytest.raises(UserError, match=rf"copy it and its \.json again, or as jaxtrack trained it, {run}") as error:
        store.load(trained)
    assert "import" not in str(error.value)


def test_without_a_record_the_configuration_beside_it_tells_of_a_training(trained):
    record(trained).unlink()
    with pytest.raises(UserError, match="as jaxtrack trained it, run the command of its training again") as error:
        store.load(trained)
    assert "import" not in str(error.value)


def test_a_damaged_shipped_file_is_to_be_installed_again(folders, monkeypatch):
    monkeypatch.chdir(folders[1])
    shipped = Path("nano.safetensors")
    shipped.write_bytes(shipped.read_bytes()[:-1])
    with pytest.raises(UserError, match="it came with jaxtrack: install jaxtrack again"):
        store.load(shipped)
