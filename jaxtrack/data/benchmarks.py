"""Benchmarks by name: every module of this package that declares `BENCHMARKS` is found here.

`BENCHMARKS` maps a name to a loader, a function `(data_dir: Path | None) -> Benchmark`. One that reads files
and can tell of sequences without opening them all is a `Source` (see there) instead of a plain function. A
module may also declare `ALIASES` (other name -> name) and `REFUSED` (ambiguous name -> what to say).
"""

import contextlib
import dataclasses
import functools
import importlib
import os
import pkgutil
from collections.abc import Callable, Collection
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, cast, runtime_checkable

from jaxtrack.data.naming import match_name, plain
from jaxtrack.data.sequences import Benchmark, SequenceInfo, title_of_part
from jaxtrack.errors import UserError

DATA_VARIABLE = "JAXTRACK_DATA"


@runtime_checkable
class Source(Protocol):
    """A benchmark's loader that can also select and list sequences cheaply."""

    @property
    def title(self) -> str:
        """The benchmark's name as papers print it."""
        ...

    def __call__(self, data_dir: Path | None, only: Collection[str] | None = None) -> Benchmark:
        """Loads what is below `data_dir`, or the sequences `only` (official names), in the benchmark's order."""
        ...

    def canonical_name(self, spelling: str) -> str:
        """The official name of a sequence, or `UserError`.

        A source whose sequences are known by their files alone has an attribute `names_known` that is False; it
        returns what it is given, and refuses a name when it is called. Its method `unlisted(data_dir)` says what files
        it takes for `catalogue` to name every sequence, or "".
        """
        ...

    def catalogue(self, data_dir: Path | None) -> list[SequenceInfo]:
        """Every sequence of the benchmark, found or not."""
        ...

    def count(self, data_dir: Path | None) -> tuple[int, int]:
        """(number of sequences that are at hand, number of all), without opening them."""
        ...


@dataclasses.dataclass(frozen=True)
class Summary:
    """One line of the list of benchmarks: `found` of its `sequences` are at hand."""

    name: str
    title: str
    sequences: int
    found: int


def names() -> list[str]:
    """Names of all benchmarks, as `load` takes them."""
    return list(_declared("BENCHMARKS"))


def load(
    name: str, data_dir: Path | None = None, sequences: tuple[str, ...] | None = None, *, images: bool = True
) -> Benchmark:
    """Loads a benchmark, or the part of it that is there or asked for; its title says which.

    Args:
      name: one of `names()`, in any spelling, or another name that is known for it.
      data_dir: folder that holds `otb/` and the like, or the sequences themselves; None means the
        environment variable `JAXTRACK_DATA`. Benchmarks without files ignore it.
      sequences: the sequences to load, in any order and spelling; None means all that are there.
      images: whether images are needed; a source that has an attribute `without_images` can do without.

    Raises:
      UserError: unknown benchmark or sequence, no data, or broken data.
    """
    source, data_dir = _source(canonical_name(name)), _data_dir(data_dir)
    source = source if images else getattr(source, "without_images", source)
    if sequences is None:
        return source(data_dir)
    if not sequences:
        raise UserError(f"No sequence of {source.title} was selected: name at least one, or none to take all")
    return source(data_dir, frozenset(_sequence_name(source, sequence) for sequence in sequences))


def _sequence_name(source: Source, spelling: str) -> str:
    """The official name of a sequence; `UserError` that tells of other benchmarks which have it."""
    try:
        return source.canonical_name(spelling)
    except UserError as error:
        others = [name for name, other in _declared("BENCHMARKS").items() if _has(other, spelling)]
        if not others:
            raise
        said = f"{error} It" if str(error).endswith("?") else f"{error}; it"
        raise UserError(f"{said} is in {', '.join(others)}: name the benchmark by --benchmark") from error


def _has(loader: Any, spelling: str) -> bool:
    """Whether a benchmark that can tell without loading anything has a sequence."""
    if not getattr(loader, "names_known", True):
        return False
    with contextlib.suppress(UserError):
        return isinstance(loader, Source) and bool(loader.canonical_name(spelling))
    return False


def canonical_name(name: str) -> str:
    """The name among `names()` that `name` means; `UserError` with a suggestion if there is none."""
    refused = {plain(spelling): sentence for spelling, sentence in _declared("REFUSED").items()}
    if plain(name) in refused:
        raise UserError(refused[plain(name)])
    return match_name(name, names(), what="benchmark", aliases=_declared("ALIASES"))


def summaries(data_dir: Path | None = None) -> list[Summary]:
    """One line per benchmark: how many of its sequences are at hand."""
    lines = []
    for name in names():
        source = _source(name)
        found, total = source.count(_data_dir(data_dir))
        lines.append(Summary(name, source.title, total, found))
    return lines


def catalogue(name: str, data_dir: Path | None = None) -> list[SequenceInfo]:
    """Every sequence of a benchmark in its order: name, frames, first box, labels, and whether it is found."""
    return _source(canonical_name(name)).catalogue(_data_dir(data_dir))


def unlisted(name: str, data_dir: Path | None = None) -> str:
    """Why `catalogue` does not name every sequence of a benchmark, and what files it takes; "" where it does."""
    source = _source(canonical_name(name))
    return "" if getattr(source, "names_known", True) else cast(Any, source).unlisted(_data_dir(data_dir))


class _InMemory:
    """A plain loader, whose benchmark is complete and needs no files, as a `Source`."""

    def __init__(self, loader: Callable[[Path | None], Benchmark]):
        self._whole = loader(None)
        self.title = self._whole.title

    def canonical_name(self, spelling: str) -> str:
        known = [sequence.name for sequence in self._whole.sequences]
        return match_name(spelling, known, what=f"sequence of {self.title}")

    def __call__(self, data_dir: Path | None, only: Collection[str] | None = None) -> Benchmark:
        if only is None:
            return self._whole
        chosen = [sequence for sequence in self._whole.sequences if sequence.name in only]
        title = title_of_part(self.title, len(chosen), len(self._whole.sequences), selected=True)
        return dataclasses.replace(self._whole, title=title, sequences=chosen)

    def catalogue(self, data_dir: Path | None) -> list[SequenceInfo]:
        return [
            SequenceInfo(each.name, len(each), each.attributes, True, (each.boxes[0, 2], each.boxes[0, 3]))
            for each in self._whole.sequences
        ]

    def count(self, data_dir: Path | None) -> tuple[int, int]:
        return len(self._whole.sequences), len(self._whole.sequences)


def _source(name: str) -> Source:
    loader = _declared("BENCHMARKS")[name]
    return loader if isinstance(loader, Source) else _InMemory(loader)


def _data_dir(data_dir: Path | None) -> Path | None:
    """The folder given, else the one that the environment names."""
    chosen = data_dir if data_dir is not None else os.environ.get(DATA_VARIABLE) or None
    return None if chosen is None else Path(chosen).expanduser()


def _declared(attribute: str) -> dict[str, Any]:
    """All dictionaries called `attribute` in the modules of this package, merged."""
    merged = {}
    for module in _modules():
        for name, value in getattr(module, attribute, {}).items():
            if merged.setdefault(name, value) is not value:
                raise ValueError(f"{attribute}: {name!r} of {module.__name__} is declared elsewhere too")
    return merged


@functools.cache
def _modules() -> tuple[ModuleType, ...]:
    package = importlib.import_module("jaxtrack.data")
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    return tuple(importlib.import_module(name) for name in sorted(info.name for info in found))
