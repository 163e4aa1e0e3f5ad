"""A folder of exported programs, written only if they do what the network does.

    template.stablehlo, search.stablehlo    for `jax.export.deserialize`
    template.onnx, search.onnx              for ONNX Runtime and others
    export.json                             what goes in and comes out, how to call them, where the weights are from

All of it is written beside the folder first, read back and run on random images, and becomes the folder at the end.
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxtrack.errors import UserError
from jaxtrack.export import onnx_model, stablehlo
from jaxtrack.export.programs import Pair, Program, programs, reference
from jaxtrack.export.record import describe
from jaxtrack.files import beside, replacing, write_text
from jaxtrack.models.layers import fold_batch_norm
from jaxtrack.models.siamese import Architecture
from jaxtrack.weights.store import Meta

RECORD = "export.json"
# As `difference` measures. Other runtimes add up in another order, which makes 1e-5; programs that are wrong anywhere
# differ by more than 1e-3.
TOLERANCE = 1e-4
# Random images for the comparison, nearly as smooth as photographs are: edges at every pixel, which no training shows
# a network, can make its exponentials overflow.
_SEED, _COARSE_PX, _GREY_LEVELS = 0, 8, (64.0, 192.0)


class Format(NamedTuple):
    """A kind of files: how they are written, run, and called by their users.

    Attributes:
      require: raises `UserError` where a package is not installed.
      write: the content of a program's file, for platforms.
      run: loads such a content and runs it on arrays.
      precision: in which JAX has to multiply for a comparison.
      call: lines of Python that run both programs on images `z` and `x`, in the files' folder.
    """

    require: Callable[[], None]
    write: Callable[[Program, Sequence[str]], bytes]
    run: Callable[[bytes, Sequence[np.ndarray]], list[np.ndarray]]
    precision: str
    call: str


FORMATS: dict[str, Format] = {
    "stablehlo": Format(stablehlo.require, stablehlo.write, stablehlo.run, "default", stablehlo.CALL),
    # ONNX Runtime multiplies in float32 proper; with JAX, some accelerators do so only when told to.
    "onnx": Format(onnx_model.require, onnx_model.write, onnx_model.run, "highest", onnx_model.CALL),
}


class Network(NamedTuple):
    """A network with its weights.

    Attributes:
      architecture: the network.
      variables: its weights, as `jaxtrack.weights.store.load` gives them.
      meta: their record.
      settings: configuration of the tracker, a dataclass, or None if only the network is asked for.
    """

    architecture: Architecture
    variables: dict[str, Any]
    meta: Meta
    settings: Any = None


class Request(NamedTuple):
    """What to export.

    Attributes:
      formats: keys of `FORMATS`.
      platforms: for which StableHLO is lowered; the one that JAX uses here is among them.
      batch: number of templates, and of search regions, at a time.
    """

    formats: tuple[str, ...] = ("stablehlo",)
    platforms: tuple[str, ...] = ("cpu", "cuda", "tpu")
    batch: int = 1


def check(folder: Path, request: Request) -> None:
    """All that can be known without the weights.

    Raises:
      UserError: something needed is not installed, a platform is none or the programs could not be tried on any, or
        the folder is in use.
    """
    for name in request.formats:
        FORMATS[name].require()
    if "stablehlo" in request.formats:
        stablehlo.check_platforms(request.platforms)
    if request.batch < 1:
        raise UserError(f"a batch holds at least 1 image, not {request.batch}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already: choose another folder by --out, or move it away")


def export(network: Network, folder: Path, request: Request) -> dict[str, float]:
    """Writes the programs of a network, and keeps them if they do what it does.

    Returns:
      The greatest difference between the network and what was written, by format (see `difference`).

    Raises:
      UserError: see `check`; also if the folder cannot be written, the network cannot be translated, or what was
        written cannot be run or differs by more than `TOLERANCE`. There is no folder then.
    """
    check(folder, request)
    params = fold_batch_norm(network.variables)
    pair = programs(network.architecture, params, request.batch)
    with _appearing(folder) as unfinished:
        for name in request.formats:
            for program in pair:
                with replacing(unfinished / f"{program.name}.{name}") as file:
                    file.write(FORMATS[name].write(program, request.platforms))
        found = _verify(network.architecture, params, unfinished, request)
        files = {path.name: _sha256(path) for path in sorted(unfinished.iterdir())}
        record = describe(network.architecture, network.meta, pair, network.settings)
        record |= {"files_sha256": files, "formats": {name: _told(name, request, found) for name in found}}
        write_text(unfinished / RECORD, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return found


def difference(expected: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> float:
    """The greatest difference of any two numbers, as a share of the expected one or of the median, whichever is more.

    The median is that of the magnitudes in the same expected array that are not zero: a single huge number there hides
    no difference elsewhere. Infinite where shapes differ or a number is not finite.
    """
    if [array.shape for array in expected] != [array.shape for array in found]:
        return float("inf")
    worst = 0.0
    for right, array in zip(expected, found, strict=True):
        right = right.astype(np.float64)  # in which no difference of two float32 overflows
        shares = np.abs(array - right) / np.maximum(np.abs(right), _median_magnitude(right))
        share = float(np.max(shares, initial=0.0))
        worst = max(worst, share if np.isfinite(share) else float("inf"))
    return worst


def _median_magnitude(array: np.ndarray) -> float:
    """The median magnitude without the zeros, which are half of what a ReLU leaves; 1 if there is nothing else."""
    magnitudes = np.abs(array[array != 0])
    return float(np.median(magnitudes)) if magnitudes.size else 1.0


@contextlib.contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A new folder that takes the name `folder` when all is written, and vanishes after an error."""
    folder = folder.resolve()  # "." has no name
    unfinished = beside(folder)
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        unfinished.replace(folder)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _verify(architecture: Architecture, params: dict[str, Any], folder: Path, request: Request) -> dict[str, float]:
    """The greatest difference by format; `UserError` if one is too great."""
    draw = np.random.default_rng(_SEED)
    z, x = (_images(draw, request.batch, side) for side in (architecture.template_px, architecture.search_px))
    found = {}
    for name in request.formats:
        with jax.default_matmul_precision(FORMATS[name].precision):
            expected = reference(architecture, params, z, x)
        if not all(np.isfinite(array).all() for array in expected):
            raise UserError("the network's own output on random images is not finite: are the weights right?")
        found[name] = difference(expected, _results(name, folder, z, x))
        if not found[name] <= TOLERANCE:
            raise UserError(
                f"the {name} programs differ from the network by {found[name]:.1e} of a number or of its output's "
                f"median, more than {TOLERANCE:.0e}: nothing was written"
            )
    return found


def _images(draw: np.random.Generator, number: int, side: int) -> np.ndarray:
    """Smooth images of moderate contrast, float32 `[number, side, side, 3]` in 0..255."""
    coarse = draw.uniform(*_GREY_LEVELS, (number, _COARSE_PX, _COARSE_PX, 3)).astype(np.float32)
    return np.asarray(jax.image.resize(coarse, (number, side, side, 3), "linear"))


def _results(name: str, folder: Path, z: np.ndarray, x: np.ndarray) -> list[np.ndarray]:
    """All that the two files of a format return, the second fed by the first."""
    run = FORMATS[name].run
    template, search = ((folder / f"{program}.{name}").read_bytes() for program in Pair._fields)
    try:
        kept = run(template, [z])
        return [*kept, *run(search, [x, *kept])]
    # Loaders of two libraries raise many kinds for a file that is not right; all mean that nobody can use it.
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise UserError(
            f"the {name} programs that were written cannot be run ({type(error).__name__}: {reason}): nothing was kept"
        ) from error


def _told(name: str, request: Request, found: dict[str, float]) -> dict[str, Any]:
    """What is true of one format's files."""
    told: dict[str, Any] = {"greatest_difference": found[name], "tolerance": TOLERANCE}
    if name == "stablehlo":
        # Lowered for all of them, run on the one that was here.
        told |= {"platforms": list(request.platforms), "run_on": stablehlo.here()}
    return told | {"python": FORMATS[name].call.splitlines()}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
