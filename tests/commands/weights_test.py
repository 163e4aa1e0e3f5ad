"""`jaxtrack weights` with files of PyTorch, and its list; what is packed has a module of its own."""

import functools
import hashlib
import io
import re
import shutil
import sys

import command_line
import numpy as np
import pytest

from jaxtrack.__main__ import main
from jaxtrack.weights import known, store

NANO = "nanotrack_v1"
error_of = functools.partial(command_line.error_of, "weights")


def run(*arguments):
    return main(["weights", *map(str, arguments)])


# --- import -----------------------------------------------------------------------------------------------------


def test_an_import_writes_weights_that_can_be_loaded(published, state, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("import", "nano.pth") == 0
    printed = capsys.readouterr().out
    assert "weights/nanotrack_v1.safetensors: nanotrack_v1, 194 arrays, 287,966 parameters" in printed
    assert "of no published file that jaxtrack knows" in printed
    assert sorted(path.name for path in (tmp_path / "weights").iterdir()) == [
        "nanotrack_v1.json",
        "nanotrack_v1.safetensors",
    ]
    variables, meta = store.load(tmp_path / "weights" / "nanotrack_v1.safetensors")
    assert (meta.architecture, meta.source, meta.note) == (NANO, "nano.pth", "")
    assert meta.source_sha256 == hashlib.sha256(published.read_bytes()).hexdigest()
    kernel = state["backbone.features.0.0.weight"]  # [out, in, h, w]
    stem = variables["params"]["backbone"]["stem"]["conv"]["kernel"]  # [h, w, in, out]
    np.testing.assert_array_equal(stem, np.einsum("oihw->hwio", kernel))


def test_name_folder_and_architecture_can_be_chosen(published, tmp_path):
    arguments = ["--name", "mine", "--out", tmp_path / "a" / "b", "--architecture", "NanoTrack-v1"]
    assert run("import", published, *arguments) == 0
    _, meta = store.load(tmp_path / "a" / "b" / "mine.safetensors")
    assert meta.architecture == NANO


def test_the_published_file_is_recognised(published, tmp_path, capsys, monkeypatch):
    digest = hashlib.sha256(published.read_bytes()).hexdigest()
    row = known.Known("nano", "nanotrack_mine", NANO, "https://example.org", "MIT", digest[:16], "A tracker")
    monkeypatch.setattr(known, "table", lambda: (row,))
    assert run("import", published, "--out", tmp_path) == 0
    assert f"sha256 {digest[:16]}…, as published by https://example.org: A tracker" in capsys.readouterr().out
    _, meta = store.load(tmp_path / "nanotrack_mine.safetensors")
    assert meta.note == "A tracker, published by https://example.org"


def test_a_siamese_file_of_a_known_name_is_imported_under_its_trackers_whatever_its_network(
    published, tmp_path, monkeypatch
):
    row = known.Known("nano", "nanotrack_mine", "nanotrack_v2", "https://example.org", "MIT", "", "A tracker")
    monkeypatch.setattr(known, "table", lambda: (row,))
    assert run("import", published, "--out", tmp_path) == 0
    assert store.read_meta(tmp_path / "nanotrack_mine.safetensors").architecture == NANO


def test_the_same_file_can_be_imported_again_but_no_other_under_its_name(published, imported, tmp_path, capsys):
    before = imported.read_bytes()
    assert run("import", published, "--out", tmp_path / "weights") == 0
    assert imported.read_bytes() == before
    capsys.readouterr()
    published.write_bytes(b"another file")
    line = error_of(capsys, "import", published, "--out", tmp_path / "weights")
    assert "nanotrack_v1.safetensors is there already, and from another file: choose another --name" in line
    assert imported.read_bytes() == before


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_half_of_an_import_is_not_replaced_by_another_file(published, imported, tmp_path, capsys, suffix):
    imported.with_suffix(suffix).unlink()
    published.write_bytes(b"another file")
    assert "is there already" in error_of(capsys, "import", published, "--out", tmp_path / "weights")


def test_a_damaged_import_can_be_repeated(published, imported, tmp_path):
    before = imported.read_bytes()
    imported.write_bytes(before[:-1])
    assert run("import", published, "--out", tmp_path / "weights") == 0
    assert imported.read_bytes() == before


def test_tensors_of_no_network_are_refused(published, state, capsys, tmp_path):
    state.clear()
    state |= {f"layer{i}.weight": np.ones(3) for i in range(5)}
    line = error_of(capsys, "import", published, "--out", tmp_path / "weights")
    assert "tensors such as layer0.weight, layer1.weight, layer2.weight, which belong to no network" in line
    assert NANO in line
    assert not (tmp_path / "weights").exists()


def test_tensors_of_another_architecture_are_refused(published, capsys, tmp_path):
    line = error_of(capsys, "import", published, "--architecture", "nanotrack_v2", "--out", tmp_path / "weights")
    assert str(published) in line
    assert "nanotrack_v2" in line
    assert not (tmp_path / "weights").exists()


def test_an_architecture_that_there_is_not_gets_a_suggestion(published, capsys):
    line = error_of(capsys, "import", published, "--architecture", "nanotrack_v11")
    assert "There is no architecture of published files called 'nanotrack_v11': did you mean nanotrack_v1" in line


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "-x"])
def test_a_name_that_is_no_file_name(published, capsys, tmp_path, name):
    line = error_of(capsys, "import", published, f"--name={name}", "--out", tmp_path / "weights")
    assert f"{name!r} is no name for files" in line
    assert not (tmp_path / "weights").exists()


@pytest.mark.parametrize("name", ["SiamRPN++-RBO", "nanotrackv1", "checkpoint_e20.v2"])
def test_names_that_authors_give(published, tmp_path, name):
    assert run("import", published, f"--name={name}", "--out", tmp_path) == 0
    store.load(tmp_path / f"{name}.safetensors")


def test_a_folder_that_cannot_be_written(published, capsys, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert "cannot write weights to" in error_of(capsys, "import", published, "--out", tmp_path / "file" / "weights")


def test_a_file_that_is_not_there(capsys, tmp_path):
    for command in ("import", "inspect", "verify"):
        for name in ("none.pth", "none.safetensors"):
            assert "there is no file" in error_of(capsys, command, tmp_path / name)


# --- list and the command line ----------------------------------------------------------------------------------


def test_the_list_names_every_published_file_and_its_publisher(capsys):
    assert run("list") == 0
    printed = capsys.readouterr().out
    lines = [line.split() for line in printed.splitlines()]
    for row in known.table():
        assert row.name.split()[0] in [line[0] for line in lines if line]
        assert row.published_by in printed
    assert ["nanotrackv1", "nanotrack_v1", "NanoTrack", "v1", "nanotrack_v1", "2a24bbfd1163a769"] in lines
    assert "https://github.com/STVIR/pysot (MODEL_ZOO.md); licence: CC-BY-SA-3.0" in printed
    assert "https://github.com/sansanfree/RBO (folder SiamPW-RBO); licence: not stated" in printed
    # A column in which nothing stands is left out.
    assert ["file", "import", "as", "what", "architecture", "sha256"] in lines
    assert ["file", "import", "as", "what", "architecture"] in lines
    assert "downloads no published file" in printed


class Terminal(io.StringIO):
    """Takes what is printed for a terminal's."""

    def isatty(self):
        return True


def test_on_a_terminal_of_80_columns_the_list_tells_in_words_what_each_file_is(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    assert run("list") == 0
    lines = re.sub(r"\x1b\[[\d;]*m", "", terminal.getvalue()).splitlines()
    # A line of words is left to the terminal; a row of a table is not.
    tables = [line for line in lines if not line.startswith(("http", "torchvision;", "these come", "jaxtrack down"))]
    assert max(map(len, tables)) <= 80
    words = " ".join(" ".join(tables).split())
    for row in known.table():
        assert [line for line in tables if row.name in line and row.import_as in line], row.name
        assert all(word in words for word in row.what.split()), row.what


def test_a_command_that_there_is_not(capsys):
    assert run("frobnicate") == 2
    assert "import, inspect, verify, pack, list" in capsys.readouterr().err
    assert run() == 2
    assert "import, inspect, verify, pack, list" in capsys.readouterr().err


def test_the_help_names_the_commands(capsys):
    assert run("--help") == 0
    printed = capsys.readouterr().out
    for command in ("import", "inspect", "verify", "pack", "list"):
        assert f" {command} " in printed


# --- with the published files -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arrays", "parameters"),
    [("nanotrack_v1", 194, "287,966"), ("nanotrack_v2", 252, "334,078"), ("nanotrack_v3", 369, "541,446")],
)
def test_the_published_nanotracks_are_imported(test_data, tmp_path, capsys, name, arrays, parameters):
    pytest.importorskip("torch")
    path = test_data / "weights" / "nanotrack" / f"{name.replace('_', '')}.pth"
    assert run("import", path, "--out", tmp_path) == 0
    assert f"{arrays} arrays, {parameters} parameters" in capsys.readouterr().out
    assert run("verify", tmp_path / f"{name}.safetensors") == 0
    assert capsys.readouterr().out.startswith("OK: ")
    _, meta = store.load(tmp_path / f"{name}.safetensors")
    assert meta.note.startswith("NanoTrack v")
    shutil.copy(path, tmp_path / "copy.pth")
    with (tmp_path / "copy.pth").open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    assert "cut off or damaged" in error_of(capsys, "verify", tmp_path / "copy.pth")
