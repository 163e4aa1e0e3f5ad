"""The version of this package, which records of results and weights name."""

import contextlib
import importlib.metadata
import tomllib
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def version() -> str | None:
    """That of the checkout that the package lies in, else the installed one; None if there is neither."""
    # First, as another version may be installed beside a checkout that is merely on the path.
    with contextlib.suppress(OSError, ValueError, KeyError):
        project = tomllib.loads(_CHECKOUT.read_text("utf-8"))["project"]
        if project["name"] == "jaxtrack":  # the package may lie in the source tree of somebody else
            return project["version"]
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version("jaxtrack")
    return None
