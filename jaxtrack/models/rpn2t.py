"""RPN2T's networks: conv1 to conv5 of a region proposal network that look at one box, and the head that judges it.

A box is seen as a square crop in which it takes 171 of 203 parts of the side, whatever its shape. The student sees
the same crop at 107 pixels and has the teacher's parameters, name for name and shape for shape. What a student is for
shows beside the teacher itself at 107 pixels ("half"): its map has 8 x 8 cells, 16 pixels apart in a crop in which the
target takes 90 of them.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack import boxes, images
from jaxtrack.images import Frame
from jaxtrack.models import rpn, zf
from jaxtrack.models.rpn import AnchorHead
from jaxtrack.models.zf import ZF

CONTEXT = zf.TEACHER_PX / rpn.ANCHOR_PX
"""Sides of a crop over sides of its box, of teacher and student alike."""

# Crops that go through the backbone together, and maps through the head.
_TOGETHER = 64
_NEW = nn.initializers.normal(0.01)


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network and what it looks at.

    Attributes:
      backbone: its module, crops `[B, input_px, input_px, 3]` to maps `[B, cells, cells, C]`.
      head: its module, maps to two pairs of scores in each cell.
      input_px: side of a crop.
      cells: side of its map.
      mean_rgb: what is subtracted from the channels of an image, and the colour outside of it; 0..255.
    """

    backbone: ZF = ZF()
    head: AnchorHead = AnchorHead()
    input_px: int = zf.TEACHER_PX
    cells: int = rpn.CELLS
    mean_rgb: tuple[float, float, float] = zf.MEAN_RGB

    def mask(self, threshold: float) -> np.ndarray:
        """The cells whose anchors overlap a centred target by at least a threshold, `bool [cells, cells]`."""
        # A student's cells lie closer together, in the same proportion to its anchors.
        anchor_px = rpn.ANCHOR_PX if self.cells == rpn.CELLS else self.input_px / CONTEXT
        return rpn.anchor_mask(threshold, self.cells, anchor_px)


TEACHER, PROPOSALS = "rpn2t_teacher", "zf_rpn"
"""The published network, and the architecture of Faster R-CNN's imported weights, which that takes as they are."""

_HALF_CELLS = 8
# A narrow one that a few CPU cores can train.
_NARROW = (32, 64, 96, 96, 64)

ARCHITECTURES: dict[str, Architecture] = {
    TEACHER: Architecture(),
    "rpn2t_student": Architecture(ZF(version="student_a"), input_px=zf.STUDENT_PX),
    "rpn2t_student_b": Architecture(ZF(version="student_b"), input_px=zf.STUDENT_PX),
    "rpn2t_teacher_half": Architecture(ZF(), AnchorHead(), zf.STUDENT_PX, _HALF_CELLS),
    "rpn2t_small_teacher": Architecture(ZF(_NARROW), AnchorHead(64)),
    "rpn2t_small_student": Architecture(ZF(_NARROW, "student_a"), AnchorHead(64), zf.STUDENT_PX),
    "rpn2t_small_teacher_half": Architecture(ZF(_NARROW), AnchorHead(64), zf.STUDENT_PX, _HALF_CELLS),
}

FITTING = {
    TEACHER: (PROPOSALS,),
    "rpn2t_teacher_half": (TEACHER, PROPOSALS),
    "rpn2t_small_teacher_half": ("rpn2t_small_teacher",),
}
"""Architectures beside its own whose weights a network takes as they are."""

SCORES = ("masked_scores", "all_scores")
"""The head's layers that every video begins anew."""


def crop(architecture: Architecture, frame: Frame, box: jax.Array) -> jax.Array:
    """A box `[4]` of a frame as the backbone wants it, `float32 [S, S, 3]`: RGB minus its mean, 0 outside the image."""
    mean, side = jnp.asarray(architecture.mean_rgb, jnp.float32), architecture.input_px
    region = boxes.enlarged(box, CONTEXT)
    return images.crop(frame.pixels, frame.size, region, (side, side), mean) - mean[None, None]


def features(
    architecture: Architecture, variables: Any, frame: Frame, boxes: jax.Array, dtype: Any = jnp.float32
) -> jax.Array:
    """The map of conv5 of boxes `[N, 4]`, `[N, S, S, C]`; a few boxes at a time.

    Args:
      architecture: the network.
      variables: the backbone's parameters.
      frame: the image.
      boxes: in it.
      dtype: of the result. It is rounded few boxes at a time, too: 5000 maps in float32 are 1 GB.
    """

    def one(box: jax.Array) -> jax.Array:
        maps: Any = architecture.backbone.apply({"params": variables}, crop(architecture, frame, box)[None])
        return maps[0].astype(dtype)

    return jax.lax.map(one, boxes, batch_size=_TOGETHER)


def cell_scores(
    architecture: Architecture, head: Any, maps: jax.Array, key: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """The two pairs of scores in each cell, `float32 [N, S, S, 2]` each, of maps `[N, S, S, C]`.

    With a random key the head's dropout drops, as it learns.
    """
    drop = {} if key is None else {"train": True, "rngs": {"dropout": key}}
    return architecture.head.apply({"params": head}, maps.astype(jnp.float32), **drop)  # type: ignore[return-value]


def in_parts(function: Any, maps: jax.Array) -> Any:
    """A function of maps `[N, …]` that treats each by itself, a few at a time: the hidden ones take much memory."""
    if len(maps) <= _TOGETHER:
        return function(maps)
    return jax.lax.map(lambda one: jax.tree.map(lambda leaf: leaf[0], function(one[None])), maps, batch_size=_TOGETHER)


def initial(architecture: Architecture, key: jax.Array) -> dict[str, Any]:
    """Random parameters `{"backbone", "head"}`; the head's include those that every video begins anew."""
    backbone_key, head_key = jax.random.split(key)
    image = jnp.zeros((1, architecture.input_px, architecture.input_px, 3))
    backbone = architecture.backbone.init(backbone_key, image)["params"]
    maps: Any = jax.eval_shape(architecture.backbone.apply, {"params": backbone}, image)
    return {"backbone": backbone, "head": architecture.head.init(head_key, jnp.zeros(maps.shape))["params"]}


def with_new_scores(head: Any, key: jax.Array) -> dict[str, Any]:
    """A head's parameters with new scores, as a tracker starts with.

    Args:
      head: of an `AnchorHead` or a `ProposalHead`; only its 3 x 3 convolution is used.
      key: random key of the scores' weights, normal with standard deviation 0.01; their biases are 0.
    """
    width = head["conv"]["bias"].shape[0]
    kernels = _NEW(key, (len(SCORES), 1, 1, width, 2), jnp.float32)
    new = {name: {"kernel": kernels[i], "bias": jnp.zeros((2,))} for i, name in enumerate(SCORES)}
    return {"conv": head["conv"], **new}


def stored(params: dict[str, Any]) -> dict[str, Any]:
    """What is kept of trained parameters: the backbone and the head's 3 x 3 convolution."""
    return {"backbone": params["backbone"], "head": {"conv": params["head"]["conv"]}}


def shapes(architecture: Architecture) -> dict[str, Any]:
    """Shapes and dtypes of stored variables."""
    return {"params": jax.eval_shape(lambda: stored(initial(architecture, jax.random.key(0))))}
