"""What several tests of the loop start from."""

import jax
import pytest
import tiny_training

from jaxtrack.models.siamese import ARCHITECTURES
from jaxtrack.training import loop


@pytest.fixture
def tiny(monkeypatch):
    """The tiny network can be asked for by name."""
    monkeypatch.setitem(ARCHITECTURES, "tiny", tiny_training.ARCHITECTURE)


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory):
    """The last state of the whole tiny training on one device, and its folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "tiny", tiny_training.ARCHITECTURE)
        folder = tmp_path_factory.mktemp("whole")
        return loop.train(tiny_training.config(), folder, devices=jax.devices()[:1]), folder
