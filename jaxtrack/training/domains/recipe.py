"""What a step of a multi-domain training does with its frames: boxes, crops, scores by the video's branch, the loss."""

import dataclasses
from collections.abc import Callable, Collection, Sized
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxtrack import boxes as boxes_lib
from jaxtrack.images import Frame
from jaxtrack.losses import margin_ranking
from jaxtrack.losses.reduction import Term, combine
from jaxtrack.models import mdnet
from jaxtrack.models.vgg_m import LOCATION, MDNetHead, location_norm
from jaxtrack.online import samplers
from jaxtrack.trackers import mdnet as tracker
from jaxtrack.trackers.mdnet import Ranking
from jaxtrack.training.domains.config import DomainConfig, Sampling
from jaxtrack.training.optimiser import Stage, merge
from jaxtrack.training.task import AXIS, TrainState, with_drawn_layers

# The smallest side is that of the Matlab code's offline training.
_LIMITS = samplers.Limits(least_side_px=5.0)
# Boxes that are drawn for each that is wanted: with them, of four positives hardly ever one is missing.
_SURPLUS = 8
_BOXES, _DROPOUT = 1, 2  # what a frame's key is used for


class Samples(NamedTuple):
    """Boxes of a frame, with a leading axis of frames where there are many.

    Attributes:
      boxes: `float32 [N, 4]`, positives first.
      labels: `int32 [N]`, 1 target, 0 background, -1 where too few boxes were within the limits.
      overlaps: `float32 [N]`, IoU with the target's box.
    """

    boxes: jax.Array
    labels: jax.Array
    overlaps: jax.Array


def draw_samples(config: Sampling, key: jax.Array, box: jax.Array, size: jax.Array) -> Samples:
    """Draws the boxes of a frame.

    Args:
      config: how many of what kind.
      key: a typed random key.
      box: `float32 [4]`, the target's.
      size: `int32 [2]`, (height, width) of the image.
    """
    keys = jax.random.split(key, 4)

    def some(draw_key: jax.Array, choice_key: jax.Array, count: int, draw: tuple, limits: tuple) -> Any:
        surplus = samplers.uniform(
            draw_key, box, size, _SURPLUS * count, *draw, limits=_LIMITS, per_axis=config.per_axis
        )
        index, within = samplers.select(choice_key, surplus, box, count, *limits)
        return surplus[index], within

    near = (config.positive_translation, config.positive_scale)
    far = (config.negative_translation, config.negative_scale)
    positive, is_positive = some(keys[0], keys[1], config.positives, near, (config.positive_iou, jnp.inf))
    negative, is_negative = some(keys[2], keys[3], config.negatives, far, (0.0, config.negative_iou))
    labels = jnp.concatenate([jnp.where(is_positive, 1, -1), jnp.where(is_negative, 0, -1)]).astype(jnp.int32)
    boxes = jnp.concatenate([positive, negative])
    return Samples(boxes, labels, boxes_lib.iou(boxes, jnp.broadcast_to(box, boxes.shape)))


class Recipe(NamedTuple):
    """What a step is made of.

    Attributes:
      architecture: the network.
      sampling: the boxes of a frame.
      ranking: the loss.
      location: boxes `[N, 4]` and the image's size `[2]` to the location feature `[N, 4]`; None for none.
      videos: for each of them the head has a branch. They are counted when that is needed: they may be on a disk.
    """

    architecture: mdnet.Architecture
    sampling: Sampling
    ranking: Ranking
    location: Callable[[jax.Array, jax.Array], jax.Array] | None = None
    videos: Sized = (None,)

    @property
    def head(self) -> MDNetHead:
        """The head with all of its branches."""
        return dataclasses.replace(self.architecture.head, branches=len(self.videos))

    @property
    def backbones(self) -> Collection[str]:
        """See `Task`; a classifier's fully connected layers are of no use."""
        return self.architecture.files

    def shapes(self) -> Any:
        """See `Task`."""
        return jax.eval_shape(self.draw, jax.random.key(0))

    def draw(self, key: jax.Array) -> Any:
        """See `Task`."""
        first_key, head_key = jax.random.split(key)
        params = mdnet.initial(dataclasses.replace(self.architecture, head=self.head), first_key)
        if self.location is not None:
            width = params["head"]["fc4"]["kernel"].shape[0]
            place = jnp.zeros((1, LOCATION))
            params["head"] = self.head.init(head_key, jnp.zeros((1, width)), place)["params"]
        return {"params": params, "batch_stats": {}}

    def completed(self, loaded: Any, draw: Callable[[], Any]) -> Any:
        """See `Task`; a file has no branches."""
        return with_drawn_layers(loaded, draw())

    def stored(self, variables: Any) -> Any:
        """See `Task`."""
        return {"params": mdnet.stored(variables["params"])}

    def features(self, params: Any, items: Any, boxes: jax.Array) -> jax.Array:
        """The backbone's flattened maps of boxes `[F, N, 4]` in F frames, `float32 [F, N, D]`."""

        def cut(pixels: jax.Array, size: jax.Array, some: jax.Array) -> jax.Array:
            return mdnet.crops(self.architecture, Frame(pixels, size, jnp.zeros((), bool)), some)

        crops = jax.vmap(cut)(items["pixels"], items["size"], boxes)  # [F, N, S, S, 3]
        maps: Any = self.architecture.backbone.apply({"params": params}, crops.reshape(-1, *crops.shape[2:]))
        return maps.reshape(*boxes.shape[:2], -1)

    def samples(self, keys: jax.Array, items: Any) -> Samples:
        """The boxes of F frames, of which each has a key."""
        draw = lambda key, box, size: draw_samples(self.sampling, key, box, size)  # noqa: E731
        return jax.vmap(draw)(_folded(keys, _BOXES), items["box"], items["size"])

    def outputs(self, params: Any, items: Any, samples: Samples, keys: jax.Array) -> jax.Array:
        """Scores of background and target by the branch of the video, with dropout; `float32 [F, N, 2]`."""
        features = self.features(params["backbone"], items, samples.boxes)
        place = None if self.location is None else jax.vmap(self.location)(samples.boxes, items["size"])
        branch, head = items["domain"][0], self.head

        # A frame has a key of its own, so that what is dropped does not depend on the number of devices.
        def judge(features: jax.Array, place: Any, key: jax.Array) -> Any:
            rngs = {"dropout": key}
            return head.apply({"params": params["head"]}, features, place, branch=branch, train=True, rngs=rngs)

        return jax.vmap(judge)(features, place, _folded(keys, _DROPOUT))

    def loss(self, stage: Stage, state: TrainState, items: Any, numbers: jax.Array) -> Callable[[Any], Any]:
        """See `Task`."""
        del stage  # normalisation has no statistics
        keys = jax.vmap(lambda number: jax.random.fold_in(state.key, number))(numbers)
        samples = self.samples(keys, items)

        def loss(chosen: Any) -> tuple[jax.Array, tuple[dict[str, jax.Array], Any]]:
            params = merge(state.params, chosen)
            outputs = self.outputs(params, items, samples, keys)
            share, means = self.terms(outputs.reshape(-1, 2), samples.labels.ravel(), samples.overlaps.ravel())
            return share, ({**means, **self.diagnostics(params, items)}, state.batch_stats)

        return loss

    def terms(
        self, outputs: jax.Array, labels: jax.Array, overlaps: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """A device's share of the loss over all devices' samples, and its terms; see `margin_ranking` for arguments."""
        constants = dataclasses.asdict(self.ranking)
        weights = {name: constants.pop(name) for name in ("classification", "ranking")}
        terms = margin_ranking.rankloc_terms(outputs, labels, overlaps, **constants)
        share, means = combine({"classification": terms.classification}, {"classification": 1.0}, AXIS)
        share, total = weights["classification"] * share, weights["classification"] * means["classification"]
        if weights["ranking"]:
            ranking = self._ranking(outputs, labels, overlaps, constants)
            ranked, means["ranking"] = combine({"ranking": ranking}, {"ranking": 1.0})[0], _value(ranking)
            share, total = share + weights["ranking"] * ranked, total + weights["ranking"] * means["ranking"]
        return share, {**means, "loss": total}

    def diagnostics(self, params: Any, items: Any) -> dict[str, jax.Array]:
        """With the location feature, the `location_norm` of the video's branch."""
        return {} if self.location is None else {"location_norm": location_norm(params["head"], items["domain"][0])}

    def _ranking(self, outputs: jax.Array, labels: jax.Array, overlaps: jax.Array, constants: dict[str, Any]) -> Term:
        """The term over the pairs of all devices' samples, as a function of this device's outputs alone.

        Every device has the same sum; its gradient is that by its own outputs, and the devices' gradients add up.
        """
        first = jax.lax.axis_index(AXIS) * len(outputs)
        every = jax.lax.stop_gradient(jax.lax.all_gather(outputs, AXIS, tiled=True))
        every = jax.lax.dynamic_update_slice_in_dim(every, outputs, first, axis=0)
        labels, overlaps = (jax.lax.all_gather(part, AXIS, tiled=True) for part in (labels, overlaps))
        return margin_ranking.margin_ranking(every, labels, overlaps, **constants)

    def limited(self, before: Any, after: Any, items: Any) -> Any:
        """See `Task`; of fc6, with momentum and weight decay, the branch of the step's video alone."""
        branch = items["domain"][0]

        def of(path: tuple, old: jax.Array, new: jax.Array) -> jax.Array:
            if not any(getattr(part, "key", None) == "fc6" for part in path):
                return new
            mine = (jnp.arange(len(new)) == branch).reshape(-1, *[1] * (new.ndim - 1))
            return jnp.where(mine, new, old)

        return jax.tree_util.tree_map_with_path(of, before, after)

    def gradient_scale(self, devices: int) -> float:
        """See `Task`."""
        del devices
        return 1.0


def _value(term: Term) -> jax.Array:
    """The mean of a term, for a record."""
    return jax.lax.stop_gradient(combine({"it": term}, {"it": 1.0})[0])


def _folded(keys: jax.Array, word: int) -> jax.Array:
    return jax.vmap(lambda key: jax.random.fold_in(key, word))(keys)


def make_recipe(config: DomainConfig) -> Recipe:
    """What the steps of a training are made of; `UserError` where parts of the configuration do not fit."""
    config.check_architecture(mdnet.ARCHITECTURES)
    architecture = mdnet.ARCHITECTURES[config.architecture]
    tracked = tracker.Config(architecture=config.architecture, location=config.location, location_of=config.location_of)
    location = None if config.location == "none" else tracker.model_of(tracked, architecture).location
    return Recipe(architecture, config.sampling, config.loss, location, config.source)
