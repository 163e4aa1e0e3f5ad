"""Which networks a tracker can be made around, and what its weights are answered with."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny_training

from jaxtrack.errors import UserError
from jaxtrack.models.siamese import ARCHITECTURES, for_inference, shapes
from jaxtrack.trackers import siamese, transt
from jaxtrack.weights import places, store
from jaxtrack.weights.siamese import Family, described, network_of, zeros

POINTS, TOKENS = Family(("points",), "network of points"), Family(("tokens",), "network of tokens")
ARCHITECTURE = tiny_training.ARCHITECTURE


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a configuration has of its network."""

    architecture: str = "tiny_points"
    weights: str = ""


@pytest.fixture
def variables(monkeypatch):
    """Those of a network of points by the name `tiny_points`, positive numbers."""
    monkeypatch.setitem(ARCHITECTURES, "tiny_points", ARCHITECTURE)
    draw = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: 0.5 + draw.random(leaf.shape, np.float32), shapes(ARCHITECTURE))


@pytest.fixture
def folder(variables, tmp_path, monkeypatch):
    """Where names of weights are looked for; `tiny_points` and `mine` lie there, both of that network."""
    monkeypatch.setenv(places.FOLDER_VARIABLE, str(tmp_path))
    for name in ("tiny_points", "mine"):
        store.save(tmp_path, name, variables, store.Meta("tiny_points", "made-up.pth", "ab" * 32))
    return tmp_path


def test_every_network_belongs_to_one_tracker_by_what_its_cells_stand_for():
    families = siamese._NETWORKS, transt._NETWORKS
    assert sorted(families[0].names + families[1].names) == sorted(ARCHITECTURES)
    assert families[1].names == sorted(name for name in ARCHITECTURES if name.startswith("transt"))


def test_a_name_may_be_spelt_in_any_way_also_where_it_is_that_of_the_weights(folder):
    for spelt in ("tiny_points", "Tiny-Points"):
        assert POINTS.architecture(Settings(spelt)) is ARCHITECTURE
        assert POINTS.weights_file(Settings(spelt)) == folder / "tiny_points.safetensors"
        assert POINTS.params(Settings(spelt, "mine"))


def test_a_network_of_another_kind_is_not_there():
    with pytest.raises(UserError, match="no network of points called 'transt_nano'"):
        POINTS.architecture(Settings("transt_nano"))


def test_parameters_are_those_of_the_file_made_ready_for_tracking(folder, variables):
    expected = for_inference(ARCHITECTURE, variables)
    jax.tree.map(np.testing.assert_array_equal, POINTS.params(Settings(weights="mine")), expected)


def test_weights_of_another_network_are_answered_with_the_options_that_help(folder):
    with pytest.raises(UserError, match=r"mine\.safetensors holds weights of tiny_points, not of siamban_nano: "):
        POINTS.params(Settings("SiamBAN-nano", "mine"))
    with pytest.raises(UserError, match=r"by the option weights, or its network by the option architecture$"):
        POINTS.params(Settings("siamban_nano", "mine"))
    # No tracker of this family can be made around it: the option would be refused.
    with pytest.raises(UserError, match=r"not of transt_nano: give another file by the option weights$"):
        TOKENS.params(Settings("transt_nano", "mine"))


def test_the_sha256_is_the_records_unless_the_file_was_changed(folder):
    path = folder / "mine.safetensors"
    assert POINTS.sha256(Settings(weights="mine")) == store.read_meta(path).sha256
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"mine\.safetensors was changed or cut off"):
        POINTS.sha256(Settings(weights="mine"))


def test_parameters_that_know_nothing_have_every_shape_and_the_networks_functions_take_them(variables):
    nothing = zeros(ARCHITECTURE)
    expected = for_inference(ARCHITECTURE, variables)
    assert jax.tree.map(np.shape, nothing) == jax.tree.map(np.shape, expected)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(nothing))
    network = network_of(ARCHITECTURE)
    z, x = (jax.ShapeDtypeStruct((1, side, side, 3), np.float32) for side in (127, 255))
    kept = jax.eval_shape(network.template, nothing, z)
    found = jax.eval_shape(network.search, nothing, kept, x)
    assert [maps.shape for maps in found] == [(1, 25, 25, 2), (1, 25, 25, 4)]


def test_weights_are_told_of_where_they_have_another_name_than_the_network():
    assert described(Settings("a")) == described(Settings("a", "a")) == "a"
    assert described(Settings("a", "b")) == "a with weights b"
