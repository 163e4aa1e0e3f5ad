"""The networks of MDNet and its relatives: a backbone that looks at one box, a head that judges it; the table of them.

A box is seen as a square crop, whatever its shape, with some of its surroundings. The backbones are those of
`jaxtrack.models.backbones`, one of which a new entry there makes a network `mdnet_<its name>`.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtrack import boxes as boxes_lib
from jaxtrack import images
from jaxtrack.images import Frame
from jaxtrack.models import backbones, vgg_m
from jaxtrack.models.vgg_m import VGGM, MDNetHead

# Crops that go through the backbone together.
_TOGETHER = 64


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network and what it looks at.

    Attributes:
      backbone: its module, crops `[B, input_px, input_px, 3]` to maps.
      head: its module, flattened maps to scores `[B, 2]` of background and target.
      input_px: side of a crop.
      context: sides of the crop over sides of the box.
      mean_rgb: what is subtracted from the channels of an image, and the colour outside of it; 0..255.
      files: architectures of weights that hold a backbone alone, which this one may begin with.
      shallower: architectures without this one's last hidden layer, whose weights a tracker may begin with.
    """

    backbone: nn.Module
    head: MDNetHead = MDNetHead()
    input_px: int = vgg_m.INPUT_PX
    context: float = 107 / 75
    mean_rgb: tuple[float, float, float] = (vgg_m.MEAN, vgg_m.MEAN, vgg_m.MEAN)
    files: tuple[str, ...] = ("vgg_m",)
    shallower: tuple[str, ...] = ()


ARCHITECTURES: dict[str, Architecture] = {
    # As the Matlab code has it, with the ImageNet network's own normalisation.
    "mdnet_vggm": Architecture(VGGM()),
    # As the PyTorch code of 2019 has it: what its published weights need.
    "mdnet_vggm_py": Architecture(VGGM(normalisation="py_mdnet"), context=139 / 107),
    # A narrow one that a few CPU cores can train.
    "mdnet_small": Architecture(VGGM((32, 64, 128)), MDNetHead(256)),
    # RankLoc's "three fully connected layers" taken as three hidden ones and a classifier.
    "mdnet_vggm_hidden3": Architecture(VGGM(), MDNetHead(hidden=3), shallower=("mdnet_vggm",)),
    "mdnet_small_hidden3": Architecture(VGGM((32, 64, 128)), MDNetHead(256, hidden=3), shallower=("mdnet_small",)),
    **{
        f"mdnet_{name}": Architecture(each.module, MDNetHead(), each.input_px, each.context, each.mean_rgb, each.files)
        for name, each in backbones.BACKBONES.items()
    },
}


def crops(architecture: Architecture, frame: Frame, boxes: jax.Array) -> jax.Array:
    """Boxes `[N, 4]` of a frame as the backbone wants them, `float32 [N, S, S, 3]`.

    RGB minus a mean, 0 outside the image; not rounded to whole pixels as in the Matlab code (specification 2.3).
    """
    side, fill = architecture.input_px, jnp.asarray(architecture.mean_rgb, jnp.float32)

    def one(box: jax.Array) -> jax.Array:
        region = boxes_lib.enlarged(box, architecture.context)
        return images.crop(frame.pixels, frame.size, region, (side, side), fill) - fill[None, None]

    return jax.vmap(one)(boxes)


def features(architecture: Architecture, variables: Any, frame: Frame, boxes: jax.Array) -> jax.Array:
    """The backbone's flattened maps of boxes `[N, 4]`, `float32 [N, D]`; a few boxes at a time."""

    def some(boxes: jax.Array) -> jax.Array:
        maps: Any = architecture.backbone.apply({"params": variables}, crops(architecture, frame, boxes))
        return maps.reshape(len(boxes), -1)

    count = len(boxes)
    whole = count // _TOGETHER * _TOGETHER
    parts = []
    if whole:
        found = jax.lax.map(some, boxes[:whole].reshape(-1, _TOGETHER, 4))
        parts.append(found.reshape(whole, -1))
    if whole < count:
        parts.append(some(boxes[whole:]))
    return jnp.concatenate(parts)


def initial(architecture: Architecture, key: jax.Array) -> dict[str, Any]:
    """Random parameters `{"backbone", "head"}`; the head's include those of its branches."""
    backbone_key, head_key = jax.random.split(key)
    image = jnp.zeros((1, architecture.input_px, architecture.input_px, 3))
    backbone = architecture.backbone.init(backbone_key, image)["params"]
    maps: Any = jax.eval_shape(architecture.backbone.apply, {"params": backbone}, image)
    head = architecture.head.init(head_key, jnp.zeros((1, maps.size)))["params"]
    return {"backbone": backbone, "head": head}


def stored(params: dict[str, Any]) -> dict[str, Any]:
    """What is kept of trained parameters: the branches, one for each training sequence, are of no use to others."""
    return {"backbone": params["backbone"], "head": vgg_m.embedding(params["head"])}


def shapes(architecture: Architecture) -> dict[str, Any]:
    """Shapes and dtypes of stored variables."""
    return {"params": jax.eval_shape(lambda: stored(initial(architecture, jax.random.key(0))))}
