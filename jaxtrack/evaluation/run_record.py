"""What a run is, and `run.json`, which records that beside its results.

The run id is a hash of everything that determines the boxes: tracker, resolved config, seed, weights, batch width.
Package versions, devices and dates do not belong to it; `run.json` records them, and a run that is resumed in another
environment keeps a list of all.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtrack.errors import UserError
from jaxtrack.evaluation import provenance
from jaxtrack.files import write_text

_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Run:
    """What is to be run, before it is.

    Attributes:
      tracker: the tracker's name.
      config: its resolved config: a (nested) dataclass, or JSON values.
      seed: the seed of the run.
      weights_sha256: hexadecimal sha256 of the weights, None for a tracker without any.
      batch_width: how many videos share one program; 1 for one at a time.
      protocol: what else of the protocol determines the boxes, JSON values; None where a benchmark has only one.
      repeat: index of the run among the repeats of an experiment; recorded, but not part of the identity.
      extra: further JSON values worth recording, not part of the identity.
    """

    tracker: str
    config: Any
    seed: int
    weights_sha256: str | None = None
    batch_width: int = 1
    protocol: Any = None
    repeat: int = 0
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """Everything that determines the boxes, as JSON values."""
        return {
            "tracker": self.tracker,
            "config": provenance.to_json(self.config),
            "seed": int(self.seed),
            "weights_sha256": self.weights_sha256,
            "batch_width": int(self.batch_width),
            **({} if self.protocol is None else {"protocol": provenance.to_json(self.protocol, "protocol")}),
        }

    @property
    def id(self) -> str:
        """12 hexadecimal digits that name the run."""
        return provenance.short_hash(self.identity())


def new(benchmark: str, run: Run) -> dict[str, Any]:
    """What `run.json` says of a run that is new."""
    return {
        "format": _FORMAT,
        "id": run.id,
        "benchmark": benchmark,
        "identity": json.loads(provenance.canonical(run.identity())),
        "repeat": run.repeat,
        "extra": provenance.to_json(run.extra, "extra"),
        "created": provenance.now(),
        "environments": [],
    }


def read(directory: Path) -> dict[str, Any]:
    """What `run.json` in a run's folder says.

    Raises:
      UserError: it cannot be read, is damaged, or of another format.
    """
    path = directory / "run.json"
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        identity = info["identity"]
        complete = {"id", "benchmark", "environments"} <= info.keys() and {"tracker", "seed"} <= identity.keys()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError):
        complete = False
        info = {}
    if not complete or info.get("format") != _FORMAT:
        raise UserError(f"{path} is damaged or of another version of jaxtrack: move its folder away")
    return info


def write(directory: Path, info: dict[str, Any]) -> None:
    """Writes `run.json`, whole or not at all; `OSError` where that is not possible."""
    text = json.dumps(info, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(directory / "run.json", text + "\n")
