import dataclasses
import hashlib
import json
import os

import jax
import numpy as np
import pytest
import safetensors.numpy
from flax import traverse_util
from weight_files import KERNEL, META, NANO, record

from jaxtrack.errors import UserError
from jaxtrack.models import siamese
from jaxtrack.weights import names, shapes, store


def test_what_is_loaded_is_what_was_saved(saved, variables):
    loaded, _ = store.load(saved)
    assert jax.tree.structure(loaded) == jax.tree.structure(variables)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b, strict=True), loaded, variables)


def test_two_files_are_written_and_say_what_they_are(saved):
    assert sorted(path.name for path in saved.parent.iterdir()) == ["nano.json", "nano.safetensors"]
    text = record(saved).read_text("utf-8")
    assert "a note, één" in text
    fields = json.loads(text)
    assert fields == {
        "architecture": NANO,
        "source": "nanotrackv1.pth",
        "source_sha256": "ab" * 32,
        "note": "a note, één",
        "mapping_version": names.MAPPING_VERSION,
        "tensors": 194,  # nanotrack.md section 1, like the next
        "parameters": 287_966,
        "sha256": hashlib.sha256(saved.read_bytes()).hexdigest(),
        "jaxtrack": fields["jaxtrack"],
        "command": "",
        "config": {},
        "chosen_on": "",
    }
    _, meta = store.load(saved)
    assert dataclasses.asdict(meta) == fields


@pytest.mark.parametrize(("found", "written"), [("1.2.3", "1.2.3"), (None, "unknown")])
def test_the_record_names_the_version_of_jaxtrack(variables, tmp_path, monkeypatch, found, written):
    monkeypatch.setattr(store, "version", lambda: found)
    _, meta = store.load(store.save(tmp_path, "nano", variables, META))
    assert meta.jaxtrack == written


def test_names_are_joined_by_slashes(saved):
    with safetensors.safe_open(saved, framework="numpy") as file:
        assert "params/head/attention/fc1/kernel" in file.keys()  # noqa: SIM118
    assert shapes.flatten({"a": {"b": {"c": 1}}, "d": 2}) == {"a/b/c": 1, "d": 2}
    with pytest.raises(ValueError, match="a name with a slash"):
        shapes.flatten({"a/b": 1})


def test_the_same_weights_make_the_same_bytes(saved, variables, tmp_path):
    again = store.save(tmp_path / "again", "nano", variables, META)
    assert again.read_bytes() == saved.read_bytes()
    assert record(again).read_bytes() == record(saved).read_bytes()


def test_a_scalar_and_an_empty_array_keep_their_shapes(tmp_path, monkeypatch):
    variables = {"params": {"scalar": np.array(3, np.float32), "empty": np.zeros((0, 4), np.float32)}}
    monkeypatch.setattr(shapes, "_expected", lambda _: shapes.flatten(variables))
    loaded, meta = store.load(store.save(tmp_path, "tiny", variables, META))
    assert loaded["params"]["scalar"].shape == ()
    assert loaded["params"]["empty"].shape == (0, 4)
    assert (meta.tensors, meta.parameters) == (2, 1)


def test_a_backbone_is_kept_without_neck_and_head(variables, tmp_path, monkeypatch):
    monkeypatch.setitem(siamese.BACKBONES, "body", NANO)
    meta = dataclasses.replace(META, architecture="body")
    body = {collection: {"backbone": parts["backbone"]} for collection, parts in variables.items()}
    loaded, meta = store.load(store.save(tmp_path, "body", body, meta))
    assert jax.tree.structure(loaded) == jax.tree.structure(body)
    assert meta.parameters == 190_520  # nanotrack.md section 1
    with pytest.raises(UserError, match=r"whole\.safetensors does not fit the architecture body: it has besides"):
        store.save(tmp_path, "whole", variables, meta)


def test_a_record_from_before_there_were_commands_is_read(saved):
    fields = json.loads(record(saved).read_text())
    del fields["command"], fields["config"], fields["chosen_on"]
    record(saved).write_text(json.dumps(fields))
    _, meta = store.load(saved)
    assert (meta.command, meta.config, meta.chosen_on, meta.note) == ("", {}, "", META.note)


def test_the_command_and_the_configuration_of_a_training_stay_in_the_record(variables, tmp_path):
    meta = dataclasses.replace(META, command="python train.py", config={"name": "mine", "rates": [1, 2.5]})
    assert store.read_meta(store.save(tmp_path, "nano", variables, meta)).config == {"name": "mine", "rates": [1, 2.5]}
    assert store.read_meta(tmp_path / "nano.safetensors").command == "python train.py"


def test_what_a_training_writes_is_known_as_trained(trained, saved):
    assert store.read_meta(trained).trained
    assert not store.read_meta(saved).trained


# --- half precision ---------------------------------------------------------------------------------------------


def test_kernels_stored_as_float16_are_float32_again_rounded_to_eleven_bits(variables, saved, tmp_path):
    path = store.save(tmp_path, "half", variables, META, half=True)
    types_ = {name: kind for name, (kind, _) in store.header(path).items()}
    assert types_["params/backbone/stem/conv/kernel"] == "F16"
    assert types_["params/head/attention/fc1/bias"] == "F32"
    assert {kind for name, kind in types_.items() if name.startswith("batch_stats/")} == {"F32"}
    assert path.stat().st_size < 0.6 * saved.stat().st_size
    loaded, meta = store.load(path)
    assert meta.parameters == 287_966
    for name, array in shapes.flatten(loaded).items():
        before = shapes.flatten(variables)[name]
        assert array.dtype == np.float32
        if array.ndim == 1:
            np.testing.assert_array_equal(array, before)
        else:  # half a unit in the last of 11 bits; below 2^-14 of 24 bits after the point
            assert np.all(np.abs(array - before) <= np.maximum(2.0**-11 * np.abs(before), 2.0**-25))
            assert not np.array_equal(array, before)


def test_kernels_beyond_the_range_of_float16_are_refused_and_nothing_is_written(variables, tmp_path):
    flat = shapes.flatten(variables)
    large = {**flat, KERNEL: np.full((3, 3, 3, 16), 65_520, np.float32)}
    with pytest.raises(UserError, match=rf"half\.safetensors cannot be written: {KERNEL} holds numbers beyond float16"):
        store.save(tmp_path, "half", traverse_util.unflatten_dict(large, sep="/"), META, half=True)
    assert not list(tmp_path.iterdir())


def test_statistics_may_leave_the_range_of_float16(variables, tmp_path):
    large = jax.tree.map(lambda array: array + 1e6 if array.ndim == 1 else array, variables)
    loaded, _ = store.load(store.save(tmp_path, "half", large, META, half=True))
    jax.tree.map(np.testing.assert_array_equal, loaded["batch_stats"], large["batch_stats"])


# --- writing ----------------------------------------------------------------------------------------------------


def test_a_failure_while_writing_leaves_the_old_files(saved, variables, monkeypatch):
    before = {path.name: path.read_bytes() for path in saved.parent.iterdir()}

    def full_disk(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(UserError, match=r"cannot write weights to .*: No space left on device"):
        store.save(saved.parent, "nano", jax.tree.map(lambda array: array + 1, variables), META)
    assert {path.name: path.read_bytes() for path in saved.parent.iterdir()} == before


def test_a_folder_below_a_file(variables, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="cannot write weights to"):
        store.save(tmp_path / "file" / "weights", "nano", variables, META)


def test_weights_that_do_not_fit_are_not_written(variables, tmp_path):
    meta = dataclasses.replace(META, architecture="nanotrack_v2")
    with pytest.raises(UserError, match=r"nano\.safetensors does not fit the architecture nanotrack_v2: it lacks"):
        store.save(tmp_path, "nano", variables, meta)
    assert not list(tmp_path.iterdir())


# --- parts ------------------------------------------------------------------------------------------------------


def test_the_checked_sha256_is_that_of_the_record(saved):
    assert store.checked_sha256(saved) == hashlib.sha256(saved.read_bytes()).hexdigest()


def test_a_file_is_hashed_again_when_it_has_changed_and_only_then(saved, monkeypatch):
    hashed, original = [], store.sha256_of
    monkeypatch.setattr(store, "sha256_of", lambda path: hashed.append(path) or original(path))
    store.checked_sha256(saved)
    store.checked_sha256(saved)
    assert hashed == [saved]
    content = bytearray(saved.read_bytes())
    content[-100] ^= 1
    saved.write_bytes(content)
    os.utime(saved, ns=(1, 1))
    with pytest.raises(UserError, match=r"nano\.safetensors was changed or cut off after it was written"):
        store.checked_sha256(saved)
    saved.write_bytes(content[:-1])
    os.utime(saved, ns=(1, 1))
    with pytest.raises(UserError, match=hashlib.sha256(content[:-1]).hexdigest()[:12]):
        store.checked_sha256(saved)


def test_the_sha256_of_weights_that_are_gone(saved):
    saved.unlink()
    with pytest.raises(UserError, match=r"there is no file .*nano\.safetensors"):
        store.checked_sha256(saved)


def test_the_header_tells_names_types_and_shapes(tmp_path):
    arrays = {"a/b": np.zeros((2, 3), np.float32), "c": np.array(1)}
    (tmp_path / "x.safetensors").write_bytes(safetensors.numpy.save(arrays))
    assert store.header(tmp_path / "x.safetensors") == {"a/b": ("F32", (2, 3)), "c": ("I64", ())}


def test_the_header_of_what_is_none(tmp_path):
    with pytest.raises(UserError, match="there is no file"):
        store.header(tmp_path / "x.safetensors")
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="or no safetensors file"):
        store.header(tmp_path / "x.safetensors")


def test_the_sha256_of_a_file(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")  # the example of FIPS 180-2, appendix B.1
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert store.sha256_of(tmp_path / "abc") == digest
    (tmp_path / "large").write_bytes(b"a" * 1_000_000 * 3)
    assert store.sha256_of(tmp_path / "large") == hashlib.sha256(b"a" * 3_000_000).hexdigest()
    with pytest.raises(UserError, match="there is no file"):
        store.sha256_of(tmp_path / "none")
