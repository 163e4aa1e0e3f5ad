"""Where TransT's frame goes: milliseconds, GFLOP and share of the machine's matrix peak of each part.

    python benchmarks/transt_parts.py --tracker transt,transt_n2
    python benchmarks/transt_parts.py --torch

Random numbers do for weights, as in `siamese_parts.py`, whose way of timing this is. "fusion layer" is one of them, of
which `transt` has four; "attention" is that of the search region's tokens among themselves without its dense layers, of
which a fusion layer has one and three smaller ones, and "attention, Flax's" the same by Flax's own function. `--torch`
times the same search network in PyTorch, both memory layouts, in a process of its own, without crop and decision.
"""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from siamese_parts import random_params, show, time_torch_network

from jaxtrack import images
from jaxtrack.compilation import Program
from jaxtrack.models import siamese as models
from jaxtrack.models import siamese_crops
from jaxtrack.models.transformer import MLP, CrossFeature, FusionLayer, attend, positions_of, tokens
from jaxtrack.trackers import transt


@dataclasses.dataclass(frozen=True)
class Options:
    """What to time."""

    tracker: str = "transt,transt_n2"
    """TransT's configurations, separated by commas."""
    rounds: int = 15
    """How often each part is timed; the median counts."""
    torch: bool = False
    """Time PyTorch instead."""


def programs(name: str) -> dict[str, tuple[Program, tuple]]:
    """The parts of a tracker's frame and their arguments."""
    config = transt.CONFIGS[name]
    architecture = models.ARCHITECTURES[config.architecture]
    network, params = models.build(architecture), random_params(architecture)
    frame = images.make_frame(np.random.default_rng(1).integers(0, 256, (360, 640, 3), np.uint8))
    frame = jax.tree.map(jnp.asarray, frame)
    tracker = transt.make_tracker(config, architecture, transt.network_of(architecture))
    state = Program(tracker.init)(params, frame, jnp.asarray([300.0, 150.0, 60.0, 80.0]), jax.random.key(0))

    def crop(frame: images.Frame, state: transt.State) -> jax.Array:
        side = jnp.float32(300)
        return siamese_crops.crop_square(frame, state.centre, side, architecture.search_px, state.fill)

    def backbone(params: Any, x: jax.Array) -> Any:
        return network.apply(params, x, method=lambda module, x: module.backbone(x))

    def projection(params: Any, maps: Any) -> Any:
        return network.apply(params, maps, method=lambda module, maps: module.neck(maps))  # type: ignore[misc]

    image = Program(crop)(frame, state)
    maps = Program(backbone)(params, image)
    projected = Program(projection)(params, maps)
    return {
        "crop": (Program(crop), (frame, state)),
        "backbone": (Program(backbone), (params, image)),
        "projection": (Program(projection), (params, maps)),
        **_head(architecture, params, state.kept, projected[0]),
        "step": (Program(tracker.step), (params, state, frame)),
    }


def _head(
    architecture: models.Architecture, params: Any, kept: jax.Array, projected: jax.Array
) -> dict[str, tuple[Program, tuple]]:
    """The parts of the head: a layer of the fusion, its largest attention in two ways, the decoder, the two MLPs."""
    head, own = architecture.head, params["params"]["head"]
    width = kept.shape[-1]
    z, x, places = tokens(kept), tokens(projected), (positions_of(kept), positions_of(projected))

    def fuse(own: Any, z: jax.Array, x: jax.Array) -> Any:
        return FusionLayer(head.heads, head.hidden).apply({"params": own["layer_0"]}, z, x, *places, train=False)

    def decode(own: Any, z: jax.Array, x: jax.Array) -> Any:
        decoder = CrossFeature(head.heads, head.hidden)
        return decoder.apply({"params": own["decoder"]}, x, places[1], z, places[0], train=False)

    def say(own: Any, x: jax.Array) -> Any:
        return [MLP(width, count).apply({"params": own[name]}, x) for name, count in (("cls", 2), ("box", 4))]

    by_head = x.reshape(*x.shape[:2], head.heads, -1)
    head_by_head = functools.partial(attend, deterministic=True, dropout_rate=0.0)
    return {
        "fusion layer": (Program(fuse), (own, z, x)),
        "attention": (Program(head_by_head), (by_head,) * 3),
        "attention, Flax's": (Program(nn.dot_product_attention), (by_head,) * 3),
        "decoder": (Program(decode), (own, z, x)),
        "scores and boxes": (Program(say), (own, x)),
    }


def main(options: Options) -> None:
    """Prints the tables."""
    if options.torch:
        from torch_transt import SearchNetwork

        time_torch_network(SearchNetwork(), 256, options.rounds)
        return
    show(options.tracker.split(","), programs, options.rounds)


if __name__ == "__main__":
    main(tyro.cli(Options))
