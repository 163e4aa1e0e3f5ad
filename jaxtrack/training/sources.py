"""Where training pairs come from: what the host reads for a sample, and what the device makes of it.

A sample is a function of the seed and of its number alone. Number `step * batch + i` is the i-th of a step's batch,
whatever the number of devices and processes, so a resumed training needs no other position than the step.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Generator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from jaxtrack.data import augmentation, otb_table, prepared
from jaxtrack.data.augmentation import SEARCH, SEARCH_PX, TEMPLATE, TEMPLATE_PX, Augmentation
from jaxtrack.data.pairs import DiskPairs, PairSampling
from jaxtrack.data.procedural_pairs import Pair, PairConfig, load_textures, pair_key, render_batch
from jaxtrack.training import factor_crops
from jaxtrack.training.factor_crops import FactorCrops
from jaxtrack.training.keys import seed_key

Split = Literal["train", "validation"]
# No option of the command line: a training is on one and validated on the other.
_Chosen = Annotated[Split, tyro.conf.Suppress]
_TEXTURES, _TEXTURE_PX = 64, 128  # they are a constant of the program: 12 MiB


class Source(Protocol):
    """Training pairs by number.

    It may have two methods more: `contents`, JSON values that tell its data from others, so that a training does not go
    on with these; and `warnings`, sentences for who trains on them. And `sides_px`, of templates and search regions.
    """

    @property
    def split(self) -> Split:
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

    sides_px: ClassVar[tuple[int, int]] = (TEMPLATE_PX, SEARCH_PX)

    look: PairConfig = dataclasses.field(default_factory=PairConfig)
    """What pairs are like."""
    textures: Path | None = dataclasses.field(default=None, metadata={"compared": False})
    """A folder of your own images, which become some of the surfaces."""
    seed: int = 0
    """Another seed, other pairs."""
    split: _Chosen = "train"
    """Another split, other pairs under the same seed."""

    def batches(self, first_step: int, batch: int, process: int, processes: int) -> Generator[np.ndarray, None, None]:
        """The samples' numbers are all that the host contributes."""
        step = first_step
        while True:
            yield sample_numbers(step, batch, process, processes)
            step += 1

    def contents(self) -> list[str]:
        """The sha256 of the textures, wherever they lie."""
        return [] if self.textures is None else [hashlib.sha256(_textures(self.textures).tobytes()).hexdigest()]

    def pairs(self, items: jax.Array) -> Pair:
        """Renders pairs, and changes their colours and sharpness as in training from disk."""
        keys = jax.vmap(lambda number: pair_key(self.seed, number, self.split))(items)
        textures = None if self.textures is None else jnp.asarray(_textures(self.textures))
        pairs = render_batch(keys, self.look, textures)
        # The renderer splits the same keys: small words would be its own.
        template, _ = _altered(keys, 21, self.look.template, pairs.template, pairs.box_xyxy)
        search, box = _altered(keys, 22, self.look.search, pairs.search, pairs.box_xyxy)
        return pairs.replace(template=template, search=search, box_xyxy=box)  # type: ignore[attr-defined]


@dataclasses.dataclass(frozen=True)
class Stored:
    """Datasets that `jaxtrack prepare` has made, and how pairs of their images are drawn."""

    folders: tuple[Path, ...] = dataclasses.field(default=(), metadata={"compared": False})
    """The prepared datasets."""
    validation_folders: tuple[Path, ...] = dataclasses.field(default=(), metadata={"compared": False})
    """Others, for the validation split."""
    sampling: PairSampling = dataclasses.field(default_factory=PairSampling)
    """How pairs are drawn."""
    seed: int = 0
    """Another seed, other pairs."""
    workers: int = dataclasses.field(default=0, metadata={"identity": False})
    """Processes that decode images; 0 decodes in threads."""
    split: _Chosen = "train"
    """Another split, other pairs under the same seed."""

    def batches(self, first_step: int, batch: int, process: int, processes: int) -> Generator[Any, None, None]:
        """Stored crops and boxes, read ahead."""
        return DiskPairs(self._folders, self.sampling).batches(
            seed=self.seed,
            global_batch=batch,
            start_step=first_step,
            process_index=process,
            process_count=processes,
            workers=self.workers,
        )

    @property
    def _folders(self) -> tuple[Path, ...]:
        return self.folders if self.split == "train" else self.validation_folders

    def contents(self) -> list[str]:
        """What tells each dataset from others, wherever it lies and was prepared from."""
        return [prepared.fingerprint(folder) for folder in self._folders]

    def warnings(self) -> list[str]:
        """What is to be said of training on these datasets."""
        folders = [folder for folder in self.folders if any(folder.expanduser().glob("otb-*.array_record-*"))]
        return [otb_table.training_warning(folder, prepared.read_index(folder).videos.tolist()) for folder in folders]

    def _keys(self, items: Any) -> jax.Array:
        return jax.vmap(functools.partial(jax.random.fold_in, seed_key(self.seed)))(items["index"])


@dataclasses.dataclass(frozen=True)
class Disk(Stored):
    """Pairs from prepared datasets, which the device cuts out of the stored crops, as for SiamRPN++."""

    sides_px: ClassVar[tuple[int, int]] = (TEMPLATE_PX, SEARCH_PX)

    template: Augmentation = TEMPLATE
    """Of the template."""
    search: Augmentation = SEARCH
    """Of the search region."""

    def pairs(self, items: Any) -> Pair:
        """Cuts out, recolours, blurs and mirrors, as the references' data loaders do."""
        keys = self._keys(items)
        template, _ = _cut(keys, 3, self.template, items["template"], items["template_box"], items["gray"], TEMPLATE_PX)
        search, box = _cut(keys, 4, self.search, items["search"], items["search_box"], items["gray"], SEARCH_PX)
        return Pair(template=template, search=search, box_xyxy=box, negative=items["negative"])  # type: ignore[call-arg]


@dataclasses.dataclass(frozen=True)
class FactorDisk(Stored):
    """Pairs from prepared datasets in crops whose sides are multiples of the target's, as for TransT."""

    sides_px: ClassVar[tuple[int, int]] = (factor_crops.TEMPLATE_PX, factor_crops.SEARCH_PX)

    crops: FactorCrops = FactorCrops()
    """How they are cut out, and what is changed."""

    def pairs(self, items: Any) -> Pair:
        """Cuts out, and changes brightness, as TransT's data loader does."""
        keys, cut = self._keys(items), functools.partial(factor_crops.cut, self.crops)
        images = [items[name] for name in ("template", "template_box", "search", "search_box", "gray")]
        template, search, box = jax.vmap(cut)(keys, *images)
        return Pair(template=template, search=search, box_xyxy=box, negative=items["negative"])  # type: ignore[call-arg]


@functools.cache
def _textures(folder: Path) -> np.ndarray:
    return load_textures(folder, _TEXTURE_PX, _TEXTURES)


def _altered(
    keys: jax.Array, word: int, config: Augmentation, images: jax.Array, boxes: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Images `[B, S, S, 3]` recoloured, blurred and mirrored, and their boxes `[B, 4]`."""

    def one(sample: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        key, image, box = sample
        photometric_key, flip_key = jax.random.split(key)
        return augmentation.flip(flip_key, config, augmentation.photometric(photometric_key, config, image), box)

    samples = (jax.vmap(functools.partial(jax.random.fold_in, data=word))(keys), images, boxes)
    # One image at a time on a CPU: a blur that an image does not need costs nothing then.
    return jax.lax.map(one, samples) if jax.default_backend() == "cpu" else jax.vmap(one)(samples)


def _cut(
    keys: jax.Array, word: int, config: Augmentation, stored: jax.Array, boxes: jax.Array, gray: jax.Array, side: int
) -> tuple[jax.Array, jax.Array]:
    """Augmented crops `[B, side, side, 3]` of stored ones, and the boxes in them."""

    def one(key: jax.Array, image: jax.Array, box: jax.Array, grey: jax.Array) -> tuple[jax.Array, jax.Array]:
        window = augmentation.sample_window(key, config, side)
        crop = augmentation.crop(image, window, side)
        crop = jnp.where(grey, augmentation.grey(crop), crop)
        return crop, augmentation.box_in_crop(box, window, side)

    own = jax.vmap(functools.partial(jax.random.fold_in, data=word))(keys)
    crops, found = jax.vmap(one)(own, stored, boxes, gray)
    return _altered(keys, word + 2, config, crops, found)
