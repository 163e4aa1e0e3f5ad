"""What a step draws and what it means over; that it trains is tested with the loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.data.procedural_pairs import Pair
from jaxtrack.losses.classification import random_subset
from jaxtrack.losses.reduction import Term
from jaxtrack.models.siamese import ARCHITECTURES
from jaxtrack.training import objective, siamese, step
from jaxtrack.training.labels import AnchorLabels, EllipseLabels
from jaxtrack.training.objective import Objective
from jaxtrack.training.optimiser import Stage
from jaxtrack.training.task import AXIS, TrainState

COUNT = 4  # pairs of a batch


def pairs_of(items):
    """Pairs with the target in the middle, whose images tell their numbers."""
    image = jnp.broadcast_to(items.astype(jnp.float32)[:, None, None, None], (len(items), 1, 1, 3))
    box = jnp.tile(jnp.asarray([[97.0, 100.0, 157.0, 164.0]]), (len(items), 1))
    return Pair(template=image, search=image, box_xyxy=box, negative=jnp.zeros(len(items), bool))


class Network:
    """In place of a network: all logits of an image are a function of its number."""

    def __init__(self, channels):
        self.channels = channels

    def apply(self, variables, template, search, **_):
        logits = jnp.outer(0.5 * search[:, 0, 0, 0], jnp.asarray([0.0, 1.0]).repeat(self.channels))  # [B, 2 A]
        cls = jnp.broadcast_to(logits[:, None, None], (len(search), 25, 25, 2 * self.channels))
        return (cls, jnp.full((len(search), 25, 25, 4 * self.channels), 30.0)), {"batch_stats": {}}


def metrics(monkeypatch, recipe, devices):
    """The metrics of a step on so many devices, each of which has an equal part of the batch."""
    channels = 5 if recipe.architecture.kind == "anchors" else 1
    monkeypatch.setattr(siamese.siamese, "build", lambda architecture: Network(channels))
    state = TrainState(jnp.int32(0), {"backbone": {}}, {}, None, jax.random.key(3))
    numbers = jnp.arange(COUNT, dtype=jnp.uint32).reshape(devices, -1)

    def one(own):
        return recipe.loss(Stage("whole", 0, ()), state, own, own)({})[1][0]

    found = jax.jit(jax.vmap(one, axis_name=AXIS))(numbers)
    return {name: float(values[0]) for name, values in found.items()}


def test_negatives_pooled_over_a_batch_come_from_all_its_images(monkeypatch):
    """With the key of an image's own draw, the pool would be drawn mostly from what that image drew."""

    def drawn(config, architecture, cls, loc, labels, key, positives, **_):
        assert labels.label.shape == (COUNT, 5 * 25 * 25)
        chosen = random_subset(key, (labels.label == 0).ravel(), 48).reshape(labels.label.shape)
        counts = jnp.sum(chosen, axis=1, dtype=jnp.float32)
        return {str(i): Term(counts[i], jnp.float32(1)) for i in range(COUNT)}, dict.fromkeys("0123", 0.0)

    monkeypatch.setattr(objective, "terms", drawn)
    recipe = siamese.Recipe(ARCHITECTURES["siamrpn_r50"], pairs_of, AnchorLabels(), Objective())
    found = metrics(monkeypatch, recipe, 1)
    counts = [found[name] for name in "0123"]
    assert sum(counts) == 48
    # 12 each on average, with a deviation of 3.
    assert min(counts) > 2
    assert max(counts) < 24


def test_running_statistics_are_those_of_the_first_device_whatever_the_others_have():
    found = jax.vmap(step._of_first, axis_name=AXIS)({"mean": jnp.asarray([[1.0, 2.0], [3.0, np.nan], [5.0, 6.0]])})
    np.testing.assert_array_equal(found["mean"], [[1, 2]] * 3)


@pytest.mark.parametrize("variant", ["released", "paper"])
def test_a_mean_over_all_devices_counts_the_only_positive_of_a_device(monkeypatch, variant):
    """Four pairs with one positive each: -ln p is ln(1 + exp(-n / 2)) of the n-th."""
    labels = EllipseLabels(positives=1)
    recipe = siamese.Recipe(ARCHITECTURES["siamban_r50"], pairs_of, labels, Objective(variant=variant))
    expected = np.mean([np.log1p(np.exp(-0.5 * number)) for number in range(COUNT)])
    for devices in (1, 4):
        found = metrics(monkeypatch, recipe, devices)
        assert found["cls_positive"] == pytest.approx(expected, rel=1e-5)


def test_the_references_skip_the_only_positive_of_a_device(monkeypatch):
    labels = EllipseLabels(positives=1)
    recipe = siamese.Recipe(ARCHITECTURES["siamban_r50"], pairs_of, labels, Objective(), per_device=True)
    found = [metrics(monkeypatch, recipe, devices)["cls_positive"] for devices in (1, 4)]
    whole = np.mean([np.log1p(np.exp(-0.5 * number)) for number in range(COUNT)])
    assert found == pytest.approx([whole, 0.0], rel=1e-5)
    printed = recipe._replace(objective=Objective(variant="paper"))
    assert metrics(monkeypatch, printed, 4)["cls_positive"] == pytest.approx(whole, rel=1e-5)
