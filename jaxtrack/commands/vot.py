"""Prints the section of a tracker for the VOT toolkit's trackers.ini."""

import dataclasses
import inspect
import re
from collections.abc import Sequence
from typing import Annotated, Literal

import tyro

from jaxtrack import trackers
from jaxtrack.commands._options import shown_as
from jaxtrack.errors import MissingWeightsError, UserError
from jaxtrack.integrations.vot import ToolkitTracker, check_sizes
from jaxtrack.weights.places import FOLDER_VARIABLE


@dataclasses.dataclass(frozen=True)
class Options:
    """Prints the section of a tracker for the VOT toolkit's trackers.ini, once the tracker has been built here."""

    tracker: Annotated[str, shown_as("NAME")] = trackers.DEFAULT
    """The tracker (`jaxtrack evaluate --list` has all)."""
    seed: Annotated[int, shown_as("N")] = 0
    """Seed of what the tracker draws at random."""
    warm_up: Annotated[str, shown_as("WxH[,WxH]")] = "640x480"
    """Sizes of images to compile for before the tracker is there; others are compiled for in the first frame."""
    start_box: Literal["area", "enclosing"] = "area"
    """Box that the tracker starts from where the annotation is a polygon: of the polygon's area, or around it."""
    convert: Literal["none", "rectangle"] = "none"
    """What the toolkit makes of annotations: its masks, as in VOTS, must be rectangles."""
    timeout: Annotated[int, shown_as("SECONDS")] = 600
    """How long the toolkit waits for an answer; compiling takes its time."""


def run(argv: Sequence[str], *, prog: str) -> None:
    """Does what the command line `argv` asks for; usage texts call the program `prog`."""
    options = tyro.cli(Options, args=list(argv), prog=prog, description=inspect.getdoc(Options))
    name = trackers.canonical_name(options.tracker)
    if not 0 <= options.seed < 2**31:
        raise UserError(f"--seed must be between 0 and 2147483647, not {options.seed}")
    if options.timeout < 1:
        raise UserError(f"--timeout must be at least 1, not {options.timeout}")
    check_sizes(options.warm_up)
    try:
        trackers.build(name, trackers.default_config(name))
    except MissingWeightsError as error:
        where = f"`jaxtrack vot` has no such option: it takes a file of that name from the folder {FOLDER_VARIABLE}"
        raise UserError(f"{error}; {where}") from error
    print(_section(name, options))


def _section(name: str, options: Options) -> str:
    lines = [
        f"[{re.sub(r'[^A-Za-z0-9_]', '_', name)}]",
        f"label = {name}",
        "protocol = python",
        f"command = {ToolkitTracker.__module__}:{ToolkitTracker.__qualname__}",
        f"arg_tracker = {name}",
        f"arg_seed = {options.seed}",
        f"arg_warm_up = {options.warm_up}",
        f"arg_start_box = {options.start_box}",
        f"timeout = {options.timeout}",
    ]
    return "\n".join(lines + [f"convert = {options.convert}"] * (options.convert != "none"))
