"""Regions of images, the error between the maps of two networks, and what of them is kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_stills

from jaxtrack import images
from jaxtrack.errors import UserError
from jaxtrack.losses.reduction import combine
from jaxtrack.models import rpn2t, zf
from jaxtrack.training.distillation import recipe as recipes
from jaxtrack.training.distillation.config import ADAM, DistillationConfig, Regions
from jaxtrack.training.distillation.recipe import draw_region, make_recipe
from jaxtrack.training.optimiser import rate_at
from jaxtrack.training.stills.sources import Folder, Rendered


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    for name, architecture in tiny_stills.ARCHITECTURES.items():
        monkeypatch.setitem(rpn2t.ARCHITECTURES, name, architecture)


@pytest.fixture(scope="module")
def regions():
    """A thousand, of an image of 300 x 200 pixels."""
    keys = jax.random.split(jax.random.key(0), 1000)
    draw = jax.vmap(lambda key: draw_region(Regions(), key, jnp.asarray([200, 300], jnp.int32)))
    return np.asarray(jax.jit(draw)(keys))


def test_regions_lie_in_the_image(regions):
    assert regions[:, :2].min() >= 0
    assert (regions[:, :2] + regions[:, 2:] - (300, 200)).max() <= 1e-3


def test_an_eighth_of_the_regions_are_the_whole_image(regions):
    whole = (regions == (0, 0, 300, 200)).all(axis=1)
    assert whole.mean() == pytest.approx(1 / 8, abs=0.03)


def test_the_others_have_all_sizes_from_32_pixels_and_shapes_from_one_to_two(regions):
    others = regions[~(regions == (0, 0, 300, 200)).all(axis=1)]
    ratio, side = np.log2(others[:, 2] / others[:, 3]), np.sqrt(others[:, 2] * others[:, 3])
    assert -1.001 < ratio.min() < -0.95 < 0.95 < ratio.max() < 1.001
    assert 32 - 1e-3 <= side.min() < 34
    assert side.max() > 200
    np.testing.assert_allclose(np.median(ratio), 0, atol=0.15)
    # They are all over the image.
    assert np.ptp(others[:, 0]) > 200
    assert np.ptp(others[:, 1]) > 120


def test_an_image_smaller_than_the_smallest_region_is_seen_as_far_as_it_goes():
    draw = jax.vmap(lambda key: draw_region(Regions(whole=0), key, jnp.asarray([20, 24], jnp.int32)))
    found = np.asarray(draw(jax.random.split(jax.random.key(1), 50)))
    assert (found[:, :2] + found[:, 2:] <= np.asarray([24, 20]) + 1e-3).all()
    assert (np.isclose(found[:, 2], 24) | np.isclose(found[:, 3], 20)).all()  # it just fits


def test_both_networks_see_the_region_itself(monkeypatch):
    """Crops by the house's sampler at both sizes, minus the mean, which is also what is outside the image."""
    seen = {}
    monkeypatch.setattr(type(tiny_stills.TEACHER.backbone), "apply", lambda self, _, x: seen.update({self.version: x}))
    pixels = np.random.default_rng(0).integers(0, 255, (2, 60, 80, 3), np.uint8)
    items = {"pixels": jnp.asarray(pixels), "size": jnp.asarray([[60, 80], [50, 70]], jnp.int32)}
    mean = jnp.asarray(zf.MEAN_RGB)
    places = jnp.asarray([[10.0, 5.0, 40.0, 30.0], [0.0, 0.0, 70.0, 50.0]])
    for architecture, side in ((tiny_stills.TEACHER, 203), (tiny_stills.STUDENT, 107)):
        recipes._maps(architecture, {}, items, places)
        found = seen[architecture.backbone.version]
        for i in range(2):
            expected = images.crop(items["pixels"][i], items["size"][i], places[i], (side, side), mean)
            np.testing.assert_allclose(found[i], np.asarray(expected) - zf.MEAN_RGB, atol=0.05)


def test_the_error_is_the_mean_square():
    teacher, student = np.zeros((1, 1, 2, 2), np.float32), np.asarray([[[[1, 2], [0, 3]]]], np.float32)
    _, means = combine({"error": recipes.error(teacher, student)}, {"error": 1.0})
    assert float(means["error"]) == pytest.approx(14 / 4)


def test_the_rate_falls_by_a_cosine_from_1e_4_to_1e_5_in_40000_steps():
    config = DistillationConfig()
    assert (config.steps, config.batch) == (40_000, 64)
    rates = [float(rate_at(ADAM, config.epochs, config.steps_per_epoch, jnp.int32(s))) for s in (0, 20_000, 40_000)]
    np.testing.assert_allclose(rates, [1e-4, 5.5e-5, 1e-5], rtol=1e-4)
    assert ADAM.weight_decay == 0


@pytest.mark.parametrize(
    ("student", "teachers"),
    [
        ("rpn2t_student", {"rpn2t_teacher", "zf_rpn"}),
        ("rpn2t_student_b", {"rpn2t_teacher", "zf_rpn"}),
        ("rpn2t_small_student", {"rpn2t_small_teacher"}),
    ],
)
def test_a_students_teacher_has_its_widths(student, teachers):
    recipe = make_recipe(DistillationConfig(architecture=student, start="some"))
    assert set(recipe.backbones) == teachers


def test_what_is_stored_is_the_students_backbone_and_the_teachers_convolution():
    recipe = make_recipe(tiny_stills.distillation(start="some"))
    numbers = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), recipe.shapes())
    numbers["batch_stats"]["teacher"]["head"]["conv"]["bias"] += 3.0
    numbers["params"]["backbone"]["conv2"]["bias"] += 2.0
    stored = recipe.stored(numbers)
    expected = rpn2t.shapes(tiny_stills.STUDENT)
    assert jax.tree.map(jnp.shape, stored) == jax.tree.map(lambda leaf: leaf.shape, expected)
    assert (stored["params"]["backbone"]["conv2"]["bias"] == 2).all()
    assert (stored["params"]["head"]["conv"]["bias"] == 3).all()


def test_mistakes_are_one_sentence(tmp_path):
    with pytest.raises(UserError, match="needs a teacher: set start to weights of rpn2t_teacher or zf_rpn"):
        make_recipe(DistillationConfig(architecture="rpn2t_student"))
    with pytest.raises(UserError, match="no student called 'rpn2t_teacher'"):
        make_recipe(DistillationConfig(architecture="rpn2t_teacher", start="some"))
    with pytest.raises(UserError, match=r"no student called 'RPN2T-student': did you mean rpn2t_student\?$"):
        make_recipe(DistillationConfig(architecture="RPN2T-student", start="some"))
    with pytest.raises(UserError, match="needs other images than its source"):
        DistillationConfig(source=Folder(tmp_path), validation=Folder(tmp_path))
    with pytest.raises(UserError, match="aspect of Regions must be at least 1, and whole at most 1"):
        Regions(aspect=0.5)
    assert DistillationConfig(source=Rendered(4), validation=None).best is None
