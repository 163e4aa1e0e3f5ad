"""The ranking losses as compiled programs, and as plain loops over images and pairs after the specification."""

import inspect
import math

import jax
import numpy as np

from jaxtrack.losses import ranking

VARIANTS = ("released", "paper")


def compiled(loss):
    """A loss as one program: without it every operation is compiled for itself."""
    names = [p.name for p in inspect.signature(loss).parameters.values() if p.kind is p.KEYWORD_ONLY]
    return jax.jit(loss, static_argnames=names)


classification_ranking = compiled(ranking.classification_ranking)
iou_guided_ranking = compiled(ranking.iou_guided_ranking)
original_iou_ranking = compiled(ranking.original_iou_ranking)


def softmax_mean(values):
    weights = [math.exp(q) for q in values]
    return sum(w * q for w, q in zip(weights, values, strict=True)) / sum(weights)


def cr_by_loop(p, labels, variant, most=16):
    """Section 5.3: the losses of the images that are not skipped."""
    losses = []
    for scores, label in zip(p, labels, strict=True):
        positives = [s for s, y in zip(scores, label, strict=True) if y == 1]
        negatives = sorted((s for s, y in zip(scores, label, strict=True) if y == 0), reverse=True)
        hard = [s for s in negatives if s > 0.5]
        if not hard or (variant == "paper" and not positives):
            continue
        if variant == "paper":
            chosen = hard
        elif positives:
            chosen = negatives[: min(len(positives), most)]
        else:
            chosen = negatives[: max(len(hard), 8)]
        plus = np.mean(positives) if positives else 1.0
        losses.append(math.log(1 + math.exp(4 * (softmax_mean(chosen) - plus + 0.5))) / 4)
    return losses


def igr_by_loop(p, labels, v, variant, gamma=3.0, frozen=None):
    """Section 5.4: both losses of the images with at least two positives; `frozen` are the IoUs without gradient."""
    losses = []
    for scores, label, ious, still in zip(p, labels, v, v if frozen is None else frozen, strict=True):
        found = [i for i, y in enumerate(label) if y == 1]
        n = len(found)
        if n < 2:
            continue
        sums = [0.0, 0.0]
        for k, order in enumerate((ious, scores)):
            ranked = sorted(found, key=lambda i, order=order: -order[i])
            for i, high in enumerate(ranked):
                for low in ranked[i + 1 :]:
                    if variant == "paper" and order[high] == order[low]:
                        continue
                    difference = ious[high] - still[low] if k else scores[high] - scores[low]
                    sums[k] += math.exp(-gamma * difference)
        losses.append([s / (n if variant == "paper" else n * (n - 1) / 2) for s in sums])
    return losses


def ori_by_loop(p, labels, v, alpha, frozen=None):
    losses = []
    for scores, label, ious, still in zip(p, labels, v, v if frozen is None else frozen, strict=True):
        ranked = sorted((i for i, y in enumerate(label) if y == 1), key=lambda i, scores=scores: -scores[i])
        pairs = [(i, j) for k, i in enumerate(ranked) for j in ranked[k + 1 :]]
        if pairs:
            terms = [math.exp(-alpha * (scores[i] - scores[j]) * (ious[i] - still[j])) for i, j in pairs]
            losses.append(sum(terms) / len(pairs))
    return losses
