"""One step of training on all devices: the only place with a `pmap`, and where gradients are reduced.

States go in and come out un-replicated; a batch's arrays are [device, sample, ...]. The running statistics of batch
normalisation that come out are the first device's, as in the reference implementations.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxtrack.compilation import Program
from jaxtrack.training.keys import restored_key
from jaxtrack.training.optimiser import Stage, Updates, merge, trained
from jaxtrack.training.task import AXIS, Task, TrainState


def make_step(
    recipe: Task, stage: Stage, updates: Updates, devices: Sequence[Any], notice: Callable[[], None] | None = None
) -> Program:
    """The program `(state, items, numbers) -> (state, metrics)` of a stage.

    `items [device, sample, ...]` are the source's, `numbers uint32 [device, sample]` the samples'. Metrics are the
    unweighted means of the terms, the total `loss` and the norm of the gradient, `float32 []` each. `notice` is called
    where compiling takes long.
    """
    scale = recipe.gradient_scale(len(devices))

    def step(state: TrainState, items: Any, numbers: jax.Array) -> tuple[TrainState, dict[str, jax.Array]]:
        chosen = trained(state.params, stage)
        loss = recipe.loss(stage, state, items, numbers)
        gradients, (metrics, stats) = jax.grad(loss, has_aux=True)(chosen)
        gradients = jax.lax.psum(gradients, AXIS)
        if scale != 1:
            gradients = jax.tree.map(lambda leaf: scale * leaf, gradients)
        updated = updates.apply(chosen, gradients, state.optimiser)
        changed, optimiser = recipe.limited((chosen, state.optimiser), updated, items)
        square = sum((jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(gradients)), jnp.zeros(()))
        metrics["gradient_norm"] = jnp.sqrt(square)
        state = TrainState(state.step + 1, merge(state.params, changed), _of_first(stats), optimiser, state.key)  # type: ignore[call-arg]
        return state, metrics

    mapped = functools.partial(jax.pmap, axis_name=AXIS, in_axes=(None, 0, 0), out_axes=None, devices=devices)
    return Program(step, transform=mapped, donate_argnums=(0,), devices=local(devices), notice=notice)


def _of_first(tree: Any) -> Any:
    """The first device's arrays, on all of them."""
    first = jax.lax.axis_index(AXIS) == 0
    return jax.tree.map(lambda leaf: jax.lax.psum(jnp.where(first, leaf, 0.0), AXIS), tree)


def on_each(
    function: Callable[[Any, Any, jax.Array], Any], devices: Sequence[Any], notice: Callable[[], None] | None = None
) -> Program:
    """A function of `(shared, items, numbers)` on devices of this process, each with its part of a batch.

    `items` and `numbers` have the axes [device, sample, ...], the results a first axis [device]. `notice` is as above.
    """
    mapped = functools.partial(jax.pmap, axis_name=AXIS, in_axes=(None, 0, 0), devices=devices)
    return Program(function, transform=mapped, devices=devices, notice=notice)


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

    key = restored_key(place(jax.random.key_data(state.key)))
    return jax.tree.map(place, state.replace(key=None)).replace(key=key)  # type: ignore[attr-defined]
