"""How the trackers of `jaxtrack.online.framework` are put together: networks, their weights, and the pair of functions.

Their networks lie in modules of one form (`jaxtrack.models.mdnet`, `jaxtrack.models.rpn2t`): a table `ARCHITECTURES`,
`initial(architecture, key)` for random parameters `{"backbone", "head"}`, and `stored(params)`, what a tracker takes of
parameters. The backbone never changes; the head, with new layers for every video, learns. Where a file of weights holds
a backbone alone, the head is drawn.
"""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp

from jaxtrack.data.naming import match_name
from jaxtrack.errors import UserError, check_shares
from jaxtrack.images import Frame
from jaxtrack.online import framework
from jaxtrack.online.framework import Framework, Model, State
from jaxtrack.tracker import Prediction, Tracker
from jaxtrack.weights import places, store

RANDOM = "random"  # instead of weights: random numbers


def tracker(config: Framework, model: Model, new_head: Callable[[Any, jax.Array], Any]) -> Tracker:
    """The tracker around a network.

    Args:
      config: the constants.
      model: the network.
      new_head: (the head's parameters, random key) to those that a video begins with.
    """

    def init(params: Any, frame: Frame, box: jax.Array, key: jax.Array) -> State:
        head_key, key = jax.random.split(key)
        head = new_head(params["head"], head_key)
        return framework.init(config, model, params["backbone"], head, frame, box, key)

    def step(params: Any, state: State, frame: Frame) -> tuple[State, Prediction]:
        return framework.step(config, model, params["backbone"], state, frame)

    return Tracker(init=init, step=step)


def check_dropout(config: Any) -> None:
    """Raises `UserError` where the dropout of a configuration is no share, or all."""
    check_shares(config, "dropout")
    if config.dropout == 1:
        raise UserError("dropout of Config must be less than 1: nothing would be learnt")


def check_layers(config: Framework, layers: tuple[str, ...]) -> None:
    """Raises `UserError` where layers are to learn fast that are not among a head's."""
    for name in config.mining.fast_layers:
        if name not in layers:
            raise UserError(f"fast_layers of Mining may be {', '.join(layers)}, not {name!r}")


def architecture_name(networks: ModuleType, spelt: str) -> str:
    """The name of a network of a module, however it is spelt; `UserError` with a suggestion if there is none."""
    return match_name(spelt, sorted(networks.ARCHITECTURES), what="architecture")


def params(
    networks: ModuleType,
    architecture: str,
    weights: str,
    key: jax.Array,
    *,
    fitting: tuple[str, ...] = (),
    parts: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The parameters of a network, `{"backbone", "head"}`.

    Args:
      networks: the module of the network.
      architecture: its name.
      weights: name or path of a file, or `RANDOM`.
      key: random key of random weights.
      fitting: architectures beside its own whose weights the network takes.
      parts: architectures of whose weights it takes what it has, too: the layers of its backbone, all of which must be
        there, and of its head, where others stay random.

    Raises:
      UserError: there are no such weights, or they are of another network.
    """

    def drawn() -> dict[str, Any]:
        return networks.stored(networks.initial(networks.ARCHITECTURES[architecture], key))

    if weights == RANDOM:
        return drawn()
    path = places.locate(weights)
    variables, meta = store.load(path)
    if meta.architecture in (architecture, *fitting):
        return networks.stored(variables["params"])
    if meta.architecture in parts:
        random, loaded = drawn(), variables["params"]
        backbone = {name: loaded["backbone"].get(name) for name in random["backbone"]}
        head = {name: loaded.get("head", {}).get(name, layer) for name, layer in random["head"].items()}
        started = {"backbone": backbone, "head": head}
        if jax.tree.map(jnp.shape, started) == jax.tree.map(jnp.shape, random):
            return started
    raise UserError(f"{path} holds weights of {meta.architecture}, not of {architecture}")


def weights_file(weights: str) -> Path | None:
    """Where weights lie, None for random ones; `UserError` if they are not there."""
    return None if weights == RANDOM else places.locate(weights)


def weights_sha256(weights: str) -> str | None:
    """What tells weights from others; None for random ones, which are always the same."""
    path = weights_file(weights)
    return None if path is None else store.checked_sha256(path)
