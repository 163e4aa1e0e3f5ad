"""What makes two trainings the same: their configuration and what their data hold, not where the data lie."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from jaxtrack import files
from jaxtrack.errors import MissingWeightsError, UserError
from jaxtrack.evaluation import provenance
from jaxtrack.training.config import Training
from jaxtrack.weights import store

CONFIG, INPUTS = "config.json", "inputs.json"


def inputs_of(config: Training) -> dict[str, Any]:
    """What tells the data and the starting weights from others, wherever they lie; JSON values.

    `start` is None where the weights are not there: a training that goes on does not need them any more.
    """
    # A source of somebody's own need not tell.
    contents = {use: getattr(source, "contents", list)() for use, source in config.sources.items()}
    return {**contents, "start": _start(config.start)}


def _start(start: str) -> str | None:
    try:
        return store.sha256_of(store.locate(start)) if start else ""
    except MissingWeightsError:
        return None


def check(folder: Path, config: Training, inputs: dict[str, Any]) -> None:
    """Compares with the training whose checkpoints lie in a folder, if there is one.

    Raises:
      UserError: it is another one.
    """
    path = folder / CONFIG
    if not path.is_file() or not any(entry.name.isdigit() for entry in (folder / "checkpoints").glob("*")):
        return
    stored = _as_of_now(json.loads(path.read_text()), config)
    difference = provenance.differences(stored, provenance.to_json(config))
    if difference:
        raise UserError(f"{folder} holds a training with another configuration ({difference}): choose another folder")
    if (folder / INPUTS).is_file():
        _check_inputs(folder, config.counted, json.loads((folder / INPUTS).read_text()), inputs)


def _check_inputs(folder: Path, counted: str, stored: dict[str, Any], inputs: dict[str, Any]) -> None:
    named = {"train": counted, "validation": f"validation {counted}", "start": "starting weights"}
    other = [what for name, what in named.items() if inputs.get(name) is not None and stored.get(name) != inputs[name]]
    if other:
        raise UserError(
            f"{folder} holds a training on other data: its {' and '.join(other)} have another content than what the "
            "configuration names now: give it back its data, or choose another folder"
        )


def write(folder: Path, config: Training, inputs: dict[str, Any]) -> None:
    """Makes a folder that of a training: configuration, what its data hold, and the environment."""
    for name, value in (
        (CONFIG, provenance.to_json(config)),
        (INPUTS, inputs),
        ("environment.json", provenance.environment()),
    ):
        files.write_text(folder / name, json.dumps(value, indent=1) + "\n")


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
