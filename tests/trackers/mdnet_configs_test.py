"""Configurations of MDNet and RankLoc: constants of the references, weights, backbones."""

import dataclasses
import functools
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from mdnet_synthetic import BOX, small

from jaxtrack import UserError, images
from jaxtrack.models import mdnet as models
from jaxtrack.models.backbones import BACKBONES
from jaxtrack.models.mdnet import ARCHITECTURES, Architecture
from jaxtrack.models.vgg_m import VGGM, MDNetHead
from jaxtrack.online.mining import Mining
from jaxtrack.trackers import mdnet
from jaxtrack.trackers.mdnet import CONFIGS, Config, Ranking
from jaxtrack.weights import known, online, places, store

TINY = Architecture(VGGM((4, 8, 8)), MDNetHead(16))


def test_profiles_hold_the_constants_of_their_references():
    # mdnet_family.md, sections 2.8, 2.11 and 3.2.
    rows = {
        "mdnet": (256, 5, 500, 5000, 50, 200, 30, 1e-4, 10, 3e-4, 96, 100, 20, 20, 10, None),
        "mdnet_py2019": (256, 5, 500, 5000, 50, 200, 50, 5e-4, 15, 1e-3, 96, 100, 30, 30, 10, 10.0),
        "rankloc": (300, 1, 500, 5000, 50, 50, 30, 2e-4, 10, 2e-4, 32, 100, 20, 20, 20, 10.0),
    }
    for name, row in rows.items():
        f = CONFIGS[name].framework
        found = (f.search.candidates, f.search.best, f.sampling.first_positives, f.sampling.first_negatives)
        found += (f.sampling.positives, f.sampling.negatives, f.mining.first_iterations, f.mining.first_rate)
        found += (f.mining.iterations, f.mining.rate, f.mining.negatives, f.memory.positive_frames)
        found += (f.memory.negative_frames, f.memory.short_frames, f.memory.interval, f.mining.clip_norm)
        assert found == row, name
    assert CONFIGS["mdnet"].loss == CONFIGS["rankloc_no_ranking"].loss == Ranking()
    assert CONFIGS["rankloc"].loss.ranking / CONFIGS["rankloc"].loss.classification == 0.5
    assert (CONFIGS["rankloc"].location, CONFIGS["rankloc_no_location"].location) == ("normalised", "none")


def test_profiles_draw_boxes_and_regress_them_as_their_references_do():
    # mdnet_family.md, sections 2.5, 2.7, 2.8, 2.10 and 2.11.
    matlab, pytorch = (1.05**5, 1.05**10, 1.05**5), (1.3, 1.6, 1.3)
    ridge = {"mdnet": ("penalised", "matlab"), "mdnet_py2019": ("free", "pytorch"), "rankloc": ("penalised", "matlab")}
    for name, scales in (("mdnet", matlab), ("mdnet_py2019", pytorch), ("rankloc", matlab)):
        f = CONFIGS[name].framework
        s, search, regression = f.sampling, f.search, f.regression
        found = (s.positive_scale, s.first_negative_scale, s.negative_scale)
        assert found == pytest.approx(scales), name
        assert (s.positive_translation, s.negative_translation) == (0.1, 2), name
        assert (s.positive_overlap, s.first_negative_overlap, s.negative_overlap) == (0.7, 0.5, 0.3), name
        assert (search.translation, search.scale, search.widening, search.widest) == (0.6, 1.05, 1.1, 1.5), name
        assert (regression.samples, regression.overlap, regression.penalty) == (1000, 0.6, 1000), name
        assert (regression.constant, regression.reference) == ridge[name], name


def test_rankloc_learns_by_the_numbers_of_the_specification():
    # mdnet_family.md, R1 to R4, R9, R11, R12 and R17: fc6 ten times as fast, biases as weights, as in PyTorch's MDNet.
    config = CONFIGS["rankloc"]
    loss, mining = config.loss, config.framework.mining
    assert (loss.rank_on, loss.margin, loss.pairs, loss.min_gap) == ("logit", None, "all", 1e-3)
    assert (mining.fast_layers, mining.fast_factor, mining.bias_factor, mining.bias_decay) == (("fc6",), 10, 1, True)
    assert (mining.positives, mining.candidates, mining.momentum, mining.weight_decay) == (32, 1024, 0.9, 5e-4)
    assert config.dropout == 0.5


def test_online_only_starts_from_imagenet_and_learns_longer_in_the_first_frame():
    """mdnet_family.md, R10: VGG-M's convolutions, random fully connected layers, 200 iterations; else RankLoc."""
    config, rankloc = CONFIGS["rankloc_online_only"], CONFIGS["rankloc"]
    mining = config.framework.mining
    assert (config.weights, config.architecture, mining.first_iterations) == ("vgg_m", "mdnet_vggm", 200)
    mining = dataclasses.replace(mining, first_iterations=rankloc.framework.mining.first_iterations)
    same = dataclasses.replace(config, framework=dataclasses.replace(config.framework, mining=mining))
    assert dataclasses.replace(same, weights="rankloc") == rankloc


@pytest.mark.parametrize("name", BACKBONES)
def test_mdnet_has_other_backbones_whose_published_weights_can_be_imported(name):
    config = CONFIGS[f"mdnet_{name}"]
    assert dataclasses.replace(config, architecture="mdnet_vggm", weights="mdnet") == CONFIGS["mdnet"]
    assert ARCHITECTURES[config.architecture].backbone is BACKBONES[name].module
    published = {row.import_as: row.architecture for row in known.online()}
    assert published[config.weights] in ARCHITECTURES[config.architecture].files
    # Layers that only the file has are left out, those that both have are of one shape.
    wanted = models.shapes(ARCHITECTURES[config.architecture])["params"]["backbone"]
    there = online.shapes(published[config.weights])["params"]["backbone"]
    assert {layer: there[layer] for layer in wanted} == wanted


@pytest.mark.parametrize("name", BACKBONES)
def test_random_weights_do_for_every_backbone(name):
    config = dataclasses.replace(CONFIGS[f"mdnet_{name}"], weights="random")
    params = jax.eval_shape(lambda key: mdnet.init_params(config, key), jax.random.key(0))
    frame = images.make_frame(np.zeros((60, 80, 3), np.uint8))
    state = jax.eval_shape(mdnet.tracker(config).init, params, frame, BOX, jax.random.key(0))
    assert state.positives.first.features.shape == (500, params["head"]["fc4"]["kernel"].shape[0])
    jax.eval_shape(mdnet.tracker(config).step, params, state, frame)


def test_random_weights_need_no_file_and_are_always_the_same():
    config = Config(architecture="mdnet_small", weights="random")
    shapes = jax.eval_shape(lambda key: mdnet.init_params(config, key), jax.random.key(0))
    assert shapes == models.shapes(ARCHITECTURES["mdnet_small"])["params"]
    assert mdnet.weights_sha256(config) is None
    assert "random" in mdnet.describe(config)


@pytest.mark.parametrize("name", ["mdnet", "rankloc"])
def test_a_narrow_tracker_differs_in_its_network_and_in_how_fast_it_learns(name):
    config, base = CONFIGS[f"{name}_small"], CONFIGS[name]
    rates = ("first_iterations", "first_rate", "iterations", "rate")
    mining, other = config.framework.mining, base.framework.mining
    assert all(getattr(mining, rate) > getattr(other, rate) for rate in rates)
    same = dataclasses.replace(mining, **{rate: getattr(other, rate) for rate in rates})
    framework = dataclasses.replace(config.framework, mining=same)
    changes = {"architecture": "mdnet_vggm", "weights": name, "framework": framework, "tuned_on": ""}
    assert dataclasses.replace(config, **changes) == base


def test_an_unknown_architecture_is_refused_however_a_known_one_is_spelt():
    with pytest.raises(UserError, match="no architecture called 'mdnet_big'"):
        mdnet.tracker(Config(architecture="mdnet_big"))
    other = Config(architecture="MDNet-small", weights="random")
    assert jax.eval_shape(lambda key: mdnet.init_params(other, key), jax.random.key(0))
    assert mdnet.tracker(other) is mdnet.tracker(dataclasses.replace(other))


@pytest.fixture
def weights(monkeypatch):
    """Weights of an architecture, as if read from a file."""
    content = models.shapes(ARCHITECTURES["mdnet_small"])

    def of(architecture):
        monkeypatch.setattr(places, "locate", lambda name: Path(f"{name}.safetensors"))
        monkeypatch.setattr(store, "load", lambda path: (content, SimpleNamespace(architecture=architecture)))
        return content["params"]

    return of


def test_weights_of_the_architecture_are_taken_and_others_refused(weights):
    config = Config(architecture="MDNet-small", weights="mine")
    expected = weights("mdnet_small")
    assert mdnet.init_params(config, jax.random.key(0)) == expected
    weights("mdnet_vggm")
    with pytest.raises(UserError, match=r"mine.safetensors holds weights of mdnet_vggm, not of mdnet_small"):
        mdnet.init_params(config, jax.random.key(0))


def test_of_a_file_with_a_backbone_alone_its_layers_are_taken_and_the_head_is_random(monkeypatch):
    architecture = dataclasses.replace(TINY, files=("vgg_m",))
    monkeypatch.setitem(ARCHITECTURES, "mdnet_slim", architecture)
    drawn = models.stored(models.initial(architecture, jax.random.key(0)))
    layers = jax.tree.map(lambda leaf: np.full(leaf.shape, 7.0, np.float32), drawn["backbone"])
    content = {"params": {"backbone": {**layers, "conv4": {"kernel": np.zeros(3), "bias": np.zeros(3)}}}}
    kind = SimpleNamespace(architecture="vgg_m")
    monkeypatch.setattr(places, "locate", lambda name: Path(f"{name}.safetensors"))
    monkeypatch.setattr(store, "load", lambda path: (content, kind))
    config = Config(architecture="mdnet_slim", weights="vgg_m")
    found = mdnet.init_params(config, jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, found, {"backbone": layers, "head": drawn["head"]})
    # Of a network that is none of this backbone's, and of another width.
    kind.architecture = "vgg16"
    with pytest.raises(UserError, match=r"vgg_m\.safetensors holds weights of vgg16, not of mdnet_slim"):
        mdnet.init_params(config, jax.random.key(0))
    kind.architecture = "vgg_m"
    content["params"]["backbone"]["conv3"] = {"kernel": np.zeros(3), "bias": np.zeros(3)}
    with pytest.raises(UserError, match=r"vgg_m\.safetensors holds weights of vgg_m, not of mdnet_slim"):
        mdnet.init_params(config, jax.random.key(0))


DEEP = dataclasses.replace(TINY, head=MDNetHead(16, hidden=3), shallower=("mdnet_slim",))


def test_a_network_with_a_third_hidden_layer_begins_with_weights_of_one_with_two(monkeypatch, tmp_path):
    monkeypatch.setitem(ARCHITECTURES, "mdnet_slim", TINY)
    monkeypatch.setitem(ARCHITECTURES, "mdnet_slim_hidden3", DEEP)
    two, three = (models.stored(models.initial(each, jax.random.key(1))) for each in (TINY, DEEP))
    paths = {
        name: str(store.save(tmp_path, name, {"params": params}, store.Meta(name, "a test", "")))
        for name, params in (("mdnet_slim", two), ("mdnet_slim_hidden3", three))
    }

    def loaded(network, weights):
        return mdnet.init_params(Config(architecture=network, weights=weights), jax.random.key(0))

    same = functools.partial(jax.tree.map, np.testing.assert_array_equal)
    same(loaded("mdnet_slim", paths["mdnet_slim"]), two)
    same(loaded("mdnet_slim_hidden3", paths["mdnet_slim_hidden3"]), three)
    found, random = loaded("mdnet_slim_hidden3", paths["mdnet_slim"]), loaded("mdnet_slim_hidden3", "random")
    same(found, {"backbone": two["backbone"], "head": {**two["head"], "fc5b": random["head"]["fc5b"]}})
    with pytest.raises(UserError, match=r"holds weights of mdnet_slim_hidden3, not of mdnet_slim$"):
        loaded("mdnet_slim", paths["mdnet_slim_hidden3"])


@pytest.mark.parametrize("name", ["mdnet_vggm", "mdnet_small"])
def test_networks_with_a_third_hidden_layer_are_the_others_but_for_it(name):
    two, three = ARCHITECTURES[name], ARCHITECTURES[f"{name}_hidden3"]
    assert dataclasses.replace(three, head=two.head, shallower=()) == two
    assert dataclasses.replace(three.head, hidden=2) == two.head
    assert three.shallower == (name,)


def test_a_third_hidden_layer_may_learn_fast_where_there_is_one():
    fast = small(mining=Mining(fast_layers=("fc5b", "fc6")))
    assert Config(architecture="MDNet-VGGM-hidden3", framework=fast)
    with pytest.raises(UserError, match="fast_layers of Mining may be fc4, fc5, fc6, not 'fc5b'"):
        Config(framework=fast)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: Config(location="normalized"), "location of Config must be one of none, normalised, printed"),
        (lambda: Config(location_of="target"), "location_of of Config must be one of box, crop"),
        (lambda: Config(dropout=1.5), "dropout of Config must be from 0 to 1, not 1.5"),
        (lambda: Config(dropout=1.0), "dropout of Config must be less than 1"),
        (
            lambda: Config(framework=small(mining=Mining(fast_layers=("fc6", "fc9")))),
            "fast_layers of Mining may be fc4, fc5, fc6, not 'fc9'",
        ),
        (lambda: Ranking(ranking=-1.0), "ranking of Ranking must be at least 0"),
        (lambda: Ranking(margin=-0.1), "margin of Ranking must be at least 0"),
        (lambda: Ranking(pairs="al"), "pairs of Ranking must be one of all, adjacent, disjoint, cross, not 'al'"),
        (lambda: Ranking(rank_on="odds"), "rank_on of Ranking must be one of logit, probability, not 'odds'"),
    ],
)
def test_a_configuration_that_cannot_run_is_refused_in_a_sentence(change, message):
    with pytest.raises(UserError, match=message):
        change()
