"""Trackers put together around networks that are a few numbers."""

from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

from jaxtrack.errors import UserError
from jaxtrack.online import framework, loading
from jaxtrack.online.framework import Framework
from jaxtrack.weights import places, store

# A module of networks, as far as it is looked at here.
NETWORKS = SimpleNamespace(
    ARCHITECTURES={"net_large": 3.0, "net_small": 2.0},
    initial=lambda architecture, key: {"backbone": architecture, "head": {"kept": key, "dropped": 0}},
    stored=lambda params: {"backbone": params["backbone"], "head": {"kept": params["head"]["kept"]}},
)


@pytest.fixture
def weights(monkeypatch):
    """Weights of an architecture, as if read from a file."""

    def of(architecture):
        meta = SimpleNamespace(architecture=architecture)
        content = {"params": {"backbone": 1.0, "head": {"kept": 5, "dropped": 6}}}
        monkeypatch.setattr(places, "locate", lambda name: Path(f"{name}.safetensors"))
        monkeypatch.setattr(store, "load", lambda path: (content, meta))
        monkeypatch.setattr(store, "checked_sha256", lambda path: f"sha256 of {path}")

    return of


def test_a_network_is_known_however_it_is_spelt():
    assert loading.architecture_name(NETWORKS, "Net-Small") == "net_small"
    with pytest.raises(UserError, match="no architecture called 'net_smal': did you mean net_small"):
        loading.architecture_name(NETWORKS, "net_smal")


def test_random_weights_are_drawn_from_the_key_and_have_no_sha256():
    found = loading.params(NETWORKS, "net_small", "random", "the key")
    assert found == {"backbone": 2.0, "head": {"kept": "the key"}}
    assert loading.weights_sha256("random") is None


def test_of_a_file_is_taken_what_the_tracker_keeps(weights):
    weights("net_small")
    assert loading.params(NETWORKS, "net_small", "mine", None) == {"backbone": 1.0, "head": {"kept": 5}}
    assert loading.weights_sha256("mine") == "sha256 of mine.safetensors"


def test_weights_of_another_network_are_refused_unless_they_fit(weights):
    weights("other")
    with pytest.raises(UserError, match=r"mine\.safetensors holds weights of other, not of net_small"):
        loading.params(NETWORKS, "net_small", "mine", None, fitting=("another",))
    assert loading.params(NETWORKS, "net_small", "mine", None, fitting=("another", "other"))


def test_a_tracker_begins_every_video_with_a_new_head_and_goes_on_as_the_framework_does(monkeypatch):
    monkeypatch.setattr(framework, "init", lambda *arguments: ("init", *arguments))
    monkeypatch.setattr(framework, "step", lambda *arguments: ("step", *arguments))
    config, model, params = Framework(), object(), {"backbone": "fixed", "head": "stored"}
    tracker = loading.tracker(config, model, lambda head, key: (head, key))
    head_key, key = jax.random.split(jax.random.key(3))
    name, *arguments, begun, frame, box, passed = tracker.init(params, "frame", "box", jax.random.key(3))
    assert (name, arguments, frame, box) == ("init", [config, model, "fixed"], "frame", "box")
    assert begun == ("stored", head_key)
    assert passed == key
    assert tracker.step(params, "state", "frame") == ("step", config, model, "fixed", "state", "frame")
