"""Proposals: decoded, clipped, without small ones and near duplicates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.boxes import encode
from jaxtrack.training.detection.proposals import found, proposals


def iou(a, b):
    width = max(0.0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    return width * height / (a[2] * a[3] + b[2] * b[3] - width * height)


def by_loop(boxes, quality, least, count):
    """Greedy suppression of boxes that are in the image."""
    order = [i for i in np.argsort(-quality) if min(boxes[i, 2:]) >= least]
    kept = []
    for i in order:
        if all(iou(boxes[i], boxes[j]) <= 0.7 for j in kept):
            kept.append(i)
    return boxes[kept[:count]]


@pytest.mark.parametrize(("scale", "count"), [(1.0, 12), (2.5, 12), (1.0, 400)])
def test_proposals_are_those_of_a_loop(scale, count):
    random = np.random.default_rng(0)
    corners, sides = random.uniform(-20, 150, (300, 2)), random.uniform(8, 120, (300, 2))
    boxes = np.concatenate([corners, sides], axis=1).astype(np.float32)
    quality = random.permutation(300).astype(np.float32)
    low, high = np.clip(boxes[:, :2], 0, (200, 160)), np.clip(boxes[:, :2] + boxes[:, 2:], 0, (200, 160))
    clipped = np.concatenate([low, high - low], axis=1)
    expected = by_loop(clipped, quality, 16 * scale, count)
    places = np.tile(np.asarray([50, 50, 64, 64], np.float32), (300, 1))
    scores = np.stack([np.zeros(300, np.float32), quality], axis=1)
    size = jnp.asarray([160, 200], jnp.int32)
    run = jax.jit(proposals, static_argnums=5)
    best, there = run(places, scores, encode(places, boxes), size, jnp.float32(scale), count)
    assert there.tolist() == [True] * len(expected) + [False] * (count - len(expected))
    np.testing.assert_allclose(best[: len(expected)], expected, atol=1e-2)


def test_an_object_is_found_by_half_an_overlap():
    """Of 10 x 10 pixels: the one beside it shares 70 of 130, the next 60 of 140."""
    objects = np.asarray([[0, 0, 10, 10], [100, 0, 10, 10], [200, 0, 10, 10]], np.float32)
    proposed = np.asarray([[3, 0, 10, 10], [104, 0, 10, 10], [200, 0, 10, 10]], np.float32)
    there = np.asarray([True, True, False])
    assert found(objects, proposed, there).tolist() == [True, False, False]
