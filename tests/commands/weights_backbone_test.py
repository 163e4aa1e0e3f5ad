"""`jaxtrack weights` with torchvision's ResNet-50, which becomes a backbone."""

import command_line
import numpy as np
import pytest
import torchvision_resnet

from jaxtrack.__main__ import main
from jaxtrack.weights import pytorch, store


def run(*arguments):
    return main(["weights", *map(str, arguments)])


@pytest.fixture
def state():
    """Zeros under torchvision's names; the classifier, which is left out, is not finite."""
    arrays = {name: np.zeros(shape, np.float32) for name, shape in torchvision_resnet.shapes().items()}
    arrays["fc.weight"][:] = np.nan
    return arrays


@pytest.fixture
def published(state, tmp_path, monkeypatch):
    """A file that stands for torchvision's, under the name that it is published by; changes of `state` are seen."""
    path = tmp_path / "resnet50-0676ba61.pth"
    path.write_bytes(b"stands for torchvision's file")
    monkeypatch.setattr(pytorch, "read", lambda _: dict(state))
    return path


def test_torchvisions_classifier_is_imported_as_a_backbone(published, tmp_path, capsys):
    assert run("import", published, "--out", tmp_path) == 0
    # siamese.md section 1.1: 265 tensors, 45,528,128 parameters.
    assert "resnet50.safetensors: resnet50, 265 arrays, 45,528,128 parameters" in capsys.readouterr().out
    imported = tmp_path / "resnet50.safetensors"
    for file in (published, imported):
        assert run("inspect", file) == 0
        assert capsys.readouterr().out.splitlines()[1] == "architecture: resnet50"
    assert run("verify", imported) == 0
    assert capsys.readouterr().out.startswith("OK: ")
    variables, _ = store.load(imported)
    imported.unlink()  # 182 MB
    for collection in ("params", "batch_stats"):
        assert list(variables[collection]) == ["backbone"]


def test_a_deeper_resnet_is_refused(published, state, tmp_path, capsys):
    state["layer3.22.conv1.weight"] = np.zeros((256, 1024, 1, 1), np.float32)
    out = ("--out", tmp_path / "weights")
    line = command_line.error_of("weights", capsys, "import", published, *out)
    assert "resnet50-0676ba61.pth: this is not torchvision's ResNet-50: it has layer3.22.conv1.weight" in line
    assert not (tmp_path / "weights").exists()


def test_the_architecture_can_be_named(published, state, tmp_path, capsys):
    state.clear()
    state["layer.weight"] = np.zeros(3, np.float32)
    line = command_line.error_of("weights", capsys, "import", published, "--architecture", "ResNet-50")
    assert "this is not torchvision's ResNet-50: it lacks bn1.bias" in line
