"""Programs as StableHLO, in the portable file format of `jax.export`."""

import importlib.util
from collections.abc import Sequence

import jax
import numpy as np
from jax import export

from jaxtrack.errors import UserError
from jaxtrack.export.programs import Program

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")

CALL = """\
import jax.export
from pathlib import Path

template, search = (
    jax.export.deserialize(bytearray(Path(f"{name}.stablehlo").read_bytes())).call for name in ("template", "search")
)
kept = template(z)
cls, loc = search(x, *kept)
"""


def require() -> None:
    """`UserError` unless all is installed that is needed."""
    # JAX leaves it to those who write such files to install what it writes them with.
    if importlib.util.find_spec("flatbuffers") is None:
        raise UserError(
            "writing StableHLO needs the package flatbuffers, which is not installed: pip install flatbuffers"
        )


def check_platforms(platforms: Sequence[str]) -> None:
    """`UserError` unless these are platforms, and among them the one of this process, where the programs are tried."""
    for platform in platforms:
        if platform not in PLATFORMS:
            raise UserError(f"there is no platform {platform!r}: expected some of {', '.join(PLATFORMS)}")
    if here() not in platforms:
        raise UserError(
            f"programs for {', '.join(platforms)} cannot be tried here, where JAX runs on {here()}: add it to them"
        )


def here() -> str:
    """The platform that JAX uses here."""
    return export.default_export_platform()


def write(program: Program, platforms: Sequence[str]) -> bytes:
    """The program, with its weights, lowered for the platforms."""
    exported = export.export(jax.jit(program.function), platforms=platforms)(*program.specs())
    return bytes(exported.serialize())


def run(content: bytes, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Loads what `write` returned and runs it here; raises whatever the loader raises for other bytes."""
    return [np.asarray(array) for array in export.deserialize(bytearray(content)).call(*inputs)]
