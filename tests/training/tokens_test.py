"""TransT's training: the criterion against the specification, and the loop on a network of a few channels."""

import dataclasses
import functools
import importlib.util
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_training
import tiny_transt
from ranking_loops import cr_by_loop, igr_by_loop
from states import assert_same_bits, leaves

from jaxtrack.data.procedural_pairs import Pair
from jaxtrack.errors import UserError
from jaxtrack.losses import regression
from jaxtrack.losses.reduction import combine
from jaxtrack.models import grids
from jaxtrack.models.siamese import ARCHITECTURES
from jaxtrack.training import factor_crops, loop, objective, presets, siamese
from jaxtrack.training.config import TrainConfig
from jaxtrack.training.labels import Labels, TokenLabels
from jaxtrack.training.objective import Objective
from jaxtrack.training.sources import FactorDisk

CRITERION = presets.transt_objective(Objective())
EVENLY = {72: [0, 14, 28, 43, 57], 21: [0, 4, 8, 12, 16]}  # five of so many: k n / 5, rounded down
TARGETS = [(0.5, 0.5, 0.25, 0.3), (0.4, 0.6, 0.1, 0.2)]


def corners(box):
    cx, cy, w, h = box
    return [256 * x for x in (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)]


@functools.cache
def golden():
    """siamese.md 13.2: the reference's logits (target first) and boxes as ours, and labels."""
    logits = np.random.RandomState(41).standard_normal((2, 1024, 2))[..., ::-1]
    boxes = 1 / (1 + np.exp(-0.5 * np.random.RandomState(42).standard_normal((2, 1024, 4))))
    labels = labelled("transt", [corners(box) for box in TARGETS])
    cls, loc = (jnp.asarray(x.reshape(2, 32, 32, -1), jnp.float32) for x in (logits, boxes))
    return cls, loc, labels


def labelled(name, boxes_xyxy):
    """Labels of ordinary pairs, by a recipe of an architecture."""
    recipe = siamese.Recipe(ARCHITECTURES[name], lambda items: items, TokenLabels(), CRITERION)

    @jax.jit
    def label(box):
        pairs = Pair(template=None, search=None, box_xyxy=box, negative=jnp.zeros(len(box), bool))
        return siamese.label_batch(recipe, jax.random.split(jax.random.key(0), len(box)), pairs)

    return label(jnp.asarray(boxes_xyxy, jnp.float32))


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


def test_the_background_weighs_what_the_objective_says():
    cls, loc, labels = golden()
    logits = np.asarray(cls, np.float64).reshape(-1, 2)
    positive = np.asarray(labels.label).ravel() == 1
    margins = (logits[:, 1] - logits[:, 0]) * np.where(positive, 1, -1)
    expected = np.average(np.log1p(np.exp(-margins)), weights=np.where(positive, 1, 0.5))
    _, parts = means(dataclasses.replace(CRITERION, background=0.5), cls, loc, labels)
    assert parts["cls"] == pytest.approx(expected, rel=1e-5)


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


def test_of_many_positives_so_many_are_ranked_evenly_spread():
    cls, loc, labels = golden()
    config = dataclasses.replace(CRITERION, classification_ranking=0.5, iou_ranking=0.25)
    _, parts = means(config, cls, loc, labels, positives=5)
    logits = np.asarray(cls, np.float64).reshape(2, 1024, 2)
    p = 1 / (1 + np.exp(logits[..., 0] - logits[..., 1]))
    v = np.asarray(regression.iou(loc.reshape(2, -1, 4), jnp.asarray(TARGETS)[:, None]), np.float64)
    label = np.asarray(labels.label).copy()
    assert parts["cr"] == pytest.approx(np.mean(cr_by_loop(p, label, "released", most=5)), rel=1e-4)
    for image in range(2):  # what is not ranked counts no more
        positive = np.flatnonzero(label[image] == 1)
        label[image, np.setdiff1d(positive, positive[EVENLY[len(positive)]])] = -1
    igr = np.mean(igr_by_loop(p, label, v, "released"), axis=0)
    assert [parts["igr_1"], parts["igr_2"]] == pytest.approx(igr, rel=1e-4)


@pytest.mark.parametrize("name", ["transt", "transt_nano"])
def test_every_positive_token_lies_in_the_targets_box(name):
    """By the grid on which the validation asks what lies outside of it."""
    architecture = ARCHITECTURES[name]
    boxes = jnp.asarray([[96, 96, 158, 158], [100.5, 80.25, 171, 142], [3, 180, 90, 250]], jnp.float32)
    positive = np.asarray(labelled(name, boxes).label) == 1
    side = architecture.score_cells
    places = grids.anchors("tokens", side, architecture.stride_px, architecture.search_px // 2)[:, :2]
    for box, found in zip(np.asarray(boxes), positive, strict=True):
        inside = np.all((places >= box[:2]) & (places < box[2:]), axis=1)
        np.testing.assert_array_equal(found, inside)


def test_the_labels_of_the_trainings_are_cut_where_the_network_is_small():
    assert presets.transt_nano("x", presets.BASELINE).labels == TokenLabels(positives=64, cut=True)
    assert presets.transt("x", presets.CR_IGR, "full").labels == TokenLabels(positives=256, cut=False)


def test_a_second_cross_entropy_weighs_as_much_as_the_first():
    both = presets.transt_objective(Objective(hard_cls=1.0))
    assert both.hard_cls == both.cls == 8.334


@pytest.mark.parametrize("name", ["transt", "transt_nano"])
def test_a_network_that_says_what_its_labels_say_has_the_targets_box(name):
    """Whether it counts from the region's edge or, as the reference, from the first pixel's centre."""
    architecture = ARCHITECTURES[name]
    box = jnp.asarray([[100.0, 80.0, 171.0, 142.0]])
    labels = labelled(name, box)
    overlaps = jax.jit(lambda target: objective.overlaps(architecture, target, box))(labels.target)
    np.testing.assert_allclose(overlaps, 1.0, rtol=1e-5)
    # In a region whose edges are half a pixel around its pixels' centres, or without that half.
    half = 0.5 if architecture.exact_centre else 0.0
    centre = (np.asarray([135.5, 111.0]) + half) / architecture.search_px
    np.testing.assert_allclose(labels.target[0, 0, :2], centre, rtol=1e-5)


# --- a step --------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "tiny_transt", tiny_transt.ARCHITECTURE)


# Adam divides by what may be rounding alone.
SGD = dataclasses.replace(
    tiny_training.OPTIMISER, frozen_epochs=0, trained_backbone=tiny_transt.STAGES, rate=1e-3, warmup_rate=1e-3
)


def config(**changes) -> TrainConfig:
    """Four steps of eight pairs with both ranking losses."""
    defaults = {
        "architecture": "tiny_transt",
        "source": tiny_transt.Squares(),
        "labels": TokenLabels(positives=16, cut=True),
        "objective": presets.transt_objective(presets.CR_IGR),
        "optimiser": SGD,
        "epochs": 2,
        "steps_per_epoch": 2,
        "checkpoint_steps": 2,
    }
    return tiny_training.config(**{**defaults, **changes})


def losses_of_nothing(monkeypatch, recipe, words):
    """What `losses` asks of network and objective, one after the other, with keys of these words."""
    asked = []

    class Network:
        def apply(self, *_, rngs, **__):
            asked.append(jax.random.key_data(rngs["dropout"]).tolist())
            return (None, None), {"batch_stats": {}}

    monkeypatch.setattr(siamese.siamese, "build", lambda architecture: Network())
    monkeypatch.setattr(objective, "terms", lambda *_, positives, **__: asked.append(positives) or ({}, {}))
    image = jnp.zeros((1, 1, 1, 3))
    pairs = Pair(template=image, search=image, box_xyxy=jnp.zeros((1, 4)), negative=jnp.zeros(1, bool))
    for word in words:
        siamese.losses(recipe, (), {}, pairs, None, jax.random.key(word))
    return asked[::2], asked[1::2]


def test_what_is_dropped_in_training_is_a_function_of_the_key(monkeypatch):
    (first, same, other), _ = losses_of_nothing(monkeypatch, loop.make_recipe(config()), (0, 0, 1))
    assert first == same != other


def test_as_many_positives_of_an_image_are_ranked_as_the_labels_say(monkeypatch):
    recipe = loop.make_recipe(config(labels=TokenLabels(positives=5)))
    assert losses_of_nothing(monkeypatch, recipe, (0,))[1] == [5]


# --- the loop ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def train():
    """`loop.train` on so many devices; for each number the step is compiled once, all begin with the same numbers."""
    make_step, steps = loop.make_step, {}
    draw = functools.cache(tiny_training.perturbed(loop.initial_variables))

    def shared(recipe, stage, updates, devices, *notice):
        if len(devices) not in steps:
            steps[len(devices)] = make_step(recipe, stage, updates, devices, *notice)
        return steps[len(devices)]

    def run(folder, devices, report=lambda record: None, **changes):
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(ARCHITECTURES, "tiny_transt", tiny_transt.ARCHITECTURE)
            patch.setattr(loop, "make_step", shared)
            first = draw(config(), loop.make_recipe(config()))
            patch.setattr(loop, "initial_variables", lambda *_: jax.tree.map(jnp.copy, first))  # steps donate them
            return loop.train(config(**changes), folder, devices=jax.devices()[:devices], report=report)

    return run


@pytest.fixture(scope="module")
def one(train, tmp_path_factory):
    """The last state of a training on one device, with validation, and its folder."""
    folder = tmp_path_factory.mktemp("one")
    return train(folder, 1, validation_pairs=8), folder


@pytest.fixture(scope="module")
def four(train, tmp_path_factory):
    """The last state of the same training on four devices."""
    return train(tmp_path_factory.mktemp("four"), 4)


def test_it_learns_and_is_validated(one):
    records = [json.loads(line) for line in (one[1] / "log.jsonl").read_text().splitlines()]
    assert records[-1]["loss"] < records[0]["loss"]
    assert {"cls", "loc", "giou", "cr", "igr_1", "igr_2"} < records[0].keys()
    assert 0 < records[-1]["validation_positive"] < 1
    assert 0 <= records[-1]["validation_iou"] <= 1


def test_one_device_and_four_agree(one, four):
    one, four = leaves(one[0]), leaves(four)
    for name in one:
        if ".params" in name:
            assert np.linalg.norm(one[name] - four[name]) <= 1e-4 * np.linalg.norm(one[name]), name


def stop_after_a_checkpoint(record):
    if record["step"] > 2:
        raise ZeroDivisionError


def test_on_four_devices_it_ends_with_the_same_bits_after_an_interruption(train, four, tmp_path):
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, 4, report=stop_after_a_checkpoint)
    assert_same_bits(train(tmp_path, 4), four)


@pytest.mark.slow
def test_the_shipped_short_training_resumes_on_four_devices_and_one_device_agrees(tmp_path):
    """With rendered pairs, AdamW and validation."""
    path = Path(__file__).parents[2] / "configs" / "transt_smoke.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shorter = {"batch": 4, "steps_per_epoch": 2, "checkpoint_steps": 2, "validation_pairs": 4}
    smoke = dataclasses.replace(module.config(), **shorter)

    def run(name, devices=4, **named):
        state = loop.train(smoke, tmp_path / name, devices=jax.devices()[:devices], **named)
        return state, [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]

    whole, records = run("whole")
    with pytest.raises(ZeroDivisionError):
        run("cut", report=stop_after_a_checkpoint)
    resumed, again = run("cut")
    assert_same_bits(resumed, whole)
    terms = ("loss", "cls", "loc", "giou", "cr", "igr_1", "igr_2")
    assert [{name: record[name] for name in terms} for record in again] == [
        {name: record[name] for name in terms} for record in records
    ]
    single = run("one", 1)[1]
    for name in terms:
        assert single[0][name] == pytest.approx(records[0][name], rel=1e-3), name


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
