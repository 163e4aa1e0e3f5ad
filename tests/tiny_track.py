"""`jaxtrack track` with the contract's tiny tracker, and what it wrote."""

import dataclasses
import types

import numpy as np
from contract import wandering

from jaxtrack.__main__ import main

BOX = "36,26,16,12"


@dataclasses.dataclass(frozen=True)
class TinyConfig:
    """The contract's tiny tracker."""

    rate: float = 0.5
    """How fast it learns."""


MODULE = types.SimpleNamespace(
    __name__="tiny",
    CONFIGS={"tiny": TinyConfig()},
    tracker=lambda config: wandering,
    init_params=lambda config, key: {"rate": np.float32(config.rate)},
)


def track(source, out, *options, save="boxes.csv", tracker="tiny"):
    """The exit code; `save` is written below `out`."""
    where = [] if save is None else [f"--save={out / save}"]
    return main(["track", str(source), f"--tracker={tracker}", *where, "--quiet", *map(str, options)])


def rows_of(path):
    """The numbers of a file of boxes `[rows, 7]`: frame, target, x, y, w, h, score."""
    header, *rows = path.read_text().splitlines()
    assert header == "frame,target,x,y,w,h,score"
    return np.asarray([row.split(",") for row in rows], np.float64)
