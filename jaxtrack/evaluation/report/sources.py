"""What the rows of a report came from: configuration, seed, weights, packages, device, date and commit of each run."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtrack import trackers
from jaxtrack.errors import UserError
from jaxtrack.evaluation import provenance
from jaxtrack.evaluation.report.page import Cell, Column, Facts, Table
from jaxtrack.evaluation.store import StoredRun

_COLUMNS = ("run", "seed", "computed", "device", "packages", "commit")
_UNSET = "not there"


def facts(name: str, remark: str, run_ids: Sequence[str], runs: Mapping[str, StoredRun], folder: str = "") -> Facts:
    """What is known of a row.

    Args:
      name: how tables call the row.
      remark: on which test data the tracker was tuned or its weights were chosen; empty if on none.
      run_ids: of the runs that the row was scored from.
      runs: stored runs by their ids; a row without any is one of published results.
      folder: of published results, as it was given.
    """
    told = [("Remark", (remark,))] if remark else []
    stored = [runs[run_id] for run_id in run_ids if run_id in runs]
    if not stored:
        text = "Not run by jaxtrack: scored from files of boxes that others published."
        return Facts(name, [("Source", (text,)), *([("Folder", (folder,))] if folder else []), *told])
    identity = stored[0].identity
    pairs: list[tuple[str, Sequence[str]]] = [
        ("Tracker", (stored[0].info.get("extra", {}).get("method", stored[0].tracker),)),
        *told,
        ("Differs from the default configuration in", _config_differences(stored[0]) or ["nothing"]),
        ("Weights, sha256", (identity.get("weights_sha256") or "none",)),
        ("Other terms", _other_terms(identity)),
    ]
    rows = [row for run in stored for row in _run_rows(run)]
    columns = [Column(label, numeric=label == "seed") for label in _COLUMNS]
    return Facts(name, [pair for pair in pairs if pair[1]], Table(f"Runs of {name}", columns, rows))


def _other_terms(identity: Mapping[str, Any]) -> list[str]:
    """What else determines the boxes, where it is not the usual."""
    width, protocol = identity.get("batch_width", 1), identity.get("protocol")
    terms = [f"{width} videos share one program"] if width != 1 else []
    return terms if protocol is None else [*terms, f"protocol: {_shown(protocol)}"]


def _run_rows(run: StoredRun) -> list[list[Cell]]:
    """A row for each environment that a run was computed in."""
    known = run.info.get("environments") or [{}]
    return [
        [
            Cell(run.id),
            Cell(str(run.seed), value=run.seed),
            Cell(environment.get("since", run.info.get("created", "unknown"))),
            _device(environment),
            _packages(environment),
            Cell(environment.get("git_commit") or "unknown"),
        ]
        for environment in known
    ]


def _device(environment: Mapping[str, Any]) -> Cell:
    devices = environment.get("devices", {})
    count = devices.get("count", 1)
    kind = devices.get("kind", "unknown")
    platform = environment.get("platform")
    return Cell(f"{kind} x {count}" if count != 1 else str(kind), notes=(platform,) if platform else ())


def _packages(environment: Mapping[str, Any]) -> Cell:
    known = {**environment.get("packages", {}), "python": environment.get("python")}
    first, *others = [f"{name} {version}" for name, version in known.items() if version] or ["unknown"]
    return Cell(first, tuple(others))


def _config_differences(run: StoredRun) -> list[str]:
    """`entry: value (default)` for each entry that is not the one of the tracker's default configuration."""
    method = run.info.get("extra", {}).get("method", run.tracker)
    try:
        default = provenance.to_json(trackers.default_config(method))
    except UserError:
        return [f"{method} is no tracker of this version; the whole configuration: {_shown(run.identity['config'])}"]
    return [
        f"{where}: {_shown(stored)} (default: {_shown(usual)})"
        for where, stored, usual in _differences(run.identity["config"], default)
    ]


def _differences(stored: Any, usual: Any, where: str = "") -> list[tuple[str, Any, Any]]:
    """(entry, stored value, default value) of the entries that differ."""
    if isinstance(stored, dict) and isinstance(usual, dict):
        keys = [*stored, *(key for key in usual if key not in stored)]
        parts = (
            _differences(stored.get(key, _UNSET), usual.get(key, _UNSET), f"{where}.{key}" if where else str(key))
            for key in keys
        )
        return [found for part in parts for found in part]
    return [] if stored == usual else [(where, stored, usual)]


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
