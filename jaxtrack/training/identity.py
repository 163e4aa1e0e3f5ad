"""What makes two trainings the same: their configuration and what their data hold, not where the data lie."""

import dataclasses
import json
import shlex
from pathlib import Path
from typing import Any

from jaxtrack import files
from jaxtrack.errors import MissingWeightsError, UserError
from jaxtrack.evaluation import provenance
from jaxtrack.training.config import Training
from jaxtrack.weights import places, store

CONFIG, INPUTS = "config.json", "inputs.json"
_PACKAGES = ("optax", "grain", "array-record", "orbax-checkpoint")


def inputs_of(config: Training) -> dict[str, Any]:
    """What tells the data and the starting weights from others, wherever they lie; JSON values.

    `start` is None where the weights are not there: a training that goes on does not need them any more.
    """
    # A source of somebody's own need not tell.
    contents = {use: getattr(source, "contents", list)() for use, source in config.sources.items()}
    return {**contents, "start": _start(config.start)}


def _start(start: str) -> str | None:
    try:
        return store.sha256_of(places.locate(start)) if start else ""
    except MissingWeightsError:
        return None


def check(folder: Path, config: Training, inputs: dict[str, Any]) -> None:
    """Compares with the training that a folder belongs to, if it belongs to one.

    Args:
      folder: the folder.
      config: today's configuration.
      inputs: what `inputs_of` says today; what is missing or None is not compared.

    Raises:
      UserError: it is another one, or a file that tells is missing or damaged.
    """
    begun = any(entry.name.isdigit() for entry in (folder / "checkpoints").glob("*"))
    stored = configuration(folder)
    if stored is None:
        if begun:
            raise UserError(
                f"{folder} has checkpoints and no {CONFIG} that says of which training: put it back, or choose another "
                "folder"
            )
        return
    stored, now = _as_of_now(stored, config), provenance.to_json(config)
    difference = provenance.differences(stored, now)
    if difference:
        options = " ".join(options_of(stored, now)) or "the config file that it was begun with"
        free = "" if begun else ", or delete this folder, which has no checkpoint yet"
        raise UserError(
            f"{folder} holds a training with another configuration ({difference}): go on with it by {options}, or "
            f"begin one in another folder by --out DIR{free}"
        )
    if (folder / INPUTS).is_file():
        _check_inputs(folder, config.counted, _read(folder / INPUTS), inputs)


def configuration(folder: Path) -> dict[str, Any] | None:
    """The configuration of the training that a folder belongs to, as JSON values; None if it belongs to none."""
    return _read(folder / CONFIG) if (folder / CONFIG).is_file() else None


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError):  # also what is not UTF-8
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{path} is damaged: put it back from a copy, or choose another folder")
    return found


def _check_inputs(folder: Path, counted: str, stored: dict[str, Any], inputs: dict[str, Any]) -> None:
    named = {"train": counted, "validation": f"validation {counted}", "start": "starting weights"}
    other = [what for name, what in named.items() if inputs.get(name) is not None and stored.get(name) != inputs[name]]
    if inputs.get("start", "") is None and stored.get("start") == "":
        raise UserError(f"{folder} holds a training that was begun from random parameters: leave out its start")
    if other:
        raise UserError(
            f"{folder} holds a training on other data: its {' and '.join(other)} have another content than what the "
            "configuration names now: give it back its data, or choose another folder"
        )


def write(folder: Path, config: Training, inputs: dict[str, Any]) -> None:
    """Makes a folder that of a training: configuration, what its data hold, and the environment."""
    for name, value in (
        (INPUTS, inputs),
        ("environment.json", provenance.environment(_PACKAGES)),
        # Last, as it makes the folder this training's.
        (CONFIG, provenance.to_json(config)),
    ):
        files.write_text(folder / name, json.dumps(value, indent=1) + "\n")


def options_of(stored: Any, now: Any, prefix: str = "--set") -> list[str]:
    """The options that give differing fields their stored values, by default those of `train`; none if none can."""
    found = []
    for name in now:
        option, before = f"{prefix}.{name.replace('_', '-')}", stored.get(name)
        if before == now[name]:
            continue
        if isinstance(before, dict) and isinstance(now[name], dict):
            inner = options_of(before, now[name], option)
            if not inner:
                return []
            found += inner
        elif name == "class" or isinstance(before, dict) or isinstance(now[name], dict):
            return []
        else:
            found.append(_option(option, before))
    return found if stored.keys() <= now.keys() else []


def _option(option: str, value: Any) -> str:
    """An option with its value, as it is typed."""
    if isinstance(value, bool):
        group, _, name = option.rpartition(".")
        return option if value else f"{group}.no-{name}"
    return shlex.join([option, *map(str, value if isinstance(value, list) else [value])])


def _as_of_now(stored: Any, config: Any) -> Any:
    """A stored configuration as it would be stored now: what was not known then is at its default, places are today's.

    Fields with `metadata={"compared": False}` are such places.
    """
    if not dataclasses.is_dataclass(config) or not isinstance(stored, dict):
        return stored
    if stored.get("class") != type(config).__name__:
        return stored
    found = dict(stored)
    for field in dataclasses.fields(config):
        if not field.metadata.get("identity", True):
            continue
        value = getattr(config, field.name)
        if not field.metadata.get("compared", True):
            found[field.name] = provenance.to_json(value)
        elif field.name in stored:
            found[field.name] = _as_of_now(stored[field.name], value)
        elif field.default is not dataclasses.MISSING:
            found[field.name] = provenance.to_json(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            found[field.name] = provenance.to_json(field.default_factory())
    return found
