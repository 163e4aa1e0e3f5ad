import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.errors import UserError
from jaxtrack.models import vgg
from jaxtrack.models.vgg import VGG

WIDTHS = (2, 3, 4, 5, 6)


def random_params(module, *inputs):
    """Parameters that keep the size of what passes through; drawn by NumPy, which compiles nothing."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"]
    random = np.random.default_rng(1)
    scaled = lambda leaf: (2 / max(np.prod(leaf.shape[:-1]), 8)) ** 0.5 * random.normal(size=leaf.shape)  # noqa: E731
    return jax.tree.map(lambda leaf: scaled(leaf).astype(np.float32), shapes)


def shape_of(network, side):
    return jax.eval_shape(network.init_with_output, jax.random.key(0), jnp.zeros((1, side, side, 3)))


# weight_formats_and_rpn.md, A1 and A2: convolutions of each block, and their widths.
@pytest.mark.parametrize(("depth", "convolutions"), [(16, (2, 2, 3, 3, 3)), (19, (2, 2, 4, 4, 4))])
def test_the_network_has_the_published_layers(depth, convolutions):
    last = f"conv5_{convolutions[-1]}"
    (out,), variables = shape_of(VGG((last,), depth), 64)
    assert out.shape == (1, 4, 4, 512)
    expected, inputs = {}, 3
    for block, (count, width) in enumerate(zip(convolutions, (64, 128, 256, 512, 512), strict=True), 1):
        for place in range(1, count + 1):
            expected[f"conv{block}_{place}"] = (3, 3, inputs, width)
            inputs = width
    assert {name: layer["kernel"].shape for name, layer in variables["params"].items()} == expected
    assert vgg.layer_names(depth) == tuple(expected)


def test_without_the_third_pooling_block_four_has_a_quarter_of_the_side():
    (map_1, map_3), variables = shape_of(VGG(("conv4_1", "conv4_3"), pools=(1, 2)), 180)
    assert map_1.shape == map_3.shape == (1, 45, 45, 512)  # tadt.md, section 2
    assert "conv4_3" in variables["params"]
    assert "conv5_1" not in variables["params"]


def test_it_computes_what_torchs_layers_do():
    torch = pytest.importorskip("torch")
    network = VGG(("conv3_3", "conv2_1"), pools=(1,), widths=WIDTHS)
    image = np.random.default_rng(0).normal(size=(2, 17, 19, 3)).astype(np.float32)
    params = random_params(network, image)
    x, maps = torch.tensor(image.transpose(0, 3, 1, 2)), {}
    for name in ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3"):
        if name == "conv2_1":
            x = torch.nn.functional.max_pool2d(x, 2)
        kernel, bias = (torch.tensor(np.array(params[name][part])) for part in ("kernel", "bias"))
        x = torch.relu(torch.nn.functional.conv2d(x, kernel.permute(3, 2, 0, 1), bias, 1, 1))
        maps[name] = x.numpy().transpose(0, 2, 3, 1)
    actual = jax.jit(network.apply)({"params": params}, image)
    for out, name in zip(actual, ("conv3_3", "conv2_1"), strict=True):
        np.testing.assert_allclose(out, maps[name], atol=1e-4 * np.abs(maps[name]).max())


@pytest.mark.parametrize("used", [(), ("conv5_4",), ("conv1_1", "fc6")])
def test_maps_that_it_does_not_have_are_refused(used):
    with pytest.raises(UserError, match=r"^VGG-16 has the maps conv1_1, .*, conv5_3, not (none|conv5_4|fc6)$"):
        VGG(used, widths=WIDTHS)
