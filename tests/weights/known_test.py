import re

import pytest

from jaxtrack.models.siamese import ARCHITECTURES, BACKBONES, PUBLISHED, SMALL
from jaxtrack.trackers import siamese
from jaxtrack.weights import known, names, pytorch, store


def test_every_row_says_what_it_is_and_who_publishes_it():
    assert len(known.table()) > 10
    assert len({row.name for row in known.table()}) == len(known.table())
    for row in known.table():
        assert row.name, row
        assert row.what, row
        assert row.published_by, row
        assert row.import_as, row
        assert row.architecture in {**ARCHITECTURES, **BACKBONES}, row
        assert re.fullmatch(r"([0-9a-f]{16})?", row.sha256), row


def test_no_row_links_deeper_than_to_a_project():
    for row in known.table():
        assert re.fullmatch(r"torchvision|https://github\.com/[\w-]+/[\w-]+( \(.*\))?", row.published_by), row


def test_every_architecture_has_published_weights():
    # Of the two long-term networks one is published; which of them it is shows in the file.
    described = set(PUBLISHED) - {"siamrpn_r50_lt_unweighted"} | set(BACKBONES)
    assert {row.architecture for row in known.table()} == described


def test_trackers_look_for_their_weights_under_a_name_of_the_table():
    names = {row.import_as: row.architecture for row in known.table()}
    for config in siamese.CONFIGS.values():
        if config.architecture in SMALL:  # which jaxtrack trains by itself
            assert config.weights == config.architecture
            continue
        assert names[config.weights] == config.architecture


def test_a_file_is_known_by_the_begin_of_its_sha256():
    found = known.find("938a320c560fd8c8" + "0" * 48)
    assert found is not None
    assert found.name == "nanotrackv2"
    assert known.find("938a320c560fd8c9" + "0" * 48) is None


@pytest.mark.parametrize("name", ["nanotrackv1", "nanotrackv2", "nanotrackv3"])
def test_the_published_files_are_what_the_table_says(test_data, name):
    pytest.importorskip("torch")
    path = test_data / "weights" / "nanotrack" / f"{name}.pth"
    row = known.find(store.sha256_of(path))
    assert row is not None
    assert row.name == name
    assert row.architecture == names.detect({key: array.shape for key, array in pytorch.read(path).items()})
