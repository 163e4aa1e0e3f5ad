"""One step of training on all devices: the only place with a `pmap`, and where gradients are reduced.

States go in and come out un-replicated; a batch's arrays are [device, sample, ...]. The running statistics of batch
normalisation that come out are the first device's, as in the reference implementations.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxtrack.compilation import Program
from jaxtrack.data.procedural_pairs import Pair
from jaxtrack.losses.reduction import combine
from jaxtrack.models import siamese
from jaxtrack.models.normalisation import statistics_over
from jaxtrack.training import objective
from jaxtrack.training.labels import AnchorLabels, EllipseLabels, Labels, anchor_labels, ellipse_labels
from jaxtrack.training.optimiser import Stage, Updates, merge, trained

AXIS = "devices"
# `fold_in` of a small number is one of the keys that `split` gives, which the labels of the sample are drawn with.
_BATCH = 0x62617463


@struct.dataclass
class TrainState:
    """All that a step changes.

    Attributes:
      step: `int32 []`, steps done.
      params: the network's parameters, float32.
      batch_stats: its running statistics, float32.
      optimiser: the optimiser's state, for the parameters that the present stage trains.
      key: the training's typed random key; it never changes: samples fold their number into it.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    optimiser: Any
    key: jax.Array


class Recipe(NamedTuple):
    """What a step is made of.

    Attributes:
      architecture: the network and its grid.
      pairs: host arrays of B samples to their pairs.
      labels: how candidates are labelled; of the kind that the architecture needs.
      objective: the loss.
      sync_norm: whether batch statistics are those of all devices.
      per_device: whether losses are means over each device's samples and gradients are summed over the devices, as
        in the reference implementations, instead of the gradient of the global means.
      as_of_devices: with `per_device`, the number of devices that the sum is scaled to; 0 leaves it as it is.
      compute: dtype of convolutions and of the maps between them.
    """

    architecture: siamese.Architecture
    pairs: Callable[[Any], Pair]
    labels: AnchorLabels | EllipseLabels
    objective: objective.Objective
    sync_norm: bool = False
    per_device: bool = False
    as_of_devices: int = 0
    compute: str = "float32"


def label_batch(recipe: Recipe, keys: jax.Array, pairs: Pair) -> Labels:
    """Labels of B pairs, from a key each; every array gets a leading axis B."""
    architecture = recipe.architecture
    grid = {
        "side": architecture.score_cells,
        "stride": architecture.stride_px,
        "centre_px": float(architecture.search_px // 2),
    }
    make = anchor_labels if isinstance(recipe.labels, AnchorLabels) else ellipse_labels
    one = functools.partial(make, config=recipe.labels, **grid)  # type: ignore[arg-type]
    return jax.vmap(lambda key, box, negative: one(key, box, negative))(keys, pairs.box_xyxy, pairs.negative)


def losses(
    recipe: Recipe, parts: Sequence[str], variables: Any, pairs: Pair, labels: Labels, key: jax.Array
) -> tuple[dict[str, Any], dict[str, float], Any]:
    """Terms and weights of a device's batch, and the running statistics after it."""
    network = siamese.build(recipe.architecture)
    images = [image.astype(recipe.compute) for image in (pairs.template, pairs.search)]
    with statistics_over(AXIS if recipe.sync_norm else None):
        (cls, loc), changed = network.apply(
            variables, *images, train=True, train_backbone=tuple(parts), mutable=["batch_stats"]
        )
    terms, weights = objective.terms(
        recipe.objective, recipe.architecture, cls, loc, labels, key, positives=recipe.labels.positives
    )
    return terms, weights, changed["batch_stats"]


def make_step(recipe: Recipe, stage: Stage, updates: Updates, devices: Sequence[Any]) -> Program:
    """The program `(state, items, numbers) -> (state, metrics)` of a stage.

    `items [device, sample, ...]` are the source's, `numbers uint32 [device, sample]` the samples'. Metrics are the
    unweighted means of the terms, the total `loss` and the norm of the gradient, `float32 []` each.
    """
    scale = recipe.as_of_devices / len(devices) if recipe.per_device and recipe.as_of_devices else 1.0

    def step(state: TrainState, items: Any, numbers: jax.Array) -> tuple[TrainState, dict[str, jax.Array]]:
        chosen = trained(state.params, stage)
        loss = _loss_of(recipe, stage, state, items, numbers)
        gradients, (metrics, stats) = jax.grad(loss, has_aux=True)(chosen)
        gradients = jax.lax.psum(gradients, AXIS)
        if scale != 1:
            gradients = jax.tree.map(lambda leaf: scale * leaf, gradients)
        changed, optimiser = updates.apply(chosen, gradients, state.optimiser)
        square = sum((jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(gradients)), jnp.zeros(()))
        metrics["gradient_norm"] = jnp.sqrt(square)
        state = TrainState(state.step + 1, merge(state.params, changed), _of_first(stats), optimiser, state.key)  # type: ignore[call-arg]
        return state, metrics

    mapped = functools.partial(jax.pmap, axis_name=AXIS, in_axes=(None, 0, 0), out_axes=None, devices=devices)
    return Program(step, transform=mapped, donate_argnums=(0,), devices=local(devices))


def _loss_of(recipe: Recipe, stage: Stage, state: TrainState, items: Any, numbers: jax.Array) -> Callable[[Any], Any]:
    """A device's loss as a function of the trained parameters: `(loss, (metrics, running statistics))`."""
    keys = jax.vmap(lambda number: jax.random.fold_in(state.key, number))(numbers)
    pairs = recipe.pairs(items)
    labels = label_batch(recipe, keys, pairs)
    batch_key = jax.random.fold_in(keys[0], _BATCH)

    def loss(chosen: Any) -> tuple[jax.Array, tuple[dict[str, jax.Array], Any]]:
        variables = {"params": merge(state.params, chosen), "batch_stats": state.batch_stats}
        terms, weights, stats = losses(recipe, stage.parts, variables, pairs, labels, batch_key)
        share, means = combine(terms, weights, None if recipe.per_device else AXIS)
        means = jax.lax.pmean(means, AXIS) if recipe.per_device else means
        total = sum((weights[name] * mean for name, mean in means.items()), jnp.zeros(()))
        return share, ({**means, "loss": total}, stats)

    return loss


def _of_first(tree: Any) -> Any:
    """The first device's arrays, on all of them."""
    first = jax.lax.axis_index(AXIS) == 0
    return jax.tree.map(lambda leaf: jax.lax.psum(jnp.where(first, leaf, 0.0), AXIS), tree)


def on_each(function: Callable[[Any, Any, jax.Array], Any], devices: Sequence[Any]) -> Program:
    """A function of `(shared, items, numbers)` on devices of this process, each with its part of a batch.

    `items` and `numbers` have the axes [device, sample, ...], the results a first axis [device].
    """
    mapped = functools.partial(jax.pmap, axis_name=AXIS, in_axes=(None, 0, 0), devices=devices)
    return Program(function, transform=mapped, devices=devices)


def local(devices: Sequence[Any]) -> list[Any]:
    """Those of the devices that are this process's own."""
    return [device for device in devices if device.process_index == jax.process_index()]


def split(batch: Any, count: int) -> Any:
    """A process's batch for its devices: arrays `[sample, ...]` to `[device, sample, ...]`."""
    return jax.tree.map(lambda leaf: leaf.reshape(count, -1, *leaf.shape[1:]), batch)


def replicated(tree: Any, devices: Sequence[Any]) -> Any:
    """Arrays, each of them whole on each of the devices."""
    return jax.device_put(tree, NamedSharding(Mesh(np.asarray(devices), (AXIS,)), PartitionSpec()))


def on_all_hosts(state: TrainState, devices: Sequence[Any]) -> TrainState:
    """A state whose arrays are known to span the devices; on several hosts a step needs that to donate them."""
    everywhere = NamedSharding(Mesh(np.asarray(devices), (AXIS,)), PartitionSpec())

    def place(leaf: jax.Array) -> jax.Array:
        value = np.asarray(leaf)
        return jax.make_array_from_callback(value.shape, everywhere, lambda index: value[index])

    key = jax.random.wrap_key_data(place(jax.random.key_data(state.key)))
    return jax.tree.map(place, state.replace(key=None)).replace(key=key)  # type: ignore[attr-defined]
