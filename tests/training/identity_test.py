"""Which trainings go on in a folder: the same configuration on the same data, wherever these lie."""

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from dataset_folders import prepared_got10k

from jaxtrack import files
from jaxtrack.errors import UserError
from jaxtrack.evaluation import provenance
from jaxtrack.models import siamese
from jaxtrack.training import identity
from jaxtrack.training.config import TrainConfig
from jaxtrack.training.sources import Disk, Procedural
from jaxtrack.weights import store


def begun(folder, config):
    """A folder of a training that has a checkpoint."""
    identity.write(folder, config, identity.inputs_of(config))
    (folder / "checkpoints" / "5").mkdir(parents=True)
    return folder


def goes_on(folder, config):
    identity.check(folder, config, identity.inputs_of(config))


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """The folders of two prepared datasets."""
    return [prepared_got10k(tmp_path_factory.mktemp("data") / name, [count]) for name, count in (("a", 2), ("b", 3))]


def test_a_moved_dataset_is_still_the_same(datasets, tmp_path):
    config = TrainConfig(source=Disk((datasets[0],), validation_folders=(datasets[1],)))
    folder = begun(tmp_path / "run", config)
    moved = [Path(shutil.copytree(dataset, tmp_path / str(i))) for i, dataset in enumerate(datasets)]
    goes_on(folder, dataclasses.replace(config, source=Disk((moved[0],), validation_folders=(moved[1],))))


@pytest.mark.parametrize(("train", "held_out", "named"), [(1, 1, "pairs"), (0, 0, "validation pairs")])
def test_another_dataset_is_refused_even_in_the_same_place(datasets, tmp_path, train, held_out, named):
    places = [tmp_path / "train", tmp_path / "held_out"]
    for place, dataset in zip(places, datasets, strict=True):
        shutil.copytree(dataset, place)
    config = TrainConfig(source=Disk((places[0],), validation_folders=(places[1],)))
    folder = begun(tmp_path / "run", config)
    goes_on(folder, config)
    for place, number in zip(places, (train, held_out), strict=True):
        shutil.rmtree(place)
        shutil.copytree(datasets[number], place)
    with pytest.raises(UserError, match=f"run holds a training on other data: its {named} have another content"):
        goes_on(folder, config)


def test_a_dataset_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="none is not there: make one by jaxtrack prepare"):
        identity.inputs_of(TrainConfig(source=Disk((tmp_path / "none",)), validation_pairs=0))


def test_validation_data_matter_only_where_there_is_a_validation(datasets, tmp_path):
    source = Disk((datasets[0],), validation_folders=(tmp_path / "none",))
    assert identity.inputs_of(TrainConfig(source=source, validation_pairs=0)).keys() == {"train", "start"}


def test_moved_textures_are_still_the_same_but_others_are_not(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        noise = np.random.default_rng(name == "c").integers(0, 255, (200, 200, 3), np.uint8)
        cv2.imwrite(str(tmp_path / name / "1.png"), noise)
    config = TrainConfig(source=Procedural(textures=tmp_path / "a"))
    folder = begun(tmp_path / "run", config)
    goes_on(folder, dataclasses.replace(config, source=Procedural(textures=tmp_path / "b")))
    with pytest.raises(UserError, match="its pairs and validation pairs have another content"):
        goes_on(folder, dataclasses.replace(config, source=Procedural(textures=tmp_path / "c")))


@pytest.fixture
def weights(tmp_path):
    """Writes weights of SiamBAN-pico, all of them one number."""
    shapes = siamese.shapes(siamese.ARCHITECTURES["siamban_pico"])

    def write(name, value):
        filled = {kind: _filled(part, value) for kind, part in shapes.items()}
        return str(store.save(tmp_path / "weights", name, filled, store.Meta("siamban_pico", "a file", "")))

    return write


def _filled(tree, value):
    if isinstance(tree, dict):
        return {name: _filled(child, value) for name, child in tree.items()}
    return np.full(tree.shape, value, np.float32)


def test_starting_weights_may_lie_elsewhere_or_be_gone_but_not_be_others(tmp_path, weights):
    config = TrainConfig(start=weights("a", 0.5))
    folder = begun(tmp_path / "run", config)
    goes_on(folder, dataclasses.replace(config, start=weights("moved", 0.5)))
    goes_on(folder, dataclasses.replace(config, start=str(tmp_path / "gone.safetensors")))
    for other in (weights("b", 0.25), ""):
        with pytest.raises(UserError, match="its starting weights have another content than what the configuration"):
            goes_on(folder, dataclasses.replace(config, start=other))


def test_a_training_from_random_parameters_has_no_start_to_be_gone(tmp_path):
    folder = begun(tmp_path / "run", TrainConfig())
    with pytest.raises(UserError, match="was begun from random parameters: leave out its start"):
        goes_on(folder, TrainConfig(start=str(tmp_path / "gone.safetensors")))


def test_what_is_kept_may_change_what_is_trained_may_not(tmp_path):
    config = TrainConfig()
    folder = begun(tmp_path, config)
    goes_on(folder, dataclasses.replace(config, keep=7, keep_from_epoch=3))
    with pytest.raises(UserError, match=r"another configuration \(compute: float32 stored, bfloat16 now\)"):
        goes_on(folder, dataclasses.replace(config, compute="bfloat16"))


def test_the_options_that_go_on_with_a_training_are_told_as_they_are_typed(tmp_path):
    first = TrainConfig(sync_norm=True, compute="bfloat16")
    folder = begun(tmp_path, dataclasses.replace(first, optimiser=dataclasses.replace(first.optimiser, clip=2.5)))
    options = "--set.optimiser.clip 2.5 --set.sync-norm --set.compute bfloat16"
    with pytest.raises(UserError, match=rf"\): go on with it by {options}, or begin one in another .* by --out DIR$"):
        goes_on(folder, TrainConfig())


def test_an_option_is_typed_as_its_value_needs():
    typed = [identity._option("--set.a.b-c", value) for value in (False, True, None, ["x", "y z"], "")]
    assert typed == ["--set.a.no-b-c", "--set.a.b-c", "--set.a.b-c None", "--set.a.b-c x 'y z'", "--set.a.b-c ''"]


def test_a_field_that_is_newer_than_the_training_counts_as_its_default(tmp_path):
    config = TrainConfig()
    folder = begun(tmp_path, config)
    stored = json.loads((folder / "config.json").read_text())
    del stored["compute"], stored["labels"], stored["objective"]["cr"], stored["optimiser"]["clip"]
    (folder / "config.json").write_text(json.dumps(stored))
    goes_on(folder, config)
    other = dataclasses.replace(config, optimiser=dataclasses.replace(config.optimiser, clip=3.0))
    with pytest.raises(UserError, match=r"another configuration \(optimiser.clip: 10.0 stored, 3.0 now\)"):
        goes_on(folder, other)


def test_another_kind_of_part_is_another_training(tmp_path):
    folder = begun(tmp_path, TrainConfig())
    sentence = r"source\.class: Procedural stored, Disk now.*go on with it by the config file that it was begun with"
    with pytest.raises(UserError, match=sentence):
        identity.check(folder, TrainConfig(source=Disk()), {"train": [], "start": ""})


def test_a_folder_belongs_to_a_training_before_there_is_a_checkpoint(tmp_path):
    goes_on(tmp_path, TrainConfig())
    identity.write(tmp_path, TrainConfig(), identity.inputs_of(TrainConfig()))
    goes_on(tmp_path, TrainConfig(keep=7))
    sentence = (
        r"\(seed: 0 stored, 1 now\): go on with it by --set.seed 0, or begin one in another folder by --out DIR, or "
        "delete this folder, which has no checkpoint yet"
    )
    with pytest.raises(UserError, match=sentence):
        goes_on(tmp_path, TrainConfig(seed=1))


def test_the_file_that_makes_a_folder_a_trainings_is_written_last(tmp_path, monkeypatch):
    written, write_text = [], files.write_text
    monkeypatch.setattr(files, "write_text", lambda path, text: written.append(path.name) or write_text(path, text))
    identity.write(tmp_path, TrainConfig(), {})
    assert written[-1] == "config.json"
    assert sorted(written) == ["config.json", "environment.json", "inputs.json"]


def test_checkpoints_of_an_unknown_training_are_refused(tmp_path):
    folder = begun(tmp_path, TrainConfig())
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"has checkpoints and no config.json that says of which training: put it back"):
        goes_on(folder, TrainConfig())


@pytest.mark.parametrize("name", ["config.json", "inputs.json"])
@pytest.mark.parametrize(
    "content",
    [b"", b'{"class": ', b"[]", b"\xff", b"[" * 100_000],
    ids=["empty", "cut off", "a list", "no text", "too deep"],
)
def test_a_damaged_file_is_named(tmp_path, name, content):
    folder = begun(tmp_path, TrainConfig())
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name} is damaged: put it back from a copy, or choose another folder"):
        goes_on(folder, TrainConfig())
    assert (folder / name).read_bytes() == content


def test_what_a_folder_says_is_what_was_written_first(tmp_path):
    assert identity.configuration(tmp_path) is None
    begun(tmp_path, TrainConfig(keep=3))
    assert identity.configuration(tmp_path) == provenance.to_json(TrainConfig(keep=3))
