"""Trackers by name: every module of this package that declares `CONFIGS` is found here.

`CONFIGS` maps a tracker's name to its default configuration, a frozen dataclass. Beside it a module defines either

* `tracker(config) -> jaxtrack.tracker.Tracker` and `init_params(config, key)`: a pair of pure functions; and
  `weights_sha256(config)` and `weights_file(config)` if its parameters come from a file, or
* `session(config, *, seed) -> HostSession`: a tracker that runs on the host, outside JAX.
"""

import dataclasses
import functools
import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import jax
import numpy as np

from jaxtrack.data.naming import match_name
from jaxtrack.errors import UserError
from jaxtrack.tracker import Prediction, Tracker

DEFAULT = "siamban_nano"
"""The tracker that commands take where none is named; it must need no files of the user's."""


class HostSession(Protocol):
    """A tracker fed frame by frame on the host; images are `uint8 [H, W, 3]` RGB."""

    def init(self, image: np.ndarray, box: Any) -> None:
        """Starts on an image with the target's box (x, y, w, h), pixels, 0-based."""
        ...

    def update(self, image: np.ndarray) -> Prediction:
        """Finds the target in the next image."""
        ...


@dataclasses.dataclass(frozen=True)
class JaxMethod:
    """A tracker ready to run: the pure functions, their parameters when they are asked for, and the weights' sha256."""

    tracker: Tracker
    params: Callable[[], Any]
    weights_sha256: str | None = None


@dataclasses.dataclass(frozen=True)
class HostMethod:
    """A tracker on the host, ready to run: `session(seed)` begins a fresh one for each video."""

    session: Callable[[int], HostSession]


Method = JaxMethod | HostMethod


def names() -> list[str]:
    """Names of all trackers, sorted."""
    return sorted(_declared())


def canonical_name(name: str) -> str:
    """The name among `names()` that `name` means; `UserError` with a suggestion if there is none."""
    try:
        return match_name(name, names(), what="tracker")
    except UserError as error:
        unavailable = "".join(f"; {why}" for why in _modules()[1])
        raise UserError(f"{error}{unavailable}") from None


def default_config(name: str) -> Any:
    """The default configuration of a tracker, a frozen dataclass."""
    name = canonical_name(name)
    return _declared()[name].CONFIGS[name]


def description(name: str) -> str:
    """One line on a tracker: what its module's `describe(config)` says, else the first line of a docstring.

    That of the module, or of the configuration where a module has several trackers.
    """
    module = _declared()[canonical_name(name)]
    if hasattr(module, "describe"):
        return module.describe(default_config(name))
    text = module.__doc__ if len(module.CONFIGS) == 1 else type(default_config(name)).__doc__
    return (text or "").strip().partition("\n")[0]


def name_of(config: Any) -> str:
    """The name of the tracker that a configuration belongs to: of those that share its class the most similar one."""
    same = [name for name in names() if type(default_config(name)) is type(config)]
    if same:
        fields = [field.name for field in dataclasses.fields(config)]
        return min(same, key=lambda n: sum(getattr(default_config(n), f) != getattr(config, f) for f in fields))
    raise UserError(f"{type(config).__module__}.{type(config).__qualname__} is not the configuration of any tracker")


def weights_file(config: Any) -> Path | None:
    """Where the weights of a tracker's configuration lie; None for a tracker without a file of weights.

    Raises:
      UserError: they are not there.
    """
    module = _declared()[name_of(config)]
    return module.weights_file(config) if hasattr(module, "weights_file") else None


def build(name: str, config: Any) -> Method:
    """The tracker `name` with a configuration, ready to run.

    Raises:
      UserError: unknown name, or something that the tracker needs is not installed.
    """
    name = canonical_name(name)
    module = _declared()[name]
    if type(config) is not type(module.CONFIGS[name]):
        raise TypeError(f"{name} takes a {type(module.CONFIGS[name]).__qualname__}, not {config!r}")
    if hasattr(module, "session"):
        module.session(config, seed=0)  # says now, not after an hour, if its library is missing
        return HostMethod(functools.partial(_begin, module, config))
    # One fixed key: parameters that are drawn belong to the configuration; what a run draws comes from its seed.
    params = functools.partial(module.init_params, config, jax.random.key(0))
    sha256 = module.weights_sha256(config) if hasattr(module, "weights_sha256") else None
    return JaxMethod(module.tracker(config), params, sha256)


def load(tracker: Any) -> tuple[Tracker, Any]:
    """A tracker and its parameters, as `jaxtrack.run`, `jaxtrack.run_batch` and `jaxtrack.Session` take them.

    Args:
      tracker: one of `names()`, or the configuration of a tracker, for other options or weights than the default ones.

    Returns:
      The pair of functions and the parameters; these are {} for a tracker that learns on the video alone.

    Raises:
      UserError: unknown name, missing weights, or one of OpenCV's trackers, which are no pairs of functions.
    """
    name, config = (tracker, default_config(tracker)) if isinstance(tracker, str) else (name_of(tracker), tracker)
    name = canonical_name(name)
    method = build(name, config)
    if isinstance(method, HostMethod):
        how = f"trackers.build({name!r}, trackers.default_config({name!r})).session(seed)"
        raise UserError(
            f"{name} runs on the host, frame by frame alone, and is no pair of functions: {how} of jaxtrack.trackers "
            "has init and update as a jaxtrack.Session has"
        )
    return method.tracker, method.params()


def _begin(module: ModuleType, config: Any, seed: int) -> HostSession:
    return module.session(config, seed=seed)


@functools.cache
def _declared() -> dict[str, ModuleType]:
    """Every tracker's name and the module that declares it."""
    found: dict[str, ModuleType] = {}
    for module in _modules()[0]:
        for name in getattr(module, "CONFIGS", {}):
            if name in found:
                raise ValueError(f"{module.__name__} and {found[name].__name__} both declare the tracker {name!r}")
            found[name] = module
    return found


@functools.cache
def _modules() -> tuple[list[ModuleType], list[str]]:
    """The modules of this package, and a sentence for each that an uninstalled optional package keeps out."""
    modules, unavailable = [], []
    for info in pkgutil.iter_modules(__path__, f"{__name__}."):
        try:
            modules.append(importlib.import_module(info.name))
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] == __name__.split(".")[0]:
                raise  # one of our own modules is missing: a defect, not an optional package
            unavailable.append(f"the trackers of {info.name} need the package {error.name}, which is not installed")
    return modules, unavailable
