"""The networks whose maps TADT matches: grids, colours, and which of their weights are needed."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tadt_synthetic import TINY, tiny_params

from jaxtrack import images
from jaxtrack.models import siamese
from jaxtrack.models import tadt as models
from jaxtrack.models.tadt import ARCHITECTURES


def shapes_of(architecture):
    side = architecture.input_px
    return jax.eval_shape(
        lambda: models.maps(
            architecture, models.initial(architecture, jax.random.key(0))["params"], jnp.zeros((1, side, side, 3))
        )
    )


@pytest.mark.parametrize(
    ("name", "side", "cells", "channels"),
    [
        ("vgg16", 180, 45, (512, 512)),  # tadt.md, sections 2 and 3
        ("vgg16_torchvision", 180, 45, (512, 512)),
        ("siamban_nano", 8 * 44 + 15, 45, (64, 64)),  # three strides without padding: 15 pixels to the first cell
        ("nanotrack_v1", 16 * 22 + 1, 23, (40, 48)),
        ("nanotrack_v3", 16 * 22 + 1, 23, (40, 96)),
    ],
)
def test_the_maps_of_every_network(name, side, cells, channels):
    architecture = ARCHITECTURES[name]
    assert architecture.input_px == side
    if architecture.parts:  # of a folded network
        variables = siamese.shapes(siamese.ARCHITECTURES[architecture.weights_of])
        zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), variables)
        params = models.for_inference(architecture, {kind: part["backbone"] for kind, part in zeros.items()})
        found = jax.eval_shape(lambda: models.maps(architecture, params, jnp.zeros((1, side, side, 3))))
    else:
        found = shapes_of(architecture)
    assert [one.shape for one in found] == [(cells, cells, count) for count in channels]


def test_vgg16_up_to_conv4_3_has_the_published_parameters():
    params = jax.eval_shape(lambda: models.initial(ARCHITECTURES["vgg16"], jax.random.key(0)))["params"]
    widths = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512]
    expected = sum(9 * a * b + b for a, b in itertools.pairwise(widths))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected == 7_635_264
    # Multiplications of a frame: 36 GFLOP, as the issue of this tracker has it.
    sides = [180, 180, 90, 90, 45, 45, 45, 45, 45, 45]
    products = sum(s * s * 9 * a * b for s, a, b in zip(sides, widths, widths[1:], strict=False))
    assert 2 * products / 1e9 == pytest.approx(35.9, abs=0.1)


# What a cell of the last map sees: tadt.md, section 2; and 31 pixels of the strides and the first block, then three
# blocks of two kernels of 3 cells of 8 pixels, dilated by 1, 2 and 2.
@pytest.mark.parametrize(("name", "field_px"), [("vgg16", 64), ("siamban_nano", 31 + 2 * 2 * 8 * (1 + 2 + 2))])
def test_the_middle_cell_looks_at_the_middle_of_the_image(name, field_px):
    architecture = ARCHITECTURES[name]
    small = architecture.backbone.clone(widths=(1,) * (5 if name == "vgg16" else 3))
    side = architecture.input_px
    image = jnp.ones((1, side, side, 3))

    def fill(path, leaf):
        return jnp.full(leaf.shape, 0.0 if path[-1].key in ("bias", "mean") else 1.0)

    variables = jax.tree_util.tree_map_with_path(fill, jax.eval_shape(small.init, jax.random.key(0), image))

    def middle(x):
        last = small.apply(variables, x)[-1]
        return last[0, last.shape[1] // 2, last.shape[2] // 2, 0]

    slope = np.asarray(jax.jit(jax.grad(middle))(image))[0, :, :, 0]
    for axis in (0, 1):
        seen = np.flatnonzero(slope.sum(axis=axis))
        assert seen[0] + seen[-1] == side - 1
        assert seen[-1] - seen[0] + 1 == field_px


def frame(seed=0):
    return images.make_frame(np.random.default_rng(seed).integers(0, 255, (60, 80, 3), np.uint8))


def test_the_image_is_the_square_around_the_centre_in_the_networks_colours():
    one = frame()
    side = jnp.float32(84)  # as many pixels as the network's image has: nothing is resized
    found = models.image(TINY, one, jnp.asarray([40.0, 30.0]), side)[0]
    inside = np.asarray(found)[12:72, 2:82]
    np.testing.assert_allclose(inside, one.pixels[:60, :80].astype(np.float32) - 128, atol=1e-3)
    np.testing.assert_array_equal(found[0], found[11])  # the border goes on
    nano = ARCHITECTURES["siamban_nano"]
    whole = models.image(nano, one, jnp.asarray([40.0, 30.0]), jnp.float32(8 * 45))[0]  # 367 pixels for its 360
    expected = images.crop(one.pixels, one.size, jnp.asarray([40 - 183.5, 30 - 183.5, 367, 367]), (367, 367))
    np.testing.assert_allclose(whole, expected[..., ::-1], atol=1e-3)


def test_the_parts_maps_are_the_modules_own():
    architecture = ARCHITECTURES["nanotrack_v3"]
    small = models.Architecture(
        architecture.backbone.clone(width=0.25), "", architecture.parts, stride_px=16, cells=5, margin_px=-15
    )
    params = jax.jit(lambda: models.initial(small, jax.random.key(0)))()
    params = models.for_inference(small, params)
    x = np.random.default_rng(0).uniform(0, 255, (1, small.input_px, small.input_px, 3)).astype(np.float32)
    first, second = jax.jit(lambda: models.maps(small, params, x))()
    [expected] = jax.jit(lambda: small.backbone.apply({"params": params}, x))()
    np.testing.assert_allclose(second, expected[0], atol=1e-5)
    assert first.shape == (5, 5, 16)


def test_layers_behind_the_maps_are_left_out():
    params = tiny_params()
    more = {**params, "conv5_1": {"kernel": np.zeros((3, 3, 8, 8)), "bias": np.zeros(8)}}
    assert models.for_inference(TINY, {"params": more}).keys() == params.keys()


def test_vgg16s_large_kernels_are_transformed_on_cpus():
    from jaxtrack.models.layers import winograd_paths

    architecture = ARCHITECTURES["vgg16"]
    paths = winograd_paths(lambda: jax.eval_shape(lambda: models.initial(architecture, jax.random.key(0))))
    assert paths == {("conv3_2",), ("conv3_3",), ("conv4_1",), ("conv4_2",), ("conv4_3",)}
