"""What a result came from: the resolved config as JSON, and the machine and packages that computed it."""

import dataclasses
import datetime
import enum
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

import jax
import numpy as np

from jaxtrack.version import version

XLA_THREADS = "NPROC"
"""The environment variable that tells XLA a number of threads."""

_PACKAGES = ("jax", "jaxlib", "flax", "numpy")
# The wheels that provide `cv2` are alternatives of one another.
_OPENCV = (
    "opencv-python-headless",
    "opencv-contrib-python-headless",
    "opencv-python",
    "opencv-contrib-python",
)


def to_json(value: Any, where: str = "config") -> Any:
    """A config as JSON values: dataclasses become objects that name their class, tuples become lists.

    Fields with `metadata={"identity": False}` are left out: they say where something lies, not what it is.

    Args:
      value: nested dataclasses, mappings, sequences, sets, enums, paths, dtypes, functions, numbers, strings, None.
      where: what errors call the value.

    Raises:
      TypeError: for anything that has no faithful and stable JSON form, naming the field.
    """
    if isinstance(value, enum.Enum):
        return value.name
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | np.floating):
        # JSON has no infinity; the text cannot be mistaken for a number.
        return float(value) if math.isfinite(value) else str(float(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        known = [f for f in dataclasses.fields(value) if f.metadata.get("identity", True)]
        fields = {f.name: to_json(getattr(value, f.name), f"{where}.{f.name}") for f in known}
        return {"class": type(value).__name__, **fields}
    if isinstance(value, Mapping):
        return {str(key): to_json(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, set | frozenset):
        return sorted((to_json(item, where) for item in value), key=canonical)
    return _leaf_to_json(value, where)


def _leaf_to_json(value: Any, where: str) -> Any:
    if isinstance(value, np.integer | np.bool_):
        return value.item()
    if isinstance(value, np.ndarray | jax.Array):
        return to_json(np.asarray(value).tolist(), where)
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, np.dtype):
        return value.name
    name = getattr(value, "__qualname__", "")
    if name and "<" not in name:  # a function or class that can be imported again, not a lambda or a local one
        return f"{value.__module__}.{name}"
    raise TypeError(f"{where}: {type(value).__name__} cannot be recorded in a result's config")


def canonical(value: Any) -> str:
    """JSON values as text in which equal values are equal strings."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def short_hash(value: Any) -> str:
    """12 hexadecimal digits of the sha256 of JSON values."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:12]


def differences(stored: Any, current: Any, where: str = "") -> str:
    """Which entries differ, e.g. `config.lr: 0.1 stored, 0.2 now`; empty if none does."""
    if isinstance(stored, dict) and isinstance(current, dict):
        keys = [*stored, *(k for k in current if k not in stored)]
        parts = (differences(stored.get(k), current.get(k), f"{where}.{k}" if where else str(k)) for k in keys)
        return "; ".join(part for part in parts if part)
    return "" if stored == current else f"{where}: {stored} stored, {current} now"


def now() -> str:
    """The date and time in UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def environment(more: Iterable[str] = ()) -> dict[str, Any]:
    """Packages, Python, devices and code that compute here and now, as JSON values.

    `more` are packages that have a part in it, besides those that every computation has.
    `devices` counts the accelerators (or CPU devices) that this process sees; `git_commit` is None outside a checkout
    and ends in `+changes` where files differ from the commit.
    """
    devices = jax.local_devices()
    return {
        "packages": {"jaxtrack": version()}
        | {name: _version(name) for name in (*_PACKAGES, *more)}
        | {"opencv": _opencv_version()},
        "python": platform.python_version(),
        "devices": {"kind": devices[0].device_kind, "count": len(devices), "hosts": jax.process_count()},
        "platform": platform.platform(),
        "cpu_count": cpu_count(),
        "git_commit": git_commit(Path(__file__).resolve().parents[2]),
    }


def cpu_count() -> int:
    """Among how many threads XLA splits its work on CPUs: other numbers round differently.

    That is how many cores this process may use, or what the environment variable NPROC says.
    """
    said = os.environ.get(XLA_THREADS, "")
    if said.isdecimal() and int(said):
        return int(said)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def git_commit(root: Path) -> str | None:
    """The commit checked out at `root`, if `root` is the top of a git checkout and git is installed."""
    # An installed package may lie inside somebody else's checkout, whose commit would be misleading.
    if not (root / ".git").exists():
        return None
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+changes" if commit and changes else commit


def _git(root: Path, *arguments: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _opencv_version() -> str | None:
    found = [(name, _version(name)) for name in _OPENCV]
    return ", ".join(f"{name} {version}" for name, version in found if version) or None
