"""MATLAB's files of versions 5 to 7 as Python values, read without running into what a damaged file may say.

SciPy has a reader, too, but a few wrong bytes in a file let it touch memory that is not its own and end the program.
Here every length is checked against what is left, every array against its size, and nesting, the number of arrays and
what compressed data may become have limits.

What becomes of MATLAB's values:

    numbers, logical   array of the same shape and class (two axes at least)
    char               str, whatever its shape
    cell               list, in MATLAB's order, whatever its shape
    struct             tuple of dictionaries, one for each element, in MATLAB's order
    anything else      None: complex and sparse numbers, functions, objects
"""

import math
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxtrack.errors import UserError

_HEADER = 128
_BYTE_ORDER = {b"IM": "<", b"MI": ">"}
_HDF5 = b"\x89HDF\r\n\x1a\n"
# Types of data elements, and classes of arrays.
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "latin-1", 2: "utf-8", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR = 1, 2, 4
_NUMERIC = dict(enumerate(("f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"), 6))
_COMPLEX = 0x0800
_LARGEST = 1 << 31  # Bytes of a variable in such a file.
# Times the file's size that its compressed variables may become; weights hardly shrink, but little files may be zeros.
_GROWTH, _LITTLE = 32, 1 << 20
_DEEPEST = 32
# Arrays and names of fields in a file: networks of hundreds of layers have some ten thousand, an empty one is 8 bytes.
_MOST_ARRAYS = 100_000
_MOST_AXES = 32
_EMPTY = np.zeros((0, 0))
_EMPTY.flags.writeable = False  # all empty arrays without a header are this one


class _DamagedError(Exception):
    """The bytes are not what the format has at this place."""


def read(path: Path, names: Collection[str]) -> dict[str, Any]:
    """The variables of these names in a file, as many as there are; see the module's docstring.

    Raises:
      UserError: the file cannot be read, is damaged, none of MATLAB's, or of its version 7.3.
    """
    path = Path(path)
    try:
        content = memoryview(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    if bytes(content[:8]) == _HDF5 or bytes(content[512:520]) == _HDF5:
        raise UserError(
            f"{path} is of MATLAB 7.3 (HDF5), which jaxtrack does not read: load it in MATLAB and save it again by "
            "save(..., '-v7')"
        )
    order = _BYTE_ORDER.get(bytes(content[_HEADER - 2 : _HEADER]))
    try:
        if order is None:
            raise _DamagedError("its header is not MATLAB's")
        return dict(_Reader(order, max(_LITTLE, _GROWTH * len(content))).variables(content[_HEADER:], names))
    except _DamagedError as error:
        raise UserError(f"{path} is cut off or damaged, or no MATLAB file: {error}") from error


class _Reader:
    """Reads the elements of a file, in one byte order.

    Args:
      order: "<" or ">".
      inflated: bytes that all of its compressed variables may become.
    """

    def __init__(self, order: str, inflated: int):
        self._order = order
        self._inflated_left = inflated
        self._arrays_left = _MOST_ARRAYS
        self._unsigned = np.dtype(f"{order}u4")
        self._signed = np.dtype(f"{order}i4")

    def variables(self, content: memoryview, names: Collection[str]) -> Iterator[tuple[str, Any]]:
        """Name and value of the variables asked for."""
        for kind, data in self._elements(content):
            if kind == _COMPRESSED:
                kind, data = next(self._elements(self._inflated(data)), (0, data))
            if kind != _MATRIX:
                raise _DamagedError(f"an element of type {kind} stands where a variable should")
            name, value = self._matrix(data, names)
            if name in names:
                yield name, value

    def _elements(self, content: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Type and data of all elements one after the other."""
        at = 0
        while at < len(content):
            tag = self._numbers(content[at : at + 8], self._unsigned, 2)
            kind, length = int(tag[0]), int(tag[1])
            if kind >> 16:  # A small element: its data lie inside the tag.
                kind, length, start = kind & 0xFFFF, kind >> 16, at + 4
                end = at + 8
            else:
                start = at + 8
                # Compressed data are not padded, all other data to 8 bytes.
                end = start + (length if kind == _COMPRESSED else -(-length // 8) * 8)
            if start + length > min(end, len(content)):
                raise _DamagedError(f"an element of {length} bytes begins {len(content) - start} bytes before the end")
            yield kind, content[start : start + length]
            at = end

    def _matrix(self, data: memoryview, names: Collection[str] | None = None, depth: int = 0) -> tuple[str, Any]:
        """Name and value of an array of any class; the value is left out unless the name is among `names`."""
        if depth > _DEEPEST:
            raise _DamagedError(f"its arrays lie more than {_DEEPEST} deep in each other")
        self._count(1)
        if not data:
            return "", _EMPTY
        elements = self._elements(data)
        flags = int(self._numbers(_next(elements)[1], self._unsigned, 2)[0])
        shape = tuple(self._numbers(_next(elements)[1], self._signed).tolist())
        if not 2 <= len(shape) <= _MOST_AXES or min(shape) < 0:
            raise _DamagedError(f"an array has the shape {list(shape)[:_MOST_AXES]}")
        name = _text(_next(elements)[1], "latin-1")
        if names is not None and name not in names:
            return name, None
        return name, self._value(flags, shape, elements, depth)

    def _value(self, flags: int, shape: tuple[int, ...], elements: Iterator, depth: int) -> Any:
        kind, count = flags & 0xFF, math.prod(shape)
        if kind == _CELL:
            return [self._inner(elements, depth) for _ in range(count)]
        if kind == _STRUCT:
            return self._struct(count, elements, depth)
        if kind == _CHAR:
            encoding, data = _next(elements) if count else (1, memoryview(b""))
            if encoding not in _TEXTS:
                raise _DamagedError(f"a text is of type {encoding}")
            wide = _TEXTS[encoding].startswith("utf-") and _TEXTS[encoding] != "utf-8"
            return _text(data, _TEXTS[encoding] + ("-le" if self._order == "<" else "-be") * wide)
        if kind not in _NUMERIC or flags & _COMPLEX:
            return None
        stored, data = _next(elements)
        if stored not in _TYPES:
            raise _DamagedError(f"an array's numbers are of type {stored}")
        numbers = self._numbers(data, np.dtype(self._order + _TYPES[stored]), count)
        with np.errstate(invalid="ignore"):  # Of a damaged file's numbers that the class has not.
            return numbers.astype(_NUMERIC[kind]).reshape(shape, order="F")

    def _struct(self, count: int, elements: Iterator, depth: int) -> tuple[dict[str, Any], ...]:
        length = int(self._numbers(_next(elements)[1], self._signed, 1)[0])
        data = _next(elements)[1]
        if length <= 0 or len(data) % length:
            raise _DamagedError(f"names of {length} bytes do not fit {len(data)} bytes")
        self._count(len(data) // length)
        names = [_text(data[at : at + length], "latin-1") for at in range(0, len(data), length)]
        if not names:
            return ()
        return tuple({name: self._inner(elements, depth) for name in names} for _ in range(count))

    def _inner(self, elements: Iterator, depth: int) -> Any:
        kind, data = _next(elements)
        if kind != _MATRIX:
            raise _DamagedError(f"an element of type {kind} stands where an array should")
        return self._matrix(data, depth=depth + 1)[1]

    def _count(self, number: int) -> None:
        self._arrays_left -= number
        if self._arrays_left < 0:
            raise _DamagedError(f"it has more than {_MOST_ARRAYS} arrays and names of fields")

    def _inflated(self, data: memoryview) -> memoryview:
        most = min(_LARGEST, self._inflated_left)
        stream = zlib.decompressobj()
        try:
            content = stream.decompress(data, most + 1)
        except zlib.error as error:
            raise _DamagedError("its compressed data are damaged") from error
        if len(content) > most:
            raise _DamagedError(f"its compressed data become more than {most} bytes")
        if not stream.eof:
            raise _DamagedError("its compressed data have no end")
        self._inflated_left -= len(content)
        return memoryview(content)

    def _numbers(self, data: memoryview, dtype: np.dtype, count: int | None = None) -> np.ndarray:
        """All numbers in an element's data, `[count]`."""
        if len(data) % dtype.itemsize or (count is not None and len(data) != count * dtype.itemsize):
            raise _DamagedError(f"{len(data)} bytes are not {'' if count is None else f'{count} '}numbers of {dtype}")
        return np.frombuffer(data, dtype)


def _next(elements: Iterator[tuple[int, memoryview]]) -> tuple[int, memoryview]:
    found = next(elements, None)
    if found is None:
        raise _DamagedError("an array ends before its content")
    return found


def _text(data: memoryview, encoding: str) -> str:
    """Text up to the first zero, which ends names."""
    try:
        return str(data, encoding).split("\0")[0]
    except UnicodeDecodeError as error:
        raise _DamagedError("a text is none") from error
