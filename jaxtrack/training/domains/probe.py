"""How much the last hidden layer tells of videos that were not trained on: a linear probe in place of a tracker.

A network of this kind has no layer for a new video; a tracker learns one in the first frame. That is too slow at every
checkpoint. So samples of a video's first frame are told apart by ridge regression on that layer's outputs, fc5's as a
rule, in closed form, and the score is the area under the ROC curve in its other frames: the share of pairs of a
positive (IoU >= 0.7) and a negative (IoU <= 0.5, as near as a tracker's candidates) that are in the right order. It is
easier than tracking, as the samples lie around the true box and none between the limits; it compares checkpoints,
nothing more. Random features have 0.87 already.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack.models.vgg_m import LOCATION
from jaxtrack.training.domains.config import DomainConfig
from jaxtrack.training.domains.recipe import Recipe
from jaxtrack.training.domains.videos import Video
from jaxtrack.training.keys import seed_key
from jaxtrack.training.step import local, on_each, replicated, split
from jaxtrack.training.task import TrainState

_FRAMES = 8  # of a video, spread evenly
_SAMPLES = 16  # positives, and negatives, of a frame
_NEAR, _SCALE = 0.6, 1.2  # farthest shift of negatives, in mean sides of the target, and greatest factor of size
_PENALTY = 1e-2  # of the ridge, relative to the features' mean square


def embedding(recipe: Recipe, params: Any, features: jax.Array) -> jax.Array:
    """The embedding that a tracker's own layer reads; `float32 [N, D]` of the backbone to `float32 [N, width]`."""
    place = None if recipe.location is None else jnp.zeros((len(features), LOCATION))
    *_, last, _ = recipe.head.layers
    _, kept = recipe.head.apply(
        {"params": params}, features, place, capture_intermediates=lambda module, _: module.name == last
    )
    return jax.nn.relu(kept["intermediates"][last]["__call__"][0])  # type: ignore[index]


def separation(features: np.ndarray, labels: np.ndarray) -> float:
    """How well a ridge learnt in a video's first frame orders the samples of the others; NaN where that is not known.

    Args:
      features: `float [F, N, D]`.
      labels: `int [F, N]`, 1 target, 0 background, -1 not counted.
    """
    (x, y), (unseen, truth) = (_counted(features[part], labels[part]) for part in (slice(1), slice(1, None)))
    if len(set(y)) < 2:
        return float("nan")
    middle = x.mean(axis=0)
    centred = x - middle
    square = centred.T @ centred
    ridge = (_PENALTY * np.trace(square) / len(square) + 1e-9) * np.eye(len(square))
    weights = np.linalg.solve(square + ridge, centred.T @ (2.0 * y - 1.0))
    return auc((unseen - middle) @ weights, truth)


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Share of pairs of a positive and a negative of which the positive scores higher, ties half; NaN of no pairs.

    Args:
      scores: `float [N]`.
      labels: `int [N]`, 1 target, 0 background.
    """
    positive, negative = scores[labels == 1], np.sort(scores[labels == 0])
    below = np.searchsorted(negative, positive, side="left") + np.searchsorted(negative, positive, side="right")
    return float(below.mean() / (2 * len(negative))) if len(positive) and len(negative) else float("nan")


def _counted(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Samples that count: `float64 [M, D]` and `int [M]`."""
    flat = features.reshape(-1, features.shape[-1]).astype(np.float64)
    return flat[labels.ravel() >= 0], labels.ravel()[labels.ravel() >= 0]


def validator(
    config: DomainConfig,
    recipe: Recipe,
    devices: Sequence[Any] | None = None,
    notice: Callable[[], None] | None = None,
) -> Callable[[TrainState], dict[str, float]]:
    """The function that gives a state's `auc`, the mean over the held-out videos.

    Args:
      config: the training's.
      recipe: what it is made of.
      devices: by default all; those of this process share the frames of a video. Each process measures all of them.
      notice: called while compiling takes long.
    """
    own = local(devices or jax.devices())
    numbers = {"positives": _SAMPLES, "negatives": _SAMPLES}
    near = {"negative_translation": _NEAR, "negative_scale": _SCALE}
    probing = recipe._replace(sampling=dataclasses.replace(recipe.sampling, **numbers, **near))

    def measure(params: Any, items: Any, numbers: jax.Array) -> tuple[jax.Array, jax.Array]:
        keys = jax.vmap(lambda number: jax.random.fold_in(seed_key(0), number))(numbers)
        samples = probing.samples(keys, items)
        found = probing.features(params["backbone"], items, samples.boxes)
        flat = embedding(probing, params["head"], found.reshape(-1, found.shape[-1]))
        return flat.reshape(*found.shape[:2], -1), samples.labels

    program = on_each(measure, own, notice)

    def run(state: TrainState) -> dict[str, float]:
        params = replicated(jax.tree.map(np.asarray, state.params), own)
        found = []
        for number, video in enumerate(config.held_out.videos()):
            items, count = _frames(video, len(own))
            numbers = 1000 * number + np.arange(len(items["box"]), dtype=np.uint32)
            features, labels = (
                np.asarray(part).reshape(len(numbers), *part.shape[2:])[:count]
                for part in program(params, *split((items, numbers), len(own)))
            )
            found.append(separation(features, labels))
        return {"auc": float(np.nanmean(found))}

    return run


def _frames(video: Video, devices: int) -> tuple[dict[str, np.ndarray], int]:
    """Frames of a video, and how many of them count; the last is repeated, so that all fill all devices alike."""
    chosen = np.unique(np.linspace(0, len(video.boxes) - 1, _FRAMES).round().astype(int))
    places = chosen[np.minimum(np.arange(-(-_FRAMES // devices) * devices), len(chosen) - 1)]
    pixels = np.stack([video.frames[int(place)] for place in places])
    sizes = np.tile(np.asarray(pixels.shape[1:3], np.int32), (len(places), 1))
    return {"pixels": pixels, "size": sizes, "box": video.boxes[places]}, len(chosen)
