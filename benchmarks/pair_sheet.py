"""Draws rendered training pairs on one sheet, with the box of the object: green in positive, red in negative pairs.

python benchmarks/pair_sheet.py --output pairs.png --seed 3
"""

import dataclasses
import functools
import time
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import tyro

from jaxtrack.data.procedural_pairs import Pair, PairConfig, load_textures, pair_key, render_batch

_PAPER, _GOOD, _BAD = (244, 244, 240), (60, 220, 60), (60, 60, 240)
_MARGIN = 6


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Draw a contact sheet of rendered training pairs."""

    output: Path = Path("pairs.png")
    """Where the picture goes."""
    seed: int = 0
    """Which pairs."""
    pairs: int = 20
    """How many."""
    columns: int = 4
    """Pairs per row of the sheet."""
    boxes: bool = True
    """Whether boxes are drawn."""
    textures: Path | None = None
    """A folder of photographs for the surfaces."""
    pair: PairConfig = PairConfig()
    """What the pairs are like."""


def thumbnail(pair: Pair, boxes: bool) -> np.ndarray:
    """The template beside the search image with its box, `uint8 [255, 388, 3]` BGR."""
    search, template = (np.ascontiguousarray(image, np.uint8) for image in (pair.search, pair.template))
    if boxes:
        # OpenCV draws with four fractional bits.
        left, top, right, bottom = (round(16 * float(value)) for value in pair.box_xyxy)
        cv2.rectangle(search, (left, top), (right, bottom), _BAD if pair.negative else _GOOD, 1, cv2.LINE_AA, 4)
    page = np.full((search.shape[0], template.shape[1] + _MARGIN + search.shape[1], 3), _PAPER, np.uint8)
    page[: template.shape[0], : template.shape[1]] = template
    page[:, -search.shape[1] :] = search
    return page


def sheet(pictures: list[np.ndarray], columns: int) -> np.ndarray:
    """Arranges equally large pictures in rows of `columns`."""
    height, width, _ = pictures[0].shape
    rows = -(-len(pictures) // columns)
    page = np.full((rows * (height + _MARGIN), columns * (width + 2 * _MARGIN), 3), _PAPER, np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // columns * (height + _MARGIN), number % columns * (width + 2 * _MARGIN)
        page[top : top + height, left : left + width] = picture
    return page


def main(arguments: Arguments) -> None:
    keys = jnp.stack([pair_key(arguments.seed, index) for index in range(arguments.pairs)])
    textures = None if arguments.textures is None else jnp.asarray(load_textures(arguments.textures))
    render = jax.jit(functools.partial(render_batch, config=arguments.pair))
    batch = jax.block_until_ready(render(keys, textures=textures))
    start = time.perf_counter()
    batch = jax.block_until_ready(render(keys, textures=textures))
    each_ms = 1000 * (time.perf_counter() - start) / arguments.pairs
    pairs = [jax.tree.map(lambda leaf, k=k: np.asarray(leaf[k]), batch) for k in range(arguments.pairs)]
    page = sheet([thumbnail(pair, arguments.boxes) for pair in pairs], arguments.columns)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(arguments.output), page)
    print(f"{arguments.output}: {page.shape[1]} x {page.shape[0]}, {arguments.pairs} pairs, {each_ms:.1f} ms each")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
