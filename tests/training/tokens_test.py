"""TransT's training: the criterion against the specification, and the loop on a network of a few channels."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_training
from ranking_loops import cr_by_loop, igr_by_loop
from states import assert_same_bits, leaves

from jaxtrack.errors import UserError
from jaxtrack.losses import regression
from jaxtrack.losses.reduction import combine
from jaxtrack.models.siamese import ARCHITECTURES, Architecture
from jaxtrack.models.small_resnet import SmallResNet
from jaxtrack.models.transt import Projection, TransTHead
from jaxtrack.training import factor_crops, loop, objective, presets, siamese
from jaxtrack.training.config import TrainConfig
from jaxtrack.training.labels import Labels, TokenLabels
from jaxtrack.training.objective import Objective
from jaxtrack.training.optimiser import FROM_NOTHING
from jaxtrack.training.sources import FactorDisk

CRITERION = presets.transt_objective(Objective())
TARGETS = [(0.5, 0.5, 0.25, 0.3), (0.4, 0.6, 0.1, 0.2)]


def corners(box):
    cx, cy, w, h = box
    return [256 * x for x in (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)]


def golden():
    """siamese.md 13.2: the reference's logits (target first) and boxes as ours, and labels."""
    logits = np.random.RandomState(41).standard_normal((2, 1024, 2))[..., ::-1]
    boxes = 1 / (1 + np.exp(-0.5 * np.random.RandomState(42).standard_normal((2, 1024, 4))))
    recipe = siamese.Recipe(ARCHITECTURES["transt"], lambda items: items, TokenLabels(), CRITERION)
    pairs = Pairs(jnp.asarray([corners(box) for box in TARGETS], jnp.float32), jnp.zeros(2, bool))
    labels = siamese.label_batch(recipe, jax.random.split(jax.random.key(0), 2), pairs)  # type: ignore[arg-type]
    cls, loc = (jnp.asarray(x.reshape(2, 32, 32, -1), jnp.float32) for x in (logits, boxes))
    return cls, loc, labels


@dataclasses.dataclass
class Pairs:
    """What labels need of pairs."""

    box_xyxy: jax.Array
    negative: jax.Array


def means(config, cls, loc, labels, positives=256):
    """The total and the mean of each term."""

    def run(cls, loc, labels):
        found, weights = objective.terms(
            config, ARCHITECTURES["transt"], cls, loc, labels, jax.random.key(0), positives
        )
        return combine(found, weights)

    total, parts = jax.jit(run)(cls, loc, labels)
    return float(total), {name: float(value) for name, value in parts.items()}


def test_the_criterion_is_the_references():
    cls, loc, labels = golden()
    assert np.asarray(jnp.sum(labels.label == 1, axis=1)).tolist() == [72, 21]
    total, parts = means(CRITERION, cls, loc, labels)
    assert parts == pytest.approx({"cls": 0.986025, "loc": 0.717828, "giou": 0.865193}, abs=1e-5)
    assert total == pytest.approx(13.537059, abs=1e-4)
    ious = regression.iou(loc.reshape(2, -1, 4), jnp.asarray(TARGETS)[:, None])
    assert float(jnp.mean(ious, where=labels.label == 1)) == pytest.approx(0.195999, abs=1e-5)


def test_without_positives_boxes_cost_nothing():
    cls, loc, labels = golden()
    none = Labels(jnp.zeros_like(labels.label), labels.target, labels.weight)
    _, parts = means(CRITERION, cls, loc, none)
    assert (parts["loc"], parts["giou"]) == (0, 0)
    assert parts["cls"] > 0


@pytest.mark.parametrize("variant", ["released", "paper"])
def test_the_ranking_losses_are_those_of_all_tokens_and_their_boxes(variant):
    cls, loc, labels = golden()
    config = dataclasses.replace(CRITERION, classification_ranking=0.5, iou_ranking=0.25, variant=variant)
    plain, _ = means(CRITERION, cls, loc, labels)
    total, parts = means(config, cls, loc, labels)
    logits = np.asarray(cls, np.float64).reshape(2, 1024, 2)
    p = 1 / (1 + np.exp(logits[..., 0] - logits[..., 1]))
    v = np.asarray(regression.iou(loc.reshape(2, -1, 4), jnp.asarray(TARGETS)[:, None]), np.float64)
    label = np.asarray(labels.label)
    cr = np.mean(cr_by_loop(p, label, variant, most=1024))
    igr = np.mean(igr_by_loop(p, label, v, variant), axis=0)
    assert parts["cr"] == pytest.approx(cr, rel=1e-4)
    assert [parts["igr_1"], parts["igr_2"]] == pytest.approx(igr, rel=1e-4)
    assert total == pytest.approx(plain + 0.5 * cr + 0.25 * igr.sum(), rel=1e-5)


@pytest.mark.parametrize("name", ["transt", "transt_nano"])
def test_a_network_that_says_what_its_labels_say_has_the_targets_box(name):
    """Whether it counts from the region's edge or, as the reference, from the first pixel's centre."""
    architecture = ARCHITECTURES[name]
    recipe = siamese.Recipe(architecture, lambda items: items, TokenLabels(), CRITERION)
    box = jnp.asarray([[100.0, 80.0, 171.0, 142.0]])
    labels = siamese.label_batch(recipe, jax.random.split(jax.random.key(0), 1), Pairs(box, jnp.zeros(1, bool)))  # type: ignore[arg-type]
    np.testing.assert_allclose(objective.overlaps(architecture, labels.target, box), 1.0, rtol=1e-5)
    # In a region whose edges are half a pixel around its pixels' centres, or without that half.
    half = 0.5 if architecture.exact_centre else 0.0
    centre = (np.asarray([135.5, 111.0]) + half) / architecture.search_px
    np.testing.assert_allclose(labels.target[0, 0, :2], centre, rtol=1e-5)


# --- the loop ------------------------------------------------------------------------------------------------------

# A cell for 32 pixels: 3 x 3 tokens of the template and 7 x 7 of the search region.
TINY = Architecture(
    SmallResNet((2, 4, 4, 8, 8), ((), (), (), (), ())),
    Projection(8),
    TransTHead(1, 2, 8, 0.0),
    "tokens",
    stride_px=32,
    score_cells=7,
    exact_centre=True,
)
STAGES = tuple(f"stage{i}" for i in range(1, 6))


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "tiny_transt", TINY)
    dropping = dataclasses.replace(TINY, head=TransTHead(1, 2, 8, 0.5))
    monkeypatch.setitem(ARCHITECTURES, "dropping_transt", dropping)


def config(**changes) -> TrainConfig:
    """Six steps of eight pairs with both ranking losses."""
    defaults = {
        "architecture": "tiny_transt",
        "labels": TokenLabels(positives=16, cut=True),
        "objective": presets.transt_objective(presets.CR_IGR),
        "optimiser": dataclasses.replace(FROM_NOTHING, rate=5e-3, trained_backbone=STAGES),
        "epochs": 2,
        "steps_per_epoch": 3,
        "checkpoint_steps": 3,
    }
    return tiny_training.config(**{**defaults, **changes})


def trained(folder, devices=1, **changes):
    return loop.train(config(**changes), folder, devices=jax.devices()[:devices])


def test_it_learns_and_is_validated(tmp_path):
    trained(tmp_path, validation_pairs=8)
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert records[-1]["loss"] < records[0]["loss"]
    assert {"cls", "loc", "giou", "cr", "igr_1", "igr_2"} < records[0].keys()
    assert 0 < records[-1]["validation_iou"] < 1


def test_it_ends_with_the_same_bits_again_and_after_an_interruption(tmp_path):
    whole = trained(tmp_path / "whole")
    assert_same_bits(trained(tmp_path / "again"), whole)

    def stop_after_the_checkpoint(record):
        if record["step"] > 3:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        loop.train(config(), tmp_path / "cut", devices=jax.devices()[:1], report=stop_after_the_checkpoint)
    assert_same_bits(trained(tmp_path / "cut"), whole)


def test_one_device_and_four_agree(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "initial_variables", tiny_training.perturbed(loop.initial_variables))
    # Adam divides by what may be rounding alone.
    sgd = dataclasses.replace(tiny_training.OPTIMISER, frozen_epochs=0, trained_backbone=STAGES, rate=1e-3)
    one, four = (leaves(trained(tmp_path / str(n), n, optimiser=sgd)) for n in (1, 4))
    for name in one:
        if ".params" in name:
            assert np.linalg.norm(one[name] - four[name]) <= 1e-4 * np.linalg.norm(one[name]), name


def test_what_is_dropped_in_training_is_a_function_of_the_key():
    recipe = loop.make_recipe(config(architecture="dropping_transt", sync_norm=False))
    pairs = jax.jit(tiny_training.Squares().pairs)(jnp.arange(2, dtype=jnp.uint32))
    variables = jax.jit(recipe.draw)(jax.random.key(0))

    @jax.jit
    def loss(word):
        keys = jax.random.split(jax.random.key(0), 2)
        labels = siamese.label_batch(recipe, keys, pairs)  # type: ignore[arg-type]
        terms, _, _ = siamese.losses(recipe, (), variables, pairs, labels, jax.random.key(word))  # type: ignore[arg-type]
        return terms["loc"].sum

    assert float(loss(0)) == float(loss(0)) != float(loss(1))


# --- what fits -----------------------------------------------------------------------------------------------------


def test_labels_and_crops_of_other_networks_are_refused():
    with pytest.raises(UserError, match="tiny_transt has tokens: its labels must be TokenLabels, not EllipseLabels"):
        loop.make_recipe(dataclasses.replace(config(), labels=presets.NANO.labels))
    with pytest.raises(UserError, match=r"transt looks at .* 128 and 256 pixels, and .* of Procedural have 127 and"):
        loop.make_recipe(dataclasses.replace(presets.transt_nano("x", presets.BASELINE), architecture="transt"))
    full = presets.transt("x", presets.BASELINE, "full")
    assert siamese.make_recipe(full).architecture is ARCHITECTURES["transt"]
    assert isinstance(full.source, FactorDisk)
    assert full.source.sides_px == (factor_crops.TEMPLATE_PX, factor_crops.SEARCH_PX)
