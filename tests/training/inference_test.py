"""From the configs of the ablation to the programs that track with their weights."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxtrack.commands.train import write_weights
from jaxtrack.images import make_frame
from jaxtrack.trackers import siamese
from jaxtrack.training import loop, presets


@pytest.fixture(scope="module")
def lowered(tmp_path_factory):
    """Per objective, what the compiler gets: the tracker's two functions and the shapes of its weights."""
    return {
        name: lower(tmp_path_factory.mktemp(name or "baseline"), objective)
        for name, objective in presets.ABLATION.items()
    }


def lower(folder, objective):
    config = dataclasses.replace(presets.nano("one", objective), architecture="siamban_pico")
    state, _ = loop.first_state(config, loop.make_recipe(config))
    weights = write_weights(config, folder, state, "one")
    config = dataclasses.replace(siamese.CONFIGS["siamban"], architecture="siamban_pico", weights=str(weights))
    tracker, params = siamese.tracker(config), siamese.init_params(config)
    start = params, make_frame(np.zeros((120, 160, 3), np.uint8)), np.ones(4, np.float32), jax.random.key(0)
    begun = jax.eval_shape(tracker.init, *start)
    return jax.jit(tracker.init).lower(*start).as_text(), jax.jit(tracker.step).lower(params, begun, start[1]).as_text()


def test_inference_is_the_same_program_with_and_without_ranking_losses(lowered):
    assert len(lowered) == 4
    for texts in lowered.values():
        assert all("stablehlo.convolution" in text for text in texts)
        assert texts == lowered[""]
