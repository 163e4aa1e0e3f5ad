"""Writes the two networks of a Siamese tracker, with their weights, as StableHLO or ONNX for other programs."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from jaxtrack import trackers
from jaxtrack.commands._options import shown_as
from jaxtrack.commands._tracker_choice import split_list
from jaxtrack.data.naming import match_name
from jaxtrack.errors import MissingWeightsError, UserError
from jaxtrack.export import folder
from jaxtrack.export.folder import FORMATS, RECORD, TOLERANCE, Network, Request
from jaxtrack.models.siamese import ARCHITECTURES
from jaxtrack.trackers import siamese, transt
from jaxtrack.weights import places, published, store


@dataclasses.dataclass(frozen=True)
class Options:
    """The command line."""

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(name="source", metavar="TRACKER|FILE")]
    """A Siamese tracker whose weights have been imported, or a .safetensors file of imported weights."""
    out: Annotated[Path, shown_as("DIR")]
    """Folder of the files written; it must not be there yet, or be empty."""
    format: Literal["stablehlo", "onnx", "both"] = "stablehlo"
    """Kind of the files."""
    platforms: str = ",".join(Request().platforms)
    """What StableHLO is to run on, separated by commas: cpu, cuda, rocm, tpu."""
    batch: int = 1
    """Number of templates, and of search regions, at a time."""


def run(argv: Sequence[str], *, prog: str) -> None:
    """Does what the command line `argv` asks for; usage texts call the program `prog`."""
    options = tyro.cli(Options, args=list(argv), prog=prog, description=__doc__)
    formats = tuple(FORMATS) if options.format == "both" else (options.format,)
    request = Request(formats, split_list(options.platforms, "platform"), options.batch)
    folder.check(options.out, request)
    network = _network(options.source)
    found = folder.export(network, options.out, request)
    for path in sorted(options.out.iterdir()):
        _say(f"{path}: {path.stat().st_size:,} bytes")
    for name, difference in found.items():
        _say(
            f"{name}: run on the same images as the network, the greatest difference is {difference:.1e} of a "
            f"number or of its output's median (allowed: {TOLERANCE:.0e})"
        )
    _say(f"{options.out / RECORD} tells what goes in and comes out, and how to call them")


def _network(source: str) -> Network:
    """The weights, and the tracker's settings where one is named."""
    settings = None
    path = Path(source)
    if path.suffix in published.PROGRAMS:
        places.locate(source)  # which says what to do with it first
    if path.suffix != store.SUFFIX:
        configs = {**siamese.CONFIGS, **transt.CONFIGS}
        settings = configs[match_name(source, configs, what="Siamese tracker or .safetensors file")]
        try:
            path = trackers.weights_file(settings)
        except MissingWeightsError as error:
            raise UserError(f"{error}; `jaxtrack export` takes such a file in the tracker's place") from error
        assert path is not None  # Siamese trackers have a file
    variables, meta = store.load(path)
    if meta.architecture not in ARCHITECTURES:
        raise UserError(f"{path} is a backbone alone, {meta.architecture}: only whole trackers are exported")
    return Network(ARCHITECTURES[meta.architecture], variables, meta, settings)


def _say(line: str) -> None:
    Console().print(line, markup=False, highlight=False, soft_wrap=True)
