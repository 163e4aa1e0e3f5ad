import functools
import importlib.util
import json

import command_line
import pytest
from siamese_synthetic import narrow, state

from jaxtrack import trackers
from jaxtrack.__main__ import main
from jaxtrack.models.siamese import ARCHITECTURES, BACKBONES
from jaxtrack.trackers import siamese, transt
from jaxtrack.weights import names, store

NAME, OTHER = "narrow_for_export", "narrow_transt_for_export"
error_of = functools.partial(command_line.error_of, "export")


def run(*arguments):
    return main(["export", *map(str, arguments)])


@pytest.fixture(autouse=True)
def all_trackers():
    """Their names are found once: before one of these tests adds its own."""
    return trackers.names()


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Imported weights of a narrow architecture, which has a tracker too."""
    architecture = narrow("siamrpn_alex")
    monkeypatch.setitem(ARCHITECTURES, NAME, architecture)
    monkeypatch.setitem(siamese.CONFIGS, NAME, siamese.Config(architecture=NAME, penalty=0.125))
    monkeypatch.setenv("JAXTRACK_WEIGHTS", str(tmp_path / "weights"))
    variables = names.to_flax(state(architecture), architecture)
    return store.save(tmp_path / "weights", NAME, variables, store.Meta(NAME, "made-up.pth", "ab" * 32))


def test_a_file_of_weights_is_exported(weights, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(weights, "--out", out, "--batch", 2, "--platforms", "cpu") == 0
    printed = capsys.readouterr().out
    assert f"{out}/template.stablehlo: " in printed
    assert "stablehlo: run on the same images as the network, the greatest difference is 0.0e+00" in printed
    record = json.loads((out / "export.json").read_text("utf-8"))
    assert record["weights"]["sha256"] == store.sha256_of(weights)
    assert record["tracker"] is None
    assert record["programs"]["search"]["outputs"][0]["shape"] == [2, 21, 21, 10]
    assert record["formats"]["stablehlo"]["platforms"] == ["cpu"]


def test_a_tracker_is_exported_in_both_formats(weights, tmp_path, capsys):
    if not all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime")):
        pytest.skip("the extra onnx is missing")
    assert run("Narrow-for-export", "--out", tmp_path / "out", "--format", "both") == 0
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    programs = [f"{name}.{kind}" for name in ("search", "template") for kind in ("onnx", "stablehlo")]
    assert files == ["export.json", *programs]
    assert "onnx: run on the same images as the network" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "export.json").read_text("utf-8"))["tracker"]["penalty"] == 0.125


def test_transt_is_exported_with_its_own_settings(tmp_path, monkeypatch):
    architecture = narrow("transt")
    monkeypatch.setitem(ARCHITECTURES, OTHER, architecture)
    monkeypatch.setitem(transt.CONFIGS, OTHER, transt.Config(architecture=OTHER, window_influence=0.375))
    monkeypatch.setenv("JAXTRACK_WEIGHTS", str(tmp_path / "weights"))
    variables = names.to_flax(state(architecture), architecture)
    store.save(tmp_path / "weights", OTHER, variables, store.Meta(OTHER, "made-up.pth", "ab" * 32))
    assert run(OTHER, "--out", tmp_path / "out", "--platforms", "cpu") == 0
    record = json.loads((tmp_path / "out" / "export.json").read_text("utf-8"))
    assert record["tracker"]["window_influence"] == 0.375
    assert record["output"]["kind"] == "tokens"
    assert record["output"]["loc_counts_from"].endswith("as if it lay exactly around its centre")
    assert record["output"]["loc"] == "channels: the box's centre (x, y), width and height, in sides of x"
    assert record["programs"]["search"]["outputs"][1]["shape"] == [1, 32, 32, 4]


def test_mistakes_are_one_sentence(weights, tmp_path, capsys):
    out = ("--out", tmp_path / "out")
    line = error_of(capsys, "siamrpm", *out)
    assert "no Siamese tracker or .safetensors file called 'siamrpm': did you mean siamrpn" in line
    assert "published.pth is a PyTorch file: import it first" in error_of(capsys, "published.pth", *out)
    assert "there is no file" in error_of(capsys, tmp_path / "none.safetensors", *out)
    line = error_of(capsys, "nanotrack", *out)
    assert "there are no weights" in line
    assert line.endswith("; `jaxtrack export` takes such a file in the tracker's place")
    assert "there is no platform 'gpu'" in error_of(capsys, weights, *out, "--platforms", "cpu,gpu")
    assert "platform cpu is named twice" in error_of(capsys, weights, *out, "--platforms", "cpu,cpu")
    assert "at least 1 image" in error_of(capsys, weights, *out, "--batch", "0")
    # Said before weights are looked for, which may take a while.
    assert "is there already" in error_of(capsys, tmp_path / "none.safetensors", "--out", tmp_path)
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert "was changed or cut off" in error_of(capsys, weights, *out)
    assert not (tmp_path / "out").exists()


def test_a_backbone_alone_is_not_exported(weights, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(BACKBONES, "trunk", NAME)
    variables, _ = store.load(weights)
    body = {collection: {"backbone": parts["backbone"]} for collection, parts in variables.items()}
    path = store.save(tmp_path / "weights", "trunk", body, store.Meta("trunk", "made-up.pth", "ab" * 32))
    assert "trunk.safetensors is a backbone alone" in error_of(capsys, path, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [["siamrpn"], ["--out", "x"], ["siamrpn", "--out", "x", "--format", "tflite"]])
def test_command_lines_that_are_not_understood_end_with_2(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    assert capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_published_weights_are_exported(test_data, tmp_path):
    source = test_data / "weights" / "nanotrack" / "nanotrackv3.pth"
    if not source.is_file():
        pytest.skip(f"{source} is not there")
    pytest.importorskip("torch", reason="reading published weights needs torch")
    assert main(["weights", "import", str(source), "--out", str(tmp_path)]) == 0
    assert run(tmp_path / "nanotrack_v3.safetensors", "--out", tmp_path / "out") == 0
    record = json.loads((tmp_path / "out" / "export.json").read_text("utf-8"))
    assert record["architecture"] == "nanotrack_v3"
    assert record["formats"]["stablehlo"]["greatest_difference"] < 1e-5
