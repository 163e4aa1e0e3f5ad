"""What a reader of exported programs has to know, as the JSON file beside them."""

import dataclasses
import importlib.metadata
from collections.abc import Sequence
from typing import Any

from jaxtrack.export.programs import Pair, Port
from jaxtrack.models import grids
from jaxtrack.models.siamese import Architecture
from jaxtrack.weights.store import Meta


def describe(architecture: Architecture, meta: Meta, pair: Pair, settings: Any) -> dict[str, Any]:
    """What is true of the programs in every format.

    Args:
      architecture: the network.
      meta: the record of its weights.
      pair: the programs.
      settings: the configuration of a tracker, a dataclass, if the programs are one's; else None.
    """
    return {
        "architecture": meta.architecture,
        "weights": {"sha256": meta.sha256, "source": meta.source, "source_sha256": meta.source_sha256},
        "programs": {
            program.name: {side: _ports(getattr(program, side)) for side in ("inputs", "outputs")} for program in pair
        },
        "images": {"layout": "NHWC", "colour": "BGR", "range": [0, 255], "scaled_or_centred": False},
        "output": _grid(architecture),
        "tracker": None if settings is None else dataclasses.asdict(settings),
        "versions": {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax")},
    }


def _ports(ports: Sequence[Port]) -> list[dict[str, Any]]:
    return [{"name": port.name, "shape": list(port.shape), "dtype": "float32"} for port in ports]


def _grid(architecture: Architecture) -> dict[str, Any]:
    """What the cells and channels of cls and loc mean."""
    side, stride = architecture.score_cells, architecture.stride_px
    common: dict[str, Any] = {"kind": architecture.kind, "stride_px": stride, "score_cells": side}
    if architecture.kind == "tokens":
        return common | {
            "cls": "channels: logit of background, of target",
            "loc": "channels: the box's centre (x, y), width and height, in sides of x",
            "loc_counts_from": "the left upper edge of x, "
            + ("where it was cut out" if architecture.exact_centre else "as if it lay exactly around its centre"),
        }
    # Of columns and of rows alike, from the centre of the search region.
    common["cell_positions_px"] = grids.grid(side, stride)[:side, 0].tolist()
    if architecture.kind == "points":
        return common | {
            "cls": "channels: logit of background, of target",
            "loc": "channels: distances of the box's left, top, right and bottom side from the cell, pixels of x",
        }
    sizes = grids.anchor_sizes(stride)
    return common | {
        "anchors_wh_px": sizes.tolist(),
        "cls": f"channel k {len(sizes)} + a: logit of background (k = 0), of target (k = 1), for anchor a",
        "loc": f"channel k {len(sizes)} + a: dx, dy, dw, dh (k = 0..3) for anchor a of size (w, h) at (X, Y): the "
        "box has the centre (X + dx w, Y + dy h) and the size (w exp(dw), h exp(dh))",
    }
