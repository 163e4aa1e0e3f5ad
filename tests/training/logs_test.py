"""The log of a training: two files that say the same, whenever the process was killed."""

import csv
import json
import sys
import types
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxtrack.errors import UserError
from jaxtrack.training.logs import Log


def write(folder, *records, resumed_step=0):
    log = Log(folder, resumed_step)
    for record in records:
        log.write(record)
    return log


def lines(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def rows(folder):
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


RECORDS = [{"step": 10 * i, "loss": 1 / i, "note": f"a, {i}"} for i in range(1, 5)]


@pytest.fixture
def half_written(tmp_path):
    """The folder of four records whose last line was not finished."""
    write(tmp_path, *RECORDS)
    path = tmp_path / "log.jsonl"
    path.write_text(path.read_text()[:-9])
    return tmp_path


def test_both_files_hold_the_same_records(tmp_path):
    write(tmp_path / "new", *RECORDS)
    assert lines(tmp_path / "new") == RECORDS
    assert [{"step": int(r["step"]), "loss": float(r["loss"]), "note": r["note"]} for r in rows(tmp_path / "new")] == (
        RECORDS
    )


def test_every_record_is_on_disk_at_once(tmp_path):
    log = Log(tmp_path, 0)
    for count, record in enumerate(RECORDS, 1):
        log.write(record)
        assert len(lines(tmp_path)) == len(rows(tmp_path)) == count


def test_what_lies_after_the_step_of_a_resume_is_cut_off(tmp_path):
    write(tmp_path, *RECORDS)
    again = {"step": 30, "loss": 7.0, "note": "again"}
    log = write(tmp_path, again, resumed_step=20)
    assert log.records == lines(tmp_path) == [*RECORDS[:2], again]
    assert [row["loss"] for row in rows(tmp_path)] == ["1.0", "0.5", "7.0"]


def test_the_step_of_the_resume_itself_stays(tmp_path):
    write(tmp_path, *RECORDS)
    Log(tmp_path, 40)
    assert lines(tmp_path) == RECORDS


def test_a_half_written_last_line_is_dropped(half_written):
    log = write(half_written, {"step": 50, "loss": 0.2, "note": "next"}, resumed_step=40)
    assert [record["step"] for record in log.records] == [10, 20, 30, 50]
    assert lines(half_written) == log.records
    assert [row["step"] for row in rows(half_written)] == ["10", "20", "30", "50"]


@pytest.mark.parametrize(
    "damage", [b'{"step": 2', b"\0\0\0\0", b'{"note": "\xff"}', b"", b"20", b"[20]", b'{"loss": 1.0}']
)
def test_a_damaged_line_costs_no_other(tmp_path, damage):
    write(tmp_path, *RECORDS)
    path = tmp_path / "log.jsonl"
    one, _, *others = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([one, damage, *others, b""]))
    log = Log(tmp_path, 40)
    assert log.records == lines(tmp_path) == [RECORDS[0], *RECORDS[2:]]
    assert [row["step"] for row in rows(tmp_path)] == ["10", "30", "40"]


def test_a_table_that_was_left_behind_is_made_anew(tmp_path):
    write(tmp_path, *RECORDS)
    (tmp_path / "log.csv").write_text("step,loss\n10,")
    Log(tmp_path, 40)
    assert [row["note"] for row in rows(tmp_path)] == [record["note"] for record in RECORDS]


def test_new_columns_are_empty_in_the_rows_before_and_missing_ones_in_those_after(tmp_path):
    write(
        tmp_path, {"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.5, "validation_iou": 0.25}, {"step": 3, "loss": 1.0}
    )
    assert rows(tmp_path) == [
        {"step": "1", "loss": "2.0", "validation_iou": ""},
        {"step": "2", "loss": "1.5", "validation_iou": "0.25"},
        {"step": "3", "loss": "1.0", "validation_iou": ""},
    ]
    assert lines(tmp_path)[2] == {"step": 3, "loss": 1.0}


def test_numbers_that_are_not_finite_become_text(tmp_path):
    write(tmp_path, {"step": 1, "a": float("nan"), "b": float("-inf"), "c": np.float32(np.inf), "d": np.float32(0.5)})
    assert lines(tmp_path) == [{"step": 1, "a": "nan", "b": "-inf", "c": "inf", "d": 0.5}]
    # Strict readers of JSON know no NaN.
    json.loads((tmp_path / "log.jsonl").read_text(), parse_constant=pytest.fail)
    assert rows(tmp_path) == [{"step": "1", "a": "nan", "b": "-inf", "c": "inf", "d": "0.5"}]


def test_of_several_processes_the_first_writes_and_all_have_the_records(tmp_path, monkeypatch):
    write(tmp_path, *RECORDS)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    log = write(tmp_path, {"step": 30, "loss": 7.0, "note": "again", "new": 1.0}, {"step": 40}, resumed_step=20)
    assert [record["step"] for record in log.records] == [10, 20, 30, 40]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_becomes_known_later_joins_the_last_record(tmp_path):
    log = write(tmp_path, *RECORDS)
    amended = {**RECORDS[-1], "validation_iou": 0.25, "validation_rank": "nan"}
    assert log.amend(40, {"validation_iou": np.float32(0.25), "validation_rank": float("nan")}) == amended
    assert lines(tmp_path) == log.records == [*RECORDS[:-1], amended]
    assert [row["validation_iou"] for row in rows(tmp_path)] == ["", "", "", "0.25"]


def test_a_record_that_is_not_the_last_is_left_alone(tmp_path):
    log = write(tmp_path, *RECORDS)
    for step in (30, 50):
        assert log.amend(step, {"validation_iou": 0.25}) is None
    assert Log(tmp_path / "new", 0).amend(0, {"validation_iou": 0.25}) is None
    assert lines(tmp_path) == RECORDS


FULL = Path("/dev/full")
SENTENCE = (
    r"log.jsonl or what belongs to it could not be written \(No space left on device\): make room and start the tr"
)


@pytest.mark.skipif(not FULL.exists(), reason="there is no device that is always full")
def test_a_full_disk_is_a_sentence(tmp_path):
    log = write(tmp_path, *RECORDS[:2])
    for name in ("log.jsonl", "log.csv"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).unlink()
        (tmp_path / name).symlink_to(FULL)
        with pytest.raises(UserError, match=SENTENCE):
            log.write(RECORDS[2])
        (tmp_path / name).unlink()
        (tmp_path / name).write_bytes(content)


def test_a_full_disk_is_a_sentence_where_the_files_are_written_anew(tmp_path, monkeypatch):
    log = write(tmp_path, *RECORDS)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    for again in (lambda: Log(tmp_path, 40), lambda: log.write({"new": 1, "step": 50}), lambda: log.amend(50, {})):
        with pytest.raises(UserError, match=SENTENCE):
            again()


@pytest.fixture
def board(monkeypatch):
    """A stand-in for tensorboardX: the writers that were made, each with its scalars."""
    made = []

    class SummaryWriter:
        def __init__(self, logdir, **options):
            self.logdir, self.options, self.scalars, self.closed = logdir, options, [], 0
            made.append(self)

        def add_scalar(self, *scalar):
            self.scalars.append(scalar)

        def close(self):
            self.closed += 1

    module = types.ModuleType("tensorboardX")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "tensorboardX", module)
    return made


def test_tensorboard_gets_every_number_if_its_writer_is_installed(tmp_path, board):
    write(tmp_path, {"step": 10, "epoch": 1, "loss": 0.5, "iou": float("nan")}, {"step": 20, "loss": 0.25})
    [writer] = board
    assert writer.logdir == str(tmp_path / "tensorboard")
    assert writer.scalars == [("loss", 0.5, 10), ("loss", 0.25, 20)]


def test_tensorboard_forgets_what_is_made_again(tmp_path, board):
    write(tmp_path, *RECORDS)
    write(tmp_path, *RECORDS[2:], resumed_step=20)
    assert board[1].options == {"purge_step": 21}


def test_without_tensorboards_writer_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    write(tmp_path, *RECORDS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv", "log.jsonl"]


def test_tensorboards_writer_is_made_when_there_is_something_to_write_and_closed_in_the_end(tmp_path, board):
    log = Log(tmp_path, 0)
    log.close()
    assert board == []
    log.write(RECORDS[0])
    log.amend(10, {"validation_iou": 0.25})
    [writer] = board
    assert writer.scalars == [("loss", 1.0, 10), ("validation_iou", 0.25, 10)]
    assert writer.closed == 0
    log.close()
    assert writer.closed == 1
