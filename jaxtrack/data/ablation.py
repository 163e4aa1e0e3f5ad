"""The sequences of TC-128, NFS30 and UAV123 as one list of 352: what the RBO paper's ablations are measured on.

A sequence is called after its benchmark, `TC-128/Basketball`, because the three share names. Each has the same weight.
"""

import dataclasses
from collections.abc import Collection
from pathlib import Path

from jaxtrack.data import nfs, tc128, uav
from jaxtrack.data.folders import FolderBenchmark
from jaxtrack.data.sequences import Benchmark, SequenceInfo, title_of_part
from jaxtrack.errors import UserError

_TITLE = "TC-128 + NFS30 + UAV123"


@dataclasses.dataclass(frozen=True)
class Pool:
    """Several benchmarks as one; `benchmarks` loads, selects and lists it through this."""

    name: str
    title: str
    parts: tuple[FolderBenchmark, ...]
    names_known: bool = False

    @property
    def without_images(self) -> "Pool":
        """The pool as far as there are annotations."""
        return dataclasses.replace(self, parts=tuple(part.without_images for part in self.parts))

    def canonical_name(self, spelling: str) -> str:
        """What is given: names are known by the files alone."""
        return spelling

    def __call__(self, data_dir: Path | None, only: Collection[str] | None = None) -> Benchmark:
        """The sequences found below `data_dir`, or those of them that `only` names as BENCHMARK/SEQUENCE."""
        loaded, missing = [], []
        for part in self.parts:
            chosen = None if only is None else self._of_part(only, part)
            if part.count(data_dir)[0] if chosen is None else chosen:
                found = part(data_dir, chosen)
                loaded += [_renamed(part, sequence) for sequence in found.sequences]
                missing += [f"{part.title}/{name}" for name in found.missing]
        if not loaded:
            raise UserError(
                f"No sequence of {self.title} found: looked in {data_dir}; give by --data-dir the folder that holds "
                f"those of {', '.join(part.title for part in self.parts)}"
            )
        title = title_of_part(self.title, len(loaded), self._total, selected=only is not None)
        unnamed = 0 if only is not None else self._total - len(loaded) - len(missing)
        return Benchmark(self.name, title, loaded, tuple(missing), unnamed, protocol="pysot")

    def catalogue(self, data_dir: Path | None) -> list[SequenceInfo]:
        """Every sequence that is known by name or found."""
        return [_renamed(part, info) for part in self.parts for info in part.catalogue(data_dir)]

    def unlisted(self, data_dir: Path | None) -> str:
        """Why the catalogue does not name every sequence, a line for each part of which it does not; else ""."""
        return "\n".join(filter(None, (part.unlisted(data_dir) for part in self.parts)))

    def count(self, data_dir: Path | None) -> tuple[int, int]:
        """(number of sequences found below `data_dir`, number of all)."""
        return sum(part.count(data_dir)[0] for part in self.parts), self._total

    @property
    def _total(self) -> int:
        return sum(part.total for part in self.parts)

    def _of_part(self, only: Collection[str], part: FolderBenchmark) -> frozenset[str]:
        strangers = [name for name in only if name.partition("/")[0] not in {each.title for each in self.parts}]
        if strangers:
            titles = ", ".join(f"{each.title}/NAME" for each in self.parts)
            raise UserError(f"{strangers[0]} is no sequence of {self.title}: they are called {titles}")
        return frozenset(name.partition("/")[2] for name in only if name.partition("/")[0] == part.title)


def _renamed(part: FolderBenchmark, item):
    return dataclasses.replace(item, name=f"{part.title}/{item.name}")


BENCHMARKS = {
    "ablation352": Pool(
        "ablation352",
        _TITLE,
        (tc128.BENCHMARKS["tc128"], nfs.BENCHMARKS["nfs30"], uav.BENCHMARKS["uav123"]),
    )
}
