"""Measuring a network on all images of a held-out source, on all devices."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from jaxtrack.training.step import local, on_each, replicated, split
from jaxtrack.training.stills.batches import Stills

Measured = dict[str, np.ndarray]


def on_all(
    measure: Callable[[Any, Any, jax.Array], dict[str, jax.Array]],
    source: Stills,
    batch: int,
    devices: Sequence[Any] | None,
    notice: Callable[[], None] | None = None,
) -> Callable[[Any], Measured]:
    """A function of what a network is made of that gives its measures of each image, `[N, ...]`.

    Args:
      measure: of `(what the network is made of, items, numbers)`; jittable, each of its results with a first axis of
        images.
      source: the images; they are read anew each time.
      batch: images at a time, about.
      devices: by default all; those of this process share the images. Each process measures all of them.
      notice: called while compiling takes long.
    """
    own = local(devices or jax.devices())
    program = on_each(measure, own, notice)
    batch = -(-batch // len(own)) * len(own)

    def run(shared: Any) -> Measured:
        shared = replicated(jax.tree.map(np.asarray, shared), own)
        parts, first = [], 0
        for items, count in source.once(batch):
            numbers = np.arange(first, first + batch, dtype=np.uint32)
            found = program(shared, *split((items, numbers), len(own)))
            parts.append({name: _joined(value)[:count] for name, value in found.items()})
            first += batch
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return run


def _joined(value: jax.Array) -> np.ndarray:
    """`[device, sample, ...]` to `[sample, ...]`."""
    return np.asarray(value).reshape(-1, *value.shape[2:])
