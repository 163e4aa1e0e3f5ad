import types

import numpy as np
import pytest

from jaxtrack.data.sequences import Benchmark, Sequence
from jaxtrack.errors import UserError
from jaxtrack.evaluation import parts
from jaxtrack.evaluation.parts import Part

VARIABLES = ("SLURM_NTASKS", "SLURM_PROCID", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK")


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def benchmark(*lengths):
    sequences = [
        Sequence(f"S{i}", np.zeros((n, 1, 1, 3), np.uint8), np.ones((n, 4)), np.ones(n, np.bool_))  # type: ignore[arg-type]
        for i, n in enumerate(lengths)
    ]
    return Benchmark("toy", "Toy", sequences)


def names(part, whole):
    return [sequence.name for sequence in part.of(whole).sequences]


def test_every_sequence_has_one_process():
    whole = benchmark(5, 3, 9, 1, 1, 7, 2)
    found = [name for process in range(3) for name in names(Part(process, 3), whole)]
    assert sorted(found) == [f"S{i}" for i in range(7)]


def test_processes_have_about_equally_many_frames():
    # 9 to 0, 7 to 1, 5 to 2, 3 to 2 (which had 5), 2 to 1 (which had 7), 1 to 2 (which had 8), 1 to 0 (all had 9).
    assert parts.owned([5, 3, 9, 1, 1, 7, 2], 3) == [2, 2, 0, 2, 0, 1, 1]


def test_a_part_keeps_the_benchmark_s_order_and_its_name():
    own = Part(2, 3).of(benchmark(5, 3, 9, 1, 1, 7, 2))
    assert [sequence.name for sequence in own.sequences] == ["S0", "S1", "S3"]
    assert own.name == "toy"


def test_one_process_has_all():
    whole = benchmark(5, 3)
    assert Part().of(whole) is whole


def test_a_process_too_many_has_nothing():
    assert names(Part(2, 3), benchmark(4, 4)) == []


def test_what_is_not_stored_is_counted_over_all_runs():
    def stored(done):
        return types.SimpleNamespace(done=lambda name, frames: (name, frames) in done)

    runs = [stored({("S0", 5), ("S1", 3)}), stored({("S0", 4)})]
    assert parts.unfinished(runs, benchmark(5, 3, 9)) == 1 + 3  # type: ignore[arg-type]


def test_numbers_of_a_command_line():
    assert parts.part_of("", None) == Part(0, 1)
    assert parts.part_of("4", 3) == Part(3, 4)


@pytest.mark.parametrize(
    ("count", "number"), [("SLURM_NTASKS", "SLURM_PROCID"), ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK")]
)
def test_a_launcher_s_numbers(count, number, monkeypatch):
    monkeypatch.setenv(count, "8")
    monkeypatch.setenv(number, "5")
    assert parts.part_of("auto", None) == Part(5, 8)


def test_what_open_mpi_started_under_slurm_has_the_numbers_of_open_mpi(monkeypatch):
    for name, value in zip(VARIABLES, "1024", strict=True):
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="--process counts from 0 to below --processes: 4 of 2 cannot be"):
        parts.part_of("auto", None)


@pytest.mark.parametrize(
    ("processes", "process", "sentence"),
    [
        ("2", None, "--processes needs --process, the number of this one, from 0"),
        ("", 1, "--process needs --processes, how many there are"),
        ("2", 2, "2 of 2 cannot be"),
        ("2", -1, "-1 of 2 cannot be"),
        ("0", 0, "--processes must be auto or a number of at least 1, not 0"),
        ("many", 0, "--processes must be auto or a number of at least 1, not many"),
        ("auto", 0, "--processes auto finds out --process"),
        ("auto", None, "--processes auto is for what Open MPI or Slurm starts"),
    ],
)
def test_numbers_that_cannot_be(processes, process, sentence):
    with pytest.raises(UserError, match=sentence):
        parts.part_of(processes, process)
