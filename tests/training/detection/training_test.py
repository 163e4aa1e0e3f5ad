"""The training of a region proposal network by the same loop as all others."""

import dataclasses
import functools
import json

import jax
import numpy as np
import pytest
import tiny_stills
from states import assert_same_bits, leaves

from jaxtrack.commands import train
from jaxtrack.errors import UserError
from jaxtrack.models import rpn2t
from jaxtrack.trackers import rpn2t as tracker
from jaxtrack.training import loop
from jaxtrack.training.detection import proposals, recall
from jaxtrack.training.detection.recipe import make_recipe

ONE = jax.devices()[:1]
HELD_OUT = tiny_stills.Squares(count=6, seed=9)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    for name, architecture in tiny_stills.ARCHITECTURES.items():
        monkeypatch.setitem(rpn2t.ARCHITECTURES, name, architecture)


def records(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_it_learns_to_propose_squares_and_a_tracker_loads_it(tmp_path):
    """At first no proposal fits: the smallest anchors have four times the area of a square."""
    config = tiny_stills.detection(validation=HELD_OUT, epochs=4, steps_per_epoch=25, checkpoint_steps=10)
    state = loop.train(config, tmp_path, devices=ONE)
    found = [record["validation_recall"] for record in records(tmp_path) if "validation_recall" in record]
    assert found[0] < 0.5
    assert found[-1] == 1.0
    path = train.write_weights(config, tmp_path, state, "tiny")
    params = tracker.init_params(tracker.Config(architecture="tiny_teacher", weights=str(path)), jax.random.key(0))
    np.testing.assert_array_equal(params["head"]["conv"]["bias"], state.params["head"]["conv"]["bias"])


def test_it_learns_two_images_by_heart(tmp_path, monkeypatch):
    """A proposal then overlaps each of their objects by 0.7 at least, which none does at first."""
    config = tiny_stills.detection(
        source=tiny_stills.Squares(2), batch=2, epochs=4, steps_per_epoch=75, box_weight=10.0, checkpoint_steps=1000
    )
    before, recipe = loop.first_state(config, make_recipe(config))[0], make_recipe(config)
    monkeypatch.setattr(recall, "found", functools.partial(proposals.found, overlap=0.7))
    same_images = dataclasses.replace(config, source=HELD_OUT, validation=config.source)
    measure = recall.validator(same_images, recipe, ONE)
    assert measure(before)["recall"] == 0
    assert measure(loop.train(config, tmp_path, devices=ONE))["recall"] == 1


def test_stopped_and_resumed_it_ends_with_the_same_bits(tmp_path):
    config = tiny_stills.detection()
    whole = loop.train(config, tmp_path / "whole", devices=ONE)
    stop = loop.Stop()

    def ask(record):
        stop.asked = True

    stopped = loop.train(config, tmp_path / "parts", devices=ONE, report=ask, stop=stop)
    assert 0 < int(stopped.step) < config.steps
    assert_same_bits(loop.train(config, tmp_path / "parts", devices=ONE), whole)


def test_one_device_and_four_agree(tmp_path):
    config = tiny_stills.detection(epochs=1, steps_per_epoch=2)
    one, four = (leaves(loop.train(config, tmp_path / str(n), devices=jax.devices()[:n])) for n in (1, 4))
    for name in one:
        if ".params" in name:
            assert np.linalg.norm(one[name] - four[name]) <= 1e-4 * np.linalg.norm(one[name]) + 1e-8, name


def test_other_images_are_another_training(tmp_path):
    loop.train(tiny_stills.detection(epochs=1), tmp_path, devices=ONE)
    with pytest.raises(UserError, match=r"another configuration .*source.count: 12 stored, 13 now"):
        loop.train(tiny_stills.detection(epochs=1, source=tiny_stills.Squares(13)), tmp_path, devices=ONE)
