"""Names and shapes of an architecture's arrays, which a file of weights must have."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from jaxtrack.errors import UserError
from jaxtrack.models import mdnet, rpn2t, siamese
from jaxtrack.weights import online

_NAMES_IN_A_MESSAGE = 3


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


def check(arrays: Mapping[str, np.ndarray], architecture: str, where: str) -> None:
    """`UserError` unless names, shapes and dtypes are those of the architecture; it is only traced."""
    if not any(architecture in names for names, _ in _FAMILIES):
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


def _siamese_backbone(name: str) -> dict[str, Any]:
    whole = siamese.shapes(siamese.ARCHITECTURES[siamese.BACKBONES[name]])
    return {kind: {"backbone": part["backbone"]} for kind, part in whole.items()}


# Every architecture that weights may be of: names, and the shapes of one's variables by its name.
_FAMILIES: tuple[tuple[Mapping[str, Any], Callable[[str], dict[str, Any]]], ...] = (
    (siamese.ARCHITECTURES, lambda name: siamese.shapes(siamese.ARCHITECTURES[name])),
    (siamese.BACKBONES, _siamese_backbone),
    (mdnet.ARCHITECTURES, lambda name: mdnet.shapes(mdnet.ARCHITECTURES[name])),
    (rpn2t.ARCHITECTURES, lambda name: rpn2t.shapes(rpn2t.ARCHITECTURES[name])),
    (online.BACKBONES, online.shapes),
)


@functools.cache
def _expected(architecture: str) -> dict[str, Any]:
    """Shape and dtype of every array of an architecture, or of a backbone, by its name; half a second of tracing."""
    return flatten(next(shapes for names, shapes in _FAMILIES if architecture in names)(architecture))


def _some(keys: set[str]) -> str:
    shown = sorted(keys)[:_NAMES_IN_A_MESSAGE]
    return ", ".join(shown) + (f" and {len(keys) - len(shown)} more" if len(keys) > len(shown) else "")
