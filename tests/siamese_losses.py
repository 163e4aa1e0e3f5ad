"""The golden batches of siamese.md, 13.2, and labels by plain loops over anchors and points (sections 3.2, 3.3, 4)."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

SIZES = [(104, 32), (88, 40), (64, 64), (40, 80), (32, 96)]
CELLS = [(row, column) for row in range(25) for column in range(25)]
ANCHORS = [(31 + 8 * column, 31 + 8 * row, w, h) for w, h in SIZES for row, column in CELLS]
POINTS = [(31 + 8 * column, 31 + 8 * row) for row, column in CELLS]
RPN_TARGET, BAN_TARGET, BAN_OTHER = (97.5, 100.25, 157.5, 163.75), (88.5, 80.25, 152.5, 152.25), (100, 110, 170, 150)


def overlap(anchor, target):
    cx, cy, w, h = anchor
    x1, y1, x2, y2 = target
    width = min(cx + w / 2, x2) - max(cx - w / 2, x1)
    height = min(cy + h / 2, y2) - max(cy - h / 2, y1)
    shared = max(width, 0) * max(height, 0)
    return shared / (w * h + (x2 - x1) * (y2 - y1) - shared)


def anchor_label(anchor, target):
    """4.1, before any subset is drawn."""
    value = overlap(anchor, target)
    return 1 if value > 0.6 else 0 if value < 0.3 else -1


def anchor_deltas(anchor, target):
    cx, cy, w, h = anchor
    x1, y1, x2, y2 = target
    return ((x1 + x2) / 2 - cx) / w, ((y1 + y2) / 2 - cy) / h, np.log((x2 - x1) / w), np.log((y2 - y1) / h)


def point_label(point, target):
    """4.3, before any subset is drawn."""
    x1, y1, x2, y2 = target
    dx, dy, w, h = point[0] - (x1 + x2) / 2, point[1] - (y1 + y2) / 2, x2 - x1, y2 - y1
    if (dx / (w / 4)) ** 2 + (dy / (h / 4)) ** 2 < 1:
        return 1
    return 0 if (dx / (w / 2)) ** 2 + (dy / (h / 2)) ** 2 > 1 else -1


def point_distances(point, target):
    return point[0] - target[0], point[1] - target[1], target[2] - point[0], target[3] - point[1]


class Golden(NamedTuple):
    """A batch of two images: `logits [2, N, 2]`, `loc [2, N, 4]`, `labels`, `regression [2, N, 4]`, `weight [2, N]`,
    `target [2, 4]` as corners; all float64, labels int32."""

    logits: np.ndarray
    loc: np.ndarray
    labels: np.ndarray
    regression: np.ndarray
    weight: np.ndarray
    target: np.ndarray

    def probabilities(self, logits):
        return jax.nn.softmax(logits, axis=-1)[..., 1]

    def boxes(self, loc):
        """Predicted boxes (centre x, centre y, width, height)."""
        if self.labels.shape[1] == len(ANCHORS):
            anchors = np.asarray(ANCHORS, np.float64)[None]
            sizes = anchors[..., 2:]
            return jnp.concatenate([anchors[..., :2] + loc[..., :2] * sizes, jnp.exp(loc[..., 2:]) * sizes], axis=-1)
        points = np.asarray(POINTS, np.float64)[None]
        return jnp.concatenate([points + (loc[..., 2:] - loc[..., :2]) / 2, loc[..., :2] + loc[..., 2:]], axis=-1)

    def target_boxes(self):
        low, high = self.target[:, None, :2], self.target[:, None, 2:]
        return np.concatenate([(low + high) / 2, high - low], axis=-1)


def _flat(maps, kinds):
    """`[B, kinds * A, 25, 25]` to `[B, A * 625, kinds]`."""
    batch = len(maps)
    return np.moveaxis(maps.reshape(batch, kinds, -1, 625), 1, -1).reshape(batch, -1, kinds)


def _normal(seed, *shape):
    return np.random.RandomState(seed).standard_normal(shape)


@functools.cache
def rpn():
    """The case of SiamRPN++: an image with 8 positives and 2,927 negatives, and a negative pair with 16 negatives."""
    second = np.full((5, 25, 25), -1)
    second[2, 10:14, 10:14] = 0
    labels = np.stack([[anchor_label(a, RPN_TARGET) for a in ANCHORS], second.ravel()]).astype(np.int32)
    regression = np.zeros((2, 3125, 4))
    regression[0] = [anchor_deltas(a, RPN_TARGET) for a in ANCHORS]
    return Golden(
        logits=1.5 * _flat(_normal(11, 2, 10, 25, 25), 2),
        loc=0.1 * _flat(_normal(12, 2, 20, 25, 25), 4),
        labels=labels,
        regression=regression,
        weight=(labels == 1) / (8 + 1e-6),
        target=np.asarray([RPN_TARGET, (102, 102, 152, 152)]),
    )


@functools.cache
def ban():
    """The case of SiamBAN and SiamPW: an image with 14 positives and 568 negatives, and a negative pair with 8."""
    other = [0 if point_label(p, BAN_OTHER) == 1 else -1 for p in POINTS]
    labels = np.stack([[point_label(p, BAN_TARGET) for p in POINTS], other]).astype(np.int32)
    regression = np.zeros((2, 625, 4))
    regression[0] = [point_distances(p, BAN_TARGET) for p in POINTS]
    return Golden(
        logits=1.5 * _flat(_normal(21, 2, 2, 25, 25), 2),
        loc=np.exp(0.3 * _flat(_normal(22, 2, 4, 25, 25), 4) + 3.3),
        labels=labels,
        regression=regression,
        weight=(labels == 1).astype(np.float64),
        target=np.asarray([BAN_TARGET, (0, 0, 0, 0)]),
    )
