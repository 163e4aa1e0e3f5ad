"""Which weights a Siamese tracker takes, and what it says of those that it cannot."""

import jax
import numpy as np
import pytest
import siamese_synthetic

from jaxtrack import UserError
from jaxtrack.data.sequences import Benchmark, Sequence
from jaxtrack.evaluation import runner
from jaxtrack.evaluation.run_record import Run
from jaxtrack.evaluation.store import open_run
from jaxtrack.models.siamese import ARCHITECTURES
from jaxtrack.trackers import siamese
from jaxtrack.trackers.siamese import CONFIGS, Config
from jaxtrack.weights import places, store
from jaxtrack.weights.names import to_flax

BGR = np.zeros((60, 80, 3), np.uint8)
BOX = np.asarray([20, 30, 50, 40], np.float32)


@pytest.fixture
def narrow_weights(tmp_path, monkeypatch):
    """A file of weights of a network `narrow`."""
    architecture = siamese_synthetic.narrow("nanotrack_v2")
    monkeypatch.setitem(ARCHITECTURES, "narrow", architecture)
    variables = to_flax(siamese_synthetic.state(architecture), architecture)
    return store.save(tmp_path, "mine", variables, store.Meta("narrow", "made-up.pth", "ab" * 32))


def test_weights_of_another_network_are_answered_with_the_options_that_help(narrow_weights):
    assert siamese.init_params(Config(architecture="narrow", weights=str(narrow_weights)))
    with pytest.raises(UserError, match=r"weights of narrow, not of siamban_r50: .* its network by the option arch"):
        siamese.init_params(Config(architecture="siamban_r50", weights=str(narrow_weights)))


def test_damaged_weights_are_told_even_where_all_results_are_stored_already(narrow_weights, tmp_path):
    config = Config(architecture="narrow", weights=str(narrow_weights))
    boxes, video = np.tile(BOX, (3, 1)), [BGR] * 3
    benchmark = Benchmark("two", "Two", [Sequence("a", video, boxes, np.ones(3, bool))])
    entry, results = runner.Entry("siamrpn", "siamrpn", config), tmp_path / "results"
    run = Run("siamrpn", config, 0, weights_sha256=store.read_meta(narrow_weights).sha256)
    open_run(results, "two", run).write("a", boxes, np.ones(3))
    [stored] = runner.evaluate([entry], benchmark, results)
    assert stored.id == run.id
    narrow_weights.write_bytes(narrow_weights.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"mine\.safetensors was changed or cut off after it was written"):
        runner.evaluate([entry], benchmark, results)


def test_a_training_of_ones_own_or_a_shipped_file_is_what_the_small_network_tracks_with(narrow_weights, monkeypatch):
    monkeypatch.setenv(places.FOLDER_VARIABLE, str(narrow_weights.parent / "none"))
    monkeypatch.setattr(store, "SHIPPED", narrow_weights.parent)
    shipped = narrow_weights.rename(narrow_weights.with_stem("siamban_nano"))
    assert siamese.weights_file(CONFIGS["siamban_nano"]) == shipped


def test_missing_weights_are_answered_with_the_command_that_brings_them(tmp_path, monkeypatch):
    monkeypatch.setenv(places.FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(UserError, match=r"no weights .*siamban_r50.safetensors: .*jaxtrack weights import"):
        siamese.init_params(CONFIGS["siamban"], jax.random.key(0))


def test_a_pytorch_file_given_as_weights_is_answered_with_the_import():
    with pytest.raises(UserError, match=r"nano.pth is a PyTorch file: import it first, by `jaxtrack weights import"):
        siamese.init_params(Config(weights="nano.pth"))
