"""Weights on disk: the arrays in a safetensors file, beside it a record of where they came from.

    weights/<name>.safetensors     arrays by their flax names: "params/backbone/stem/conv/kernel"
                                   (path of the collection and modules, joined by "/")
    weights/<name>.json            the fields of `Meta`

The record holds the sha256 of the arrays' file, which is checked whenever it is read: what is loaded is what was
imported or trained, or an error. A safetensors file is a list of names, types, shapes and offsets before the raw
numbers; nothing in it is ever run. Arrays are float32; kernels may be stored as float16, and are float32 again when
they are loaded.

A few weights come with jaxtrack, in the folder `SHIPPED` of the package; `jaxtrack.weights.places` finds files by name.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from flax import traverse_util

from jaxtrack.errors import UserError
from jaxtrack.files import replacing
from jaxtrack.version import version
from jaxtrack.weights import names, shapes

SUFFIX = ".safetensors"
SHIPPED = Path(__file__).with_name("shipped")  # the folder of the weights that come with jaxtrack
TRAINING = "config.json"  # the source of weights that jaxtrack has trained, which lies beside them at first
_CHUNK = 1 << 20
_LATER_FIELDS: dict[str, Any] = {"command": "", "config": {}, "chosen_on": ""}  # which older records do not have


@dataclasses.dataclass(frozen=True)
class Meta:
    """What is known of weights. The fields from `mapping_version` to `jaxtrack` are found out by `save`.

    Attributes:
      architecture: a name of `ARCHITECTURES` of `jaxtrack.models.siamese` or `jaxtrack.models.mdnet`, or of `BACKBONES`
        of the former: such a file holds the part `backbone` of a network's variables and nothing else; or one of
        `jaxtrack.weights.online`.
      source: name of the file that was imported, or `TRAINING` for what jaxtrack has trained.
      source_sha256: its sha256, hexadecimal; of a training, that of its configuration as canonical JSON.
      note: a remark for readers.
      mapping_version: version of the rule by which names and layouts were converted.
      tensors: number of arrays.
      parameters: number of trained numbers; running statistics are not among them.
      sha256: of the safetensors file, hexadecimal.
      jaxtrack: version that wrote the files.
      command: the command line that trained them; empty where it is not known.
      config: the configuration that they were trained by, as JSON values; empty where it is not known.
      chosen_on: the test data on which they were chosen among others; empty for none. Tables and plots say so.
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
    command: str = ""
    config: dict = dataclasses.field(default_factory=dict)
    chosen_on: str = ""

    @property
    def trained(self) -> bool:
        """Whether jaxtrack trained them; else they were imported."""
        return self.source == TRAINING


def save(folder: Path, name: str, variables: Mapping[str, Any], meta: Meta, *, half: bool = False) -> Path:
    """Writes `<name>.safetensors` and `<name>.json` and returns the path of the former.

    Args:
      folder: created if needed.
      name: of the two files, without ending.
      variables: nested dictionaries of arrays, `{"params": …, "batch_stats": …}`.
      meta: whose fields from `mapping_version` to `jaxtrack` are filled in.
      half: stores kernels as float16, rounded to 11 bits; the file is half as large.

    Raises:
      UserError: the arrays do not fit the architecture or float16, or the files cannot be written.
    """
    path = Path(folder) / f"{name}{SUFFIX}"
    # Copied where rows are not in C order, which a safetensors file cannot say.
    arrays = {key: np.asarray(array, order="C") for key, array in shapes.flatten(variables).items()}
    shapes.check(arrays, meta.architecture, str(path))
    content = safetensors.numpy.save(_halved(arrays, path) if half else arrays)
    meta = dataclasses.replace(
        meta,
        mapping_version=names.MAPPING_VERSION,
        tensors=len(arrays),
        parameters=sum(array.size for key, array in arrays.items() if key.startswith("params/")),
        sha256=hashlib.sha256(content).hexdigest(),
        jaxtrack=version() or "unknown",
    )
    _write(path, content, meta)
    return path


def _halved(arrays: Mapping[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """Kernels as float16; whatever has one axis (biases, statistics) is small, may be out of range, and is kept."""
    with np.errstate(over="ignore"):
        halves = {key: array.astype(np.float16) if array.ndim > 1 else array for key, array in arrays.items()}
    for key, array in halves.items():
        if np.isinf(array).any() and not np.isinf(arrays[key]).any():
            raise UserError(f"{path} cannot be written: {key} holds numbers beyond float16's 65,504")
    return halves


def _write(path: Path, content: bytes, meta: Meta) -> None:
    record = json.dumps(dataclasses.asdict(meta), indent=2, ensure_ascii=False) + "\n"
    try:
        # Both are complete on the disk before the first takes its place.
        with replacing(path.with_suffix(".json")) as beside, replacing(path) as file:
            beside.write(record.encode("utf-8"))
            file.write(content)
    except OSError as error:
        raise UserError(f"cannot write weights to {path.parent}: {error.strerror or error}") from error


def load(path: Path) -> tuple[dict[str, Any], Meta]:
    """Reads what `save` has written: the variables, nested dictionaries of arrays, and the record beside them.

    Raises:
      UserError: a file is missing, damaged or not the one that was written, or its arrays do not fit the
        architecture; nothing is loaded in part.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise UserError(f"{path} holds no weights: expected the path of a {SUFFIX} file; {_again(path)}")
    content = _read_bytes(path)
    meta = read_meta(path)
    _check_sha256(path, meta, hashlib.sha256(content).hexdigest())
    with _parsing(path):
        stored = safetensors.numpy.load(content)
    arrays = {key: array.astype(np.float32) if array.dtype == np.float16 else array for key, array in stored.items()}
    shapes.check(arrays, meta.architecture, str(path))
    return traverse_util.unflatten_dict(arrays, sep="/"), meta


def checked_sha256(path: Path) -> str:
    """The sha256 of weights, compared with the record beside them; a file is hashed once, unless it changes.

    Raises:
      UserError: a file is missing, damaged or not the one that was written.
    """
    path = Path(path)
    meta = read_meta(path)
    with _opening(path) as file:
        status = os.fstat(file.fileno())
    _check_sha256(path, meta, _sha256_as_of(path, status.st_size, status.st_mtime_ns))
    return meta.sha256


@functools.lru_cache
def _sha256_as_of(path: Path, size: int, mtime_ns: int) -> str:
    """The sha256 of a file; size and time of its last change only tell its versions apart."""
    del size, mtime_ns
    return sha256_of(path)


def _check_sha256(path: Path, meta: Meta, found: str) -> None:
    if found != meta.sha256:
        raise UserError(
            f"{path} was changed or cut off after it was written (its sha256 is {found[:12]}…, "
            f"{path.with_suffix('.json').name} says {meta.sha256[:12]}…): {_again(path, meta)}"
        )


def _again(path: Path, meta: Meta | None = None) -> str:
    """What to do for weights that cannot be used, by where they came from; `meta` if their record can be read."""
    train = "run the command of its training again, `python train.py --config FILE`; for another step than the last "
    train += "add --export STEP"
    if path.resolve().parent == SHIPPED.resolve():
        return "it came with jaxtrack: install jaxtrack again, or restore the file in your checkout"
    copy, imported = "copy it and its .json again", "import the published file again with `jaxtrack weights import`"
    if meta is None and not (path.parent / TRAINING).is_file():
        return f"{copy}, or {imported}, or if jaxtrack trained it, {train}"
    if meta is None or meta.trained:
        return f"{copy}, or as jaxtrack trained it, {train}"
    return f"{copy}, or {imported}"


def read_meta(path: Path) -> Meta:
    """The record beside a safetensors file.

    Raises:
      UserError: it is missing, no record of weights, or of another version of the conversion.
    """
    record = Path(path).with_suffix(".json")
    if not record.is_file():
        raise UserError(f"{path} has no {record.name} beside it that says what it is: {_again(Path(path))}")
    try:
        fields = json.loads(_read_bytes(record))
    except (ValueError, RecursionError):  # also what is not UTF-8
        fields = None
    if isinstance(fields, dict):
        fields = _LATER_FIELDS | fields
    kinds = {field.name: field.type for field in dataclasses.fields(Meta)}
    if not isinstance(fields, dict) or {name: type(value) for name, value in fields.items()} != kinds:
        raise UserError(f"{record} is no record of weights: {_again(Path(path))}")
    meta = Meta(**fields)
    if meta.mapping_version != names.MAPPING_VERSION:
        raise UserError(
            f"{path} was converted by version {meta.mapping_version} of the conversion, this jaxtrack has version "
            f"{names.MAPPING_VERSION}: {_again(Path(path), meta)}"
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
