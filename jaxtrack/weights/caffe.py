"""Caffe's .caffemodel files as NumPy arrays, read without Caffe and without protobuf.

Such a file is one message in protobuf's wire format: fields, each a tag (number and type) and a value, in any order,
messages inside messages. Only the fields that hold layers and their arrays ("blobs") are looked at, the others are
skipped. Every length is checked against what is left of the message around it, and every array against its shape, so
that a damaged or hostile file ends in a sentence; the numbers of an array never take more memory than the file.

Layers come in three versions, with other field numbers and kinds of layer by string or by number.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from jaxtrack.errors import UserError


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer with weights.

    Attributes:
      kind: in Caffe's words, such as "Convolution" or "InnerProduct"; of old files that have a number which is
        neither, the number.
      blobs: float32 or float64 arrays in Caffe's own layout: weights, then bias if there is one.
    """

    kind: str
    blobs: tuple[np.ndarray, ...]


@dataclasses.dataclass(frozen=True)
class _Version:
    """Field numbers of one version of a layer."""

    name: int
    kind: int
    blobs: int
    older: int = 0  # of a layer of an older version inside this one; 0 for none


_V0 = _Version(name=1, kind=2, blobs=50)
_V1 = _Version(name=4, kind=5, blobs=6, older=1)
_V2 = _Version(name=1, kind=2, blobs=7)
_LAYERS = {2: _V1, 100: _V2}  # by their field number in the network
_KINDS = {4: "Convolution", 14: "InnerProduct", 39: "Deconvolution"}
_OLDEST_KINDS = {"conv": "Convolution", "innerproduct": "InnerProduct"}

# Of a blob: its shape as a message with the field `_DIM`, or as four numbers in older files; its numbers.
_SHAPE, _DIM, _OLD_SHAPE = 7, 1, (1, 2, 3, 4)
_NUMBERS = {5: np.dtype("<f4"), 8: np.dtype("<f8")}

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_LONGEST_VARINT = 10
_MOST_AXES = 32

_Value = int | memoryview


class _DamagedError(Exception):
    """The bytes are no message of the wire format, or not of this kind."""


def read(path: Path) -> dict[str, Layer]:
    """The layers with weights of a .caffemodel file by their names, in the file's order.

    Raises:
      UserError: the file cannot be read, is damaged or none of Caffe's, holds no weights, or one name twice.
    """
    path = Path(path)
    try:
        content = memoryview(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    layers: dict[str, Layer] = {}
    try:
        for name, layer in _layers(content):
            if name in layers:
                raise UserError(f"{path} holds two layers {name!r} with weights: it is no file of one network")
            layers[name] = layer
    except _DamagedError as error:
        raise UserError(f"{path} is cut off or damaged, or no .caffemodel file: {error}") from error
    if not layers:
        raise UserError(f"{path} holds no layer with weights: expected a .caffemodel file of Caffe")
    return layers


def convolutions(layers: Mapping[str, Layer]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Kernel `[h, w, in, out]` and bias `[out]` of every convolution, float32; a missing bias is zero.

    Raises:
      UserError: a convolution has arrays of other shapes.
    """
    found = {}
    for name, layer in layers.items():
        if layer.kind != "Convolution":
            continue
        kernel, *rest = layer.blobs
        if kernel.ndim != 4 or len(rest) > 1 or (rest and rest[0].size != len(kernel)):
            raise UserError(f"the convolution {name} has arrays of the shapes {[blob.shape for blob in layer.blobs]}")
        bias = rest[0].ravel() if rest else np.zeros(len(kernel))
        kernel = np.ascontiguousarray(kernel.transpose(2, 3, 1, 0), np.float32)
        found[name] = (kernel, bias.astype(np.float32))
    return found


def _layers(network: memoryview) -> Iterator[tuple[str, Layer]]:
    """Name and content of every layer that has blobs."""
    for number, value in _fields(network):
        if number in _LAYERS:
            name, layer = _layer(_message(value), _LAYERS[number])
            if layer.blobs:
                yield name, layer


def _layer(message: memoryview, version: _Version) -> tuple[str, Layer]:
    name, kind, blobs = "", "", []
    for number, value in _fields(message):
        if number == version.name:
            name = _text(value)
        elif number == version.kind:
            kind = _KINDS.get(value, str(value)) if isinstance(value, int) else _text(value)
        elif number == version.blobs:
            blobs.append(_blob(_message(value)))
        elif number == version.older:
            return _layer(_message(value), _V0)
    return name, Layer(_OLDEST_KINDS.get(kind, kind), tuple(blobs))


def _blob(message: memoryview) -> np.ndarray:
    """An array that does not keep the file in memory; if any of its numbers is of double precision, of those."""
    old_shape, shape = dict.fromkeys(_OLD_SHAPE, 0), None
    # Numbers in a field each are as many fields: one buffer takes them all.
    buffers = {number: bytearray() for number in _NUMBERS}
    for number, value in _fields(message):
        if number in old_shape:
            old_shape[number] = _integer(value)
        elif number == _SHAPE:
            shape = _dimensions(_message(value))
        elif number in _NUMBERS:
            buffers[number] += _numbers(value, _NUMBERS[number])
    shape = tuple(old_shape.values()) if shape is None else shape
    floats, doubles = (np.frombuffer(buffers[number], dtype) for number, dtype in _NUMBERS.items())
    numbers = doubles if doubles.size else floats
    if any(side < 0 for side in shape) or len(shape) > _MOST_AXES or math.prod(shape) != numbers.size:
        raise _DamagedError(f"an array of the shape {list(shape)[:_MOST_AXES]} has {numbers.size} numbers")
    return numbers.reshape(shape)


def _dimensions(message: memoryview) -> tuple[int, ...]:
    """The sides in a message of a shape, packed into one field or in a field each."""
    sides: list[int] = []
    for number, value in _fields(message):
        if len(sides) > _MOST_AXES:  # too many already, and there may be as many as bytes
            break
        if number != _DIM:
            continue
        if isinstance(value, int):
            sides.append(_integer(value))
            continue
        at = 0
        while at < len(value) and len(sides) <= _MOST_AXES:
            side, at = _varint(value, at)
            sides.append(_integer(side))
    return tuple(sides)


def _numbers(value: _Value, dtype: np.dtype) -> memoryview:
    """The bytes of packed numbers, or of one number where they stand in a field each."""
    chunk = _message(value)
    if len(chunk) % dtype.itemsize:
        raise _DamagedError(f"{len(chunk)} bytes are no array of numbers of {dtype.itemsize}")
    return chunk


def _integer(value: _Value) -> int:
    """A signed integer of 64 bits."""
    if not isinstance(value, int):
        raise _DamagedError("there are bytes where a number should be")
    return value - (1 << 64) if value >> 63 else value


def _message(value: _Value) -> memoryview:
    if isinstance(value, int):
        raise _DamagedError("there is a number where a message should be")
    return value


def _text(value: _Value) -> str:
    try:
        return str(_message(value), "utf-8")
    except UnicodeDecodeError as error:
        raise _DamagedError("a name is no text") from error


def _fields(message: memoryview) -> Iterator[tuple[int, _Value]]:
    """Number and value of every field: an integer, or the bytes of all that is none."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise _DamagedError("a field has the number 0")
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == _BYTES:
            length, at = _varint(message, at)
        elif kind in (_FOUR, _EIGHT):
            length = 4 if kind == _FOUR else 8
        else:
            raise _DamagedError(f"a field is of the type {kind}")
        if length > len(message) - at:
            raise _DamagedError(f"a field of {length} bytes begins {len(message) - at} bytes before the end")
        yield number, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and where the next field begins."""
    number = 0
    for place, byte in enumerate(message[at : at + _LONGEST_VARINT]):
        number |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return number & ((1 << 64) - 1), at + place + 1
    raise _DamagedError("a number has no end")
