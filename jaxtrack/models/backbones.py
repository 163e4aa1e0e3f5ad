"""Backbones for MDNet beside VGG-M: the convolutions of other image classifiers, as far as a map of 3 x 3 cells.

What MDNet does to VGG-M is done to all of them. No convolution is padded. The crop is so large that the last map has
3 x 3 cells, the middle one of which sees what lies about the crop's centre; of its side 16 pixels on each side are
surroundings of the box, so that crops show 1.32 to 1.43 sides of it. Which layer a network is cut at is our choice, no
paper tells: conv3 as in VGG-M, where AlexNet and ZF have the same stride of 16 pixels; of the VGGs the last one of the
fourth block, of stride 8, whose map has as many channels as VGG-M's conv3.

A new backbone is one more entry of `BACKBONES`.
"""

import dataclasses

import flax.linen as nn
import jax

from jaxtrack.models import zf
from jaxtrack.models.vgg import VGG
from jaxtrack.models.vgg_m import VGGM

SURROUNDINGS_PX = 16
"""Of a crop on each side of the box, as in MDNet's 107 pixels with a target of 75."""

# In 0..255, as torchvision's networks and MatConvNet's VGGs were trained.
IMAGENET_MEAN_RGB = (123.675, 116.28, 103.53)
_VGG_MEAN_RGB = (123.68, 116.779, 103.939)


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A backbone and what it looks at.

    Attributes:
      module: crops `[B, input_px, input_px, 3]` to maps `[B, 3, 3, C]`.
      input_px: side of a crop.
      mean_rgb: what its published weights want to be subtracted from images in 0..255.
      weights: the name under which these are looked for.
      files: the architectures that they may be of (`jaxtrack.weights.online.BACKBONES`).
    """

    module: nn.Module
    input_px: int
    mean_rgb: tuple[float, float, float]
    weights: str
    files: tuple[str, ...]

    @property
    def context(self) -> float:
        """Sides of the crop over sides of the box."""
        return self.input_px / (self.input_px - 2 * SURROUNDINGS_PX)


class _UnpaddedVGG(VGG):
    """VGG without padding and with a single map, `[B, 3, 3, 512]` of its `input_px`."""

    padding: int = 0

    def __call__(self, x: jax.Array) -> jax.Array:  # type: ignore[override]
        """The only map used."""
        [only] = super().__call__(x)
        return only


BACKBONES: dict[str, Backbone] = {
    # torchvision's widths; a cell of conv3 sees 99 pixels.
    "alexnet": Backbone(
        VGGM((64, 192, 384), "none", (11, 5, 3), (4, 1, 1)), 131, IMAGENET_MEAN_RGB, "alexnet", ("alexnet",)
    ),
    # Faster R-CNN's, whose weights there are an importer for; 75 pixels, as VGG-M, which has ZF's kernels.
    "zf": Backbone(VGGM((96, 256, 384), "zf"), 107, zf.MEAN_RGB, "rpn2t_teacher", ("zf_rpn",)),
    # A cell of conv4_3 sees 92 pixels, one of conv4_4 116.
    "vgg16": Backbone(_UnpaddedVGG(("conv4_3",), 16), 108, _VGG_MEAN_RGB, "vgg16", ("vgg16",)),
    "vgg19": Backbone(_UnpaddedVGG(("conv4_4",), 19), 132, _VGG_MEAN_RGB, "vgg19", ("vgg19",)),
}
"""Backbones by the names of the networks that they make, `mdnet_<name>`."""
