"""Programs as ONNX models, translated operation by operation from their jaxprs.

A jaxpr is JAX's own list of a program's operations; the networks here need some twenty-five of them, whose ONNX
counterparts `onnx_operations` tells. What depends on weights alone is computed once, here, and becomes a constant of
the graph.

ONNX convolutions are NCHW. Each is put between two transpositions, of which runtimes cancel most.
"""

import importlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import Literal

from jaxtrack.errors import UserError
from jaxtrack.export.onnx_graph import Graph, Symbol, Value
from jaxtrack.export.onnx_operations import ELEMENTWISE, OPERATIONS
from jaxtrack.export.programs import Program

_PACKAGES = ("onnx", "onnxruntime")

CALL = """\
import onnxruntime

template, search = (onnxruntime.InferenceSession(f"{name}.onnx") for name in ("template", "search"))
kept = template.run(None, {"z": z})
cls, loc = search.run(None, {"x": x} | {f"kept_{i}": array for i, array in enumerate(kept)})
"""


def require() -> None:
    """`UserError` unless all is installed that is needed."""
    for name in _PACKAGES:
        _import(name)


def write(program: Program, platforms: Sequence[str]) -> bytes:
    """The program, with its weights, as an ONNX model; it is not made for any platform.

    Raises:
      UserError: the program has an operation that has no translation.
    """
    del platforms
    onnx = _import("onnx")
    graph = Graph(onnx)
    closed = jax.make_jaxpr(program.function)(*program.specs())
    results = walk(graph, closed.jaxpr, closed.consts, [Symbol(port.name, port.shape) for port in program.inputs])
    for port, value in zip(program.outputs, results, strict=True):
        graph.finish(graph.whole(value, port.shape), port.name)
    return graph.model(program.name, program.inputs, program.outputs)


def run(content: bytes, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Runs a model on the CPU; raises whatever the runtime raises for what is none."""
    runtime = _import("onnxruntime")
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))


def walk(graph: Graph, jaxpr: Any, constants: Sequence[Any], arguments: Sequence[Value]) -> list[Value]:
    """Adds all operations of a jaxpr and returns its results.

    Raises:
      UserError: one has no translation.
    """
    values: dict[Any, Value] = dict(zip(jaxpr.constvars, map(np.asarray, constants), strict=True))
    values |= dict(zip(jaxpr.invars, arguments, strict=True))

    def read(atom: Any) -> Value:
        if not isinstance(atom, Literal):
            return values[atom]
        kind: Any = atom.aval  # the value itself may be a number of Python
        return np.asarray(atom.val, kind.dtype)

    for equation in jaxpr.eqns:
        results = _step(graph, equation, [read(atom) for atom in equation.invars])
        values |= dict(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _step(graph: Graph, equation: Any, operands: list[Value]) -> list[Value]:
    """The results of one operation."""
    inner = equation.params.get("jaxpr") or equation.params.get("call_jaxpr")
    if inner is not None:  # a function within the function
        return walk(graph, inner.jaxpr, inner.consts, operands)
    name = equation.primitive.name
    if name == "broadcast_in_dim":
        return [_broadcast(graph, equation, operands[0])]
    if all(isinstance(operand, np.ndarray) for operand in operands):
        return _computed(equation, operands)
    if name in ELEMENTWISE:
        small = [_small(operand) for operand in operands]
        shape = np.broadcast_shapes(*(operand.shape for operand in small))
        return [ELEMENTWISE[name](graph, shape, *small)]
    if name not in OPERATIONS:
        raise UserError(f"the ONNX export has no translation of JAX's operation {name!r}: export StableHLO instead")
    whole = [graph.whole(value, atom.aval.shape) for value, atom in zip(operands, equation.invars, strict=True)]
    return [OPERATIONS[name](graph, equation, *whole)]


def _broadcast(graph: Graph, equation: Any, operand: Value) -> Value:
    """JAX's only broadcast: axes of the operand at `broadcast_dimensions` of the result, all others new."""
    shape = equation.params["shape"]
    small = [1] * len(shape)
    for axis, place in enumerate(equation.params["broadcast_dimensions"]):
        small[place] = operand.shape[axis]
    reshaped = graph.reshape(operand, small)
    return np.broadcast_to(reshaped, shape) if isinstance(reshaped, np.ndarray) else reshaped


def _small(value: Value) -> Value:
    """Of a known array that is broadcast, what it was broadcast from."""
    if isinstance(value, Symbol):
        return value
    return value[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in value.strides)]


def _computed(equation: Any, operands: Sequence[Any]) -> list[Value]:
    """The results of an operation on known arrays."""
    results = equation.primitive.bind(*operands, **equation.params)
    results = results if equation.primitive.multiple_results else [results]
    return [np.asarray(result) for result in results]


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"exporting ONNX needs the package {name}, which is not installed: in a checkout of jaxtrack, "
            "pip install -e '.[onnx]'"
        ) from error
