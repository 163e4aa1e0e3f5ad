"""A benchmark shared out over the processes of one or several hosts, which have a folder of results in common.

Nobody tells anybody anything: which sequences are a process's own follows from the benchmark and its number alone.
"""

import dataclasses
import heapq
import os
from collections.abc import Iterable, Sequence
from typing import TypeVar

from jaxtrack.data.sequences import Benchmark
from jaxtrack.errors import UserError
from jaxtrack.evaluation.store import StoredRun

# Variables of the environment with the number of processes and the number of this one, in the order in which JAX looks.
_LAUNCHERS = {
    "Open MPI": ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    "Slurm": ("SLURM_NTASKS", "SLURM_PROCID"),
}


_SomeBenchmark = TypeVar("_SomeBenchmark", bound=Benchmark)


@dataclasses.dataclass(frozen=True)
class Part:
    """The part of one process.

    Attributes:
      process: its number, from 0.
      processes: how many there are.
    """

    process: int = 0
    processes: int = 1

    def of(self, benchmark: _SomeBenchmark) -> _SomeBenchmark:
        """The benchmark with the sequences of this process alone, in the same order."""
        if self.processes == 1:
            return benchmark
        owners = owned([len(sequence) for sequence in benchmark.sequences], self.processes)
        own = [sequence for sequence, owner in zip(benchmark.sequences, owners, strict=True) if owner == self.process]
        return dataclasses.replace(benchmark, sequences=own)


def owned(lengths: Sequence[int], processes: int) -> list[int]:
    """Which process each sequence belongs to: the longest come first, each goes to the one with the fewest frames.

    >>> owned([100, 70, 60, 30], 2)
    [0, 1, 1, 0]

    Args:
      lengths: frames of each sequence.
      processes: how many there are.
    """
    owners = [0] * len(lengths)
    loads = [(0, process) for process in range(processes)]
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        frames, owners[i] = loads[0]
        heapq.heapreplace(loads, (frames + lengths[i], owners[i]))
    return owners


def part_of(processes: str, process: int | None) -> Part:
    """The part that a command line asks for.

    Args:
      processes: how many there are; "auto" where the launcher says; "" for one.
      process: the number of this one.

    Raises:
      UserError: they do not fit together, or no launcher is known.
    """
    if processes == "auto":
        if process is not None:
            raise UserError("--processes auto finds out --process: leave it out, or say how many processes there are")
        return _launched()
    if not processes:
        if process is not None:
            raise UserError("--process needs --processes, how many there are")
        return Part()
    if not processes.isdecimal() or int(processes) < 1:
        raise UserError(f"--processes must be auto or a number of at least 1, not {processes}")
    count = int(processes)
    if process is None:
        raise UserError("--processes needs --process, the number of this one, from 0")
    if not 0 <= process < count:
        raise UserError(f"--process counts from 0 to below --processes: {process} of {count} cannot be")
    return Part(process, count)


def _launched() -> Part:
    for count, number in _LAUNCHERS.values():
        if count in os.environ and number in os.environ:
            return part_of(os.environ[count], int(os.environ[number]))
    raise UserError(
        f"--processes auto is for what {' or '.join(_LAUNCHERS)} starts: give the number of processes, and --process"
    )


def unfinished(stores: Iterable[StoredRun], benchmark: Benchmark) -> int:
    """How many sequences of all runs are not stored."""
    return sum(not stored.done(sequence.name, len(sequence)) for stored in stores for sequence in benchmark.sequences)
