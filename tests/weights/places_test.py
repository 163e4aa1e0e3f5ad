import dataclasses
import importlib.util
import re
from pathlib import Path

import jax
import pytest
from weight_files import META

from jaxtrack.errors import MissingWeightsError, UserError
from jaxtrack.models import mdnet as mdnet_models
from jaxtrack.models import rpn2t as rpn2t_models
from jaxtrack.trackers import mdnet, rpn2t, transt
from jaxtrack.weights import places, store


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("siamban_r50", r"fetch the published file siamban_r50_l234 from https://github.com/hqucv/siamban \(.*\)"),
        ("zebra", "fetch one of the published files that `jaxtrack weights list` names"),
    ],
)
def test_missing_weights_are_answered_with_the_file_to_fetch_and_the_command(tmp_path, monkeypatch, name, where):
    monkeypatch.setenv(places.FOLDER_VARIABLE, str(tmp_path))
    command = f"`jaxtrack weights import FILE --name {name} --out {tmp_path}`"
    message = rf"there are no weights .*{name}\.safetensors: {where}, then {command}"
    with pytest.raises(MissingWeightsError, match=message):
        places.locate(name)


@pytest.mark.parametrize(
    ("name", "training"),
    {
        "siamban_pico": "smoke",
        "siamban_nano": "siamban_nano_rbo",
        "transt_nano": "transt_nano",
        "transt_pico": "transt_smoke",
        "transt_rbo": "transt_full_rbo",
    }.items(),
)
def test_weights_that_nobody_publishes_are_answered_with_their_training_alone(tmp_path, monkeypatch, name, training):
    monkeypatch.setenv(places.FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setattr(store, "SHIPPED", tmp_path)
    with pytest.raises(MissingWeightsError) as error:
        places.locate(name)
    assert str(error.value).split(".safetensors: ", 1)[1] == (
        f"train them by `python train.py --config configs/{training}.py` and name "
        f"runs/{training}/{training}.safetensors by the option weights (--TRACKER.weights FILE)"
    )
    network = transt.CONFIGS[name].architecture if name in transt.CONFIGS else name
    assert (trained_by(training).name, trained_by(training).architecture) == (training, network)


# --- what trackers that learn online say without their weights ----------------------------------------------------


VGG_NET = "https://www.vlfeat.org/matconvnet/pretrained, then `jaxtrack weights import FILE"
MDNET = (
    "fetch the published file mdnet_vot-otb from https://github.com/hyseob/MDNet (folder models), then `jaxtrack "
    "weights import FILE --architecture mdnet_vggm --name mdnet --out {}`, or train them by `python train.py --config "
    "configs/mdnet_vot58.py` and name runs/mdnet_vot58/mdnet_vot58.safetensors by the option weights "
    "(--TRACKER.weights FILE), or take the tracker mdnet_small, whose weights come with jaxtrack"
)
RANKLOC = (
    "train them by `python train.py --config configs/rankloc_vot58.py` and name "
    "runs/rankloc_vot58/rankloc_vot58.safetensors by the option weights "
    "(--TRACKER.weights FILE), or take the tracker rankloc_small, whose weights come with jaxtrack"
)
STUDENT = (
    "train them by `python train.py --config configs/rpn2t_student.py` and name "
    "runs/rpn2t_student/rpn2t_student.safetensors by the option weights "
    "(--TRACKER.weights FILE), or take the tracker rpn2t_small, whose weights come with jaxtrack"
)
TEACHER = (
    "fetch the published file ZF_faster_rcnn_final from https://github.com/rbgirshick/py-faster-rcnn (folder "
    "data/scripts), then `jaxtrack weights import FILE --name rpn2t_teacher --out {}`, or train them by `python "
    "train.py --config configs/rpn_zf_voc.py` and name runs/rpn_zf_voc/rpn_zf_voc.safetensors by the option weights "
    "(--TRACKER.weights FILE), or take the tracker rpn2t_small_teacher, whose weights come with jaxtrack"
)
ANSWERS = {
    "mdnet": MDNET,
    "mdnet_py2019": "fetch the published file mdnet_vot-otb from https://github.com/hyeonseobnam/py-MDNet (folder "
    "models), then `jaxtrack weights import FILE --name mdnet_py2019 --out {}`",
    "mdnet_alexnet": "fetch the published file alexnet-owt-7be5be79 from https://github.com/pytorch/vision (folder "
    "torchvision/models), then `jaxtrack weights import FILE --name alexnet --out {}`",
    "mdnet_zf": TEACHER,
    "mdnet_vgg16": f"fetch the published file imagenet-vgg-verydeep-16 from {VGG_NET} --name vgg16 --out {{}}`",
    "mdnet_vgg19": f"fetch the published file imagenet-vgg-verydeep-19 from {VGG_NET} --name vgg19 --out {{}}`",
    "rankloc": RANKLOC,
    "rankloc_no_ranking": RANKLOC,
    "rankloc_no_location": RANKLOC,
    "rankloc_online_only": f"fetch the published file imagenet-vgg-m from {VGG_NET} --name vgg_m --out {{}}`",
    "rpn2t": STUDENT,
    "rpn2t_mask_only": STUDENT,
    "rpn2t_all_positions": STUDENT,
    "rpn2t_teacher": TEACHER,
    "rpn2t_teacher_half": TEACHER,
}
ANSWERS |= {
    name: f"train them by `python train.py --config configs/{config}.py` and name runs/{config}/{config}.safetensors "
    "by the option weights (--TRACKER.weights FILE)"
    for name, config in {
        "mdnet_small": "mdnet_procedural",
        "rankloc_small": "rankloc_procedural",
        "rpn2t_small": "rpn2t_small_student",
        "rpn2t_small_teacher": "rpn_small_procedural",
    }.items()
}
TRACKERS = {name: module for module in (mdnet, rpn2t) for name in module.CONFIGS if name != "mdnet_random"}


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_that_learns_online_says_how_to_get_its_weights(folders, name):
    module = TRACKERS[name]
    with pytest.raises(MissingWeightsError) as error:
        module.init_params(module.CONFIGS[name], jax.random.key(0))
    assert str(error.value).split(".safetensors: ", 1)[1] == ANSWERS[name].format(folders[0])


def trained_by(name):
    """The configuration of a file of configs/."""
    path = Path(__file__).resolve().parents[2] / "configs" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.config()


def weights_of(name):
    """The name under which a tracker looks for its weights."""
    config = TRACKERS[name].CONFIGS[name]
    return config.weights or config.architecture


@pytest.mark.parametrize("name", [name for name in TRACKERS if weights_of(name) in places.TRAININGS])
def test_the_training_that_a_tracker_names_is_of_a_network_that_it_takes(name):
    config, training = TRACKERS[name].CONFIGS[name], places.TRAININGS[weights_of(name)]
    wanted = config.architecture
    taken = {wanted, *rpn2t_models.FITTING.get(wanted, ())}
    if wanted in mdnet_models.ARCHITECTURES:
        taken |= set(mdnet_models.ARCHITECTURES[wanted].files)
    assert trained_by(training).architecture in taken
    assert trained_by(training).name == training


def test_what_such_a_training_begins_with_is_answered_with_its_own_training(folders):
    start = trained_by("rpn2t_small_student").start
    answer = "train them by `python train.py --config configs/rpn_small_procedural.py`"
    with pytest.raises(MissingWeightsError, match=f"there are no weights {start}: {re.escape(answer)}$"):
        places.locate(start)


# --- where files are looked for -----------------------------------------------------------------------------------


def test_shipped_weights_are_found_by_their_name(folders):
    assert places.locate("nano") == folders[1] / "nano.safetensors"
    assert places.shipped() == [folders[1] / "nano.safetensors"]


def test_a_file_of_the_users_own_goes_before_the_shipped_one_even_if_it_is_damaged(folders):
    folders[0].mkdir()
    (folders[0] / "nano.safetensors").write_bytes(b"")
    assert places.locate("nano") == folders[0] / "nano.safetensors"


def test_a_path_means_no_shipped_file(folders):
    with pytest.raises(MissingWeightsError, match=r"there are no weights nano\.safetensors"):
        places.locate("nano.safetensors")


def test_a_missing_name_is_told_by_its_place_in_the_users_folder(folders):
    with pytest.raises(MissingWeightsError, match=f"there are no weights {folders[0] / 'other.safetensors'}: "):
        places.locate("other")


def test_a_misspelt_name_is_answered_with_those_that_there_are(folders, variables):
    store.save(folders[0], "quartz", variables, META)
    with pytest.raises(MissingWeightsError, match=r"nanno\.safetensors: did you mean nano\? Else fetch one of the"):
        places.locate("nanno")
    with pytest.raises(MissingWeightsError, match=r"did you mean quartz\? Else "):
        places.locate("quarz")
    with pytest.raises(MissingWeightsError, match=r"did you mean siamrpn_alex or "):
        places.locate("siamrpn_alexx")
    with pytest.raises(MissingWeightsError, match=r"xyz\.safetensors: fetch one of the published files"):
        places.locate("xyz")


def test_a_folder_is_called_one_and_its_files_of_weights_are_named(folders, tmp_path):
    (tmp_path / "run").mkdir()
    for path in (tmp_path / "run", f"{tmp_path}/run/"):
        with pytest.raises(UserError, match=r"run is a folder, no file of weights: expected a \.safetensors file"):
            places.locate(str(path))
    with pytest.raises(UserError, match=r"shipped is a folder, no file of weights: name a file in it, nano\.safetens"):
        places.locate(str(folders[1]))
    (tmp_path / "x.safetensors").mkdir()
    with pytest.raises(UserError, match=r"x\.safetensors is a folder, no file of weights"):
        places.locate(str(tmp_path / "x.safetensors"))


@pytest.mark.parametrize("name", ["notes.txt", "notes"])
def test_a_file_that_holds_no_weights_is_called_that(folders, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("text")
    for path in (name, tmp_path / name):
        with pytest.raises(UserError, match=rf"{name} is no file of weights: expected a \.safetensors file, or a name"):
            places.locate(str(path))


def test_an_absolute_path_to_nothing_is_no_name(folders, tmp_path):
    with pytest.raises(MissingWeightsError, match=rf"there is no file {tmp_path}/nano: expected a \.safetensors file"):
        places.locate(str(tmp_path / "nano"))


def test_a_name_goes_before_a_folder_of_that_name(folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nano").mkdir()
    assert places.locate("nano") == folders[1] / "nano.safetensors"


# --- on which test data they were chosen ------------------------------------------------------------------------


def test_weights_that_were_chosen_on_test_data_are_known_by_their_sha256(folders, variables, tmp_path):
    mine = jax.tree.map(lambda array: array + 1, variables)
    for folder, name, held in ((folders[1], "chosen", variables), (folders[0], "mine", mine)):
        store.save(folder, name, held, dataclasses.replace(META, chosen_on=f"test data of {name}"))
    (folders[1] / "nano.json").write_text("damaged")
    sha256s = [store.read_meta(folders[i] / f"{name}.safetensors").sha256 for i, name in ((1, "chosen"), (0, "mine"))]
    assert [places.chosen_on(sha256) for sha256 in sha256s] == ["test data of chosen", "test data of mine"]
    assert [places.chosen_on(other) for other in ("ab" * 32, None)] == ["", ""]
