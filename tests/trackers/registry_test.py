import dataclasses
import importlib
import pkgutil
import re

import jax
import numpy as np
import pytest

from jaxtrack import trackers
from jaxtrack.errors import MissingWeightsError, UserError
from jaxtrack.images import make_frame
from jaxtrack.tracker import Tracker
from jaxtrack.trackers import deeptrack, mdnet, opencv, rpn2t, siamese, tadt, transt
from jaxtrack.weights import places


def test_every_module_with_configs_is_found():
    declared = {
        name
        for info in pkgutil.iter_modules(trackers.__path__, "jaxtrack.trackers.")
        for name in getattr(importlib.import_module(info.name), "CONFIGS", {})
    }
    assert set(trackers.names()) == declared
    assert {"deeptrack", "opencv-mil", "opencv-csrt", "opencv-kcf"} <= declared


@pytest.mark.parametrize("name", trackers.names())
def test_default_configs_are_frozen_and_lead_back_to_their_tracker(name):
    config = trackers.default_config(name)
    assert dataclasses.is_dataclass(config)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, dataclasses.fields(config)[0].name, None)
    assert type(trackers.default_config(trackers.name_of(config))) is type(config)
    assert trackers.description(name)


def test_the_default_tracker_runs_without_any_file_of_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv(places.FOLDER_VARIABLE, str(tmp_path))
    method = trackers.build(trackers.DEFAULT, trackers.default_config(trackers.DEFAULT))
    assert isinstance(method, trackers.JaxMethod)
    method.params()


def test_the_file_of_a_trackers_weights_is_known_by_its_configuration(tmp_path, monkeypatch):
    shipped = places.store.SHIPPED / "siamban_nano.safetensors"
    nano = trackers.default_config("siamban_nano")
    for config in (nano, siamese.Config("SiamBAN-Nano"), rpn2t.Config(weights="siamban_nano")):
        assert trackers.weights_file(config) == shipped
    # One of the user's own of the same name goes before it.
    monkeypatch.setenv(places.FOLDER_VARIABLE, str(tmp_path))
    (tmp_path / shipped.name).touch()
    assert trackers.weights_file(nano) == tmp_path / shipped.name
    with pytest.raises(MissingWeightsError, match=r"no weights .*mine\.safetensors"):
        trackers.weights_file(mdnet.Config(weights=str(tmp_path / "mine.safetensors")))


@pytest.mark.parametrize(
    "config",
    [deeptrack.Config(), opencv.MilConfig(), *(each.Config(weights="random") for each in (mdnet, rpn2t, tadt))],
)
def test_what_is_drawn_or_learnt_on_the_video_has_no_file(config):
    assert trackers.weights_file(config) is None


@pytest.mark.parametrize("name", trackers.names())
def test_a_tracker_that_tells_weights_from_others_tells_where_they_lie(name):
    module = trackers._declared()[name]
    assert hasattr(module, "weights_file") == hasattr(module, "weights_sha256")


def test_any_spelling_of_a_name_will_do():
    assert trackers.canonical_name("OpenCV_MIL") == "opencv-mil"


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(UserError, match="no tracker called 'deeptrak': did you mean deeptrack"):
        trackers.default_config("deeptrak")


def test_a_jax_tracker_is_built_as_a_pair_of_functions():
    method = trackers.build("deeptrack", deeptrack.Config())
    assert isinstance(method, trackers.JaxMethod)
    assert isinstance(method.tracker, Tracker)
    assert method.params() == {}


def test_a_host_tracker_is_built_as_a_maker_of_sessions():
    method = trackers.build("opencv-mil", opencv.MilConfig())
    assert isinstance(method, trackers.HostMethod)
    assert method.session(1) is not method.session(1)


def test_a_config_of_another_tracker_is_refused():
    with pytest.raises(TypeError, match="opencv-mil takes a MilConfig"):
        trackers.build("opencv-mil", deeptrack.Config())


def test_a_config_of_no_tracker_is_refused():
    with pytest.raises(UserError, match="str is not the configuration of any tracker"):
        trackers.name_of("deeptrack")


@pytest.fixture
def importing(monkeypatch):
    """Makes the import of the module of OpenCV's trackers fail for want of a package."""

    def fail(package):
        def import_module(name):
            if name == "jaxtrack.trackers.opencv":
                raise ModuleNotFoundError(f"No module named {package!r}", name=package)
            return original(name)

        monkeypatch.setattr(importlib, "import_module", import_module)
        trackers._modules.cache_clear()
        trackers._declared.cache_clear()

    original = importlib.import_module
    yield fail
    monkeypatch.undo()
    trackers._modules.cache_clear()
    trackers._declared.cache_clear()


def test_a_missing_optional_package_is_told_when_its_tracker_is_asked_for(importing):
    importing("torch.nn")
    assert "deeptrack" in trackers.names()
    with pytest.raises(UserError, match=r"the trackers of jaxtrack.trackers.opencv need the package torch.nn"):
        trackers.default_config("opencv-mil")


def test_a_missing_module_of_jaxtrack_is_a_defect_and_not_an_optional_package(importing):
    importing("jaxtrack.nowhere")
    with pytest.raises(ModuleNotFoundError):
        trackers.names()


# --- load ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", trackers.names())
def test_every_tracker_is_loaded_or_answered_with_what_it_needs(name, tmp_path, monkeypatch):
    monkeypatch.setenv(places.FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    if name.startswith("opencv"):
        with pytest.raises(UserError, match=r"runs on the host|the contrib build has"):
            trackers.load(name)
        return
    try:
        tracker, params = trackers.load(name)
    except MissingWeightsError:
        assert name not in ("siamban_nano", "deeptrack", "mdnet_random")
    else:
        assert isinstance(tracker, Tracker)
        assert (params == {}) == (name == "deeptrack")


def test_a_tracker_is_loaded_by_any_spelling_or_by_a_configuration():
    tracker, params = trackers.load("SiamBAN-nano")
    config = trackers.default_config("siamban_nano")
    assert tracker is siamese.tracker(config)
    assert params["params"]
    other = dataclasses.replace(config, penalty=0.3)
    assert trackers.load(other)[0] is siamese.tracker(other)
    with pytest.raises(UserError, match="there are no weights"):
        trackers.load(dataclasses.replace(config, weights="nowhere.safetensors"))


def test_a_tracker_on_the_host_is_loaded_in_the_way_that_the_message_says():
    with pytest.raises(UserError, match="opencv-mil runs on the host") as caught:
        trackers.load("opencv_mil")
    how = re.search(r"trackers\.build.*\(seed\)", str(caught.value))
    assert how
    session = eval(how[0], {"trackers": trackers, "seed": 0})
    assert callable(session.init)
    assert callable(session.update)


def test_a_name_that_there_is_not_is_answered_by_every_table():
    for name, module in (
        ("siambam", siamese),
        ("trans", transt),
        ("mdnett", mdnet),
        ("rpn2", rpn2t),
        ("deeptrak", deeptrack),
    ):
        with pytest.raises(UserError, match=f"no tracker of {module.__name__} called '{name}': did you mean"):
            module.CONFIGS[name]
    with pytest.raises(UserError, match=r"no tracker of jaxtrack\.trackers\.opencv called 'mil'"):
        opencv.CONFIGS["mil"]


# --- parameters of another tracker ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tracker", "network"),
    [
        (siamese.tracker(siamese.CONFIGS["siamban_nano"]), "siamban_nano"),
        (transt.tracker(transt.CONFIGS["transt_nano"]), "transt_nano"),
        (mdnet.tracker(), "mdnet_vggm"),
        (rpn2t.tracker(), "rpn2t_student"),
    ],
    ids=["siamese", "transt", "mdnet", "rpn2t"],
)
@pytest.mark.parametrize("params", [{}, None, {"backbone": np.ones(3)}], ids=["empty", "none", "others"])
def test_parameters_of_another_tracker_are_explained(tracker, network, params):
    with pytest.raises(UserError, match=f"^the parameters are not those of the network {network}: "):
        trace(tracker, params)


def test_parameters_of_another_size_of_network_are_explained():
    _, params = trackers.load("siamban_nano")
    pico = dataclasses.replace(siamese.CONFIGS["siamban_nano"], architecture="siamban_pico")
    with pytest.raises(UserError, match=r"network siamban_pico: params\['params'\].* is \[.*\], not \["):
        trace(siamese.tracker(pico), params)


def test_deeptrack_refuses_parameters():
    assert trace(deeptrack.tracker(), None)
    with pytest.raises(UserError, match="deeptrack has no parameters"):
        trace(deeptrack.tracker(), {"params": np.ones(3)})


def trace(tracker, params):
    frame, box = make_frame(np.zeros((48, 64, 3), np.uint8)), np.array([28, 20, 16, 16], np.float32)
    return jax.eval_shape(tracker.init, params, frame, box, jax.random.key(0))
