"""Where files of weights lie: those of the user, and those that come with jaxtrack.

A file of the user's own goes before a shipped one of the same name (`locate`).
"""

import contextlib
import difflib
import os
from pathlib import Path

from jaxtrack.errors import MissingWeightsError, UserError
from jaxtrack.weights import known, online, published, store

FOLDER_VARIABLE = "JAXTRACK_WEIGHTS"  # environment variable: the folder of imported weights
_NAMES_IN_A_MESSAGE = 3
_BY_OPTION = "by the option weights (--TRACKER.weights FILE)"

TRAININGS = {
    "siamban_nano": "siamban_nano_rbo",
    "siamban_pico": "smoke",
    "transt_nano": "transt_nano",
    "transt_pico": "transt_smoke",
    "transt_rbo": "transt_full_rbo",
    "mdnet": "mdnet_vot58",
    "mdnet_small": "mdnet_procedural",
    "rankloc": "rankloc_vot58",
    "rankloc_small": "rankloc_procedural",
    "rpn2t_student": "rpn2t_student",
    "rpn2t_teacher": "rpn_zf_voc",
    "rpn2t_small_student": "rpn2t_small_student",
    "rpn2t_small_teacher": "rpn_small_procedural",
}
"""The files of configs/ that train weights, by the name under which trackers look for these."""

NARROW = {
    "mdnet": "mdnet_small",
    "rankloc": "rankloc_small",
    "rpn2t_student": "rpn2t_small",
    "rpn2t_teacher": "rpn2t_small_teacher",
}
"""Trackers of the same methods whose weights come with jaxtrack, by the weights that the published networks need."""


def locate(weights: str) -> Path:
    """The file of weights that a name, or a path that ends in .safetensors, means.

    A name is looked for in the user's folder first (`FOLDER_VARIABLE`, else ./weights), then among the weights that
    come with jaxtrack. So one's own training takes the place of a shipped file, and a damaged one is never replaced
    by it unsaid; runs with either have different ids, because the sha256 belongs to them.

    Raises:
      MissingWeightsError: it is not there.
    """
    program = published.PROGRAMS.get(Path(weights).suffix)
    if program is not None:
        raise MissingWeightsError(
            f"{weights} is a {program} file: import it first, by `jaxtrack weights import {weights}`"
        )
    places = [Path(weights)]
    if not weights.endswith(store.SUFFIX):
        places = [folder / f"{weights}{store.SUFFIX}" for folder in _folders()]
    found = next((path for path in places if path.is_file()), None)
    if found is not None:
        return found
    _refuse_what_is_none(Path(weights))
    raise MissingWeightsError(f"there are no weights {places[0]}: {_how_to_get(places[0])}")


def _folders() -> tuple[Path, Path]:
    """Where names are looked for: the user's folder, and that of the weights that come with jaxtrack."""
    return Path(os.environ.get(FOLDER_VARIABLE) or "weights"), store.SHIPPED


def _refuse_what_is_none(path: Path) -> None:
    """`UserError` on what is there and no file of weights, or is a path to nothing and so no name."""
    expected = f"expected a {store.SUFFIX} file, or a name that `jaxtrack weights list` shows"
    if path.is_dir():
        inside = [file.name for file in sorted(path.glob(f"*{store.SUFFIX}"))]
        hint = f"name a file in it, {' or '.join(inside[:_NAMES_IN_A_MESSAGE])}" if inside else expected
        raise UserError(f"{path} is a folder, no file of weights: {hint}")
    if path.exists():
        raise UserError(f"{path} is no file of weights: {expected}")
    if path.is_absolute() and path.suffix != store.SUFFIX:
        raise MissingWeightsError(f"there is no file {path}: {expected}")


def chosen_on(sha256: str | None) -> str:
    """The test data on which weights with this sha256 were chosen, as the records among which names are looked for say.

    Empty for weights that were not, that no record there knows, and for None.
    """
    records = (record for folder in _folders() for record in sorted(folder.glob("*.json"))) if sha256 else ()
    for record in records:
        with contextlib.suppress(UserError):
            meta = store.read_meta(record.with_suffix(store.SUFFIX))
            if meta.sha256 == sha256:
                return meta.chosen_on
    return ""


def shipped() -> list[Path]:
    """The files of weights that come with jaxtrack."""
    return sorted(store.SHIPPED.glob(f"*{store.SUFFIX}"))


def _how_to_get(path: Path) -> str:
    """What to do for the weights that trackers know by a name."""
    name = path.stem
    ways = [_by_training(TRAININGS[name])] if name in TRAININGS else []
    row = next((row for row in known.everything() if row.import_as == name), None)
    if row is not None:
        # MDNet's files in PyTorch are called the same, and do not tell of which of two networks they are.
        asked = row.architecture if row.architecture == online.MDNET else ""
        ways.insert(0, f"fetch the published file {row.name} from {row.published_by}, then {_import(path, asked)}")
    if name in NARROW:
        ways.append(f"take the tracker {NARROW[name]}, whose weights come with jaxtrack")
    return ", or ".join(ways) or _how_to_get_others(path)


def _by_training(config: str) -> str:
    """The training of a file of configs/, and what to do with its weights."""
    return (
        f"train them by `python train.py --config configs/{config}.py` and name runs/{config}/{config}{store.SUFFIX} "
        f"{_BY_OPTION}"
    )


def _how_to_get_others(path: Path) -> str:
    """What to do for weights that no table names."""
    name = path.stem
    if name in TRAININGS.values():
        return f"train them by `python train.py --config configs/{name}.py`"
    there = {file.stem for folder in _folders() for file in folder.glob(f"*{store.SUFFIX}")}
    names = there.union((row.import_as for row in known.everything()), TRAININGS)
    close = difflib.get_close_matches(name, sorted(names))
    meant = f"did you mean {' or '.join(close)}? Else " if close else ""
    return (
        f"{meant}fetch one of the published files that `jaxtrack weights list` names, then {_import(path)}, or train "
        f"weights by `python train.py` (docs/training.md) and name the file {_BY_OPTION}"
    )


def _import(path: Path, architecture: str = "") -> str:
    """The command that makes this file out of a published one."""
    asked = f"--architecture {architecture} " if architecture else ""
    return f"`jaxtrack weights import FILE {asked}--name {path.stem} --out {path.parent}`"
