import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack import images
from jaxtrack.models import rpn2t as models
from jaxtrack.models.rpn import AnchorHead, ProposalHead
from jaxtrack.models.rpn2t import ARCHITECTURES, Architecture
from jaxtrack.models.zf import ZF

TINY = Architecture(ZF((3, 4, 4, 4, 5), "student_a"), AnchorHead(6), 107)


@pytest.fixture(scope="module")
def params():
    return jax.jit(lambda key: models.initial(TINY, key))(jax.random.key(0))


@pytest.mark.parametrize("size", ["", "small_"])
def test_teacher_and_student_have_the_same_parameters(size):
    trees = [models.shapes(ARCHITECTURES[f"rpn2t_{size}{name}"]) for name in ("teacher", "student")]
    assert trees[0] == trees[1]
    assert models.shapes(ARCHITECTURES["rpn2t_student_b"]) == models.shapes(ARCHITECTURES["rpn2t_student"])
    assert trees[0]["params"].keys() == {"backbone", "head"}
    assert trees[0]["params"]["head"].keys() == {"conv"}


def test_the_full_sized_ones_have_the_published_layers():
    tree = models.shapes(ARCHITECTURES["rpn2t_teacher"])["params"]
    sizes = {name: layer["kernel"].shape for name, layer in tree["backbone"].items()}
    # mdnet_family.md, section 4.2.
    assert sizes == {
        "conv1": (7, 7, 3, 96),
        "conv2": (5, 5, 96, 256),
        "conv3": (3, 3, 256, 384),
        "conv4": (3, 3, 384, 384),
        "conv5": (3, 3, 384, 256),
    }
    assert tree["head"]["conv"]["kernel"].shape == (3, 3, 256, 256)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_network_makes_14_by_14_cells_the_teacher_on_half_its_input_8(name):
    architecture = ARCHITECTURES[name]
    frame = images.make_frame(np.zeros((60, 80, 3), np.uint8))
    variables = jax.eval_shape(lambda: models.initial(architecture, jax.random.key(0)))["backbone"]
    maps = jax.eval_shape(
        lambda v, f, b: models.features(architecture, v, f, b), variables, frame, jnp.zeros((3, 4), jnp.float32)
    )
    cells = 8 if name.endswith("teacher_half") else 14
    assert maps.shape == (3, cells, cells, architecture.backbone.widths[4])
    assert architecture.input_px == (203 if name.endswith("teacher") else 107)


@pytest.mark.parametrize("name", ["rpn2t_teacher", "rpn2t_student"])
def test_a_crop_shows_the_box_in_171_of_203_parts_and_zero_outside_the_image(name):
    architecture = ARCHITECTURES[name]
    # The box is white, all around it black; its crop is 40 x 203/171 = 47.485 pixels wide.
    image = np.zeros((100, 100, 3), np.uint8)
    image[30:70, 20:60] = 255
    crop = np.asarray(models.crop(architecture, images.make_frame(image), jnp.asarray([20.0, 30.0, 40.0, 40.0])))
    assert crop.shape == (architecture.input_px, architecture.input_px, 3)
    white = crop[..., 0] > 127 - 122.77
    for axis in (0, 1):
        assert white.any(axis=axis).sum() == pytest.approx(architecture.input_px * 171 / 203, abs=1)
    np.testing.assert_array_equal(white, white[::-1, ::-1])
    # mdnet_family.md, section 4.2: means of red, green and blue.
    np.testing.assert_allclose(crop[0, 0], [-122.7717, -115.9465, -102.9801], rtol=1e-5)
    outside = models.crop(architecture, images.make_frame(image), jnp.asarray([-200.0, 30.0, 40.0, 40.0]))
    assert (np.asarray(outside) == 0).all()


def test_many_boxes_go_through_the_backbone_as_each_alone_and_may_be_rounded(params):
    frame = images.make_frame(np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8))
    some = np.random.default_rng(0).uniform([0, 0, 20, 20], [80, 60, 60, 60], (66, 4)).astype(np.float32)
    find = jax.jit(lambda v, b, dtype: models.features(TINY, v, frame, b, dtype), static_argnums=2)
    found = find(params["backbone"], some, jnp.float32)
    for i in (0, 63, 64, 65):
        np.testing.assert_allclose(found[i], find(params["backbone"], some[i : i + 1], jnp.float32)[0], atol=1e-3)
    half = find(params["backbone"], some, jnp.bfloat16)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), found, rtol=2**-8, atol=1e-3)


def test_functions_of_maps_are_the_same_in_parts():
    maps = jnp.asarray(np.random.default_rng(0).normal(size=(130, 3, 2)), jnp.float32)

    def both(maps):
        return jnp.sum(maps, axis=(1, 2)), maps[:, 0]

    for found, expected in zip(models.in_parts(both, maps), both(maps), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("head", [AnchorHead(200), ProposalHead(200)])
def test_a_video_begins_with_the_heads_convolution_and_new_scores(head):
    params = jax.eval_shape(head.init, jax.random.key(0), jnp.zeros((1, 14, 14, 5)))["params"]
    params = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), params)
    found = models.with_new_scores(params, jax.random.key(1))
    assert found["conv"] is params["conv"]
    expected = jax.eval_shape(AnchorHead(200).init, jax.random.key(0), jnp.zeros((1, 14, 14, 5)))["params"]
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, expected)
    kernels = [np.asarray(found[name]["kernel"]) for name in ("masked_scores", "all_scores")]
    assert not np.array_equal(*kernels)
    for name, kernel in zip(("masked_scores", "all_scores"), kernels, strict=True):
        assert (np.asarray(found[name]["bias"]) == 0).all()
        assert abs(kernel.std() - 0.01) < 1.5e-3


def test_only_what_another_video_can_use_is_stored(params):
    stored = models.stored(params)
    assert stored["backbone"] == params["backbone"]
    assert stored["head"] == {"conv": params["head"]["conv"]}
    assert params["head"].keys() == {"conv", "masked_scores", "all_scores"}
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), {"params": stored}) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), models.shapes(TINY)
    )
