"""Weights of NanoTrack v1, as arrays and stored."""

import types

import jax
import numpy as np
import pytest
from weight_files import META, NANO

from jaxtrack.commands.train import write_weights
from jaxtrack.models import siamese
from jaxtrack.training.config import TrainConfig
from jaxtrack.weights import places, store


@pytest.fixture(scope="session")
def variables():
    """Random weights of NanoTrack v1, some of them in Fortran order."""
    random = np.random.default_rng(0)
    shapes = siamese.shapes(siamese.ARCHITECTURES[NANO])
    return jax.tree.map(lambda leaf: np.asfortranarray(random.normal(size=leaf.shape).astype(np.float32)), shapes)


@pytest.fixture
def saved(variables, tmp_path):
    return store.save(tmp_path / "weights", "nano", variables, META)


@pytest.fixture
def trained(variables, tmp_path):
    """What a training that has ended leaves in its folder."""
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    (folder / store.TRAINING).write_text("{}")
    state = types.SimpleNamespace(step=1000, **variables)
    return write_weights(TrainConfig(name="mine", architecture=NANO), folder, state, "mine")


@pytest.fixture
def folders(variables, tmp_path, monkeypatch):
    """The user's folder, empty, and a shipped folder with one file called nano."""
    monkeypatch.setattr(store, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setenv(places.FOLDER_VARIABLE, str(tmp_path / "mine"))
    store.save(tmp_path / "shipped", "nano", variables, META)
    return tmp_path / "mine", tmp_path / "shipped"


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def save(torch, tmp_path):
    """Writes an object as PyTorch does and returns the path."""

    def write(content, **options):
        torch.save(content, tmp_path / "x.pth", **options)
        return tmp_path / "x.pth"

    return write
