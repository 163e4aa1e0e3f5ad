"""The networks whose maps TADT matches: two maps of one grid, of a network that was trained for something else.

The first map is finer in the network, the second deeper: conv4_1 and conv4_3 of VGG-16 in the paper. Any module will do
that returns two maps, or that has parts whose outputs are taken.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtrack import images
from jaxtrack.images import Frame
from jaxtrack.models import siamese, winograd
from jaxtrack.models.backbones import IMAGENET_MEAN_RGB
from jaxtrack.models.layers import fold_batch_norm, winograd_paths
from jaxtrack.models.mobilenet_v3 import MobileNetV3
from jaxtrack.models.vgg import VGG

OXFORD_MEAN = (128.0, 128.0, 128.0)  # as the released programs have it; the network's own mean is another


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network and the grid of its maps.

    Attributes:
      backbone: its module, images `[1, S, S, 3]` to a tuple of maps.
      weights_of: the architecture of the weights that it takes (`jaxtrack.weights.store.Meta.architecture`).
      parts: paths of the two parts of the module whose outputs are taken, such as "stage3/block_0"; none if the module
        returns the two maps.
      names: of the two maps, for people.
      mean: what is subtracted from an image, RGB in 0..255.
      bgr: whether it wants BGR.
      stride_px: distance of neighbouring cells in the image.
      cells: side of the maps, odd.
      margin_px: side of the image less cells times stride: what the middle cell in the middle of the image asks for.
    """

    backbone: nn.Module
    weights_of: str
    parts: tuple[str, ...] = ()
    names: tuple[str, str] = ("conv4_1", "conv4_3")
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    bgr: bool = False
    stride_px: int = 4
    cells: int = 45
    margin_px: int = 0

    @property
    def input_px(self) -> int:
        """Side of the image."""
        return self.stride_px * self.cells + self.margin_px


# Pool 3 is left out, as in the released programs, so that block 4 has cells of 4 pixels.
_VGG16 = VGG(("conv4_1", "conv4_3"), pools=(1, 2))


def _of_siamese(name: str, parts: tuple[str, str], **grid: Any) -> Architecture:
    """The backbone of a Siamese network; its names are those of the parts."""
    names = (parts[0].rpartition("/")[2], parts[1].rpartition("/")[2])
    return Architecture(siamese.ARCHITECTURES[name].backbone, name, parts, names, bgr=True, **grid)


def _nanotrack(version: int) -> Architecture:
    # Padding at every stride: cell k looks at pixel 16 k, so that an image of 16 (n - 1) + 1 has its n cells in place.
    backbone = siamese.ARCHITECTURES[f"nanotrack_v{version}"].backbone
    last = f"block_{backbone.blocks}" if isinstance(backbone, MobileNetV3) else ""
    return _of_siamese(f"nanotrack_v{version}", ("block_6", last), stride_px=16, cells=23, margin_px=-15)


ARCHITECTURES: dict[str, Architecture] = {
    "vgg16": Architecture(_VGG16, "vgg16", mean=OXFORD_MEAN),
    "vgg16_torchvision": Architecture(_VGG16, "vgg16_torchvision", mean=IMAGENET_MEAN_RGB),
    # Without padding at the strides: cell k looks at pixel 8 k + 7.
    "siamban_nano": _of_siamese("siamban_nano", ("stage3/block_0", "stage3/block_2"), stride_px=8, margin_px=7),
    **{f"nanotrack_v{version}": _nanotrack(version) for version in (1, 2, 3)},
}


def image(architecture: Architecture, frame: Frame, centre: jax.Array, side: jax.Array) -> jax.Array:
    """What the network sees of a frame, `float32 [1, S, S, 3]`, its border replicated beyond it.

    Args:
      architecture: the network.
      frame: the frame.
      centre: `float32 [2]`, (x, y) of the middle cell's centre, pixels.
      side: `float32 []`, of the square that the cells cover, pixels; a network with a margin sees more, or less.
    """
    side = side * (architecture.input_px / (architecture.stride_px * architecture.cells))
    corner = centre - side / 2
    box = jnp.concatenate([corner, jnp.stack([side, side])])
    side_px = architecture.input_px
    rgb = images.crop_area(frame.pixels, frame.size, box, (side_px, side_px))
    rgb = rgb - jnp.asarray(architecture.mean, jnp.float32)[None, None]
    return (rgb[..., ::-1] if architecture.bgr else rgb)[None]


def maps(architecture: Architecture, params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The two maps, `float32 [cells, cells, C]` each, of what `image` gives."""
    paths = [tuple(part.split("/")) for part in architecture.parts]

    def wanted(module: nn.Module, method: str) -> bool:
        return method == "__call__" and module.path in paths

    returned, state = architecture.backbone.apply(
        {"params": params}, x, capture_intermediates=wanted, mutable=["intermediates"]
    )
    found = [_at(state["intermediates"], path)["__call__"][0] for path in paths] or returned
    first, second = (one[0] for one in found)
    return first, second


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        tree = tree[name]
    return tree


def initial(architecture: Architecture, key: jax.Array) -> dict[str, Any]:
    """Random variables of the backbone, `{"params"}` and, of a network that normalises batches, `{"batch_stats"}`."""
    side = architecture.input_px
    return dict(architecture.backbone.init(key, jnp.zeros((1, side, side, 3))))


def for_inference(architecture: Architecture, variables: Any) -> dict[str, Any]:
    """Parameters of the backbone made ready for tracking, arrays on the device.

    What the maps do not depend on is left out, batch normalisation is folded into the convolutions, and on CPUs large
    kernels are transformed.

    Args:
      architecture: the network.
      variables: of its backbone; there may be more layers than it has.
    """
    expected = jax.eval_shape(lambda: initial(architecture, jax.random.key(0)))["params"]
    kept = {name: variables["params"][name] for name in expected}
    params = fold_batch_norm({"params": kept, "batch_stats": variables.get("batch_stats", {})})["params"]
    if jax.default_backend() == "cpu":
        large = winograd_paths(lambda: jax.eval_shape(lambda: initial(architecture, jax.random.key(0))))
        params = winograd.transform_kernels(params, large)
    return jax.tree.map(jnp.asarray, params)
