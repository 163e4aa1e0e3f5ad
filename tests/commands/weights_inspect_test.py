"""`jaxtrack weights inspect` and `verify`."""

import functools
import hashlib
import io
import json
import sys

import command_line
import numpy as np
import safetensors.numpy

from jaxtrack.__main__ import main
from jaxtrack.weights import places, store

error_of = functools.partial(command_line.error_of, "weights")


def run(*arguments):
    return main(["weights", *map(str, arguments)])


# --- inspect ----------------------------------------------------------------------------------------------------


def test_a_pytorch_file_is_inspected(published, state, capsys):
    state["backbone.features.0.1.num_batches_tracked"] = np.array(7)
    assert run("inspect", published, "--tensors") == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines]
    assert ["backbone.features.0.0.weight", "16", "x", "3", "x", "3", "x", "3", "float32", "432"] in rows
    assert ["backbone.features.0.1.num_batches_tracked", "scalar", "int64", "1"] in rows
    numbers = sum(array.size for array in state.values())
    # What it is comes first.
    assert lines[:6] == [
        f"file: {published}",
        "architecture: nanotrack_v1",
        f"tensors: 195 ({numbers:,} numbers)",
        "parameters: 287,966 (running statistics not counted)",
        f"sha256: {hashlib.sha256(published.read_bytes()).hexdigest()}",
        "source: no published file that jaxtrack knows by its sha256",
    ]


def test_tensors_are_listed_only_where_they_are_asked_for(published, imported, capsys):
    for path in (published, imported):
        assert run("inspect", path) == 0
        printed = capsys.readouterr().out
        assert "numbers; --tensors lists them)" in printed
        assert "kernel" not in printed
        assert "backbone" not in printed
        assert len(printed.splitlines()) <= 8


def test_tensors_of_no_network_are_inspected_too(published, state, capsys):
    state.clear()
    state["layer.weight"] = np.ones((2, 3))
    assert run("inspect", published) == 0
    assert "architecture: none that jaxtrack has" in capsys.readouterr().out


def test_imported_weights_are_inspected(published, imported, state, capsys):
    assert run("inspect", imported, "--tensors") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:8] == [
        f"file: {imported}",
        "architecture: nanotrack_v1",
        f"tensors: 194 ({sum(array.size for array in state.values()):,} numbers)",
        "parameters: 287,966 (running statistics not counted)",
        f"sha256: {hashlib.sha256(imported.read_bytes()).hexdigest()}",
        f"source: nano.pth, sha256 {hashlib.sha256(published.read_bytes()).hexdigest()}",
        f"written by: jaxtrack {store.read_meta(imported).jaxtrack}",
        f"record: {imported.with_suffix('.json')}",
    ]
    assert ["params/backbone/stem/conv/kernel", "3", "x", "3", "x", "3", "x", "16", "F32", "432"] in map(
        str.split, lines
    )


def test_any_safetensors_file_is_inspected(tmp_path, capsys):
    (tmp_path / "x.safetensors").write_bytes(safetensors.numpy.save({"a": np.ones((2, 5), np.float16)}))
    assert run("inspect", tmp_path / "x.safetensors") == 0
    printed = capsys.readouterr().out
    assert "tensors: 1 (10 numbers; --tensors lists them)" in printed
    assert "architecture: unknown" in printed
    assert "x.safetensors has no x.json beside it" in printed


def test_a_changed_import_is_inspected_and_said_to_be_changed(imported, capsys):
    imported.write_bytes(safetensors.numpy.save({"a": np.ones(3, np.float32)}))
    assert run("inspect", imported) == 0
    printed = capsys.readouterr().out
    assert "changed: the file is not the one that was written" in printed
    assert f"sha256: {hashlib.sha256(imported.read_bytes()).hexdigest()}\n" in printed


def test_a_record_reaches_the_terminal_as_text(imported, capsys):
    record = imported.with_suffix(".json")
    record.write_text(json.dumps(json.loads(record.read_text()) | {"note": "esc\x1b[2Jape"}))
    assert run("inspect", imported) == 0
    assert r"note: 'esc\x1b[2Jape'" in capsys.readouterr().out


def test_names_from_a_file_reach_the_terminal_as_text(published, state, capsys):
    state |= {"[red]plain[/red]": np.ones(1), "esc\x1b[2Jape": np.ones(1)}
    assert run("inspect", published, "--tensors") == 0
    printed = capsys.readouterr().out
    assert "[red]plain[/red]" in printed
    assert "\x1b" not in printed
    assert r"'esc\x1b[2Jape'" in printed


def test_a_row_is_never_broken_where_a_program_reads_it(published, state, monkeypatch):
    state["x" * 300] = np.ones(3)
    output = io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    assert run("inspect", published, "--tensors") == 0
    assert "x" * 300 in output.getvalue()


def test_a_misspelt_name_gets_a_suggestion(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv(places.FOLDER_VARIABLE, str(tmp_path))
    for command in ("inspect", "verify"):
        assert "did you mean siamban_nano" in error_of(capsys, command, "siamban_nan")


# --- verify -----------------------------------------------------------------------------------------------------


def test_good_files_are_ok(published, imported, capsys):
    assert run("verify", published) == 0
    assert capsys.readouterr().out.startswith(f"OK: {published} is nanotrack_v1; sha256 ")
    assert run("verify", imported) == 0
    assert capsys.readouterr().out.startswith(f"OK: {imported} is nanotrack_v1, imported from nano.pth (sha256 ")


def test_a_changed_import_is_told(imported, capsys):
    imported.write_bytes(imported.read_bytes()[:-1])
    assert "was changed or cut off after it was written" in error_of(capsys, "verify", imported)


def test_numbers_that_are_not_finite_are_told(published, state, capsys):
    state["backbone.features.0.0.weight"][0, 0, 0, :2] = np.nan, np.inf
    line = error_of(capsys, "verify", published)
    assert "2 of the 432 numbers of backbone.features.0.0.weight are not finite" in line


def test_numbers_that_are_not_finite_are_told_in_an_import(imported, capsys):
    arrays = safetensors.numpy.load(imported.read_bytes())
    arrays["params/backbone/stem/conv/kernel"] = np.full((3, 3, 3, 16), np.nan, np.float32)
    imported.write_bytes(safetensors.numpy.save(arrays))
    record = imported.with_suffix(".json")
    digest = hashlib.sha256(imported.read_bytes()).hexdigest()
    record.write_text(json.dumps(json.loads(record.read_text()) | {"sha256": digest}))
    line = error_of(capsys, "verify", imported)
    assert "432 of the 432 numbers of params/backbone/stem/conv/kernel are not finite" in line


def test_a_tensor_of_another_shape_is_told(published, state, capsys):
    state["backbone.features.0.0.weight"] = np.ones((16, 1, 3, 3), np.float32)
    line = error_of(capsys, "verify", published)
    assert str(published) in line
    assert "backbone.features.0.0.weight" in line
