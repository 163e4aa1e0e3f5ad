"""Rendered training pairs on disk, for studies in which many trainings see the same ones.

Images are kept as whole grey levels, what is out of [0, 255] by a change of colours cut off: 244 KB a pair.
"""

import dataclasses
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack import files
from jaxtrack.data.procedural_pairs import Pair
from jaxtrack.training.sources import Procedural, sample_numbers
from jaxtrack.training.step import on_each, split

_COMPLETE = "complete"
_DTYPES = {"template": np.uint8, "search": np.uint8, "box_xyxy": np.float32, "negative": np.bool_}


@dataclasses.dataclass(frozen=True)
class Stored:
    """Pairs that `store` has rendered, in their order.

    Of what a training knows of itself the folder is no part: it goes on where the pairs have been moved to.
    """

    folder: Path = dataclasses.field(metadata={"compared": False})
    """Where they lie."""
    first: int = 0
    """The number of the first, by which these pairs are told from others."""
    split: Literal["train"] = "train"
    """They are for training alone."""

    def batches(self, first_step: int, batch: int, process: int, processes: int) -> Generator[Any, None, None]:
        """The arrays of the steps, as they lie there."""
        arrays = {name: np.load(self.folder / f"{name}.npy", mmap_mode="r") for name in _DTYPES}
        for step in range(first_step, len(arrays["negative"]) // batch):
            numbers = sample_numbers(step, batch, process, processes)
            place = slice(int(numbers[0]), int(numbers[-1]) + 1)
            yield {name: np.asarray(array[place]) for name, array in arrays.items()}

    def pairs(self, items: Any) -> Pair:
        """The pairs; images become `float32` again."""
        return Pair(**{name: _as(items[name], jnp.bool_ if name == "negative" else jnp.float32) for name in _DTYPES})  # type: ignore[call-arg]


def _as(array: Any, dtype: Any) -> jax.Array:
    return jnp.asarray(array).astype(dtype)


def store(source: Procedural, first: int, count: int, folder: Path, batch: int = 128) -> Stored:
    """Renders the pairs `first` to `first + count - 1` into a folder, unless they are there; `count` in whole batches.

    What an earlier call that was killed has left is rendered again, and so are other pairs than these.
    """
    complete, content = folder / _COMPLETE, f"{first} {count}\n"
    if not complete.is_file() or complete.read_text() != content:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        devices = jax.devices()
        program = on_each(lambda _, items, numbers: source.pairs(items), devices)
        arrays: dict[str, np.ndarray] = {}
        for done in range(0, count, batch):
            numbers = np.arange(first + done, first + done + batch, dtype=np.uint32)
            pairs = program((), *split((numbers, numbers), len(devices)))
            for name, dtype in _DTYPES.items():
                made = np.asarray(getattr(pairs, name))
                made = np.clip(np.rint(made), 0, 255) if dtype == np.uint8 else made
                made = made.reshape(-1, *made.shape[2:]).astype(dtype)
                if name not in arrays:
                    path, shape = folder / f"{name}.npy", (count, *made.shape[1:])
                    arrays[name] = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
                arrays[name][done : done + batch] = made
        for array in arrays.values():
            array.flush()  # type: ignore[attr-defined]
        files.write_text(complete, content)
    return Stored(folder, first)
