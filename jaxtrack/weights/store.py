"""Imported weights on disk: the arrays in a safetensors file, beside it a record of where they came from.

    weights/<name>.safetensors     arrays by their flax names: "params/backbone/stem/conv/kernel"
                                   (path of the collection and modules, joined by "/")
    weights/<name>.json            the fields of `Meta`

The record holds the sha256 of the arrays' file, which is checked whenever it is read: what is loaded is what was
imported, or an error. A safetensors file is a list of names, types, shapes and offsets before the raw numbers; nothing
in it is ever run.
"""

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from flax import traverse_util

from jaxtrack.errors import MissingWeightsError, UserError
from jaxtrack.files import replacing
from jaxtrack.models import siamese
from jaxtrack.weights import known, names

SUFFIX = ".safetensors"
_PYTORCH = (".pth", ".pt", ".tar", ".model")
FOLDER_VARIABLE = "JAXTRACK_WEIGHTS"  # environment variable: the folder of imported weights
_CHUNK = 1 << 20
_NAMES_IN_A_MESSAGE = 3
_AGAIN = "import the published file again with `jaxtrack weights import`"


@dataclasses.dataclass(frozen=True)
class Meta:
    """What is known of imported weights. The fields after `note` are found out by `save`.

    Attributes:
      architecture: a name of `jaxtrack.models.siamese.ARCHITECTURES`, or of `BACKBONES` there: such a file holds the
        part `backbone` of a network's variables and nothing else.
      source: name of the file that was imported.
      source_sha256: its sha256, hexadecimal.
      note: a remark for readers.
      mapping_version: version of the rule by which names and layouts were converted.
      tensors: number of arrays.
      parameters: number of trained numbers; running statistics are not among them.
      sha256: of the safetensors file, hexadecimal.
      jaxtrack: version that wrote the files.
    """

    architecture: str
    source: str
    source_sha256: str
    note: str = ""
    mapping_version: int = 0
    tensors: int = 0
    parameters: int = 0
    sha256: str = ""
    jaxtrack: str = ""


def save(folder: Path, name: str, variables: Mapping[str, Any], meta: Meta) -> Path:
    """Writes `<name>.safetensors` and `<name>.json` and returns the path of the former.

    Args:
      folder: created if needed.
      name: of the two files, without ending.
      variables: nested dictionaries of arrays, `{"params": …, "batch_stats": …}`.
      meta: whose fields after `note` are filled in.

    Raises:
      UserError: the arrays do not fit the architecture, or the files cannot be written.
    """
    path = Path(folder) / f"{name}{SUFFIX}"
    # Copied where rows are not in C order, which a safetensors file cannot say.
    arrays = {key: np.asarray(array, order="C") for key, array in flatten(variables).items()}
    _check_shapes(arrays, meta.architecture, str(path))
    content = safetensors.numpy.save(arrays)
    meta = dataclasses.replace(
        meta,
        mapping_version=names.MAPPING_VERSION,
        tensors=len(arrays),
        parameters=sum(array.size for key, array in arrays.items() if key.startswith("params/")),
        sha256=hashlib.sha256(content).hexdigest(),
        jaxtrack=_version(),
    )
    record = json.dumps(dataclasses.asdict(meta), indent=2, ensure_ascii=False) + "\n"
    try:
        # Both are complete on the disk before the first takes its place.
        with replacing(path.with_suffix(".json")) as beside, replacing(path) as file:
            beside.write(record.encode("utf-8"))
            file.write(content)
    except OSError as error:
        raise UserError(f"cannot write weights to {folder}: {error.strerror or error}") from error
    return path


def load(path: Path) -> tuple[dict[str, Any], Meta]:
    """Reads what `save` has written: the variables, nested dictionaries of arrays, and the record beside them.

    Raises:
      UserError: a file is missing, damaged or not the one that was imported, or its arrays do not fit the
        architecture; nothing is loaded in part.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise UserError(f"{path} holds no imported weights: expected the path of a {SUFFIX} file; {_AGAIN}")
    content = _read_bytes(path)
    meta = read_meta(path)
    found = hashlib.sha256(content).hexdigest()
    if found != meta.sha256:
        raise UserError(
            f"{path} was changed or cut off after it was imported (its sha256 is {found[:12]}…, "
            f"{path.with_suffix('.json').name} says {meta.sha256[:12]}…): {_AGAIN}"
        )
    with _parsing(path):
        arrays = safetensors.numpy.load(content)
    _check_shapes(arrays, meta.architecture, str(path))
    return traverse_util.unflatten_dict(arrays, sep="/"), meta


def locate(weights: str) -> Path:
    """The file of imported weights that a name, or a path that ends in .safetensors, means.

    Raises:
      MissingWeightsError: it is not there.
    """
    if Path(weights).suffix in _PYTORCH:
        raise MissingWeightsError(
            f"{weights} is a PyTorch file: import it first, by `jaxtrack weights import {weights}`"
        )
    folder = Path(os.environ.get(FOLDER_VARIABLE) or "weights")
    path = Path(weights) if weights.endswith(SUFFIX) else folder / f"{weights}{SUFFIX}"
    if not path.is_file():
        raise MissingWeightsError(f"there are no weights {path}: {_how_to_get(path)}")
    return path


def _how_to_get(path: Path) -> str:
    """What to do for the weights that trackers know by a name."""
    name = path.stem
    if name in siamese.SMALL:
        return "train them by `python train.py` (docs/training.md) and name the file by the option weights"
    published = next((row for row in known.table() if row.import_as == name), None)
    fetch = "fetch one of the published files that `jaxtrack weights list` names"
    if published is not None:
        fetch = f"fetch the published file {published.name} from {published.published_by}"
    return f"{fetch}, then `jaxtrack weights import FILE --name {name} --out {path.parent}`"


def read_meta(path: Path) -> Meta:
    """The record beside a safetensors file.

    Raises:
      UserError: it is missing, no record of imported weights, or of another version of the conversion.
    """
    record = Path(path).with_suffix(".json")
    if not record.is_file():
        raise UserError(f"{path} has no {record.name} beside it that says what it is: {_AGAIN}")
    try:
        fields = json.loads(_read_bytes(record))
    except (ValueError, RecursionError):  # also what is not UTF-8
        fields = None
    kinds = {field.name: field.type for field in dataclasses.fields(Meta)}
    if not isinstance(fields, dict) or {name: type(value) for name, value in fields.items()} != kinds:
        raise UserError(f"{record} is no record of imported weights: {_AGAIN}")
    meta = Meta(**fields)
    if meta.mapping_version != names.MAPPING_VERSION:
        raise UserError(
            f"{path} was converted by version {meta.mapping_version} of the conversion, this jaxtrack has version "
            f"{names.MAPPING_VERSION}: {_AGAIN}"
        )
    return meta


def header(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """(dtype, shape) of each tensor of any safetensors file by its name, without reading the numbers.

    Raises:
      UserError: there is no such file, or it is none.
    """
    with _opening(Path(path)):  # for a sentence of our own where it cannot be read
        pass
    with _parsing(path), safetensors.safe_open(path, framework="numpy") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (it is no dictionary)
        return {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}


def sha256_of(path: Path) -> str:
    """The sha256 of a file, hexadecimal, read piece by piece.

    Raises:
      UserError: it cannot be read.
    """
    digest = hashlib.sha256()
    with _opening(Path(path)) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def flatten(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays by their path in nested dictionaries, joined by "/".

    >>> flatten({"params": {"head": {"bias": 0}}})
    {'params/head/bias': 0}
    """
    flat = traverse_util.flatten_dict(dict(variables))
    for path in flat:
        if any("/" in part for part in path):
            raise ValueError(f"a name with a slash cannot be stored: {path}")
    return {"/".join(path): array for path, array in flat.items()}


def _version() -> str:
    try:
        return importlib.metadata.version("jaxtrack")
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        return "not installed"


def _check_shapes(arrays: Mapping[str, np.ndarray], architecture: str, where: str) -> None:
    """`UserError` unless names, shapes and dtypes are those of the architecture; it is only traced."""
    if architecture not in (*siamese.ARCHITECTURES, *siamese.BACKBONES):
        raise UserError(f"{where} is of the architecture {architecture!r}, which this jaxtrack does not have")
    expected = _expected(architecture)
    for what, differing in (("lacks", expected.keys() - arrays.keys()), ("has besides", arrays.keys() - expected)):
        if differing:
            raise UserError(f"{where} does not fit the architecture {architecture}: it {what} {_some(differing)}")
    for key, leaf in expected.items():
        shape, dtype = arrays[key].shape, arrays[key].dtype
        if (shape, dtype) != (leaf.shape, leaf.dtype):
            raise UserError(
                f"{where} does not fit the architecture {architecture}: {key} is {dtype} {list(shape)}, "
                f"expected {leaf.dtype} {list(leaf.shape)}"
            )


@functools.cache
def _expected(architecture: str) -> dict[str, Any]:
    """Shape and dtype of every array of an architecture, or of a backbone, by its name; half a second of tracing."""
    whole = siamese.BACKBONES.get(architecture)
    arrays = flatten(siamese.shapes(siamese.ARCHITECTURES[whole or architecture]))
    return {key: leaf for key, leaf in arrays.items() if whole is None or key.split("/")[1] == "backbone"}


def _some(keys: set[str]) -> str:
    shown = sorted(keys)[:_NAMES_IN_A_MESSAGE]
    return ", ".join(shown) + (f" and {len(keys) - len(shown)} more" if len(keys) > len(shown) else "")


def _read_bytes(path: Path) -> bytes:
    with _opening(path) as file:
        return file.read()


@contextlib.contextmanager
def _opening(path: Path) -> Iterator[Any]:
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


@contextlib.contextmanager
def _parsing(path: Path) -> Iterator[None]:
    try:
        yield
    # The package raises its own error for most, others for types that NumPy lacks.
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is cut off or damaged, or no safetensors file") from error
