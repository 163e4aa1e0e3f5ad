"""The ONNX counterparts of JAX's operations, as far as the Siamese networks use them: one row of a table each."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxtrack.errors import UserError
from jaxtrack.export.onnx_graph import Graph, Symbol, Value, integers, size

_BEFORE_THE_FIRST = -(2**31)  # where a backward slice ends that takes everything


def _same(operator: str) -> Callable[..., Symbol]:
    """An elementwise operation that ONNX has too."""
    return lambda graph, shape, *operands: graph.add(operator, *operands, shape=shape)


def _square(graph: Graph, shape: tuple[int, ...], x: Value) -> Symbol:
    return graph.add("Mul", x, x, shape=shape)


def _reciprocal_root(graph: Graph, shape: tuple[int, ...], x: Value) -> Symbol:
    return graph.add("Reciprocal", graph.add("Sqrt", x, shape=shape), shape=shape)


def _unchanged(graph: Graph, shape: tuple[int, ...], x: Value) -> Value:
    del graph, shape
    return x


def _convolution(graph: Graph, equation: Any, x: Value, kernel: Value) -> Value:
    params = equation.params
    layout = params["dimension_numbers"]
    if set(params["lhs_dilation"]) != {1} or params["batch_group_count"] != 1:
        raise UserError("the ONNX export has no transposed convolutions: export StableHLO instead")
    # Each entry of the layout tells where batch, channels, height and width are, in ONNX's order.
    result = graph.add(
        "Conv",
        graph.transpose(x, layout.lhs_spec),
        graph.transpose(kernel, layout.rhs_spec),
        shape=tuple(equation.outvars[0].aval.shape[axis] for axis in layout.out_spec),
        strides=params["window_strides"],
        pads=_pads(params["padding"]),
        dilations=params["rhs_dilation"],
        group=params["feature_group_count"],
    )
    return graph.transpose(result, np.argsort(layout.out_spec).tolist())


def _max_pool(graph: Graph, equation: Any, x: Value) -> Value:
    params = equation.params
    windows = params["window_dimensions"]
    others = [axis for axis, window in enumerate(windows) if window == 1]
    places = [axis for axis, window in enumerate(windows) if window > 1]
    pads = [params["padding"][axis] for axis in others]
    strides = [params["window_strides"][axis] for axis in others]
    if len(others) != 2 or set(strides) != {1} or any(map(any, pads)) or set(params["base_dilation"]) != {1}:
        raise UserError("the ONNX export only has maxima over windows of two axes out of four")
    order = (*others, *places)
    result = graph.add(
        "MaxPool",
        graph.transpose(x, order),
        shape=tuple(equation.outvars[0].aval.shape[axis] for axis in order),
        kernel_shape=[windows[axis] for axis in places],
        strides=[params["window_strides"][axis] for axis in places],
        pads=_pads([params["padding"][axis] for axis in places]),
        dilations=[params["window_dilation"][axis] for axis in places],
    )
    return graph.transpose(result, np.argsort(order).tolist())


def _product(graph: Graph, equation: Any, x: Value, y: Value) -> Value:
    """Any product of tensors as a product of (batches of) matrices: `[*B, M, K]` with `[*B, K, N]`."""
    (x_summed, y_summed), (x_batch, y_batch) = equation.params["dimension_numbers"]
    x_free = [axis for axis in range(len(x.shape)) if axis not in (*x_summed, *x_batch)]
    y_free = [axis for axis in range(len(y.shape)) if axis not in (*y_summed, *y_batch)]
    batch = tuple(x.shape[axis] for axis in x_batch)
    rows, inner = size([x.shape[axis] for axis in x_free]), size([x.shape[axis] for axis in x_summed])
    columns = size([y.shape[axis] for axis in y_free])
    left = graph.reshape(graph.transpose(x, (*x_batch, *x_free, *x_summed)), (*batch, rows, inner))
    right = graph.reshape(graph.transpose(y, (*y_batch, *y_summed, *y_free)), (*batch, inner, columns))
    result = graph.add("MatMul", left, right, shape=(*batch, rows, columns))
    return graph.reshape(result, equation.outvars[0].aval.shape)


def _slice(graph: Graph, equation: Any, x: Value) -> Value:
    params, axes = equation.params, range(len(x.shape))
    bounds = [integers(params[key]) for key in ("start_indices", "limit_indices")]
    steps = integers(params["strides"] or [1] * len(axes))
    return graph.add("Slice", x, *bounds, integers(axes), steps, shape=equation.outvars[0].aval.shape)


def _reversal(graph: Graph, equation: Any, x: Value) -> Value:
    axes = equation.params["dimensions"]
    bounds = [integers([number] * len(axes)) for number in (-1, _BEFORE_THE_FIRST)]
    steps = integers([-1] * len(axes))
    return graph.add("Slice", x, *bounds, integers(axes), steps, shape=equation.outvars[0].aval.shape)


def _pad(graph: Graph, equation: Any, x: Value, value: Value) -> Value:
    config = equation.params["padding_config"]
    if any(low < 0 or high < 0 or interior for low, high, interior in config):
        raise UserError("the ONNX export has no padding that cuts, or goes between elements: export StableHLO instead")
    pads = integers(_pads([(low, high) for low, high, _ in config]))
    return graph.add("Pad", x, pads, value, shape=equation.outvars[0].aval.shape)


def _concatenation(graph: Graph, equation: Any, *arrays: Value) -> Value:
    shape = equation.outvars[0].aval.shape
    return graph.add("Concat", *arrays, shape=shape, axis=equation.params["dimension"])


def _reshape(graph: Graph, equation: Any, x: Value) -> Value:
    return graph.reshape(x, equation.outvars[0].aval.shape)


def _transpose(graph: Graph, equation: Any, x: Value) -> Value:
    return graph.transpose(x, equation.params["permutation"])


def _conversion(graph: Graph, equation: Any, x: Value) -> Value:
    del graph
    before, after = equation.invars[0].aval.dtype, equation.params["new_dtype"]
    if before != after:
        raise UserError(f"the ONNX export has float32 alone, not {before} made {after}: export StableHLO instead")
    return x


def _reduction(operator: str, graph: Graph, equation: Any, x: Value) -> Value:
    shape = equation.outvars[0].aval.shape
    return graph.add(operator, x, integers(equation.params["axes"]), shape=shape, keepdims=0)


def _pads(padding: Any) -> list[int]:
    """ONNX's order: what is added before all axes, then what is added after all."""
    return [low for low, _ in padding] + [high for _, high in padding]


# (graph, shape of the result, *operands) -> result; operands may have 1 where the result has more.
ELEMENTWISE: dict[str, Callable[..., Value]] = {
    "add": _same("Add"),
    "sub": _same("Sub"),
    "mul": _same("Mul"),
    "div": _same("Div"),
    "max": _same("Max"),
    "min": _same("Min"),
    "exp": _same("Exp"),
    "logistic": _same("Sigmoid"),
    "rsqrt": _reciprocal_root,
    "square": _square,
    "stop_gradient": _unchanged,
}

# (graph, JAX's operation, *operands) -> result.
OPERATIONS: dict[str, Callable[..., Value]] = {
    "conv_general_dilated": _convolution,
    "reduce_window_max": _max_pool,
    "dot_general": _product,
    "slice": _slice,
    "rev": _reversal,
    "pad": _pad,
    "concatenate": _concatenation,
    "reshape": _reshape,
    "squeeze": _reshape,
    "transpose": _transpose,
    "convert_element_type": _conversion,
    "reduce_sum": functools.partial(_reduction, "ReduceSum"),
    "reduce_max": functools.partial(_reduction, "ReduceMax"),
}
