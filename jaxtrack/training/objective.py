"""What Siamese networks are trained for: classification, boxes, and the ranking of candidates.

The terms are pure functions of `jaxtrack.losses`; here they are chosen and weighted (RBO paper, section 3).
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxtrack import boxes
from jaxtrack.errors import UserError, check_numbers
from jaxtrack.losses import classification, ranking, regression
from jaxtrack.losses.reduction import Term
from jaxtrack.models import grids
from jaxtrack.models.siamese import Architecture
from jaxtrack.training.labels import Labels


@dataclasses.dataclass(frozen=True)
class CRConstants:
    """Constants of the classification ranking loss."""

    beta: float = 4.0
    """Sharpness."""
    margin: float = 0.5
    """By how much the positives' mean is to exceed the hard negatives' (alpha in the paper)."""
    threshold: float = 0.5
    """Score above which a negative is hard (tau in the paper)."""
    hard_in_negative_pair: int = 8
    """Fewest negatives that count in a pair without the target, in the variant `released`."""

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be."""
        check_numbers(self, positive=("beta", "hard_in_negative_pair"), not_negative=("margin", "threshold"))


@dataclasses.dataclass(frozen=True)
class IGROriConstants:
    """What is open in the original IoU-guided ranking loss: the paper prints it without, and no code is released."""

    alpha: float = 1.0
    """Sharpness; RankDetNet has 1, the other terms of RBO 3."""
    frozen: bool = False
    """Freeze of two IoUs that of the candidate with the lower score, as RankDetNet does."""
    per_positive: bool = False
    """Divide by the number of positives instead of the number of pairs."""

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be."""
        check_numbers(self, positive=("alpha",))


@dataclasses.dataclass(frozen=True)
class Objective:
    """Weights and variants of the terms; a weight of 0 leaves a term out of the program."""

    cls: float = 1.0
    """Select cross entropy; of tokens the weighted one (8.334 in TransT)."""
    loc: float = 1.0
    """Boxes: the IoU loss for points, L1 for anchors (1.2 in SiamRPN++) and for tokens (5 in TransT)."""
    giou: float = 0.0
    """1 - GIoU of the positives' boxes (2 in TransT)."""
    background: float = 0.0625
    """What the background weighs in the cross entropy of tokens."""
    smooth_l1: bool = False
    """Smooth L1 instead of L1, as the RBO paper's text has it."""
    classification_ranking: float = 0.0
    """The classification ranking loss, CR (0.5 in RBO)."""
    iou_ranking: float = 0.0
    """Each of the two terms of the IoU-guided ranking loss, IGR (0.25 in RBO)."""
    joint_ranking: float = 0.0
    """The IoU-guided ranking loss of RankDetNet, IGR-ori, for the ablation."""
    hard_cls: float = 0.0
    """A second cross entropy over hard negatives alone, for the ablation."""
    variant: Literal["released", "paper"] = "released"
    """The ranking losses and weights of the cross entropy's halves: as the authors' code has them, or as printed."""
    gamma: float = 3.0
    """Of IGR: 3 in the paper, 5 in most released settings."""
    pooled_negatives: int | None = None
    """Negatives that the cross entropy draws from a device's whole batch (48 in SiamRPN++-RBO)."""
    hard_threshold: float = 0.5
    """Score above which a negative counts in the second cross entropy."""
    cr: CRConstants = CRConstants()
    """Constants of CR."""
    igr_ori: IGROriConstants = IGROriConstants()
    """Constants of IGR-ori."""

    def __post_init__(self) -> None:
        """Refuses negative weights, nothing but zeros, and a draw of nothing."""
        terms = ("cls", "loc", "giou", "classification_ranking", "iou_ranking", "joint_ranking", "hard_cls")
        drawn = () if self.pooled_negatives is None else ("pooled_negatives",)
        check_numbers(self, positive=("gamma", "background", *drawn), not_negative=(*terms, "hard_threshold"))
        if not any(getattr(self, name) for name in terms):
            raise UserError("an Objective needs a weight above 0")


def terms(
    config: Objective,
    architecture: Architecture,
    cls: jax.Array,
    loc: jax.Array,
    labels: Labels,
    key: jax.Array,
    positives: int = 16,
    *,
    per_device: bool = False,
) -> tuple[dict[str, Term], dict[str, float]]:
    """The terms of a device's batch and their weights.

    Args:
      config: what to compute.
      architecture: tells anchors, points and tokens from one another, and the grid.
      cls: `float32 [B, S, S, 2 A]`, logits.
      loc: `float32 [B, S, S, 4 A]`.
      labels: with a leading axis B.
      key: for drawing negatives.
      positives: most positives that the labels of an image may have.
      per_device: whether the terms' means are taken over this batch alone, as in the references.
    """
    logits, parts = per_candidate(cls, 2), per_candidate(loc, 4)
    found: dict[str, tuple[Term, float]] = {}
    if config.cls and architecture.kind == "tokens":
        weighted = classification.weighted_cross_entropy(logits, labels.label, background=config.background)
        found["cls"] = (weighted, config.cls)
    elif config.cls:
        found |= _classification(config, logits, labels, key, per_device=per_device)
    if config.loc:
        found["loc"] = (_location(config, architecture, parts, labels), config.loc)
    if config.giou:
        predicted, target = (predicted_boxes(architecture, part) for part in (parts, labels.target))
        found["giou"] = (regression.giou_loss(predicted, target, labels.label == 1), config.giou)
    if config.hard_cls:
        hard = classification.hard_cross_entropy(logits, labels.label, threshold=config.hard_threshold)
        found["cls_hard"] = (hard, config.hard_cls)
    found |= _ranking(config, architecture, logits, parts, labels, positives)
    return {name: term for name, (term, _) in found.items()}, {name: weight for name, (_, weight) in found.items()}


def per_candidate(maps: jax.Array, count: int) -> jax.Array:
    """`[B, S, S, count A]` to `[B, N, count]`, anchor-major, then row, then column."""
    batch, side = maps.shape[:2]
    return jnp.moveaxis(maps.reshape(batch, side * side, count, -1), 3, 1).reshape(batch, -1, count)


def predicted_boxes(architecture: Architecture, parts: jax.Array) -> jax.Array:
    """Boxes (cx, cy, w, h) in pixels of the search region, from their parts `[B, N, 4]`; to the same shape."""
    if architecture.kind == "tokens":
        first_px = jnp.asarray([0.5, 0.5, 0.0, 0.0]) if architecture.exact_centre else jnp.zeros(4)
        return parts * architecture.search_px - first_px[None, None]
    cells = (architecture.kind, architecture.score_cells, architecture.stride_px)
    return grids.decode(*cells, parts, centre_px=architecture.search_px // 2)


def overlaps(architecture: Architecture, parts: jax.Array, target_xyxy: jax.Array) -> jax.Array:
    """IoU of every candidate's box with the target's; `[B, N, 4]` and `[B, 4]` to `[B, N]`."""
    target = boxes.cxcywh_from_box(boxes.box_from_xyxy(target_xyxy))
    return regression.iou(predicted_boxes(architecture, parts), target[:, None])


def _classification(
    config: Objective, logits: jax.Array, labels: Labels, key: jax.Array, *, per_device: bool
) -> dict[str, tuple[Term, float]]:
    """The two halves of the cross entropy of anchors or points."""
    released = config.variant == "released"
    # The references skip a single sample of their device's batch. Of a mean over all devices' batches a device has but
    # a share: to skip in it would make the mean depend on how many devices there are.
    pools = classification.select_cross_entropy(
        logits, labels.label, released=released and per_device, negatives=config.pooled_negatives, key=key
    )
    half = config.cls * (0.5 if released else 1.0)
    return {"cls_positive": (pools.positive, half), "cls_negative": (pools.negative, half)}


def _location(config: Objective, architecture: Architecture, parts: jax.Array, labels: Labels) -> Term:
    if architecture.kind == "points":
        return regression.ltrb_iou_loss(parts, labels.target, labels.label == 1)
    if architecture.kind == "tokens":
        return regression.box_l1(parts, labels.target, labels.label == 1)
    loss = regression.smooth_l1 if config.smooth_l1 else regression.l1
    return loss(parts, labels.target, labels.weight)


def _ranking(
    config: Objective,
    architecture: Architecture,
    logits: jax.Array,
    parts: jax.Array,
    labels: Labels,
    positives: int,
) -> dict[str, tuple[Term, float]]:
    found = {}
    scores, label = jax.nn.sigmoid(logits[..., 1] - logits[..., 0]), labels.label
    sizes: dict[str, Any] = {"max_positives": positives}
    if config.classification_ranking:
        constants = dataclasses.asdict(config.cr)
        term = ranking.classification_ranking(scores, label, variant=config.variant, **constants, **sizes)
        found["cr"] = (term, config.classification_ranking)
    if not config.iou_ranking and not config.joint_ranking:
        return found
    # The target's box is what any of its targets decodes to, positives' or not.
    target = predicted_boxes(architecture, labels.target)
    ious = regression.iou(predicted_boxes(architecture, parts), target)
    if config.iou_ranking:
        both = ranking.iou_guided_ranking(scores, label, ious, variant=config.variant, gamma=config.gamma, **sizes)
        found |= {"igr_1": (both.score, config.iou_ranking), "igr_2": (both.iou, config.iou_ranking)}
    if config.joint_ranking:
        term = ranking.original_iou_ranking(scores, label, ious, **dataclasses.asdict(config.igr_ori), **sizes)
        found["igr_ori"] = (term, config.joint_ranking)
    return found
