"""Multi-domain training by the same loop as all others: the same bits, whatever happens to it."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny_domains
from rich.console import Console
from states import assert_same_bits, leaves

from jaxtrack.commands import train
from jaxtrack.errors import UserError
from jaxtrack.models.mdnet import ARCHITECTURES
from jaxtrack.trackers import mdnet
from jaxtrack.trackers.mdnet import Ranking
from jaxtrack.training import loop
from jaxtrack.training.domains import probe
from jaxtrack.weights import places, store

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
ONE = jax.devices()[:1]
RANKED = {"loss": Ranking(classification=1.0, ranking=0.5), "location": "normalised"}


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "mdnet_tiny", tiny_domains.ARCHITECTURE)


def records(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "mdnet_tiny", tiny_domains.ARCHITECTURE)
        folder = tmp_path_factory.mktemp("whole")
        held_out = tiny_domains.Squares(count=2, seed=9)
        return loop.train(tiny_domains.config(**RANKED, validation=held_out), folder, devices=ONE), folder


def test_stopped_and_resumed_it_ends_with_the_same_bits(uninterrupted, tmp_path):
    config = tiny_domains.config(**RANKED, validation=tiny_domains.Squares(count=2, seed=9))
    stop = loop.Stop()

    def ask(record):
        stop.asked = True

    stopped = loop.train(config, tmp_path, devices=ONE, report=ask, stop=stop)
    assert 0 < int(stopped.step) < config.steps
    assert_same_bits(loop.train(config, tmp_path, devices=ONE), uninterrupted[0])


def test_the_log_has_the_terms_the_speed_and_the_validation(uninterrupted):
    found = records(uninterrupted[1])
    assert [record["step"] for record in found] == [5, 10, 12]
    assert {"classification", "ranking", "loss", "gradient_norm", "frames_per_second"} < found[0].keys()
    # Eight weights, of a deviation of 0.01 at first.
    assert all(0.01 < record["location_norm"] < 0.5 for record in found)
    assert all(0 <= record["validation_auc"] <= 1 for record in found)
    assert found[0]["loss"] == pytest.approx(found[0]["classification"] + 0.5 * found[0]["ranking"], rel=1e-5)


def test_one_device_and_four_agree(tmp_path):
    """Two steps: dropout, samples and the ranking over all devices' positives are the same."""
    config = tiny_domains.config(**RANKED, epochs=1, steps_per_epoch=2)
    one, four = (leaves(loop.train(config, tmp_path / str(n), devices=jax.devices()[:n])) for n in (1, 4))
    for name in one:
        if ".params" in name:
            assert np.linalg.norm(one[name] - four[name]) <= 1e-5 * np.linalg.norm(one[name]) + 1e-8, name


def test_it_learns(tmp_path, monkeypatch):
    """The loss of the last records is far below that of chance, ln 2."""
    monkeypatch.setattr(loop, "RECORD_STEPS", 15)
    config = tiny_domains.config(epochs=50, checkpoint_steps=1000)
    loop.train(config, tmp_path, devices=ONE)
    losses = [record["loss"] for record in records(tmp_path)]
    assert losses[-1] < 0.75 * losses[0]


def test_the_weights_are_what_a_tracker_loads(uninterrupted, tmp_path):
    state, _ = uninterrupted
    path = train.write_weights(tiny_domains.config(**RANKED), tmp_path, state, "tiny")
    assert store.read_meta(path).architecture == "mdnet_tiny"
    params = mdnet.init_params(mdnet.Config(architecture="mdnet_tiny", weights=str(path)), jax.random.key(0))
    assert set(params["head"]) == {"fc4", "fc5"}
    np.testing.assert_array_equal(params["head"]["fc5"]["bias"], state.params["head"]["fc5"]["bias"])
    started = loop.initial_variables(
        tiny_domains.config(start=str(path)), loop.make_recipe(tiny_domains.config(start=str(path)))
    )
    np.testing.assert_array_equal(
        started["params"]["backbone"]["conv1"]["kernel"], params["backbone"]["conv1"]["kernel"]
    )


def test_a_training_starts_from_a_backbone_alone(tmp_path, monkeypatch):
    shapes = loop.make_recipe(tiny_domains.config()).shapes()["params"]["backbone"]
    backbone = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.5, np.float32), shapes)
    monkeypatch.setattr(places, "locate", lambda name: name)
    monkeypatch.setattr(
        store, "load", lambda path: ({"params": {"backbone": backbone}}, store.Meta("vgg_m", "a file", ""))
    )
    config = tiny_domains.config(start="vgg_m")
    started = loop.initial_variables(config, loop.make_recipe(config))
    assert (np.asarray(started["params"]["backbone"]["conv2"]["kernel"]) == 0.5).all()
    assert np.asarray(started["params"]["head"]["fc4"]["kernel"]).std() == pytest.approx(0.01, rel=0.5)
    config = tiny_domains.config(start="vgg_m", architecture="mdnet_small")
    with pytest.raises(UserError, match="vgg_m holds vgg_m, the training is of mdnet_small"):
        loop.initial_variables(config, loop.make_recipe(config))


@pytest.fixture
def deep(monkeypatch):
    """The name of a network with a third hidden layer."""
    head = dataclasses.replace(tiny_domains.ARCHITECTURE.head, hidden=3)
    monkeypatch.setitem(ARCHITECTURES, "mdnet_deep", dataclasses.replace(tiny_domains.ARCHITECTURE, head=head))
    return "mdnet_deep"


def test_a_third_hidden_layer_is_trained_probed_written_and_loaded(tmp_path, deep):
    held_out = tiny_domains.Squares(count=1, seed=9)
    config = tiny_domains.config(**RANKED, architecture=deep, epochs=1, steps_per_epoch=2, validation=held_out)
    state = loop.train(config, tmp_path, devices=ONE)
    assert 0 <= records(tmp_path)[-1]["validation_auc"] <= 1
    path = train.write_weights(config, tmp_path, state, "deep")
    params = mdnet.init_params(mdnet.Config(architecture=deep, weights=str(path)), jax.random.key(0))
    assert params["head"].keys() == {"fc4", "fc5", "fc5b"}
    drawn = loop.initial_variables(config, loop.make_recipe(config))["params"]["head"]["fc5b"]["kernel"]
    assert not np.array_equal(params["head"]["fc5b"]["kernel"], drawn)
    # Another training may go on from it; one with two hidden layers may not.
    again = dataclasses.replace(config, start=str(path))
    started = loop.initial_variables(again, loop.make_recipe(again))["params"]["head"]
    np.testing.assert_array_equal(started["fc5b"]["kernel"], params["head"]["fc5b"]["kernel"])
    two = tiny_domains.config(start=str(path))
    with pytest.raises(UserError, match=r"holds mdnet_deep, the training is of mdnet_tiny$"):
        loop.initial_variables(two, loop.make_recipe(two))


def test_another_set_of_videos_is_another_training(uninterrupted):
    other = tiny_domains.config(**RANKED, source=tiny_domains.Squares(count=4))
    with pytest.raises(UserError, match=r"another configuration .*source.count: 3 stored, 4 now"):
        loop.train(other, uninterrupted[1], devices=ONE)


# --- the command ---------------------------------------------------------------------------------------------------


def test_the_command_takes_options_of_these_trainings_too():
    arguments = [
        "--config",
        str(CONFIGS / "rankloc_procedural.py"),
        "--set.source.count",
        "9",
        "--set.loss.margin",
        "1",
    ]
    _, config = train._parse(arguments, "train.py")
    assert (config.source.count, config.loss.margin, config.sampling.negatives) == (9, 1.0, 4)


def test_its_progress_counts_frames_and_shows_the_probe(capsys):
    record = {"step": 2, "loss": 1.0, "rate": 0.1, "frames_per_second": 3.0, "data_wait": 0.25, "validation_auc": 0.75}
    train._Progress(Console(width=200), tiny_domains.config(), train._bar(Console()))(record)
    assert "3.0 frames/s, 25% waiting for data" in (line := capsys.readouterr().out)
    assert line.rstrip().endswith("AUC 0.750")


# --- the probe -----------------------------------------------------------------------------------------------------


def test_the_area_under_the_curve_is_the_share_of_pairs_in_order():
    random = np.random.default_rng(1)
    scores, labels = random.integers(0, 6, 40).astype(float), random.integers(0, 2, 40)
    pairs = [(a, b) for a in scores[labels == 1] for b in scores[labels == 0]]
    expected = np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs])
    assert probe.auc(scores, labels) == pytest.approx(expected)
    assert np.isnan(probe.auc(scores, np.ones(40)))


def test_features_that_tell_the_target_separate_and_noise_does_not():
    random = np.random.default_rng(2)
    labels = np.tile(np.asarray([1, 0, 1, 0, -1, 0] * 4), (8, 1))
    noise = random.normal(size=(8, 24, 5))
    telling = np.concatenate([noise, 5.0 * (labels == 1)[..., None]], axis=-1)
    assert probe.separation(telling, labels) == 1.0
    assert 0.3 < probe.separation(noise, labels) < 0.7
    # What is learnt in the first frame must hold in the others.
    telling[1:, :, 5] *= -1
    assert probe.separation(telling, labels) < 0.1


@pytest.mark.parametrize("names", [("fc4", "fc5"), ("fc4", "fc5", "fc5b")])
def test_the_probe_reads_the_last_hidden_layer_after_its_relu(names, deep):
    recipe = loop.make_recipe(tiny_domains.config(architecture=deep if "fc5b" in names else "mdnet_tiny"))
    params = jax.tree.map(
        lambda leaf: jax.random.normal(jax.random.key(leaf.size), leaf.shape), recipe.shapes()["params"]["head"]
    )
    features = np.random.default_rng(3).normal(size=(5, 8)).astype(np.float32)
    found = features
    for name in names:
        found = np.maximum(found @ np.asarray(params[name]["kernel"]) + np.asarray(params[name]["bias"]), 0)
    np.testing.assert_allclose(probe.embedding(recipe, params, features), found, rtol=1e-4, atol=1e-4)
