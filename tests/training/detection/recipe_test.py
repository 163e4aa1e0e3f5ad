"""What a step of the training of proposals minimises, and what of an update counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_stills

from jaxtrack.errors import UserError
from jaxtrack.losses.reduction import combine
from jaxtrack.models import rpn2t, zf
from jaxtrack.training.detection.config import PUBLISHED, DetectionConfig
from jaxtrack.training.detection.recipe import Outputs, make_recipe
from jaxtrack.training.optimiser import Updates, epoch_rates, stages
from jaxtrack.training.stills.sources import Rendered
from jaxtrack.weights import online

WEIGHTS = {"classification": 1.0, "box": 1.0}
NOWHERE = np.zeros((0, 4), np.float32)


@pytest.fixture(scope="module")
def recipe():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(rpn2t.ARCHITECTURES, "tiny_teacher", tiny_stills.TEACHER)
        yield make_recipe(tiny_stills.detection())


@pytest.fixture(scope="module")
def variables(recipe):
    return jax.jit(recipe.draw)(jax.random.key(0))


def losses(recipe, scores, offsets, labels, targets):
    def total(scores, offsets):
        terms = recipe.terms(Outputs(NOWHERE, scores, offsets), labels, targets)
        share, means = combine(terms, WEIGHTS)
        return share, means

    (_, means), gradients = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(scores, offsets)
    return {name: float(value) for name, value in means.items()}, gradients


def test_the_losses_of_three_anchors_by_hand(recipe):
    """A positive, a negative, one that does not count. Errors of 0.1 are in the parabola 9/2 d^2, of 0.5 beyond it."""
    scores = jnp.asarray([[[0.0, 1.0], [2.0, 0.0], [9.0, -9.0]]])
    offsets = jnp.asarray([[[0.1, 0.5, 0.0, -1.0], [7.0, 7.0, 7.0, 7.0], [7.0, 7.0, 7.0, 7.0]]])
    means, _ = losses(recipe, scores, offsets, jnp.asarray([[1, 0, -1]]), jnp.zeros((1, 3, 4)))
    assert means["classification"] == pytest.approx((np.log1p(np.exp(-1)) + np.log1p(np.exp(-2))) / 2, rel=1e-5)
    assert means["box"] == pytest.approx((4.5 * 0.01 + (0.5 - 0.5 / 9) + (1 - 0.5 / 9)) / 2, rel=1e-5)


def test_where_nothing_counts_there_is_no_loss_and_no_gradient(recipe):
    random = np.random.default_rng(0)
    scores, offsets = (random.normal(size=(2, 5, n)).astype(np.float32) for n in (2, 4))
    targets = np.full((2, 5, 4), -np.inf, np.float32)
    means, gradients = losses(recipe, scores, offsets, np.full((2, 5), -1), targets)
    assert means == {"classification": 0.0, "box": 0.0}
    assert not any(np.asarray(part).any() for part in gradients)


def test_without_positives_there_is_no_loss_of_boxes(recipe):
    scores, offsets = np.zeros((1, 4, 2), np.float32), np.ones((1, 4, 4), np.float32)
    means, gradients = losses(recipe, scores, offsets, np.zeros((1, 4), np.int32), np.zeros((1, 4, 4), np.float32))
    assert means["box"] == 0
    assert means["classification"] == pytest.approx(np.log(2))
    assert not np.asarray(gradients[1]).any()


def test_what_lies_beyond_an_image_is_not_seen(recipe, variables):
    """Whatever the canvas holds there; and a canvas of the mean colour alone gives what an image of it does."""
    pixels = np.random.default_rng(1).integers(0, 255, (2, 96, 128, 3), np.uint8)
    size = np.asarray([[64, 80], [96, 128]], np.int32)
    other = pixels.copy()
    other[0, 64:], other[0, :, 80:] = 7, 99
    run = jax.jit(lambda pixels: recipe.outputs(variables["params"], pixels, size)[1:])
    for a, b in zip(run(pixels), run(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_scores_and_offsets_belong_to_the_anchors_of_their_cells(recipe, variables):
    """Biases tell: 9 scores of the background come before 9 of the object, offsets are 4 of each anchor."""
    head = variables["params"]["head"]
    empty = jax.tree.map(jnp.zeros_like, head)
    empty["scores"]["bias"] = jnp.arange(18, dtype=jnp.float32)
    empty["deltas"]["bias"] = jnp.arange(36, dtype=jnp.float32)
    params = {"backbone": variables["params"]["backbone"], "head": empty}
    pixels, size = np.zeros((1, 96, 128, 3), np.uint8), np.asarray([[96, 128]], np.int32)
    anchors, scores, offsets = recipe.outputs(params, pixels, size)
    assert len(anchors) == scores.shape[1] == offsets.shape[1]
    for number in (0, 8, 9 * 5 + 4):
        kind = number % 9
        assert scores[0, number].tolist() == [kind, 9 + kind]
        assert offsets[0, number].tolist() == [4 * kind + i for i in range(4)]


def test_the_mean_is_subtracted_from_rgb(recipe, variables):
    """A canvas of the means, rounded, is nearly black: the outputs differ little from those beyond the image."""
    pixels = np.tile(np.round(zf.MEAN_RGB).astype(np.uint8), (1, 96, 128, 1))
    inside, outside = (
        recipe.outputs(variables["params"], pixels, np.asarray([size], np.int32)).scores for size in ((96, 128), (1, 1))
    )
    np.testing.assert_allclose(inside, outside, atol=4e-3)


# --- what is updated


def test_biases_learn_twice_as_fast_and_decay():
    """SGD of 0.001 from rest: the gradient 1 and a decay of 0.0005 times 2."""
    config = tiny_stills.detection(optimiser=PUBLISHED)
    params = {"backbone": {"conv1": {"kernel": jnp.full(3, 2.0), "bias": jnp.full(3, 2.0)}}, "head": {}}
    stage = stages(config.optimiser, config.epochs, config.steps_per_epoch)[0]
    updates = Updates(config.optimiser, stage, config.epochs, config.steps_per_epoch)
    state = updates.init(params)
    after = updates.apply(params, jax.tree.map(jnp.ones_like, params), state)
    recipe = make_recipe(DetectionConfig())
    changed, _ = recipe.limited((params, state), after, None)
    for name, factor in (("kernel", 1), ("bias", 2)):
        step = 2.0 - np.asarray(changed["backbone"]["conv1"][name])
        np.testing.assert_allclose(step, factor * 1e-3 * 1.001, rtol=1e-3)


def test_the_published_rates_fall_after_three_quarters():
    assert epoch_rates(PUBLISHED, 4) == [1e-3, 1e-3, 1e-3, 1e-4]
    config = DetectionConfig()
    assert (config.epochs - 1) * config.steps_per_epoch == 60_000
    assert config.steps == 80_000


# --- the network


def shapes_of(tree):
    return jax.tree.map(lambda leaf: leaf.shape, tree)


def test_a_teachers_file_is_what_a_tracker_loads_and_a_training_can_start_from_it(recipe, variables):
    stored = recipe.stored(variables)
    assert shapes_of(stored) == shapes_of(rpn2t.shapes(tiny_stills.TEACHER))
    other = jax.tree.map(lambda leaf: leaf + 1.0, stored)
    started = recipe.completed(other, lambda: variables)
    assert shapes_of(started) == shapes_of(variables) == shapes_of(recipe.shapes())
    np.testing.assert_array_equal(started["params"]["head"]["conv"]["bias"], other["params"]["head"]["conv"]["bias"])


def test_of_the_published_network_all_is_kept():
    whole = make_recipe(DetectionConfig(architecture="zf_rpn"))
    assert shapes_of(whole.stored(whole.shapes())) == shapes_of(online.shapes("zf_rpn"))


def test_mistakes_are_one_sentence():
    with pytest.raises(UserError, match="no region proposal network called 'rpn2t_small_student'"):
        make_recipe(DetectionConfig(architecture="rpn2t_small_student"))
    with pytest.raises(UserError, match=r"network called 'ZF-RPN': did you mean zf_rpn\?$"):
        make_recipe(DetectionConfig(architecture="ZF-RPN"))
    with pytest.raises(UserError, match="needs other images than its source"):
        DetectionConfig(source=Rendered(4), validation=Rendered(4))
    with pytest.raises(UserError, match="bias_factor of DetectionConfig must be greater than 0"):
        DetectionConfig(bias_factor=0)
