import dataclasses
import importlib
import pkgutil

import pytest

from jaxtrack import trackers
from jaxtrack.errors import UserError
from jaxtrack.tracker import Tracker
from jaxtrack.trackers import deeptrack, opencv
from jaxtrack.weights import store


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
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path))
    method = trackers.build(trackers.DEFAULT, trackers.default_config(trackers.DEFAULT))
    assert isinstance(method, trackers.JaxMethod)
    method.params()


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
