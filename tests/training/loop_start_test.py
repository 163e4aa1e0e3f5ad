"""What a training starts from: drawn parameters, a backbone, a whole network."""

import jax
import numpy as np
import pytest
import tiny_training

from jaxtrack.errors import UserError
from jaxtrack.models import siamese
from jaxtrack.models.siamese import ARCHITECTURES, BACKBONES
from jaxtrack.training import loop
from jaxtrack.weights import store

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture
def backbone_file(tmp_path, monkeypatch):
    """Weights of the tiny network's backbone alone, every number of it 0.25."""
    monkeypatch.setitem(BACKBONES, "tiny_backbone", "tiny")
    shapes = siamese.shapes(tiny_training.ARCHITECTURE)
    backbone = {
        kind: {"backbone": jax.tree.map(lambda leaf: np.full(leaf.shape, 0.25, np.float32), part["backbone"])}
        for kind, part in shapes.items()
    }
    return store.save(tmp_path, "bone", backbone, store.Meta("tiny_backbone", "a file", ""))


def test_a_training_may_start_from_a_backbone_and_draws_the_rest(backbone_file):
    config = tiny_training.config(start=str(backbone_file))
    started = loop.initial_variables(config, loop.make_recipe(config))
    drawn = loop.initial_variables(tiny_training.config(), loop.make_recipe(config))
    for kind, part in started.items():
        assert all(bool((leaf == 0.25).all()) for leaf in jax.tree.leaves(part["backbone"]))
        rest, expected = ({name: x for name, x in tree.items() if name != "backbone"} for tree in (part, drawn[kind]))
        jax.tree.map(np.testing.assert_array_equal, rest, expected)


def test_a_network_that_uses_less_of_the_backbone_takes_what_it_has(backbone_file):
    config = tiny_training.config(start=str(backbone_file))
    recipe = loop.make_recipe(config)
    whole = loop._drawn_variables(config, recipe)
    less = {kind: {**part, "backbone": dict(list(part["backbone"].items())[:2])} for kind, part in whole.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_drawn_variables", lambda *_: less)
        started = loop.initial_variables(config, recipe)
    assert list(started["params"]["backbone"]) == list(less["params"]["backbone"])


def test_a_training_may_start_from_a_whole_network_but_not_from_another_one(backbone_file, tmp_path, monkeypatch):
    variables = jax.tree.map(
        lambda leaf: np.full(leaf.shape, 0.5, np.float32), siamese.shapes(tiny_training.ARCHITECTURE)
    )
    path = store.save(tmp_path, "whole", variables, store.Meta("tiny", "a file", ""))
    config = tiny_training.config(start=str(path))
    started = loop.initial_variables(config, loop.make_recipe(config))
    jax.tree.map(np.testing.assert_array_equal, started, variables)
    wider = siamese.SMALL["siamban_pico"]
    monkeypatch.setitem(ARCHITECTURES, "wider", wider)
    for file in (path, backbone_file):
        other = tiny_training.config(start=str(file), architecture="wider")
        with pytest.raises(UserError, match=r"holds tiny\w*, the training is of wider"):
            loop.initial_variables(other, loop.make_recipe(other))
