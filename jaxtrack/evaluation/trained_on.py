"""Which of the scored sequences a tracker's weights were trained on, as far as the records of weights tell."""

import contextlib
import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from jaxtrack import trackers
from jaxtrack.data import otb, otb_table, prepared
from jaxtrack.data.naming import plain
from jaxtrack.data.preparation import registry
from jaxtrack.data.sequences import Benchmark
from jaxtrack.errors import UserError
from jaxtrack.evaluation.runner import Entry
from jaxtrack.weights import places, store

_NAMED = 3  # sequences that a remark names
_Row = TypeVar("_Row")


def marked(rows: Iterable[_Row], entries: Iterable[Entry], benchmark: Benchmark) -> list[_Row]:
    """Rows of trackers, which have their names, with the field `trained_on` filled in."""
    names = [sequence.name for sequence in benchmark.sequences]
    found = {entry.label: remark(entry.config, benchmark.name, names) for entry in entries}
    return [dataclasses.replace(row, trained_on=found.get(row.name, "")) for row in rows]  # type: ignore[type-var, attr-defined]


def remark(tracker: Any, benchmark: str, names: Collection[str]) -> str:
    """What a remark says after "weights trained on"; empty if nothing tells of any of the sequences.

    Args:
      tracker: the configuration of a tracker.
      benchmark: the scored benchmark's short name.
      names: of the scored sequences.
    """
    seen = {name for training in _trainings(tracker) for name in sequences(training, benchmark, names)}
    found = [name for name in names if name in seen]
    if not found:
        return ""
    more = ", …" if len(found) > _NAMED else ""
    return f"{len(found)} of these {len(names)} sequences ({', '.join(found[:_NAMED])}{more})"


def sequences(training: Mapping[str, Any], benchmark: str, names: Collection[str]) -> list[str]:
    """Those of the scored sequences whose name a training's data have.

    Args:
      training: its configuration, JSON values as in the record of weights. Datasets that are not there any more are
        passed over.
      benchmark: as above. Other benchmarks' videos may have the same names, and are others.
      names: as above.
    """
    source = training.get("source")
    if not isinstance(source, dict) or str(source.get("class")) not in _TRAINED:
        return []
    try:
        videos = {
            plain(name)
            for family, each in _TRAINED[source["class"]](source)
            if family == _family(benchmark)
            for name in each
        }
    # A folder that is gone, a record of another version.
    except (UserError, OSError, KeyError, TypeError, AttributeError):
        return []
    folders = {entry.name: entry.folder for entry in otb_table.table()} if benchmark in otb.BENCHMARKS else {}
    return [name for name in names if {plain(name), plain(folders.get(name, name))} & videos]


def _trainings(tracker: Any) -> Iterator[Mapping[str, Any]]:
    """The configurations by which a tracker's weights were trained, and those that they began with, the last one first.

    It ends where no record tells more, or the weights that a training began with are not where it found them.
    """
    seen: set[Path] = set()
    with contextlib.suppress(UserError):
        path = trackers.weights_file(tracker)
        while path is not None and path not in seen:
            seen.add(path)
            training = store.read_meta(path).config
            yield training
            start = training.get("start")
            path = places.locate(start) if start and isinstance(start, str) else None


_Families = list[tuple[str, list[str]]]  # the names of videos by the family of what they belong to


def _of_benchmark(source: Mapping[str, Any]) -> _Families:
    """Sequences by name; without names all of a list."""
    listed = [entry.name for entry in otb_table.table() if source["name"] in entry.lists]
    return [(_family(source["name"]), source["sequences"] or listed)]


def _of_dataset(source: Mapping[str, Any]) -> _Families:
    name, _ = registry.find(source["name"])
    videos = registry.videos_of(name, Path(source["folder"]).expanduser(), source["part"])
    return [(_family(name), [video.name for video in videos])]


def _of_prepared(source: Mapping[str, Any]) -> _Families:
    found = []
    for folder in source["folders"]:
        with contextlib.suppress(UserError, OSError):
            index = prepared.read_index(Path(folder))
            found.append((_family(index.dataset), index.videos.tolist()))
    return found


_TRAINED = {"Benchmark": _of_benchmark, "Dataset": _of_dataset, "Disk": _of_prepared, "FactorDisk": _of_prepared}


def _family(name: str) -> str:
    """What lists of the same sequences have in common."""
    families = {"vot": name.startswith("vot"), "otb": name in otb.BENCHMARKS}
    return next((family for family, member in families.items() if member), name)
