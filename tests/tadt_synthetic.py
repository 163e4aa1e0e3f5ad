"""A narrow network, maps whose channels are known, and a clip, for tests of TADT."""

import dataclasses

import jax
import numpy as np

from jaxtrack.models import tadt as models
from jaxtrack.models.vgg import VGG
from jaxtrack.online.channels import Group, Selection
from jaxtrack.trackers import tadt

CELLS = 21
TINY = models.Architecture(
    VGG(("conv4_1", "conv4_3"), pools=(1, 2), widths=(4, 4, 8, 8, 8)), "vgg16", mean=models.OXFORD_MEAN, cells=CELLS
)
CONFIG = tadt.Config(selection=Selection(Group("ranking", 4), Group("regression", 6)))
BOX = np.array([60.0, 40.0, 30.0, 36.0], np.float32)
SIZE = (120, 160)  # height, width


def tiny_params(architecture=TINY, seed=0):
    """Random numbers that keep the size of what passes through."""
    random = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: models.initial(architecture, jax.random.key(0)))["params"]
    scaled = lambda leaf: (2 / max(np.prod(leaf.shape[:-1]), 8)) ** 0.5 * random.normal(size=leaf.shape)  # noqa: E731
    return jax.tree.map(lambda leaf: scaled(leaf).astype(np.float32), shapes)


def small_tadt(**changes):
    """The tracker on the narrow network, and its parameters."""
    return tadt.make_tracker(dataclasses.replace(CONFIG, **changes), TINY), tiny_params()


def distance(cells=CELLS, y=None, x=None):
    """Of every cell from one, by default the middle one, `[n, n]`."""
    rows, columns = np.mgrid[:cells, :cells]
    return np.hypot(rows - (cells // 2 if y is None else y), columns - (cells // 2 if x is None else x))


class MovingSquare(list):
    """A textured rectangle that moves over a texture of another kind."""

    name = "square"

    def __init__(self, length, size=SIZE, box=(60, 40, 30, 36), step=(3, 2)):
        rng = np.random.default_rng(0)
        x, y, w, h = box
        background = rng.integers(60, 130, (*size, 3), np.uint8)
        target = rng.integers(0, 255, (-(-h // 6), -(-w // 6), 3), np.uint8)
        target = np.repeat(np.repeat(target, 6, axis=0), 6, axis=1)[:h, :w]
        for i in range(length):
            image = background.copy()
            top, left = y + step[1] * i, x + step[0] * i
            part = image[top : top + h, left : left + w]
            part[:] = target[: part.shape[0], : part.shape[1]]
            self.append(image)
        self.truth = np.array([[x + step[0] * i, y + step[1] * i, w, h] for i in range(length)], np.float32)
