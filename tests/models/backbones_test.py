"""MDNet's other backbones: maps of 3 x 3 cells, the layers of PyTorch's networks without padding."""

import dataclasses
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack import images
from jaxtrack.models import mdnet
from jaxtrack.models.backbones import BACKBONES
from jaxtrack.models.vgg import VGG
from jaxtrack.models.vgg_m import VGGM

NAMES = sorted(BACKBONES)
DOCS = Path(__file__).resolve().parents[2] / "docs" / "mdnet.md"
TITLES = {"alexnet": "AlexNet", "zf": "ZF", "vgg16": "VGG-16", "vgg19": "VGG-19"}
POOLINGS = {(3, 2), (2, 2)}
# Kernel and stride of each layer on the way to the last map, poolings in capitals.
_VGG = {16: (2, 2, 3, 3), 19: (2, 2, 4, 4)}
LAYERS = {
    "alexnet": [(11, 4), (3, 2), (5, 1), (3, 2), (3, 1)],
    "zf": [(7, 2), (3, 2), (5, 2), (3, 2), (3, 1)],
    **{
        f"vgg{depth}": [layer for n in blocks for layer in [(2, 2)] + n * [(3, 1)]][1:]
        for depth, blocks in _VGG.items()
    },
}


def narrow(name):
    """The same network with few channels."""
    module = BACKBONES[name].module
    return dataclasses.replace(module, widths=(4, 5, 6, 7, 7)[: len(module.widths)])


def normal(*shape, scale=1.0, seed=0):
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def random_params(module, image):
    """Parameters that keep the size of what passes through; drawn by NumPy, which compiles nothing."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), image)["params"]
    random = np.random.default_rng(1)
    scaled = lambda leaf: (2 / max(np.prod(leaf.shape[:-1]), 8)) ** 0.5 * random.normal(size=leaf.shape)  # noqa: E731
    return jax.tree.map(lambda leaf: scaled(leaf).astype(np.float32), shapes)


@pytest.mark.parametrize("name", NAMES)
def test_a_crop_gives_3_by_3_cells_and_no_pixel_is_left_over(name):
    """The chain of sizes: without padding each layer makes (n - kernel) / stride + 1 of n."""
    side = BACKBONES[name].input_px
    for kernel, stride in LAYERS[name]:
        assert (side - kernel) % stride == 0, (side, kernel, stride)
        side = (side - kernel) // stride + 1
    architecture = mdnet.ARCHITECTURES[f"mdnet_{name}"]
    image = jax.ShapeDtypeStruct((1, architecture.input_px, architecture.input_px, 3), jnp.float32)
    out = jax.eval_shape(architecture.backbone.init_with_output, jax.random.key(0), image)[0]
    assert out.shape == (1, side, side, {"vgg16": 512, "vgg19": 512}.get(name, 384)) == (1, 3, 3, out.shape[3])


def test_a_crop_costs_what_the_documentation_says():
    """Two operations for a product and its sum, in all convolutions of a crop."""
    [told] = [line for line in DOCS.read_text("utf-8").splitlines() if line.startswith("A crop takes ")]
    layers = {"VGG-M": ("vggm", LAYERS["zf"])} | {TITLES[name]: (name, LAYERS[name]) for name in NAMES}
    for title, (name, chain) in layers.items():
        architecture = mdnet.ARCHITECTURES[f"mdnet_{name}"]
        kernels = [layer["kernel"].shape for layer in mdnet.shapes(architecture)["params"]["backbone"].values()]
        side, work, sizes = architecture.input_px, 0, iter(kernels)
        for kernel, stride in chain:
            side = (side - kernel) // stride + 1
            if (kernel, stride) not in POOLINGS:
                work += 2 * side**2 * np.prod(next(sizes))
        shown = f"{work / 1e9:.2f}" if work < 1e9 else f"{work / 1e9:.1f}"
        assert re.search(rf"{shown} (GFLOP )?in [^,]*{title}", told), (title, work)


@pytest.mark.parametrize("name", NAMES)
def test_a_crop_has_mdnets_16_pixels_around_the_box(name):
    """Specification 2.3: w_e = w S / (S - 2 p) with p = 16; of VGG-M 107 / 75."""
    architecture = mdnet.ARCHITECTURES[f"mdnet_{name}"]
    assert architecture.input_px / architecture.context == pytest.approx(architecture.input_px - 32)


@pytest.mark.parametrize("name", ["vggm", *NAMES])
def test_a_box_as_large_as_the_target_in_the_crop_is_shown_with_16_pixels_more_on_each_side(name):
    architecture = mdnet.ARCHITECTURES[f"mdnet_{name}"]
    pixels = np.random.default_rng(0).integers(0, 255, (150, 160, 3), np.uint8)
    side = architecture.input_px - 32
    [found] = mdnet.crops(architecture, images.make_frame(pixels), jnp.asarray([[20.0, 18.0, side, side]]))
    shown = pixels[2 : side + 34, 4 : side + 36].astype(np.float32) - np.float32(architecture.mean_rgb)
    np.testing.assert_allclose(found, shown, atol=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_it_computes_what_torchs_layers_do(name):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    network, side = narrow(name), BACKBONES[name].input_px
    image = normal(2, side, side, 3, scale=60)
    params = random_params(network, image)
    x = torch.tensor(image.transpose(0, 3, 1, 2))
    layers = iter(params.values())
    for i, (kernel, stride) in enumerate(LAYERS[name]):
        if (kernel, stride) in POOLINGS:
            if name == "zf":
                x = x * (1 + 5e-5 * functional.avg_pool2d(x**2, 3, 1, 1)) ** -0.75
            x = functional.max_pool2d(x, kernel, stride)
            continue
        layer = next(layers)
        assert layer["kernel"].shape[0] == kernel, i
        x = torch.relu(
            functional.conv2d(
                x, torch.tensor(layer["kernel"].transpose(3, 2, 0, 1)), torch.tensor(layer["bias"]), stride
            )
        )
    assert next(layers, None) is None
    actual = jax.jit(network.apply)({"params": params}, image)
    np.testing.assert_allclose(actual, x.numpy().transpose(0, 2, 3, 1), atol=1e-4 * float(x.abs().max()))


@pytest.mark.parametrize("name", NAMES)
def test_the_mean_of_its_weights_is_zero_in_a_crop(name):
    """Inside the image, and beyond it."""
    architecture = mdnet.ARCHITECTURES[f"mdnet_{name}"]
    colour = np.round(architecture.mean_rgb).astype(np.uint8)
    frame = images.make_frame(np.broadcast_to(colour, (60, 80, 3)).copy())
    found = np.asarray(mdnet.crops(architecture, frame, jnp.asarray([[20.0, 20, 20, 20], [-90.0, 0, 30, 30]])))
    assert found.shape == (2, architecture.input_px, architecture.input_px, 3)
    np.testing.assert_allclose(
        found[0], np.broadcast_to(colour - np.asarray(architecture.mean_rgb), found[0].shape), atol=1e-3
    )
    assert (found[1] == 0).all()


def test_published_means_are_rgb():
    """weight_formats_and_rpn.md: the red mean is the largest of all three that are published for these networks."""
    for each in BACKBONES.values():
        assert each.mean_rgb == tuple(sorted(each.mean_rgb, reverse=True))
        assert 122 < each.mean_rgb[0] < 124


def test_padding_is_left_out_of_a_vgg_and_nothing_else_changes():
    image = jnp.zeros((1, 44, 44, 3))
    plain, bare = VGG(("conv3_1",)), VGG(("conv3_1",), padding=0)
    shapes = [jax.eval_shape(each.init_with_output, jax.random.key(0), image) for each in (plain, bare)]
    assert shapes[0][1] == shapes[1][1]
    assert [out[0].shape[1] for out, _ in shapes] == [11, 6]  # 44 42 40 20 18 16 8 6


def test_a_network_of_three_convolutions_may_be_without_normalisation():
    """Twice the kernel of conv1 then gives twice the map, as biases are 0; with a normalisation it does not."""
    image = normal(1, 75, 75, 3, scale=60)
    for normalisation, scales in (("none", True), ("zf", False), ("vgg_m", False)):
        network = VGGM((4, 4, 4), normalisation)
        params = random_params(network, image)
        for layer in params.values():
            layer["bias"] = np.zeros_like(layer["bias"])
        once = network.apply({"params": params}, image)
        params["conv1"]["kernel"] = 2 * params["conv1"]["kernel"]
        twice = network.apply({"params": params}, image)
        assert np.allclose(twice, 2 * once, rtol=1e-4, atol=1e-3) == scales
