"""Attention's weights in PyTorch and in Flax.

PyTorch has one matrix `in_proj_weight [3 E, E]` and one vector `in_proj_bias [3 E]` for queries, keys and values, in
this order, and of the heads no axis of their own; Flax has `query`, `key` and `value` apart, kernels `[E, heads,
E / heads]`, and `out [heads, E / heads, E]`. Here the three parts have names of their own, such as
"self_attn1.query.weight", between the two.
"""

from collections.abc import Mapping

import numpy as np

_PARTS = ("query", "key", "value")
_OUT = "out"
_PACKED = "in_proj_"


def is_part(path: tuple[str, ...]) -> bool:
    """Whether a leaf of our variables, by its path, belongs to an attention layer."""
    return len(path) > 2 and path[-3] == "attention" and path[-2] in (*_PARTS, _OUT)


def joined(path: tuple[str, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of such a leaf with heads and their features as one axis."""
    if path[-2] == _OUT:
        return shape if path[-1] == "bias" else (shape[0] * shape[1], shape[2])
    return (*shape[:-2], shape[-2] * shape[-1])


def packed_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """PyTorch's names and shapes from those of the parts; others are unchanged, in their order."""
    found: dict[str, tuple[int, ...]] = {}
    for key, (*shape,) in shapes.items():
        owner, part, kind = _split(key)
        if part in _PARTS:
            found[f"{owner}.{_PACKED}{kind}"] = (3 * shape[0], *shape[1:])
        elif part == _OUT:
            found[f"{owner}.out_proj.{kind}"] = tuple(shape)
        else:
            found[key] = tuple(shape)
    return found


def unpacked(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The parts of PyTorch's arrays under their names; others are unchanged."""
    found: dict[str, np.ndarray] = {}
    for key, array in state.items():
        owner, _, last = key.rpartition(".")
        if last.startswith(_PACKED):
            kind = last.removeprefix(_PACKED)
            found |= {f"{owner}.{part}.{kind}": rows for part, rows in zip(_PARTS, np.split(array, 3), strict=True)}
        else:
            found[key.replace(".out_proj.", f".{_OUT}.")] = array
    return found


def _split(key: str) -> tuple[str, str, str]:
    """What a name's layer belongs to, the layer, and the kind of array; "" for what a short name lacks."""
    owner, _, kind = key.rpartition(".")
    owner, _, part = owner.rpartition(".")
    return owner, part, kind
