"""Siamese networks: one backbone for template and search region, a neck, a head; and the table of published ones."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxtrack.models import grids, layers, winograd
from jaxtrack.models.alexnet import AlexNet
from jaxtrack.models.layers import fold_batch_norm
from jaxtrack.models.mobilenet_v2 import MobileNetV2
from jaxtrack.models.mobilenet_v3 import MobileNetV3
from jaxtrack.models.nano_heads import NanoHeadV1, NanoHeadV2, NanoHeadV3
from jaxtrack.models.necks import AdjustLayers
from jaxtrack.models.resnet import ResNet
from jaxtrack.models.siamese_heads import BANHead, PWHead, RPNHead
from jaxtrack.models.small_resnet import SmallResNet
from jaxtrack.models.transt import Projection, TransTHead, TruncatedResNet


class SiameseNetwork(nn.Module):
    """The network of a Siamese tracker.

    Images are `float32 [B, H, W, 3]`, BGR in 0..255, neither scaled nor centred. Given as bfloat16, convolutions and
    the maps between them are so, too; parameters, statistics and what is made of the last maps stay float32.

    Attributes:
      backbone: images to a tuple of maps; has a call argument `train` that names parts.
      neck: such tuples to tuples, or None.
      head: with methods `template` and `search`.
    """

    backbone: nn.Module
    neck: nn.Module | None
    head: nn.Module

    def features(
        self, images: jax.Array, *, train: bool = False, train_backbone: Collection[str] = ()
    ) -> tuple[jax.Array, ...]:
        """What the head is given: a map `[B, h, w, C]` for each level."""
        chex.assert_shape(images, (None, None, None, 3))
        chex.assert_type(images, images.dtype if images.dtype == jnp.bfloat16 else jnp.float32)
        maps = self.backbone(images, train=train_backbone)
        return maps if self.neck is None else self.neck(maps, train=train)

    def template(self, z: jax.Array, *, train: bool = False, train_backbone: Collection[str] = ()) -> Any:
        """All that depends on the template alone, a pytree, from `[B, 127, 127, 3]`."""
        return self.head.template(self.features(z, train=train, train_backbone=train_backbone), train=train)

    def search(
        self, kept: Any, x: jax.Array, *, train: bool = False, train_backbone: Collection[str] = ()
    ) -> tuple[jax.Array, jax.Array]:
        """Class and box maps, `[B, S, S, K]`, of search regions `[B, 255, 255, 3]`; their channels are the head's."""
        return self.head.search(kept, self.features(x, train=train, train_backbone=train_backbone), train=train)

    def __call__(
        self, z: jax.Array, x: jax.Array, *, train: bool = False, train_backbone: Collection[str] = ()
    ) -> tuple[jax.Array, jax.Array]:
        """Class and box maps of pairs.

        Args:
          z: templates.
          x: search regions.
          train: neck and head normalise by the statistics of the batch, template and search region apart.
          train_backbone: the backbone's parts that do so too (all others are frozen in published training).
        """
        flags: dict[str, Any] = {"train": train, "train_backbone": train_backbone}
        return self.search(self.template(z, **flags), x, **flags)


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network and the sizes it works at.

    Attributes:
      backbone: its module; any of the three can be replaced by one of another width.
      neck: its module, or None.
      head: its module.
      kind: whether loc holds offsets of anchor boxes, distances from points, or boxes in sides of the search region.
      template_px: side of the template.
      search_px: side of the search region.
      stride_px: distance of neighbouring cells of the output in the search region.
      score_cells: side S of the output.
      exact_centre: whether boxes count from the middle of the crop that was cut out. The published networks' trackers
        take the centre that was asked for instead, which is half a pixel off on average, and their training is so too.
    """

    backbone: nn.Module
    neck: nn.Module | None
    head: nn.Module
    kind: grids.Kind
    template_px: int = 127
    search_px: int = 255
    stride_px: int = 8
    score_cells: int = 25
    exact_centre: bool = False


_LONG_TERM_WIDTHS = (128, 256, 512)  # Neck and head are as wide as their level.
_TRANST: dict[str, Any] = {"kind": "tokens", "template_px": 128, "search_px": 256, "score_cells": 32}
_NANO: dict[str, Any] = {"neck": None, "kind": "points", "stride_px": 16}

# Those that others have published weights of, in PyTorch.
PUBLISHED: dict[str, Architecture] = {
    "siamrpn_r50": Architecture(ResNet(), AdjustLayers(), RPNHead(), "anchors"),
    "siamrpn_r50_unweighted": Architecture(ResNet(), AdjustLayers(), RPNHead(weighted=False), "anchors"),
    "siamrpn_r50_lt": Architecture(
        ResNet(), AdjustLayers(_LONG_TERM_WIDTHS), RPNHead(features=_LONG_TERM_WIDTHS), "anchors"
    ),
    # Published descriptions do not say whether the long-term network's levels are weighted; the file's tensors do.
    "siamrpn_r50_lt_unweighted": Architecture(
        ResNet(), AdjustLayers(_LONG_TERM_WIDTHS), RPNHead(features=_LONG_TERM_WIDTHS, weighted=False), "anchors"
    ),
    "siamrpn_alex": Architecture(
        AlexNet(), None, RPNHead(levels=1, weighted=False), "anchors", search_px=287, score_cells=21
    ),
    "siamrpn_mobilenetv2": Architecture(MobileNetV2(), AdjustLayers(), RPNHead(weighted=False), "anchors"),
    "siamban_r50": Architecture(ResNet(), AdjustLayers(), BANHead(), "points"),
    "siampw_r50": Architecture(ResNet(used=(2, 3)), AdjustLayers(), PWHead(levels=2), "points"),
    "nanotrack_v1": Architecture(MobileNetV3(), head=NanoHeadV1(), score_cells=16, **_NANO),
    "nanotrack_v2": Architecture(MobileNetV3(), head=NanoHeadV2(), score_cells=16, **_NANO),
    "nanotrack_v3": Architecture(MobileNetV3(blocks=9), head=NanoHeadV3(), score_cells=15, **_NANO),
    "transt": Architecture(TruncatedResNet(), Projection(), TransTHead(), **_TRANST),
    "transt_n2": Architecture(TruncatedResNet(), Projection(), TransTHead(layers=2), **_TRANST),
}
_SMALL_TRANST: dict[str, Any] = {"kind": "tokens", "stride_px": 16, "score_cells": 15, "exact_centre": True}
# Those that jaxtrack trains by itself: small enough for a few CPU cores.
SMALL: dict[str, Architecture] = {
    "siamban_nano": Architecture(
        SmallResNet(), AdjustLayers(64), BANHead(1, 64, weighted=False), "points", exact_centre=True
    ),
    "siamban_pico": Architecture(
        SmallResNet((12, 16, 32), ((), (), (1, 2))),
        AdjustLayers(32),
        BANHead(1, 32, weighted=False),
        "points",
        exact_centre=True,
    ),
    # A token for 16 x 16 pixels: the cost of attention grows with the square of their number.
    "transt_nano": Architecture(
        SmallResNet((16, 32, 64, 96), ((), (1,), (1,), (1, 1))),
        Projection(64),
        TransTHead(2, 4, 256, 0.0),
        **_SMALL_TRANST,
    ),
    "transt_pico": Architecture(
        SmallResNet((8, 12, 16, 32), ((), (), (), (1,))), Projection(32), TransTHead(1, 2, 64, 0.0), **_SMALL_TRANST
    ),
}
ARCHITECTURES = {**PUBLISHED, **SMALL}

BACKBONES: dict[str, str] = {"resnet50": "siamrpn_r50", "resnet50_plain": "transt"}
"""Backbones that are kept without neck and head, to start training from, and an architecture that has each."""


def build(architecture: Architecture) -> SiameseNetwork:
    """The network of an architecture."""
    return SiameseNetwork(architecture.backbone, architecture.neck, architecture.head)


def shapes(architecture: Architecture) -> dict[str, Any]:
    """The shapes of an architecture's variables, `{"params", "batch_stats"}`; nothing is computed."""
    sides = (architecture.template_px, architecture.search_px)
    z, x = (jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32) for side in sides)
    return jax.eval_shape(build(architecture).init, jax.random.key(0), z, x)  # type: ignore[return-value]


def for_inference(architecture: Architecture, variables: Mapping[str, Any]) -> dict[str, Any]:
    """An architecture's variables made ready for tracking: `{"params"}`, arrays on the device.

    Batch normalisation is folded into the convolutions, and on CPUs large kernels are transformed.
    """
    params = fold_batch_norm(variables)["params"]
    if jax.default_backend() == "cpu":
        params = winograd.transform_kernels(params, winograd_paths(architecture))
    return {"params": jax.tree.map(jnp.asarray, params)}


def winograd_paths(architecture: Architecture) -> set[tuple[str, ...]]:
    """Paths of the convolutions that gain from `jaxtrack.models.winograd`: 3 x 3, stride 1, many channels."""
    return layers.winograd_paths(lambda: shapes(architecture))
