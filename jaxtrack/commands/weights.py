"""Imports published weights, shows and checks files of weights, and makes trained ones ready to hand on."""

import dataclasses
import itertools
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxtrack.commands import _training_record
from jaxtrack.commands._options import Switch, shown_as
from jaxtrack.errors import UserError
from jaxtrack.weights import known, places, published, shapes, store

_File = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(name="file", metavar="FILE")]
_Weights = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(name="file", metavar="FILE|NAME")]
_LICENCE = "Apache-2.0"  # of weights that come with jaxtrack
_COUNTERS = ("num_batches_tracked", "running_mean", "running_var")
_WORDS = 20  # columns of a terminal that a text in words needs to be legible
_LESS_NEEDED = ("architecture", "sha256")  # columns that go first where a terminal is too narrow
_GAP = 3  # between two columns


@dataclasses.dataclass(frozen=True)
class Import:
    """Converts a published file into NAME.safetensors and NAME.json, which trackers load.

    torchvision's resnet50 and MatConvNet's VGG-M become backbones, to start training from.
    """

    file: _File
    """The file, of PyTorch (.pth), MatConvNet (.mat) or Caffe (.caffemodel)."""
    architecture: Annotated[str | None, shown_as("NAME")] = None
    """Network that the weights belong to, or backbone; by default recognised by what the file holds."""
    name: Annotated[str | None, shown_as("NAME")] = None
    """Name of the files written; by default the one under which trackers look for this published file (`list`), or the
    architecture's."""
    out: Annotated[Path, shown_as("DIR")] = Path("weights")
    """Folder of the files written."""


@dataclasses.dataclass(frozen=True)
class Inspect:
    """Says what a published or safetensors file is, and how it was made."""

    file: _Weights
    """The file, or the name under which trackers look for weights."""
    tensors: Switch = False
    """Also list its tensors."""


@dataclasses.dataclass(frozen=True)
class Verify:
    """Checks a published file, or weights: readable, unchanged, of the right shapes, all numbers finite."""

    file: _Weights
    """The file, or the name under which trackers look for weights."""


@dataclasses.dataclass(frozen=True)
class Pack:
    """Writes weights that jaxtrack has trained once more, to hand on, with a record of how they were made.

    The record gets the training's command and its whole configuration, which lies beside the weights in the folder of
    the training, or is the config file's that the command names.
    """

    file: _File
    """The weights."""
    command: Annotated[str, shown_as("LINE")]
    """The exact command line of the training."""
    note: Annotated[str, shown_as("TEXT")] = ""
    """A remark for the record, such as commit and device."""
    chosen_on: Annotated[str, shown_as("TEXT")] = ""
    """The test data on which these weights were chosen among others, if they were: tables and plots will say so."""
    half: Switch = False
    """Store kernels as float16, rounded to 11 bits: half as large."""
    name: Annotated[str | None, shown_as("NAME")] = None
    """Name of the files written; by default as before."""
    out: Annotated[Path, shown_as("DIR")] = Path("weights")
    """Folder of the files written."""


@dataclasses.dataclass(frozen=True)
class List:
    """Lists the weights that come with jaxtrack, and published ones: who publishes them where, under which licence."""


_Command = (
    Annotated[Import, tyro.conf.subcommand("import")]
    | Annotated[Inspect, tyro.conf.subcommand("inspect")]
    | Annotated[Verify, tyro.conf.subcommand("verify")]
    | Annotated[Pack, tyro.conf.subcommand("pack")]
    | Annotated[List, tyro.conf.subcommand("list")]
)


def run(argv: Sequence[str], *, prog: str) -> None:
    """Does what the command line `argv` asks for; usage texts call the program `prog`."""
    options = tyro.cli(_Command, args=list(argv), prog=prog, description=__doc__)  # type: ignore[call-overload]
    match options:
        case Import():
            _import(options)
        case Inspect():
            _inspect(_file(options.file), tensors=options.tensors)
        case Verify():
            _verify(_file(options.file))
        case Pack():
            _pack(options)
        case List():
            _list()


def _file(named: Path) -> Path:
    """The file that is named, or the one that trackers would take for a name without folder and ending."""
    if named.suffix or len(named.parts) > 1 or named.exists():
        return named
    return places.locate(str(named))


def _import(options: Import) -> None:
    """Reads, converts and stores; nothing is written unless all of it fits."""
    if options.name is not None:
        _check_name(options.name)
    file = published.read(options.file)
    digest = store.sha256_of(options.file)
    architecture, variables = file.convert(options.architecture)
    name = options.name or _default_name(options.file, digest, architecture)
    _refuse_to_replace(options.out, name, digest)
    row = known.find(digest)
    note = "" if row is None else f"{row.what}, published by {row.published_by}"
    meta = store.Meta(architecture, options.file.name, digest, note)
    path = store.save(options.out, name, variables, meta)
    _, meta = store.load(path)
    _say(f"{path}: {meta.architecture}, {meta.tensors} arrays, {meta.parameters:,} parameters")
    _say(_origin(digest))


def _check_name(name: str) -> None:
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise UserError(f"{name!r} is no name for files: give one of letters, digits and any of . + - _ by --name")


def _default_name(path: Path, digest: str, architecture: str) -> str:
    """The name that trackers know a published file by, told by its sha256 or else its own name; else the network's."""
    # MDNet's file in PyTorch is called like one in MATLAB, which becomes another network.
    rows = (*known.table(), *(row for row in known.online() if row.architecture == architecture))
    row = known.find(digest) or next((row for row in rows if row.name == path.stem), None)
    return architecture if row is None else row.import_as


def _refuse_to_replace(folder: Path, name: str, digest: str) -> None:
    """`UserError` if other weights than a former import of the same file have the name."""
    path = folder / f"{name}{store.SUFFIX}"
    if not path.exists() and not path.with_suffix(".json").exists():
        return
    try:
        same = store.read_meta(path).source_sha256 == digest
    except UserError:
        same = False
    if not same:
        raise UserError(f"{path} is there already, and from another file: choose another --name, or move it away")


def _pack(options: Pack) -> None:
    """Loads, checks and stores once more."""
    variables, meta = store.load(options.file)
    config = _training_record.configuration(options.file, meta, options.command)
    name = options.name or options.file.stem
    _check_name(name)
    if (options.out / options.file.name).resolve() == options.file.resolve() and name == options.file.stem:
        raise UserError(f"{options.file} would take its own place: choose another --name or --out")
    _refuse_to_replace(options.out, name, meta.source_sha256)
    note = "; ".join(filter(None, (meta.note, options.note)))
    chosen_on = options.chosen_on or meta.chosen_on
    meta = dataclasses.replace(meta, note=note, command=options.command, config=config, chosen_on=chosen_on)
    path = store.save(options.out, name, variables, meta, half=options.half)
    _, meta = store.load(path)
    _say(f"{path}: {meta.architecture}, {path.stat().st_size:,} bytes, sha256 {meta.sha256}")


def _inspect(path: Path, *, tensors: bool) -> None:
    """What the file is, then, if asked for, its tensors."""
    imported = path.suffix == store.SUFFIX
    file = None if imported else published.read(path)
    found = store.header(path) if file is None else _tensors(file.arrays())
    sizes = {name: int(np.prod(shape, dtype=np.int64)) for name, (_, shape) in found.items()}
    parameters = sum(size for name, size in sizes.items() if _is_parameter(name))
    digest = store.sha256_of(path)
    origin = _record(path, digest) if file is None else _published(file, digest)
    more = "" if tensors else "; --tensors lists them"
    summary = {"file": str(path), "architecture": origin.pop("architecture")}
    summary |= {"tensors": f"{len(found)} ({sum(sizes.values()):,} numbers{more})"}
    summary |= {"parameters": f"{parameters:,} (running statistics not counted)", "sha256": digest}
    for label, text in (summary | origin).items():
        _say(f"{label}: {text if text.isprintable() else ascii(text)}")
    if tensors:
        table = _table("tensor", "shape", "dtype", "numbers")
        for name, (dtype, shape) in found.items():
            table.add_row(_printable(name), Text(" x ".join(map(str, shape)) or "scalar"), dtype, f"{sizes[name]:,}")
        _print(table)


def _published(file: published.File, digest: str) -> dict[str, str]:
    """What its content and the sha256 tell of a published file."""
    row = known.find(digest)
    source = "no published file that jaxtrack knows by its sha256"
    if row is not None:
        source = f"{row.published_by}: {row.what}"
    return {"architecture": file.architecture() or "none that jaxtrack has", "source": source}


def _record(path: Path, digest: str) -> dict[str, str]:
    """What the record beside a safetensors file tells of it."""
    try:
        meta = store.read_meta(path)
    except UserError as error:  # of another program, perhaps: it can be looked at all the same
        return {"architecture": "unknown", "source": f"unknown: {error}"}
    source = "a training of jaxtrack, its configuration" if meta.trained else meta.source
    origin = {"architecture": meta.architecture, "source": f"{source}, sha256 {meta.source_sha256}"}
    facts = {"note": meta.note, "chosen on": meta.chosen_on, "written by": f"jaxtrack {meta.jaxtrack}"}
    facts |= {"command": meta.command, "configuration": _in_short(meta.config)}
    origin |= {label: text for label, text in facts.items() if text} | {"record": str(path.with_suffix(".json"))}
    if digest != meta.sha256:
        origin["changed"] = f"the file is not the one that was written, whose sha256 was {meta.sha256}"
    return origin


def _in_short(config: dict[str, Any]) -> str:
    """A configuration in a few lines: its own values, and of each of its parts the kind."""
    said = {name: value for name, value in config.items() if name != "class" and value is not False}
    parts = {name: value.get("class", "…") if isinstance(value, dict) else value for name, value in said.items()}
    text = ", ".join(f"{name} {value}" for name, value in parts.items() if value not in ("", None, []))
    return f"{config.get('class', '')}: {text} (whole in the record)" if config else ""


def _tensors(arrays: dict[str, np.ndarray]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """(dtype, shape) of the arrays of a published file by their names."""
    return {name: (str(array.dtype), array.shape) for name, array in arrays.items()}


def _printable(name: str) -> Text:
    """A name from somebody's file, which might hold what a terminal or the table's printer takes for a command."""
    return Text(name if name.isprintable() else ascii(name))


def _is_parameter(name: str) -> bool:
    return not name.endswith(_COUNTERS) and not name.startswith("batch_stats/")


def _verify(path: Path) -> None:
    """Says that a file is good, or `UserError` what is wrong with it."""
    if path.suffix == store.SUFFIX:
        variables, meta = store.load(path)
        _check_finite(shapes.flatten(variables), path)
        origin = f"imported from {meta.source} (sha256 {meta.source_sha256[:16]}…)"
        _say(f"OK: {path} is {meta.architecture}, {meta.note if meta.trained else origin}")
        return
    file = published.read(path)
    _check_finite(file.arrays(), path)
    architecture, _ = file.convert()
    _say(f"OK: {path} is {architecture}; {_origin(store.sha256_of(path))}")


def _check_finite(arrays: dict[str, np.ndarray], path: Path) -> None:
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            wrong = int(array.size - np.isfinite(array).sum())
            raise UserError(f"{path}: {wrong} of the {array.size} numbers of {name} are not finite")


def _origin(digest: str) -> str:
    """One sentence on where a file with this sha256 comes from."""
    row = known.find(digest)
    if row is None:
        return f"sha256 {digest[:16]}…, of no published file that jaxtrack knows by its sha256"
    return f"sha256 {digest[:16]}…, as published by {row.published_by}: {row.what}"


def _list() -> None:
    """A table of the weights that come with jaxtrack, then one for each publisher."""
    _list_shipped()
    for (publisher, licence), rows in itertools.groupby(
        known.everything(), lambda row: (row.published_by, row.licence)
    ):
        cells = [("file", "import as", "what", "architecture", "sha256")]
        cells += [(row.name, row.import_as, row.what, row.architecture, row.sha256) for row in rows]
        columns = _fitting([column for column in zip(*cells, strict=True) if any(column[1:])])
        table = _table(*(column[0] for column in columns))
        for line in zip(*(column[1:] for column in columns), strict=True):
            table.add_row(*line)
        _say(f"{publisher}; licence: {licence or 'not stated'}")
        _print(table)
    _say("jaxtrack downloads no published file: fetch it from its authors, then jaxtrack weights import FILE")


def _list_shipped() -> None:
    """What comes with jaxtrack, if anything does, and which of it files of the user's take the place of."""
    if not places.shipped():
        return
    table, replaced = _table("name", "what", "architecture", "sha256"), []
    for path in places.shipped():
        meta, used = store.read_meta(path), places.locate(path.stem)
        table.add_row(path.stem, meta.note, meta.architecture, meta.sha256[:16])
        replaced += [f"{used} is used in place of {path.stem}"] if used != path else []
    _say(f"these come with jaxtrack, and need no import; licence: {_LICENCE}")
    _print(table)
    for line in replaced:
        _say(line)


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        justify = "right" if column == "numbers" else "left"
        table.add_column(column, overflow="fold", no_wrap=column not in ("tensor", "what"), justify=justify)
    return table


def _fitting(columns: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The columns of a table without those that would leave no place for words on this terminal."""
    for name in _LESS_NEEDED:
        widths = {column[0]: max(map(len, column)) for column in columns}
        widths["what"] = min(widths["what"], _WORDS)
        if sum(widths.values()) + _GAP * len(widths) > _console().width:
            columns = [column for column in columns if column[0] != name]
    return columns


def _print(table: Table) -> None:
    _console().print(table)


def _console() -> Console:
    # In a file or a pipe no row is broken, whatever its length: programs such as grep read it.
    return Console(width=None if sys.stdout.isatty() else 1000)


def _say(line: str) -> None:
    Console().print(line, markup=False, highlight=False, soft_wrap=True)
