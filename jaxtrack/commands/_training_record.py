"""The configuration that weights were trained by, found again and compared with the sha256 in their record."""

import argparse
import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

from jaxtrack.commands._tracker_choice import config_path, load_config
from jaxtrack.errors import UserError
from jaxtrack.evaluation import provenance
from jaxtrack.weights import store


def configuration(path: Path, meta: store.Meta, command: str) -> dict[str, Any]:
    """The configuration of the training that wrote the weights `path`, as JSON values.

    It is looked for in their record, in the file beside them, and in the config file of the command: the one beside
    them may be of a version of jaxtrack that had other fields.

    Raises:
      UserError: jaxtrack did not train them, or none of the three is the configuration that they were trained by.
    """
    if not meta.trained:
        raise UserError(f"{path} was imported from {meta.source}: only weights that jaxtrack has trained are packed")
    beside = path.with_name(store.TRAINING)
    for found in (meta.config, _stored(beside), _of_command(command)):
        if found and hashlib.sha256(provenance.canonical(found).encode()).hexdigest() == meta.source_sha256:
            return found
    raise UserError(
        f"the configuration that {path} was trained by stands neither in {beside} nor in the config file that "
        f"--command names: give the command that trained it, in the folder where it ran"
    )


def _stored(path: Path) -> dict[str, Any]:
    """A file's JSON values; nothing if it has none."""
    try:
        found = json.loads(path.read_bytes(), parse_constant=str)
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _of_command(command: str) -> dict[str, Any]:
    """What the config file of a command line says; nothing if it names none that there is."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config")
    try:
        path = parser.parse_known_args(shlex.split(command))[0].config
        return provenance.to_json(load_config(config_path(path))) if path else {}
    except (UserError, ValueError, TypeError, argparse.ArgumentError):
        return {}
