"""An ONNX graph that grows node by node, and the arrays in it.

ONNX broadcasts the operands of elementwise operations by itself, so that an array that JAX has broadcast for one is
left small until something else needs it whole.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxtrack.export.programs import Port

# The first opset whose reductions all take their axes alike, and the file format of its time: old runtimes read it.
OPSET = 18
IR_VERSION = 8


class Symbol(NamedTuple):
    """An array of the graph by its name; its shape may have 1 where JAX says more: ONNX is to broadcast it."""

    name: str
    shape: tuple[int, ...]


# Known arrays, which are views of stride 0 where they are broadcast, or symbols.
Value = np.ndarray | Symbol


class Graph:
    """An ONNX graph that grows node by node."""

    def __init__(self, onnx: Any):
        """An empty graph; `onnx` is the package, which need not be installed for anything else."""
        self._onnx = onnx
        self._nodes: list[Any] = []
        self._constants: dict[tuple, str] = {}  # names by type, shape and content: each is stored once
        self._initialisers: list[Any] = []

    def add(self, operator: str, *operands: Value, shape: tuple[int, ...], **attributes: Any) -> Symbol:
        """A node with one result of this shape."""
        names = [self._name(operand) for operand in operands]
        result = Symbol(f"n{len(self._nodes)}", shape)
        self._nodes.append(self._onnx.helper.make_node(operator, names, [result.name], **attributes))
        return result

    def finish(self, value: Value, name: str) -> None:
        """Gives a value the name of an output."""
        self._nodes.append(self._onnx.helper.make_node("Identity", [self._name(value)], [name]))

    def whole(self, value: Value, shape: tuple[int, ...]) -> Value:
        """The value, broadcast to a shape if it is not of it already."""
        if isinstance(value, np.ndarray) or value.shape == shape:
            return value
        return self.add("Expand", value, integers(shape), shape=shape)

    def reshape(self, value: Value, shape: Sequence[int]) -> Value:
        """The value in another shape of the same size."""
        shape = tuple(shape)
        if isinstance(value, np.ndarray):
            return value.reshape(shape)
        return value if value.shape == shape else self.add("Reshape", value, integers(shape), shape=shape)

    def transpose(self, value: Value, order: Sequence[int]) -> Value:
        """The value with its axes in another order."""
        order = tuple(order)
        if order == tuple(range(len(order))):
            return value
        if isinstance(value, np.ndarray):
            return value.transpose(order)
        return self.add("Transpose", value, shape=tuple(value.shape[axis] for axis in order), perm=order)

    def model(self, name: str, inputs: Sequence[Port], outputs: Sequence[Port]) -> bytes:
        """The graph as a file's content, checked by ONNX's own rules."""
        helper = self._onnx.helper
        ports = ([self._info(port) for port in side] for side in (inputs, outputs))
        graph = helper.make_graph(self._nodes, name, *ports, initializer=self._initialisers)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="jaxtrack")
        self._onnx.checker.check_model(model, full_check=True)
        return model.SerializeToString()

    def _info(self, port: Port) -> Any:
        return self._onnx.helper.make_tensor_value_info(port.name, self._onnx.TensorProto.FLOAT, port.shape)

    def _name(self, value: Value) -> str:
        if isinstance(value, Symbol):
            return value.name
        content = np.ascontiguousarray(value).reshape(value.shape)
        key = (value.dtype.str, value.shape, hashlib.sha256(content.data).digest())
        if key not in self._constants:
            self._constants[key] = f"c{len(self._constants)}"
            tensor = self._onnx.numpy_helper.from_array(content)
            tensor.name = self._constants[key]
            self._initialisers.append(tensor)
        return self._constants[key]


def integers(numbers: Sequence[int]) -> np.ndarray:
    """Shapes, axes and positions as ONNX takes them."""
    return np.asarray(numbers, np.int64)


def size(shape: Sequence[int]) -> int:
    """Number of elements."""
    return math.prod(shape)
