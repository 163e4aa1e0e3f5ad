"""Where training pairs come from: what the host reads for a sample, and what the device makes of it.

A sample is a function of the seed and of its number alone. Number `step * batch + i` is the i-th of a step's batch,
whatever the number of devices and processes, so a resumed training needs no other position than the step.
"""

import dataclasses
import functools
from collections.abc import Generator
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack.data import augmentation
from jaxtrack.data.augmentation import SEARCH, SEARCH_PX, TEMPLATE, TEMPLATE_PX, Augmentation
from jaxtrack.data.pairs import DiskPairs, PairSampling
from jaxtrack.data.procedural_pairs import Pair, PairConfig, pair_key, render_batch


class Source(Protocol):
    """Training pairs by number."""

    @property
    def split(self) -> str:
        """Which of its pairs: `train` or `validation`."""
        ...

    def batches(self, first_step: int, batch: int, process: int, processes: int) -> Generator[Any, None, None]:
        """Host arrays of the steps from `first_step` on: this process's share of each batch, in order."""
        ...

    def pairs(self, items: Any) -> Pair:
        """The pairs of host arrays with a leading axis B, images `[B, S, S, 3]`; jittable."""
        ...


def sample_numbers(step: int, batch: int, process: int, processes: int) -> np.ndarray:
    """The numbers of a process's samples in a step, `uint32 [batch / processes]`."""
    share = batch // processes
    return (step * batch + process * share + np.arange(share)).astype(np.uint32)


@dataclasses.dataclass(frozen=True)
class Procedural:
    """Pairs rendered on the device: an endless source that needs no download."""

    look: PairConfig = dataclasses.field(default_factory=PairConfig)
    """What pairs are like."""
    seed: int = 0
    """Another seed, other pairs."""
    split: str = "train"
    """Another split, other pairs under the same seed."""

    def batches(self, first_step: int, batch: int, process: int, processes: int) -> Generator[np.ndarray, None, None]:
        """The samples' numbers are all that the host contributes."""
        step = first_step
        while True:
            yield sample_numbers(step, batch, process, processes)
            step += 1

    def pairs(self, items: jax.Array) -> Pair:
        """Renders pairs, and changes their colours and sharpness as in training from disk."""
        keys = jax.vmap(lambda number: pair_key(self.seed, number, self.split))(items)
        pairs = render_batch(keys, self.look)
        return pairs.replace(  # type: ignore[attr-defined]
            template=_photometric(keys, 1, self.look.template, pairs.template),
            search=_photometric(keys, 2, self.look.search, pairs.search),
        )


@dataclasses.dataclass(frozen=True)
class Disk:
    """Pairs from datasets that `jaxtrack prepare` has made; the device cuts them out of the stored crops."""

    folders: tuple[Path, ...] = ()
    """The prepared datasets; the validation split is drawn from the same ones, by another seed."""
    sampling: PairSampling = dataclasses.field(default_factory=PairSampling)
    """How pairs are drawn."""
    template: Augmentation = TEMPLATE
    """Of the template."""
    search: Augmentation = SEARCH
    """Of the search region."""
    seed: int = 0
    """Another seed, other pairs."""
    workers: int = dataclasses.field(default=0, metadata={"identity": False})
    """Processes that decode images; 0 decodes in threads."""
    split: str = "train"
    """Another split, other pairs under the same seed."""

    def batches(self, first_step: int, batch: int, process: int, processes: int) -> Generator[Any, None, None]:
        """Stored crops and boxes, read ahead."""
        return DiskPairs(self.folders, self.sampling).batches(
            seed=2 * self.seed + (self.split != "train"),
            global_batch=batch,
            start_step=first_step,
            process_index=process,
            process_count=processes,
            workers=self.workers,
        )

    def pairs(self, items: Any) -> Pair:
        """Cuts out, recolours, blurs and mirrors (siamese.md, 6.4)."""
        keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(self.seed)))(items["index"])
        template, _ = _cut(keys, 3, self.template, items["template"], items["template_box"], items["gray"], TEMPLATE_PX)
        search, box = _cut(keys, 4, self.search, items["search"], items["search_box"], items["gray"], SEARCH_PX)
        return Pair(template=template, search=search, box_xyxy=box, negative=items["negative"])  # type: ignore[call-arg]


def _photometric(keys: jax.Array, word: int, config: Augmentation, images: jax.Array) -> jax.Array:
    own = jax.vmap(functools.partial(jax.random.fold_in, data=word))(keys)
    # One image at a time: a blur that an image does not need costs nothing then.
    return jax.lax.map(lambda pair: augmentation.photometric(pair[0], config, pair[1]), (own, images))


def _cut(
    keys: jax.Array, word: int, config: Augmentation, stored: jax.Array, boxes: jax.Array, gray: jax.Array, side: int
) -> tuple[jax.Array, jax.Array]:
    """Augmented crops `[B, side, side, 3]` of stored ones, and the boxes in them."""

    def one(key: jax.Array, image: jax.Array, box: jax.Array, grey: jax.Array) -> tuple[jax.Array, jax.Array]:
        window_key, flip_key = jax.random.split(key)
        window = augmentation.sample_window(window_key, config, side)
        crop = augmentation.crop(image, window, side)
        crop = jnp.where(grey, augmentation.grey(crop), crop)
        return augmentation.flip(flip_key, config, crop, augmentation.box_in_crop(box, window, side))

    own = jax.vmap(functools.partial(jax.random.fold_in, data=word))(keys)
    crops, found = jax.vmap(one)(own, stored, boxes, gray)
    return _photometric(keys, word + 2, config, crops), found
