"""What several tests of the loop start from."""

import jax
import jax.numpy as jnp
import pytest
import tiny_training

from jaxtrack.models.siamese import ARCHITECTURES
from jaxtrack.training import loop

BEST_STEP = 4  # of the validations of `events`


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


@pytest.fixture
def events(monkeypatch):
    """What a training does, in its order, with steps that compute nothing."""
    found = []

    def make_step(recipe, stage, updates, devices, notice):
        found.append(f"compile {stage.name}")
        notice()

        def step(state, items, numbers):
            found.append("step")
            return state.replace(step=state.step + 1), {"loss": jnp.zeros(())}

        return step

    def validator(config, recipe, devices, notice):
        if config.held_out is None:
            return lambda state: {}

        def validate(state):
            if "validate" not in found:
                notice()
            found.append("validate")
            return {"iou": 1 / (1 + abs(int(state.step) - BEST_STEP))}

        return validate

    finish = loop._finish
    monkeypatch.setattr(loop, "make_step", make_step)
    monkeypatch.setattr(loop, "validator", validator)
    monkeypatch.setattr(loop, "_finish", lambda state: found.append("finish") or finish(state))
    return found
