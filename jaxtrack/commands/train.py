"""Trains a tracker's network by a config file; resumes where an earlier run of it ended."""

import argparse
import dataclasses
import functools
import hashlib
import inspect
import os
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from jaxtrack.commands import _trained_tracker
from jaxtrack.commands._options import shown_as
from jaxtrack.commands._tracker_choice import config_path, load_config, option_names, refuse
from jaxtrack.errors import UserError
from jaxtrack.evaluation import provenance
from jaxtrack.evaluation.runner import Entry
from jaxtrack.training import identity, kinds, loop, stopping
from jaxtrack.training.config import Training
from jaxtrack.training.task import TrainState
from jaxtrack.weights import store


@dataclasses.dataclass(frozen=True)
class Options:
    """Trains a tracker's network on all devices there are.

    Everything about a training is in its config file; options that begin with `--set.` change single values. Killed
    and started again with the same folder, it goes on from the last checkpoint and ends with the same parameters, bit
    for bit; Ctrl-C makes it write one first. At the end the weights lie in the folder as NAME.safetensors.
    """

    config: Annotated[str, shown_as("FILE")] = "configs/smoke.py"
    """A Python file with a function config() that returns a training's configuration, such as a TrainConfig; or the
    name of one in configs/."""
    out: Path = Path("runs")
    """Where trainings lie; this one in a folder of its name."""
    export: str = ""
    """Do not train: write the weights of a checkpoint that is there, `best` or its step, as NAME_STEP.safetensors."""
    cpu_devices: int = 0
    """Without an accelerator, how many devices the cores are; 0 makes one of each, as far as the batch divides."""
    coordinator: str = ""
    """For several hosts: HOST:PORT of the first process; or "auto" where JAX finds it out: Slurm, Kubernetes, Open MPI,
    TPU pods."""
    processes: int | None = None
    """How many processes there are, with a coordinator's HOST:PORT."""
    process: int | None = None
    """Number of this process, from 0, with a coordinator's HOST:PORT."""


def run(argv: Sequence[str], *, prog: str) -> None:
    """Parses a command line, trains, writes the weights."""
    options, config = _parse(argv, prog)
    folder = options.out / config.name
    if options.export:
        state = loop.checkpointed(config, folder, options.export)
        _say_weights(Console(), config, write_weights(config, folder, state, f"{config.name}_{int(state.step)}"), prog)
        return
    _make_cpu_devices(options.cpu_devices, config.batch)
    _join(options)
    first = jax.process_index() == 0
    console = Console(quiet=not first)
    with _bar(console) as bar, stopping.stopping_on_signals() as stop:
        progress = _Progress(console, config, bar)
        say = _beginning_with(_devices(options, config), functools.partial(_say, console))
        state = loop.train(config, folder, report=progress, say=say, stop=stop)
    if int(state.step) < config.steps:
        line = f"stopped at step {int(state.step)} of {config.steps}: the same command goes on from there"
        if stop.interrupted:
            raise KeyboardInterrupt(line)
        _say(console, line)
    elif first:
        _say_weights(console, config, write_weights(config, folder, state, config.name), prog)


def _say(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True, highlight=False, markup=False)


def _say_weights(console: Console, config: Training, path: Path, prog: str) -> None:
    """Where the weights are, and what to do with them."""
    _say(console, f"weights: {path}")
    _say(console, f"evaluate them: {_trained_tracker.command(config, path, prog)}")


def _devices(options: Options, config: Training) -> str:
    """What a batch is shared out over, and whether cores are left out."""
    count, cores = jax.device_count(), _cores()
    each = f"each takes {config.batch / count:g} of the {config.batch} {config.counted} of a step"
    line = f"devices: {count} x {jax.devices()[0].device_kind}, {each}"
    chosen = options.cpu_devices or "JAX_NUM_CPU_DEVICES" in os.environ
    if chosen or jax.default_backend() != "cpu" or count >= cores:
        return line
    sizes = [size for size in (config.batch // cores * cores, -(-config.batch // cores) * cores) if size]
    return f"{line}; a batch of {' or '.join(map(str, sizes))} would use all of the {cores} cores"


def _beginning_with(line: str, say: Callable[[str], None]) -> Callable[[str], None]:
    """`say`, with a line before the first that is said: a training that is refused, or has ended, says nothing."""
    before = [line]

    def both(text: str) -> None:
        while before:
            say(before.pop())
        say(text)

    return both


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _make_cpu_devices(wanted: int, batch: int) -> None:
    """Splits the cores into devices, which keeps all of them busy in what one program does one after the other."""
    if not wanted and "JAX_NUM_CPU_DEVICES" in os.environ:
        return
    count = wanted or max(n for n in range(1, _cores() + 1) if batch % n == 0)
    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:  # somebody has used JAX in this process before
        if wanted:
            raise UserError("--cpu-devices comes too late: JAX is in use already in this process") from None


def write_weights(config: Training, folder: Path, state: TrainState, name: str) -> Path:
    """`<name>.safetensors` and its record in the folder of the training, whose config.json is their source."""
    # The folder's own: fields that are not compared may have changed, and newer ones come, since it was written.
    trained_by = identity.configuration(folder) or provenance.to_json(config)
    meta = store.Meta(
        architecture=config.architecture,
        source="config.json",
        source_sha256=hashlib.sha256(provenance.canonical(trained_by).encode()).hexdigest(),
        note=f"trained by jaxtrack: {config.name}, {int(state.step)} steps",
        config=trained_by,
    )
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    return store.save(folder, name, loop.make_recipe(config).stored(variables), meta)


def _join(options: Options) -> None:
    """Makes this process one of several, if the options say so; `UserError` where they do not fit together."""
    counted = (options.processes, options.process) != (None, None)
    if options.coordinator == "auto":
        if counted:
            raise UserError("--coordinator auto finds out --processes and --process: leave them out, or give HOST:PORT")
        try:
            jax.distributed.initialize(**_devices_of_cluster())
        except ValueError as error:
            raise UserError(
                f"--coordinator auto: JAX does not know this cluster ({error}): give HOST:PORT of the first process"
            ) from error
    elif options.coordinator:
        place = _place(options)
        # Where JAX finds the variables of Slurm or Open MPI, it would use one device of this host's.
        jax.distributed.initialize(options.coordinator, *place, cluster_detection_method="deactivate")
    elif counted:
        raise UserError(
            "--processes and --process need --coordinator, HOST:PORT of the first process: without it each would train "
            "alone in the same folder"
        )


def _place(options: Options) -> tuple[int, int]:
    """Number of processes and number of this one, with a coordinator's HOST:PORT."""
    host, _, port = options.coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(
            f"--coordinator must be auto, or HOST:PORT of the first process as in node1:1234, not {options.coordinator}"
        )
    count, number = options.processes, options.process
    if count is None or number is None:
        raise UserError(
            "--coordinator HOST:PORT needs --processes, how many there are, and --process, the number of this one"
        )
    if not 0 <= number < count:
        raise UserError(f"--process counts from 0 to below --processes: {number} of {count} cannot be")
    return count, number


def _devices_of_cluster() -> dict[str, Any]:
    """What makes a process that is alone on its host use all devices there.

    Under Slurm and Open MPI, for which JAX looks in this order, it gives each process the one device of its rank on the
    host, and a process for each host would leave the others idle.
    """
    known = os.environ
    if "OMPI_COMM_WORLD_LOCAL_SIZE" in known:
        alone = known["OMPI_COMM_WORLD_LOCAL_SIZE"] == "1"
    else:
        alone = "SLURM_NTASKS" in known and known["SLURM_NTASKS"] == known.get("SLURM_STEP_NUM_NODES")
    return {"local_device_ids": []} if alone and "JAX_LOCAL_DEVICE_IDS" not in known else {}


def _parse(argv: Sequence[str], prog: str) -> tuple[Options, Training]:
    """The options, and the configuration of the file that they name with the values that they change."""
    parser = argparse.ArgumentParser(prog=prog, add_help=False, allow_abbrev=False)
    parser.add_argument("--config", default=Options.config)
    path = config_path(parser.parse_known_args(argv)[0].config)
    config = load_config(path)
    if not isinstance(config, tuple(kinds.KINDS)):
        known = " or a ".join(kind.__name__ for kind in kinds.KINDS)
        raise UserError(f"{path}: config() must return a {known}, not a {type(config).__name__}")
    # The config file chooses of what kind source and labels are; options change what that kind has.
    kind = Annotated[type(config), tyro.conf.arg(name="set"), tyro.conf.AvoidSubcommands]
    extended = dataclasses.make_dataclass(
        "Options", [("set_", kind, dataclasses.field(default=config))], bases=(Options,), frozen=True
    )
    with warnings.catch_warnings():
        # A source of somebody's own is not among those that the configuration names.
        warnings.filterwarnings("ignore", ".*does not match any type in Union", UserWarning)
        parsed, unknown = tyro.cli(
            extended, args=list(argv), prog=prog, description=inspect.getdoc(Options), return_unknown_args=True
        )
    if unknown:
        refuse(unknown[0], option_names(Options, [Entry("set", "", config)]), prog)
    return parsed, parsed.set_


_TITLES = {"iou": "IoU", "auc": "AUC"}


def _bar(console: Console) -> Progress:
    """What stands below the lines on a terminal, and nowhere else."""
    columns = (TextColumn("steps"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    return Progress(*columns, console=console, transient=True, disable=console.quiet or not console.is_terminal)


class _Progress:
    """Prints a line for each record, and what is left; below them moves a bar."""

    def __init__(self, console: Console, config: Training, bar: Progress):
        self._console, self._config, self._bar = console, config, bar
        self._first: tuple[float, int] | None = None
        self._task = bar.add_task("", total=config.steps)

    def __call__(self, record: dict[str, Any]) -> None:
        now = (time.monotonic(), record["step"])
        self._first = self._first or now
        done = now[1] - self._first[1]
        left = (self._config.steps - now[1]) * (now[0] - self._first[0]) / done if done else None
        eta = "-" if left is None else f"{left / 60:.1f} min"
        # What is not finite stands as text in a record.
        counted, measure = self._config.counted, self._config.measure
        measured = record.get(f"validation_{measure}")
        validation = "" if measured is None else f"  {_TITLES.get(measure, measure)} {float(measured):.3f}"
        speed = (
            f"{record[f'{counted}_per_second']:.1f} {counted}/s, {record['data_wait']:.0%} waiting for data  ETA {eta}"
        )
        self._bar.update(self._task, completed=now[1], description=speed)
        self._console.print(
            f"{now[1]}/{self._config.steps}  loss {record['loss']:.4f}  rate {record['rate']:.2e}  {speed}{validation}",
            highlight=False,
            soft_wrap=True,
        )
