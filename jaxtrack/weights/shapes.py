"""Names and shapes of an architecture's arrays, which a file of weights must have."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from jaxtrack.errors import UserError
from jaxtrack.models import siamese

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
