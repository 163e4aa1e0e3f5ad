"""The command that a training ends with: one that `evaluate` takes, with the network and the terms of the training."""

import dataclasses
import shlex
from pathlib import Path

import pytest

from jaxtrack import trackers
from jaxtrack.commands import _tracker_choice, _trained_tracker, evaluate
from jaxtrack.trackers.mdnet import Ranking
from jaxtrack.training import kinds
from jaxtrack.training.config import TrainConfig, Training
from jaxtrack.training.factor_crops import FactorCrops
from jaxtrack.training.labels import TokenLabels
from jaxtrack.training.sources import FactorDisk

CONFIGS = {path.stem: _tracker_choice.load_config(path) for path in sorted(_tracker_choice.CONFIGS.glob("*.py"))}
TRAININGS = {name: config for name, config in CONFIGS.items() if isinstance(config, Training)}


def command_of(config, prog="train.py"):
    return _trained_tracker.command(config, Path("runs", config.name, f"{config.name}.safetensors"), prog)


def evaluated(command):
    """The tracker that `evaluate` is to run by a command line."""
    assert command.startswith("python evaluate.py ")
    _, [entry] = _tracker_choice.parse(evaluate.Options, shlex.split(command)[2:], prog="evaluate.py")
    return entry


@pytest.mark.parametrize("name", TRAININGS)
def test_evaluate_takes_the_command_of_every_config_file(name):
    config = TRAININGS[name]
    found = evaluated(command_of(config)).config
    assert found.weights == f"runs/{config.name}/{config.name}.safetensors"
    # A file with anchors' scores and offsets is one that the teacher takes, without them.
    assert found.architecture == {"zf_rpn": "rpn2t_teacher"}.get(config.architecture, config.architecture)


@pytest.mark.parametrize(
    ("name", "options"),
    {
        "siamrpn_full": "--tracker siamrpn --siamrpn.weights WEIGHTS",
        # Its calibration was chosen for the weights that come with jaxtrack.
        "siamban_nano_rbo": "--tracker siamban_nano --siamban-nano.weights WEIGHTS --siamban-nano.calibration 0.0",
        "smoke": "--tracker siamban --siamban.weights WEIGHTS --siamban.architecture siamban_pico",
        "transt_smoke": "--tracker transt_nano --transt-nano.weights WEIGHTS --transt-nano.architecture transt_pico",
        "mdnet_procedural": "--tracker mdnet_small --mdnet-small.weights WEIGHTS",
        "mdnet_zf_vot58": "--tracker mdnet_zf --mdnet-zf.weights WEIGHTS",
        "rankloc_procedural": "--tracker rankloc_small --rankloc-small.weights WEIGHTS",
        "rpn_zf_voc": "--tracker rpn2t_teacher --rpn2t-teacher.weights WEIGHTS",
        "rpn_small_procedural": "--tracker rpn2t_small_teacher --rpn2t-small-teacher.weights WEIGHTS",
        "rpn2t_small_student": "--tracker rpn2t_small --rpn2t-small.weights WEIGHTS",
    }.items(),
)
def test_the_command_names_the_tracker_the_file_and_the_network(name, options):
    weights = f"runs/{name}/{name}.safetensors"
    assert command_of(TRAININGS[name]) == f"python evaluate.py {options.replace('WEIGHTS', weights)}"


def test_the_readme_has_the_command_of_its_first_training():
    lines = (_tracker_choice.CONFIGS.parent / "README.md").read_text("utf-8").splitlines()
    assert lines[lines.index("python train.py") :].count(command_of(TRAININGS["smoke"])) == 1


def test_every_kind_of_trainings_has_one():
    assert _trained_tracker.TRACKED.keys() == kinds.KINDS.keys()


def test_no_constant_of_a_siamese_tracker_that_was_chosen_on_test_data_comes_with_it():
    config = dataclasses.replace(TRAININGS["siamrpn_full"], architecture="siamrpn_alex")
    found = evaluated(command_of(config))
    assert (found.tracker, found.config.architecture, found.config.tuned_on) == ("siamrpn", "siamrpn_alex", "")


def test_a_tracker_that_learns_goes_on_with_the_terms_and_the_features_of_its_training():
    rankloc = TRAININGS["rankloc_procedural"]
    loss = Ranking(classification=0.5, ranking=0.25, margin=0.2, pairs="all")
    found = evaluated(command_of(dataclasses.replace(rankloc, loss=loss, location="printed", location_of="crop")))
    assert found.tracker == "rankloc_small"
    assert (found.config.loss, found.config.location, found.config.location_of) == (loss, "printed", "crop")
    wide = dataclasses.replace(rankloc, architecture="mdnet_vggm")
    assert evaluated(command_of(dataclasses.replace(wide, loss=Ranking()))).tracker == "rankloc_no_ranking"
    assert evaluated(command_of(dataclasses.replace(wide, location="none"))).tracker == "rankloc_no_location"


def test_a_part_of_rankloc_on_a_narrow_network_learns_at_the_rates_of_the_whole():
    rankloc = TRAININGS["rankloc_procedural"]
    expected = trackers.default_config("rankloc_small")
    for changes in ({"loss": Ranking()}, {"location": "none"}):
        found = evaluated(command_of(dataclasses.replace(rankloc, **changes)))
        assert found.tracker == "rankloc_small"
        assert found.config.framework == expected.framework
        assert (found.config.loss.ranking > 0, found.config.location != "none") == (
            "loss" not in changes, "location" not in changes,
        )  # fmt: skip


@pytest.mark.parametrize("architecture", ["transt", "transt_nano"])
def test_search_regions_of_a_transt_are_those_of_its_pairs(architecture):
    rendered = TrainConfig(architecture=architecture, labels=TokenLabels())
    assert evaluated(command_of(rendered)).config.search_factor == 0
    disk = FactorDisk(crops=FactorCrops(template_factor=2.5, search_factor=5.0))
    found = evaluated(command_of(dataclasses.replace(rendered, source=disk, validation_pairs=0))).config
    assert (found.template_factor, found.search_factor) == (2.5, 5.0)


def test_the_command_is_called_as_the_trainings_was():
    config = TRAININGS["siamrpn_full"]
    assert command_of(config, "jaxtrack train").startswith("python -m jaxtrack evaluate --tracker siamrpn ")


def test_a_path_with_a_space_is_one_word():
    weights = "my runs/siamrpn's.safetensors"
    command = _trained_tracker.command(TRAININGS["siamrpn_full"], Path(weights), "train.py")
    assert evaluated(command).config.weights == weights
