"""Trains a Siamese tracker's network by a config file; resumes where an earlier run of it ended."""

import argparse
import dataclasses
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro
from rich.console import Console

from jaxtrack.commands._tracker_choice import load_config
from jaxtrack.errors import UserError
from jaxtrack.evaluation import provenance
from jaxtrack.training import loop
from jaxtrack.training.config import TrainConfig
from jaxtrack.training.step import TrainState
from jaxtrack.weights import store


@dataclasses.dataclass(frozen=True)
class Options:
    """Trains a Siamese tracker's network on all devices there are.

    Everything about a training is in its config file; options below `--config.` change single values. Killed and
    started again with the same folder, it goes on from the last checkpoint and ends with the same parameters, bit for
    bit. At the end the weights lie in the folder as NAME.safetensors.
    """

    config_file: Annotated[str, tyro.conf.arg(name="config", metavar="FILE")] = "configs/smoke.py"
    """A Python file with a function config() that returns a TrainConfig."""
    out: Path = Path("runs")
    """Where trainings lie; this one in a folder of its name."""
    coordinator: str = ""
    """For several hosts without a cluster's environment: HOST:PORT of the first process."""
    processes: int = 1
    """Number of processes, with --coordinator."""
    process: int = 0
    """Number of this process, with --coordinator."""


def run(argv: Sequence[str], *, prog: str) -> None:
    """Parses a command line, trains, writes the weights."""
    options, config = _parse(argv, prog)
    if options.coordinator:
        jax.distributed.initialize(options.coordinator, options.processes, options.process)
    folder = options.out / config.name
    console = Console()
    progress = _Progress(console, config)
    with loop.stopping_on_sigterm() as stop:
        state = loop.train(config, folder, report=progress, stop=stop)
    if int(state.step) < config.steps:
        console.print(f"stopped at step {int(state.step)} of {config.steps}: the same command goes on from there")
        return
    path = write_weights(config, folder, state)
    console.print(f"weights: {path}", soft_wrap=True, highlight=False)


def write_weights(config: TrainConfig, folder: Path, state: TrainState) -> Path:
    """`<name>.safetensors` and its record in the folder of the training."""
    identity = provenance.canonical(provenance.to_json(config))
    meta = store.Meta(
        architecture=config.architecture,
        source="config.json",
        source_sha256=hashlib.sha256(identity.encode()).hexdigest(),
        note=f"trained by jaxtrack: {config.name}, {int(state.step)} steps",
    )
    return store.save(folder, config.name, {"params": state.params, "batch_stats": state.batch_stats}, meta)


def _parse(argv: Sequence[str], prog: str) -> tuple[Options, TrainConfig]:
    parser = argparse.ArgumentParser(prog=prog, add_help=False, allow_abbrev=False)
    parser.add_argument("--config", default=Options.config_file)
    path = parser.parse_known_args(argv)[0].config
    config = load_config(Path(path))
    if not isinstance(config, TrainConfig):
        raise UserError(f"{path}: config() must return a TrainConfig, not a {type(config).__name__}")
    fields = [("config_", Annotated[TrainConfig, tyro.conf.arg(name="set")], dataclasses.field(default=config))]
    extended = dataclasses.make_dataclass("Options", fields, bases=(Options,), frozen=True)
    parsed: Any = tyro.cli(extended, args=list(argv), prog=prog, description=Options.__doc__)
    return parsed, parsed.config_


class _Progress:
    """Prints a line for each record, and what is left."""

    def __init__(self, console: Console, config: TrainConfig):
        self._console, self._config = console, config
        self._first: tuple[float, int] | None = None

    def __call__(self, record: dict[str, Any]) -> None:
        now = (time.monotonic(), record["step"])
        self._first = self._first or now
        done = now[1] - self._first[1]
        left = (self._config.steps - now[1]) * (now[0] - self._first[0]) / done if done else None
        eta = "-" if left is None else f"{left / 60:.1f} min"
        iou = f"  IoU {record['validation_iou']:.3f}" if "validation_iou" in record else ""
        self._console.print(
            f"{now[1]}/{self._config.steps}  loss {record['loss']:.4f}  rate {record['rate']:.2e}  "
            f"{record['pairs_per_second']:.1f} pairs/s, {record['data_wait']:.0%} waiting for data  ETA {eta}{iou}",
            highlight=False,
            soft_wrap=True,
        )
