"""What a step of the training of a region proposal network does: labelled anchors, two losses, rates of biases.

On a canvas an image ends before the array does. What lies beyond it is 0, the mean colour, as outside the crops that a
tracker makes; anchors there never count.
"""

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack import boxes as boxes_lib
from jaxtrack.losses.reduction import Term, combine, term
from jaxtrack.losses.regression import smooth_l1
from jaxtrack.models import rpn2t, zf
from jaxtrack.models.rpn import ProposalHead
from jaxtrack.models.zf import ZF
from jaxtrack.training.detection import anchors as anchors_lib
from jaxtrack.training.detection.anchors import Labels
from jaxtrack.training.detection.config import DetectionConfig
from jaxtrack.training.optimiser import Stage, merge
from jaxtrack.training.task import AXIS, TrainState, with_drawn_layers

_SIGMA = 3.0  # of py-faster-rcnn's smooth L1: its parabola ends at 1 / sigma^2


class Outputs(NamedTuple):
    """What the network says of the anchors of B images.

    Attributes:
      anchors: `float32 [A, 4]`, (x, y, w, h) on the canvas.
      scores: `float32 [B, A, 2]`, background and object, before any softmax.
      offsets: `float32 [B, A, 4]`, of the object's box.
    """

    anchors: np.ndarray
    scores: jax.Array
    offsets: jax.Array


class Recipe(NamedTuple):
    """What a step is made of.

    Attributes:
      backbone: conv1 to conv5.
      head: scores and offsets of every anchor.
      labels: what of an image is learnt.
      box_weight: of the loss of boxes.
      bias_factor: of the rate for biases.
      whole: whether the head is kept as a whole, or what a tracker takes of it.
      backbones: see `Task`.
      mean_rgb: what is subtracted from the channels of an image.
    """

    backbone: ZF
    head: ProposalHead
    labels: Labels = Labels()
    box_weight: float = 1.0
    bias_factor: float = 1.0
    whole: bool = False
    backbones: Collection[str] = ()
    mean_rgb: tuple[float, float, float] = zf.MEAN_RGB

    def shapes(self) -> Any:
        """See `Task`."""
        return jax.eval_shape(self.draw, jax.random.key(0))

    def draw(self, key: jax.Array) -> Any:
        """See `Task`."""
        backbone_key, head_key = jax.random.split(key)
        image = jnp.zeros((1, zf.TEACHER_PX, zf.TEACHER_PX, 3))
        backbone = self.backbone.init(backbone_key, image)["params"]
        maps: Any = jax.eval_shape(self.backbone.apply, {"params": backbone}, image)
        head = self.head.init(head_key, jnp.zeros(maps.shape))["params"]
        return {"params": {"backbone": backbone, "head": head}, "batch_stats": {}}

    def completed(self, loaded: Any, draw: Callable[[], Any]) -> Any:
        """See `Task`; a file for a tracker has no scores and offsets."""
        return with_drawn_layers(loaded, draw())

    def stored(self, variables: Any) -> Any:
        """See `Task`."""
        return {"params": variables["params"] if self.whole else rpn2t.stored(variables["params"])}

    def outputs(self, params: Any, pixels: jax.Array, size: jax.Array) -> Outputs:
        """Scores and offsets in images `uint8 [B, H, W, 3]` whose (height, width) are `int32 [B, 2]`."""
        rows, columns = (jnp.arange(side, dtype=jnp.int32)[None] for side in pixels.shape[1:3])
        within = (rows < size[:, :1])[:, :, None] & (columns < size[:, 1:])[:, None, :]  # [B, H, W]
        mean = jnp.asarray(self.mean_rgb, jnp.float32)[None, None, None]
        images = jnp.where(within[..., None], pixels.astype(jnp.float32) - mean, 0.0)
        maps: Any = self.backbone.apply({"params": params["backbone"]}, images)
        # [B, h, w, 2, 9] and [B, h, w, 9, 4]
        judged: Any = self.head.apply({"params": params["head"]}, maps)
        scores, offsets = judged
        scores = scores.swapaxes(3, 4).reshape(len(pixels), -1, 2)
        return Outputs(anchors_lib.grid(*maps.shape[1:3]), scores, offsets.reshape(len(pixels), -1, 4))

    def loss(self, stage: Stage, state: TrainState, items: Any, numbers: jax.Array) -> Callable[[Any], Any]:
        """See `Task`."""
        del stage  # normalisation has no statistics
        keys = jax.vmap(lambda number: jax.random.fold_in(state.key, number))(numbers)

        def loss(chosen: Any) -> tuple[jax.Array, tuple[dict[str, jax.Array], Any]]:
            outputs = self.outputs(merge(state.params, chosen), items["pixels"], items["size"])
            terms = self.terms(outputs, *self.targets(outputs.anchors, items, keys))
            share, means = combine(terms, {"classification": 1.0, "box": self.box_weight}, AXIS)
            total = means["classification"] + self.box_weight * means["box"]
            return share, ({**means, "loss": total}, state.batch_stats)

        return loss

    def targets(self, anchors: np.ndarray, items: Any, keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Labels `int32 [B, A]` of a sample of anchors, and the offsets `float32 [B, A, 4]` of their objects."""
        places = jnp.asarray(anchors)

        def one(key: jax.Array, boxes: jax.Array, size: jax.Array) -> tuple[jax.Array, jax.Array]:
            labels, nearest = anchors_lib.label(self.labels, places, boxes, size)
            return anchors_lib.sample(self.labels, key, labels), boxes_lib.encode(places, nearest)

        return jax.vmap(one)(keys, items["boxes"], items["size"])

    def terms(self, outputs: Outputs, labels: jax.Array, offsets: jax.Array) -> dict[str, Term]:
        """Cross entropy of the sampled anchors, and smooth L1 of the positives' offsets over the sampled anchors."""
        logs = jax.nn.log_softmax(outputs.scores)
        errors = -jnp.where(labels == 1, logs[..., 1], logs[..., 0])
        classification = term(errors, labels >= 0)
        positive = (labels == 1).astype(jnp.float32)
        box = smooth_l1(outputs.offsets, offsets, positive, beta=1 / _SIGMA**2)
        return {"classification": classification, "box": box._replace(count=classification.count)}

    def limited(self, before: Any, after: Any, items: Any) -> Any:
        """See `Task`; biases move `bias_factor` times as far, which is a rate of their own, in Caffe's way."""
        del items
        (params, _), (changed, optimiser) = before, after

        def of(path: tuple, old: jax.Array, new: jax.Array) -> jax.Array:
            return old + self.bias_factor * (new - old) if path[-1].key == "bias" else new

        return jax.tree_util.tree_map_with_path(of, params, changed), optimiser

    def gradient_scale(self, devices: int) -> float:
        """See `Task`."""
        del devices
        return 1.0


def make_recipe(config: DetectionConfig) -> Recipe:
    """What the steps of a training are made of; `UserError` where parts of the configuration do not fit."""
    teachers = [name for name, each in rpn2t.ARCHITECTURES.items() if each.input_px == zf.TEACHER_PX]
    config.check_architecture([rpn2t.PROPOSALS, *teachers], what="region proposal network")
    name = config.architecture
    whole = name == rpn2t.PROPOSALS
    architecture = rpn2t.ARCHITECTURES[rpn2t.TEACHER if whole else name]
    published = whole or name == rpn2t.TEACHER
    return Recipe(
        architecture.backbone,
        ProposalHead(architecture.head.width),
        config.labels,
        config.box_weight,
        config.bias_factor,
        whole,
        (rpn2t.PROPOSALS, rpn2t.TEACHER) if published else (),
        architecture.mean_rgb,
    )
