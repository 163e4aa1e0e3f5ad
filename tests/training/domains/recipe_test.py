"""What a step draws and minimises, and what of an update counts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_domains

from jaxtrack.errors import UserError
from jaxtrack.models import mdnet
from jaxtrack.models.backbones import BACKBONES
from jaxtrack.models.mdnet import ARCHITECTURES
from jaxtrack.trackers.mdnet import Ranking
from jaxtrack.training.domains import presets
from jaxtrack.training.domains import recipe as recipes
from jaxtrack.training.domains.config import FROM_IMAGENET, FROM_NOTHING, DomainConfig, Sampling
from jaxtrack.training.domains.videos import Scenes
from jaxtrack.training.optimiser import Updates, stages
from jaxtrack.training.task import AXIS

SIZE = jnp.asarray([240, 320], jnp.int32)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "mdnet_tiny", tiny_domains.ARCHITECTURE)


def iou(a, b):
    """Of two boxes, by the definition."""
    width = max(0.0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    return width * height / (a[2] * a[3] + b[2] * b[3] - width * height)


# --- samples -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn():
    """Two hundred frames' samples."""
    box = jnp.asarray([120.0, 90.0, 40.0, 60.0])
    keys = jax.random.split(jax.random.key(0), 200)
    draw = jax.jit(jax.vmap(lambda key: recipes.draw_samples(Sampling(), key, box, SIZE)))
    return box, jax.tree.map(np.asarray, draw(keys))


def test_a_frame_has_four_positives_and_twelve_negatives(drawn):
    _, samples = drawn
    assert (samples.labels == [1] * 4 + [0] * 12).all()


def test_samples_are_within_their_limits_of_overlap(drawn):
    box, samples = drawn
    overlaps = [[iou(other, np.asarray(box)) for other in frame] for frame in samples.boxes]
    np.testing.assert_allclose(samples.overlaps, overlaps, atol=1e-5)
    assert samples.overlaps[:, :4].min() >= 0.7
    assert samples.overlaps[:, 4:].max() <= 0.5


def test_samples_come_from_the_generators_of_offline_training(drawn):
    """Positives within 0.1 mean sides and a factor of 1.3, negatives within 2 and 1.6; some near both limits."""
    _, samples = drawn
    centre = samples.boxes[..., :2] + samples.boxes[..., 2:] / 2 - np.asarray([140.0, 120.0])
    shift, factor = np.abs(centre).max(axis=-1) / 50.0, np.abs(np.log(samples.boxes[..., 2] / 40.0))
    for part, translation, scale in ((np.s_[:, :4], 0.1, 1.3), (np.s_[:, 4:], 2.0, 1.6)):
        assert 0.9 * translation < shift[part].max() <= translation + 1e-4
        assert 0.5 * np.log(scale) < factor[part].max() <= np.log(scale) + 1e-4


def test_shifts_may_be_in_the_targets_sides_as_in_the_matlab_code():
    """A target of 20 x 60 pixels: 2 sides are 40 and 120 pixels, 2 mean sides are 80 both ways."""
    box = jnp.asarray([150.0, 90.0, 20.0, 60.0])
    keys = jax.random.split(jax.random.key(0), 200)
    for per_axis, farthest in ((True, (40, 120)), (False, (80, 80))):
        config = Sampling(per_axis=per_axis)
        boxes = jax.jit(jax.vmap(lambda key, c=config: recipes.draw_samples(c, key, box, SIZE).boxes))(keys)[:, 4:]
        boxes = np.asarray(boxes)
        shift = np.abs(boxes[..., :2] + boxes[..., 2:] / 2 - [160, 120])
        np.testing.assert_allclose(shift.max(axis=(0, 1)), farthest, rtol=0.03)


def test_where_nothing_is_far_enough_from_the_target_samples_do_not_count():
    """A target that fills the image but for a pixel."""
    box = jnp.asarray([1.0, 1.0, 308.0, 228.0])
    config = Sampling(negative_translation=0.1, negative_scale=1.1)
    samples = jax.jit(lambda key: recipes.draw_samples(config, key, box, SIZE))(jax.random.key(0))
    assert samples.labels.tolist() == [1] * 4 + [-1] * 12


# --- the loss ------------------------------------------------------------------------------------------------------


def terms_on(count, outputs, labels, overlaps, **ranking):
    """Gradient by the outputs, and the metrics, on so many devices."""
    recipe = recipes.Recipe(tiny_domains.ARCHITECTURE, Sampling(), Ranking(**ranking))
    parts = [part.reshape(count, -1, *part.shape[1:]) for part in (outputs, labels, overlaps)]
    program = jax.pmap(jax.value_and_grad(recipe.terms, has_aux=True), axis_name=AXIS, devices=jax.devices()[:count])
    (share, means), gradient = program(*parts)
    means = {name: float(value[0]) for name, value in means.items()}
    return np.asarray(gradient).reshape(outputs.shape), means, np.asarray(share)


@pytest.fixture(scope="module")
def batch():
    random = np.random.default_rng(0)
    labels = np.asarray([1, 1, 0, 0, 0, 1, -1, 0] * 2, np.int32)
    return (
        random.normal(size=(16, 2)).astype(np.float32),
        labels,
        np.where(labels == 1, random.uniform(0.7, 1.0, 16), 0.3).astype(np.float32),
    )


def by_hand(outputs, labels, overlaps, margin):
    """The mean cross entropy and the mean ranking loss, pair by pair."""
    entropy = [np.log(np.exp(f - f[y]).sum()) for f, y in zip(outputs.astype(float), labels, strict=True) if y >= 0]
    positives = np.flatnonzero(labels == 1)
    pairs = [(i, j) for i in positives for j in positives if overlaps[i] - overlaps[j] >= 1e-3]
    ranking = [max(0.0, margin - (outputs[i, 1] - outputs[j, 1])) for i, j in pairs]
    return np.mean(entropy), np.mean(ranking)


@pytest.mark.parametrize("count", [1, 4])
def test_the_loss_is_that_of_all_devices_samples(batch, count):
    _, means, _ = terms_on(count, *batch, classification=2.0, ranking=3.0, margin=0.3)
    entropy, ranking = by_hand(*batch, 0.3)
    assert means["classification"] == pytest.approx(entropy, rel=1e-5)
    assert means["ranking"] == pytest.approx(ranking, rel=1e-5)
    assert means["loss"] == pytest.approx(2 * entropy + 3 * ranking, rel=1e-5)


def test_the_devices_gradients_are_those_of_one(batch):
    one, four = (terms_on(count, *batch, ranking=0.5)[0] for count in (1, 4))
    np.testing.assert_allclose(four, one, atol=1e-6)


def test_the_ranking_loss_has_a_gradient_and_without_it_there_is_none(batch):
    ranked, _, _ = terms_on(1, *batch, classification=0.0, ranking=1.0)
    assert np.abs(ranked[batch[1] == 1, 1]).max() > 0
    assert not ranked[batch[1] != 1].any()
    alone, means, _ = terms_on(1, *batch, classification=0.0, ranking=0.0)
    assert not alone.any()
    assert "ranking" not in means


# --- what is updated -----------------------------------------------------------------------------------------------


def recipe_and_state(**changes):
    config = tiny_domains.config(**changes)
    recipe = recipes.make_recipe(config)
    variables = jax.jit(recipe.draw)(jax.random.key(0))
    stage = stages(config.optimiser, config.epochs, config.steps_per_epoch)[0]
    updates = Updates(config.optimiser, stage, config.epochs, config.steps_per_epoch)
    return recipe, variables, updates


@pytest.mark.parametrize("method", ["sgd", "adamw"])
def test_of_the_last_layer_only_the_videos_branch_and_its_momentum_change(method):
    optimiser = dataclasses.replace(FROM_IMAGENET, method=method, weight_decay=0.1)
    recipe, variables, updates = recipe_and_state(optimiser=optimiser)
    params = jax.tree.map(lambda leaf: leaf + 1.0, variables["params"])
    gradient = jax.tree.map(jnp.ones_like, params)
    state = updates.init(params)
    items = {"domain": jnp.asarray([1, 1], jnp.int32)}
    after, new_state = recipe.limited((params, state), updates.apply(params, gradient, state), items)
    changed = {
        jax.tree_util.keystr(path): np.asarray(old != new)
        for (path, old), new in zip(jax.tree_util.tree_leaves_with_path(params), jax.tree.leaves(after), strict=True)
    }
    for name, where in changed.items():
        if "fc6" in name:
            assert where[1].all(), name
            assert not where[[0, 2]].any(), name
        else:
            assert where.all(), name
    for path, leaf in jax.tree_util.tree_leaves_with_path(new_state):
        if "fc6" in jax.tree_util.keystr(path):
            assert np.asarray(leaf)[1].all()
            assert not np.asarray(leaf)[[0, 2]].any()


def test_convolutions_learn_at_a_tenth_of_the_rate():
    """1e-4 and 1e-3 of the gradient, which is too short to be clipped and outweighs the decay."""
    _, variables, updates = recipe_and_state(optimiser=FROM_IMAGENET)
    params = jax.tree.map(jnp.zeros_like, variables["params"])
    gradient = jax.tree.map(lambda leaf: jnp.full_like(leaf, 1e-3), params)
    after, _ = updates.apply(params, gradient, updates.init(params))
    for part, rate in (("backbone", 1e-4), ("head", 1e-3)):
        for leaf in jax.tree.leaves(after[part]):
            np.testing.assert_allclose(leaf, -rate * 1e-3, rtol=1e-5)


def test_a_branch_scores_and_the_others_do_not():
    recipe, variables, _ = recipe_and_state()
    params = variables["params"]
    params["head"]["fc6"]["bias"] = jnp.asarray([[0.0, 1.0], [0.0, 2.0], [0.0, 3.0]])
    params["head"]["fc6"]["kernel"] = jnp.zeros_like(params["head"]["fc6"]["kernel"])
    items = next(tiny_domains.Squares().batches(0, 4, 0, 1))
    keys = jax.random.split(jax.random.key(0), 4)
    score = jax.jit(lambda items: recipe.outputs(params, items, recipe.samples(keys, items), keys))
    for domain in range(3):
        found = score({**items, "domain": np.full(4, domain, np.int32)})
        np.testing.assert_array_equal(found[..., 1], domain + 1.0)


# --- the network ---------------------------------------------------------------------------------------------------


def test_the_head_has_a_branch_for_every_video_and_a_place_for_the_location():
    for location, width in (("none", 8), ("normalised", 12)):
        recipe = recipes.make_recipe(tiny_domains.config(location=location))
        assert recipe.shapes()["params"]["head"]["fc6"]["kernel"].shape == (3, width, 2)


def test_what_is_stored_is_what_a_tracker_loads_and_a_training_can_start_from_it():
    recipe, variables, _ = recipe_and_state(location="normalised")
    stored = recipe.stored(variables)
    expected = mdnet.shapes(tiny_domains.ARCHITECTURE)
    assert jax.tree.map(jnp.shape, stored) == jax.tree.map(lambda leaf: leaf.shape, expected)
    other = jax.tree.map(lambda leaf: leaf + 1.0, stored)
    started = recipe.completed(other, lambda: variables)
    assert jax.tree.map(jnp.shape, started) == jax.tree.map(jnp.shape, variables)
    np.testing.assert_array_equal(started["params"]["head"]["fc4"]["bias"], other["params"]["head"]["fc4"]["bias"])
    np.testing.assert_array_equal(started["params"]["head"]["fc6"]["bias"], variables["params"]["head"]["fc6"]["bias"])


DEEP = dataclasses.replace(
    tiny_domains.ARCHITECTURE, head=dataclasses.replace(tiny_domains.ARCHITECTURE.head, hidden=3)
)


def test_a_third_hidden_layer_is_shared_by_the_videos_and_stored_with_the_others(monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "mdnet_tiny_hidden3", DEEP)
    recipe, variables, updates = recipe_and_state(architecture="mdnet_tiny_hidden3", location="normalised")
    params = variables["params"]
    assert set(params["head"]) == {"fc4", "fc5", "fc5b", "fc6"}
    assert params["head"]["fc6"]["kernel"].shape == (3, 12, 2)
    assert set(recipe.stored(variables)["params"]["head"]) == {"fc4", "fc5", "fc5b"}
    before = (params, updates.init(params))
    updated = updates.apply(params, jax.tree.map(jnp.ones_like, params), before[1])
    after, _ = recipe.limited(before, updated, {"domain": jnp.asarray([1])})
    np.testing.assert_array_equal(after["head"]["fc5b"]["kernel"], updated[0]["head"]["fc5b"]["kernel"])
    assert (after["head"]["fc5b"]["kernel"] != params["head"]["fc5b"]["kernel"]).all()


# --- diagnostics ---------------------------------------------------------------------------------------------------


def test_the_norm_of_the_locations_weights_is_that_of_the_videos_branch():
    """Of 8 + 4 rows the last four, 2 and -1 in the columns of branch 1: the root of 4 (4 + 1)."""
    recipe, variables, _ = recipe_and_state(location="normalised")
    kernel = jnp.full((3, 12, 2), 100.0).at[1, 8:, 0].set(2.0).at[1, 8:, 1].set(-1.0)
    params = {**variables["params"], "head": {**variables["params"]["head"], "fc6": {"kernel": kernel}}}
    found = recipe.diagnostics(params, {"domain": jnp.asarray([1, 1])})
    assert {name: float(value) for name, value in found.items()} == {"location_norm": pytest.approx(20**0.5)}


def test_without_a_location_feature_there_is_no_norm_of_its_weights():
    recipe, variables, _ = recipe_and_state()
    assert recipe.diagnostics(variables["params"], {"domain": jnp.asarray([1, 1])}) == {}


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_can_be_trained(name):
    config = DomainConfig(architecture=f"mdnet_{name}", source=tiny_domains.Squares(), validation=None)
    recipe = recipes.make_recipe(config)
    assert recipe.backbones == BACKBONES[name].files
    params = recipe.shapes()["params"]
    assert presets.convolutions(config.architecture) == tuple(params["backbone"])
    items = next(tiny_domains.Squares().batches(0, 2, 0, 1))
    boxes = jax.ShapeDtypeStruct((2, 3, 4), jnp.float32)
    features = jax.eval_shape(recipe.features, params["backbone"], items, boxes)
    assert features.shape == (2, 3, params["head"]["fc4"]["kernel"].shape[0])


# --- mistakes ------------------------------------------------------------------------------------------------------


def test_mistakes_are_one_sentence():
    with pytest.raises(UserError, match="accumulate of a multi-domain training must be 1"):
        DomainConfig(optimiser=dataclasses.replace(FROM_NOTHING, accumulate=2))
    with pytest.raises(UserError, match="needs other videos than its source"):
        DomainConfig(source=Scenes(4), validation=Scenes(4))
    with pytest.raises(UserError, match="positives of Sampling must be greater than 0, not 0"):
        Sampling(positives=0)
    with pytest.raises(UserError, match=r"positive_iou of Sampling must be less than 1, not 1$"):
        Sampling(positive_iou=1.0)
    with pytest.raises(UserError, match="mdnet_smal"):
        recipes.make_recipe(DomainConfig(architecture="mdnet_smal"))
    with pytest.raises(UserError, match=r"no architecture called 'MDNet-Small': did you mean mdnet_small\?$"):
        recipes.make_recipe(DomainConfig(architecture="MDNet-Small"))
