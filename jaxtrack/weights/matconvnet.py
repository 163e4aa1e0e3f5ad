"""MatConvNet's networks in MATLAB files.

Two kinds of networks exist: SimpleNN, a cell of layers that hold their own arrays, and DagNN, an array of layers
that name arrays of a common list. Either stands in the file directly or inside a variable `net`. Convolutions are
stored as ours are, `[h, w, in, out]`; MATLAB drops axes of length 1 at the end, which are put back here.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxtrack.errors import UserError
from jaxtrack.weights import matlab

_KINDS = {"normalize": "lrn", "pooling": "pool"}  # Older and DagNN's names of kinds.
_LRN = (5.0, 1.0, 2e-5, 0.75)  # MatConvNet's defaults.


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer of a network.

    Attributes:
      name: as in the file; empty if it has none.
      kind: "conv", "relu", "pool", "lrn" and so on.
      arrays: of a convolution the kernel `[h, w, in, out]` and the bias `[out]`, float32; else empty.
      stride: of a convolution or pooling in y and x; empty where the file does not say.
      padding: of the same at the top, bottom, left and right.
      lrn: of a normalisation across channels (size, k, alpha, beta), alpha not divided by the size; else empty.
    """

    name: str
    kind: str
    arrays: tuple[np.ndarray, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = (0, 0, 0, 0)
    lrn: tuple[float, ...] = ()


class _StrangeError(Exception):
    """Something in the file is not as MatConvNet writes it."""


def read(path: Path) -> tuple[Layer, ...]:
    """The layers of the network in a MATLAB file, in its order.

    Raises:
      UserError: the file cannot be read, is damaged, of MATLAB 7.3, or holds no network.
    """
    content = matlab.read(path, ("net", "layers", "params"))
    network = content if "layers" in content else _fields(content.get("net"))
    layers = network.get("layers")
    if not isinstance(layers, list | tuple):
        raise UserError(f"{path} holds no network of MatConvNet: it has neither layers nor a net with layers")
    try:
        # A cell or an array of structs: this alone tells the two kinds of networks apart.
        found = tuple(_simple_layers(layers) if isinstance(layers, list) else _dag_layers(layers, network))
    except _StrangeError as error:
        raise UserError(f"{path} holds no network as MatConvNet writes it: {error}") from error
    if not any(layer.kind == "conv" for layer in found):
        raise UserError(f"{path} holds a network of MatConvNet without any convolution")
    return found


def convolutions(layers: Sequence[Layer]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Kernel `[h, w, in, out]` and bias `[out]` of every convolution; fully connected layers are among them.

    Raises:
      UserError: two of them have one name, or one has none.
    """
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for layer in layers:
        if layer.kind != "conv":
            continue
        if not layer.name or layer.name in found:
            fault = f"two convolutions {layer.name}" if layer.name else "a convolution without a name"
            raise UserError(f"the network has {fault}")
        kernel, bias = layer.arrays
        found[layer.name] = (kernel, bias)
    return found


def _simple_layers(cell: list) -> Iterator[Layer]:
    for item in cell:
        fields = _fields(item)
        if not fields:
            raise _StrangeError("one of its layers is no struct")
        arrays = _list(fields["weights"]) if "weights" in fields else [fields.get(n) for n in ("filters", "biases")]
        yield _layer(_text(fields.get("name")), _text(fields.get("type")), fields, arrays)


def _dag_layers(layers: tuple, network: Mapping[str, Any]) -> Iterator[Layer]:
    params = network.get("params")
    records = params if isinstance(params, tuple) else ()
    arrays = {_text(fields.get("name")): fields.get("value") for fields in records}
    for fields in layers:
        name, kind = _text(fields.get("name")), _text(fields.get("type")).removeprefix("dagnn.").lower()
        names = [_text(item) for item in _list(fields.get("params"))]
        missing = [param for param in names if param not in arrays]
        if missing:
            raise _StrangeError(f"the layer {name} needs {', '.join(missing)}, which is not among its params")
        yield _layer(name, kind, _fields(fields.get("block")), [arrays[param] for param in names])


def _layer(name: str, kind: str, fields: Mapping[str, Any], arrays: list[Any]) -> Layer:
    """A layer of either kind of network; `fields` hold its settings."""
    kind = _KINDS.get(kind, kind)
    stride, padding = _numbers(fields.get("stride"), ()), _numbers(fields.get("pad"), (0,))
    if len(stride) > 2 or len(padding) not in (1, 4):
        raise _StrangeError(f"the layer {name} has a stride of {len(stride)} and a padding of {len(padding)} numbers")
    return Layer(
        name,
        kind,
        _convolution(name, arrays) if kind == "conv" else (),
        tuple(int(number) for number in (stride * 2)[:2]),
        tuple(int(number) for number in (padding * 4)[:4]),
        _numbers(fields.get("param"), _LRN) if kind == "lrn" else (),
    )


def _convolution(name: str, arrays: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias, whose axes of length 1 may be lost, in our shapes; a bias that there is none of is 0."""
    kernel, bias = [*arrays, None, None][:2]
    if not isinstance(kernel, np.ndarray) or kernel.ndim > 4 or len(arrays) > 2:
        raise _StrangeError(f"the convolution {name} has no kernel of at most four axes")
    kernel = kernel.reshape(kernel.shape + (1,) * (4 - kernel.ndim)).astype(np.float32)
    given = isinstance(bias, np.ndarray) and bias.size > 0
    bias = bias.ravel().astype(np.float32) if given else np.zeros(kernel.shape[3], np.float32)
    if bias.size != kernel.shape[3]:
        raise _StrangeError(f"the convolution {name} has a kernel of {list(kernel.shape)} and {bias.size} biases")
    return np.ascontiguousarray(kernel), bias


def _fields(struct: Any) -> Mapping[str, Any]:
    """The fields of a single struct; none of anything else."""
    return struct[0] if isinstance(struct, tuple) and len(struct) == 1 else {}


def _list(cell: Any) -> list[Any]:
    return cell if isinstance(cell, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _numbers(value: Any, default: tuple[float, ...]) -> tuple[float, ...]:
    if not isinstance(value, np.ndarray) or value.size == 0:
        return default
    if not np.isfinite(value).all():
        raise _StrangeError("a setting of a layer is not finite")
    return tuple(value.ravel().astype(float).tolist())
