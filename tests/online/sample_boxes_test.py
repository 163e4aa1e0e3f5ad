"""Boxes of samples, in the frames of the tests of the framework."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sampler_loops import COUNT, assert_same_distribution, loop
from tiny_framework import BOX, FIXED, MODEL, PAPER, PRESENT, SIZE, SMALL, overlaps

from jaxtrack.online import framework, ridge, sample_boxes
from jaxtrack.online.framework import Regression, Sampling
from jaxtrack.online.samplers import Limits


def drawn(which, config=PAPER, target=BOX):
    ways = {
        "positives": lambda key: sample_boxes.positives(config, key, target, size, config.positives),
        "negatives": lambda key: sample_boxes.negatives(config, key, target, size),
        "first negatives": lambda key: sample_boxes.first_negatives(config, key, target, size),
        "first near negatives": lambda key: sample_boxes.negatives(config, key, target, size, overlap=0.5),
    }
    target, size = jnp.asarray(target), jnp.asarray(SIZE, jnp.int32)
    boxes, valid = jax.jit(ways[which])(jax.random.key(3))
    return np.asarray(boxes), np.asarray(valid)


@pytest.mark.parametrize(
    ("which", "count", "low", "high"),
    [
        ("positives", 50, 0.7, 1.0),
        ("negatives", 100, 0.0, 0.3),
        ("first negatives", 400, 0.0, 0.5),
        ("first near negatives", 100, 0.0, 0.5),
    ],
)
@pytest.mark.parametrize("target", [BOX, np.array([127.0, 1.0, 11.0, 12.0], np.float32)], ids=["large", "small"])
def test_samples_overlap_the_target_as_much_as_they_may_and_obey_the_limits(which, count, low, high, target):
    boxes, valid = drawn(which, target=target)
    assert boxes.shape == (count, 4)
    assert valid.all()
    overlap = overlaps(boxes, target)
    assert overlap.min() >= low - 1e-6
    assert overlap.max() <= high + 1e-6
    assert overlap.max() > high - 0.1
    assert (boxes[:, 2:] >= 10 - 1e-4).all()
    assert (boxes[:, 2:] <= np.array([130, 90]) + 1e-4).all()
    centre = boxes[:, :2] + boxes[:, 2:] / 2
    assert (centre >= -1e-4).all()
    assert (centre <= np.array([140, 100]) + 1e-4).all()


@pytest.mark.parametrize(
    ("which", "kind", "translation", "scale", "low", "high"),
    [
        # mdnet_family.md, sections 2.5, 2.7 and 2.8, in the Matlab code's constants.
        ("positives", "gaussian", 0.1, 1.05**5, 0.7, 1.0),
        ("negatives", "uniform", 2.0, 1.05**5, 0.0, 0.3),
        ("first near negatives", "uniform", 2.0, 1.05**5, 0.0, 0.5),
    ],
)
def test_samples_are_distributed_as_in_a_plain_loop(which, kind, translation, scale, low, high):
    boxes, valid = drawn(which, Sampling(positives=COUNT, negatives=COUNT))
    assert valid.all()
    expected = loop(kind, translation, scale, box=BOX, count=2 * COUNT, size=SIZE)
    overlap = overlaps(expected, BOX)
    assert_same_distribution(boxes, expected[(overlap >= low) & (overlap <= high)][:COUNT])


@pytest.mark.parametrize("sides", [(8, 8), (8.3, 8.3), (7, 20), (6, 30)])
def test_targets_that_are_too_small_for_boxes_of_ten_pixels_have_positives_too(sides):
    target = np.array([60.0, 40.0, *sides], np.float32)
    boxes, valid = drawn("positives", target=target)
    assert valid.all()
    assert overlaps(boxes, target).min() >= 0.7 - 1e-6
    assert (boxes[:, 2:] >= np.minimum(target[2:], 10) - 1e-4).all()


def test_the_first_negatives_are_near_and_all_over_the_image():
    boxes, _ = drawn("first negatives")
    sizes = boxes[:, 2] * boxes[:, 3]
    assert 0.2 < np.isclose(sizes, 30 * 24, rtol=1e-4).mean() < 0.8  # `whole` keeps the size
    resized = boxes[~np.isclose(sizes, 30 * 24, rtol=1e-4)]
    assert (np.abs(resized[:, :2] + resized[:, 2:] / 2 - [65, 52]) <= 27 + 1e-3).all()  # the mean side
    centre = boxes[:, :2] + boxes[:, 2:] / 2
    assert (centre.min(axis=0) < [25, 20]).all()
    assert (centre.max(axis=0) > [125, 90]).all()


def test_boxes_that_there_are_none_of_do_not_count_and_are_the_target():
    config = dataclasses.replace(PAPER, limits=Limits(keep="box"), negative_overlap=0.01)
    everything = np.array([0.0, 0.0, 140.0, 100.0], np.float32)
    boxes, valid = drawn("negatives", config, everything)
    assert not valid.all()
    np.testing.assert_array_equal(boxes[~valid], np.tile(everything, (int((~valid).sum()), 1)))


@pytest.mark.parametrize(("reference", "areas"), [("matlab", (0.5, 3.0)), ("pytorch", (1.0, 2.0))])
def test_box_regression_learns_from_its_references_samples(reference, areas, monkeypatch):
    monkeypatch.setattr(ridge, "fit", lambda features, boxes, target, valid, **_: (boxes, valid))
    config = dataclasses.replace(SMALL, regression=Regression(samples=50, reference=reference))
    learn = jax.jit(lambda key: framework._learn_regression(config, MODEL, FIXED, PRESENT, jnp.asarray(BOX), key))
    boxes, valid = map(np.asarray, learn(jax.random.key(0)))
    assert valid.all()
    assert overlaps(boxes, BOX).min() >= 0.6 - 1e-6
    ratio = boxes[:, 2] * boxes[:, 3] / (BOX[2] * BOX[3])
    assert areas[0] - 1e-4 <= ratio.min()
    assert ratio.max() <= areas[1] + 1e-4
    # The Matlab code's mostly grow, and their sides do by factors of their own.
    assert np.std(boxes[:, 2] / boxes[:, 3]) > 0.01
