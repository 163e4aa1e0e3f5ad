import dataclasses

import pytest

from jaxtrack.errors import UserError
from jaxtrack.evaluation import run_record
from jaxtrack.evaluation.run_record import Run


@dataclasses.dataclass(frozen=True)
class Config:
    learning_rate: float = 0.1
    sizes: tuple[int, ...] = (107, 107)


RUN = Run("mdnet", Config(), seed=3, weights_sha256="ab" * 32)


@pytest.mark.parametrize(
    "change",
    [
        {"tracker": "siamban"},
        {"config": Config(learning_rate=0.2)},
        {"seed": 4},
        {"weights_sha256": None},
        {"batch_width": 8},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_determines_the_boxes_changes_the_id(change):
    assert dataclasses.replace(RUN, **change).id != RUN.id


def test_what_does_not_determine_the_boxes_leaves_the_id():
    assert dataclasses.replace(RUN, repeat=9, extra={"note": "x"}).id == RUN.id
    assert len(RUN.id) == 12


def test_what_is_written_is_read_back(tmp_path):
    run = dataclasses.replace(RUN, repeat=2, extra={"padded_lanes": (1, 2)})
    info = run_record.new("otb100", run)
    run_record.write(tmp_path, info)
    assert run_record.read(tmp_path) == info
    assert (info["id"], info["benchmark"], info["repeat"]) == (run.id, "otb100", 2)
    assert info["extra"] == {"padded_lanes": [1, 2]}
    assert info["identity"]["config"] == {"class": "Config", "learning_rate": 0.1, "sizes": [107, 107]}
    assert info["environments"] == []


def test_a_folder_without_a_record_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*run\.json: No such file"):
        run_record.read(tmp_path)


def test_a_record_of_another_format_is_refused(tmp_path):
    run_record.write(tmp_path, run_record.new("otb100", RUN) | {"format": 2})
    with pytest.raises(UserError, match="another version"):
        run_record.read(tmp_path)
