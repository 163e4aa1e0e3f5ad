"""The commands of `jaxtrack COMMAND`: every module here without a leading underscore is one.

A command's module has `run(argv, *, prog)`; the first line of its docstring is what the list of commands says.
"""

import importlib
import pkgutil
from collections.abc import Callable
from types import ModuleType

from jaxtrack.data.naming import match_name

Runnable = Callable[[], None]


def names() -> list[str]:
    """Names of all commands, sorted."""
    return sorted(info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_"))


def find(name: str) -> ModuleType:
    """The module of a command; `UserError` with a suggestion if there is none."""
    return importlib.import_module(f"{__name__}.{match_name(name, names(), what='command')}")


def usage(prog: str) -> str:
    """The list of commands."""
    lines = [f"  {name:<10} {_first_line(find(name))}" for name in names()]
    return "\n".join([f"usage: {prog} COMMAND [--help] [OPTIONS]", "", "commands:", *lines])


def _first_line(module: ModuleType) -> str:
    return (module.__doc__ or "").strip().splitlines()[0]
