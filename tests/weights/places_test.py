import dataclasses

import jax
import pytest
from weight_files import META

from jaxtrack.errors import MissingWeightsError, UserError
from jaxtrack.weights import places, store


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("siamban_r50", r"fetch the published file siamban_r50_l234 from https://github.com/hqucv/siamban \(.*\)"),
        ("mine", "fetch one of the published files that `jaxtrack weights list` names"),
    ],
)
def test_missing_weights_are_answered_with_the_file_to_fetch_and_the_command(tmp_path, monkeypatch, name, where):
    monkeypatch.setenv(places.FOLDER_VARIABLE, str(tmp_path))
    command = f"`jaxtrack weights import FILE --name {name} --out {tmp_path}`"
    message = rf"there are no weights .*{name}\.safetensors: {where}, then {command}"
    with pytest.raises(MissingWeightsError, match=message):
        places.locate(name)


def test_missing_weights_of_a_network_that_only_jaxtrack_trains_are_answered_with_the_training():
    with pytest.raises(MissingWeightsError, match=r"train them by `python train\.py`"):
        places.locate("siamban_pico")


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
    store.save(folders[0], "minimal", variables, META)
    with pytest.raises(MissingWeightsError, match=r"nanno\.safetensors: did you mean nano\? Else fetch one of the"):
        places.locate("nanno")
    with pytest.raises(MissingWeightsError, match=r"did you mean minimal\? Else "):
        places.locate("minimall")
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
