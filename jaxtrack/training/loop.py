"""The loop of a training: batches, steps, checkpoints, records; killed at any moment, it goes on where it was."""

import contextlib
import dataclasses
import itertools
import json
import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from jaxtrack import files
from jaxtrack.compilation import Program
from jaxtrack.errors import UserError
from jaxtrack.evaluation import provenance
from jaxtrack.models import siamese
from jaxtrack.training import optimiser, sources, validation
from jaxtrack.training.checkpoints import Checkpoints
from jaxtrack.training.config import TrainConfig
from jaxtrack.training.labels import AnchorLabels, EllipseLabels
from jaxtrack.training.logs import Log
from jaxtrack.training.optimiser import Stage, Updates
from jaxtrack.training.step import Recipe, TrainState, make_step, on_all_hosts
from jaxtrack.weights import store

Report = Callable[[dict[str, Any]], None]
RECORD_STEPS = 20  # the means of so many steps are a record


@dataclasses.dataclass
class Stop:
    """Whether somebody wants the training to end early; it saves first."""

    asked: bool = False


@contextlib.contextmanager
def stopping_on_sigterm() -> Iterator[Stop]:
    """Inside, SIGTERM (what clusters send before they take a machine back) asks the training to stop."""
    stop = Stop()

    def ask(*_: Any) -> None:
        stop.asked = True

    before = signal.signal(signal.SIGTERM, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)


def train(
    config: TrainConfig,
    folder: Path,
    *,
    devices: Sequence[Any] | None = None,
    report: Report = lambda record: None,
    stop: Stop | None = None,
) -> TrainState:
    """Trains, or goes on with the training whose checkpoints lie in `folder`, and returns the last state.

    Args:
      config: what to train.
      folder: for `config.json`, `checkpoints`, `log.jsonl` and `log.csv`.
      devices: by default all of this and the other processes.
      report: called with every record of the log.
      stop: may ask for an early end.

    Raises:
      UserError: the batch does not divide over the devices; the folder belongs to another training; a checkpoint is
        damaged or cannot be written; a loss or gradient is not finite.
    """
    devices = list(devices or jax.devices())
    _check_devices(config, len(devices))
    recipe = make_recipe(config)
    _claim(folder, config)
    best = "iou" if config.validation_pairs else None
    with contextlib.closing(Checkpoints(folder / "checkpoints", keep=config.keep, best=best)) as checkpoints:
        state, stage = _resume(config, recipe, checkpoints) or first_state(config, recipe)
        log = Log(folder, int(state.step))
        run = _Run(config, recipe, devices, checkpoints, log, validator(config, recipe), report, stop or Stop())
        for current in itertools.dropwhile(lambda s: s.name != stage.name, _stages(config)):
            state = run.stage(current, state)
            if int(state.step) < run.last_step(current):
                break
    return state


def make_recipe(config: TrainConfig) -> Recipe:
    """What the steps of a training are made of; `UserError` where parts of the configuration do not fit."""
    if config.architecture not in siamese.ARCHITECTURES:
        known = ", ".join(sorted(siamese.ARCHITECTURES))
        raise UserError(f"there is no architecture {config.architecture!r}: choose one of {known}")
    architecture = siamese.ARCHITECTURES[config.architecture]
    fitting = AnchorLabels if architecture.kind == "anchors" else EllipseLabels
    if not isinstance(config.labels, fitting):
        raise UserError(
            f"{config.architecture} has {architecture.kind}: its labels must be {fitting.__name__}, "
            f"not {type(config.labels).__name__}"
        )
    source = config.source
    if config.validation_pairs and isinstance(source, sources.Disk) and not source.validation_folders:
        raise UserError("validation_pairs needs validation_folders in the source: name some, or set it to 0")
    return Recipe(
        architecture,
        config.source.pairs,
        config.labels,
        config.objective,
        config.sync_norm,
        config.normalisation == "per_device",
    )


def _check_devices(config: TrainConfig, count: int) -> None:
    if config.batch % count:
        sizes = sorted({max(config.batch // count, 1) * count, (config.batch // count + 1) * count})
        near = " or ".join(map(str, sizes))
        raise UserError(f"a batch of {config.batch} does not divide over {count} devices: take {near}")
    wanted = config.reference_devices
    if config.normalisation == "per_device" and wanted and wanted != count:
        raise UserError(
            f"{config.name} sums the gradients of {wanted} devices, as its reference does, and there are {count}: "
            'train with normalisation "mean", or set reference_devices to 0 to sum those that there are'
        )


def _claim(folder: Path, config: TrainConfig) -> None:
    """Writes the configuration into the folder, or compares with that of the checkpoints that are there."""
    path = folder / "config.json"
    mine = provenance.to_json(config)
    if path.is_file() and any(entry.name.isdigit() for entry in (folder / "checkpoints").glob("*")):
        difference = provenance.differences(json.loads(path.read_text()), mine)
        if difference:
            raise UserError(
                f"{folder} holds a training with another configuration ({difference}): choose another folder"
            )
    elif jax.process_index() == 0:
        files.write_text(path, json.dumps(mine, indent=1) + "\n")
        files.write_text(folder / "environment.json", json.dumps(provenance.environment(), indent=1) + "\n")


def initial_variables(config: TrainConfig, recipe: Recipe) -> Any:
    """The variables that a training starts from: those of a file, or drawn by its seed what the file does not hold."""
    if not config.start:
        return _drawn_variables(config, recipe)
    loaded, meta = store.load(store.locate(config.start))
    loaded = jax.tree.map(jnp.asarray, loaded)
    if meta.architecture == config.architecture:
        return loaded
    if meta.architecture in siamese.BACKBONES:
        drawn = _drawn_variables(config, recipe)
        started = {kind: _with_backbone(part, loaded[kind]["backbone"]) for kind, part in drawn.items()}
        if jax.tree.map(jnp.shape, started) == jax.tree.map(jnp.shape, drawn):
            return started
    raise UserError(f"{config.start} holds {meta.architecture}, the training is of {config.architecture}")


def _with_backbone(variables: Any, backbone: Any) -> Any:
    """Variables whose backbone is that of a file, which may have more parts than the network needs."""
    return {**variables, "backbone": {name: backbone.get(name) for name in variables["backbone"]}}


def _drawn_variables(config: TrainConfig, recipe: Recipe) -> Any:
    network = siamese.build(recipe.architecture)
    sides = (recipe.architecture.template_px, recipe.architecture.search_px)
    images = [jnp.zeros((1, side, side, 3)) for side in sides]
    return Program(network.init)(jax.random.key(config.seed), *images)


def first_state(config: TrainConfig, recipe: Recipe) -> tuple[TrainState, Stage]:
    """The state that a training begins with, and its first stage."""
    stage = _stages(config)[0]
    variables = initial_variables(config, recipe)
    unknown = sorted(set(config.optimiser.trained_backbone) - set(variables["params"]["backbone"]))
    if unknown:
        there = ", ".join(sorted(variables["params"]["backbone"]))
        raise UserError(
            f"trained_backbone names {', '.join(unknown)}, which the backbone of {config.architecture} does not have: "
            f"its parts are {there}"
        )
    return _fresh(config, stage, jnp.int32(0), variables), stage


def _fresh(config: TrainConfig, stage: Stage, step: Any, variables: Any) -> TrainState:
    """A state at the beginning of a stage."""
    trained = optimiser.trained(variables["params"], stage)
    return TrainState(  # type: ignore[call-arg]
        step=jnp.asarray(step, jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        optimiser=updates_of(config, stage).init(trained),
        key=jax.random.key(config.seed),
    )


def updates_of(config: TrainConfig, stage: Stage) -> Updates:
    """The optimiser of a stage."""
    return Updates(config.optimiser, stage, config.epochs, config.steps_per_epoch)


def _stages(config: TrainConfig) -> tuple[Stage, ...]:
    return optimiser.stages(config.optimiser, config.epochs, config.steps_per_epoch)


def _resume(config: TrainConfig, recipe: Recipe, checkpoints: Checkpoints) -> tuple[TrainState, Stage] | None:
    """The newest checkpoint's state and stage; None where there is none."""
    if not checkpoints.steps:
        return None
    step = checkpoints.steps[-1]
    stage = next(s for s in _stages(config) if s.name == checkpoints.stage(step))
    return checkpoints.load(step, _like(config, recipe, stage.name)), stage


def checkpointed(config: TrainConfig, folder: Path, which: str) -> TrainState:
    """The state of a checkpoint of the training in `folder`: `best`, by validation, or the one of a step."""
    if not (folder / "checkpoints").is_dir():
        raise UserError(f"{folder} holds no training: there are no checkpoints to export")
    with contextlib.closing(Checkpoints(folder / "checkpoints", keep=None)) as checkpoints:
        step = checkpoints.find(which)
        return checkpoints.load(step, _like(config, make_recipe(config), checkpoints.stage(step)))


def _like(config: TrainConfig, recipe: Recipe, stage_name: str) -> TrainState:
    """The shapes of a state in a stage."""
    stage = next(s for s in _stages(config) if s.name == stage_name)
    shapes = siamese.shapes(recipe.architecture)
    return jax.eval_shape(
        lambda: _fresh(config, stage, jnp.int32(0), jax.tree.map(lambda s: jnp.zeros(s.shape), shapes))
    )


def _finish(state: TrainState) -> None:
    """Waits for the steps under way.

    What comes next may compile a program. On a CPU that takes the threads with which devices wait for one another, and
    XLA aborts the process if they wait for long.
    """
    jax.block_until_ready(state.params)


def validator(config: TrainConfig, recipe: Recipe) -> Callable[[TrainState], dict[str, float]]:
    """The function that measures a state on the pairs of the validation split."""
    if not config.validation_pairs:
        return lambda state: {}
    held_out = dataclasses.replace(config.source, split="validation")
    batch = min(config.batch, config.validation_pairs)
    count = math.ceil(config.validation_pairs / batch)

    def measure(variables: Any, items: Any, numbers: jax.Array) -> dict[str, jax.Array]:
        keys = jax.vmap(lambda number: jax.random.fold_in(jax.random.key(0), number))(numbers)
        return validation.pair_measures(recipe, variables, held_out.pairs(items), keys)

    program = Program(measure)

    def run(state: TrainState) -> dict[str, float]:
        # On one device: arrays that span several would have each of them do the same.
        variables = jax.device_put({"params": state.params, "batch_stats": state.batch_stats}, jax.local_devices()[0])
        with contextlib.closing(held_out.batches(0, batch, 0, 1)) as batches:
            parts = [
                program(variables, items, sources.sample_numbers(i, batch, 0, 1))
                for i, items in enumerate(itertools.islice(batches, count))
            ]
        whole = jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[: config.validation_pairs], *parts)
        return validation.summary(whole)

    return run


@dataclasses.dataclass(frozen=True)
class _Run:
    """A training under way: all that its stages share."""

    config: TrainConfig
    recipe: Recipe
    devices: list[Any]
    checkpoints: Checkpoints
    log: Log
    validate: Callable[[TrainState], dict[str, float]]
    report: Report
    stop: Stop

    def stage(self, stage: Stage, state: TrainState) -> TrainState:
        """The steps of a stage from where `state` is."""
        config, last_step = self.config, self.last_step(stage)
        step, stopping = int(state.step), False
        if step == stage.first_step:
            # A stage starts with an optimiser of its own: as in the references, momentum is lost.
            state = _fresh(config, stage, state.step, {"params": state.params, "batch_stats": state.batch_stats})
        if jax.process_count() > 1:
            state = on_all_hosts(state, self.devices)
        program = make_step(self.recipe, stage, updates_of(config, stage), self.devices)
        place = (config.batch, jax.process_index(), jax.process_count())
        window = Window(config, step)
        with contextlib.closing(config.source.batches(step, *place)) as batches:
            while step < last_step and not stopping:
                with window.waiting():
                    items = jax.tree.map(self._split, next(batches))
                state, metrics = program(state, items, self._split(sources.sample_numbers(step, *place)))
                step += 1
                window.add(step, metrics)
                stopping = self._stopping(step)
                saving = step % config.checkpoint_steps == 0 or step == last_step
                if step % RECORD_STEPS == 0 or saving or stopping:
                    _finish(state)
                    # Whoever asks to stop may not wait for a validation.
                    measures = self.validate(state) if saving and not stopping else {}
                    self._record(window, measures)
                    if saving or stopping:
                        self.checkpoints.save(state, stage.name, measures or None)
                    window = Window(config, step)
        return state

    def last_step(self, stage: Stage) -> int:
        """The step that a stage ends with."""
        later = [s.first_step for s in _stages(self.config) if s.first_step > stage.first_step]
        return min([*later, self.config.steps])

    def _stopping(self, step: int) -> bool:
        """Whether the training ends after this step; all processes must say the same."""
        if jax.process_count() == 1:
            return self.stop.asked
        return step % RECORD_STEPS == 0 and bool(np.any(multihost_utils.process_allgather(np.asarray(self.stop.asked))))

    def _split(self, leaf: np.ndarray) -> np.ndarray:
        """This process's share of a batch, `[device, sample, ...]`."""
        local = sum(device.process_index == jax.process_index() for device in self.devices)
        return leaf.reshape(local, -1, *leaf.shape[1:])

    def _record(self, window: "Window", measures: dict[str, float]) -> None:
        self.log.write({**window.record(), **{f"validation_{name}": value for name, value in measures.items()}})
        self.report(self.log.records[-1])


class Window:
    """The steps since the last record: their metrics and their time."""

    def __init__(self, config: TrainConfig, step: int):
        self._config, self._first, self._step = config, step, step
        self._metrics: list[dict[str, jax.Array]] = []
        self._start, self._waited = time.perf_counter(), 0.0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time inside as waiting for data."""
        start = time.perf_counter()
        yield
        self._waited += time.perf_counter() - start

    def add(self, step: int, metrics: dict[str, jax.Array]) -> None:
        """Takes the metrics of a step; those of the one before are looked at, so that the device never waits."""
        self._step = step
        self._metrics.append(metrics)
        if len(self._metrics) > 1:
            self._check(step - 1, self._metrics[-2])

    def _check(self, step: int, metrics: dict[str, jax.Array]) -> None:
        wrong = [name for name, value in metrics.items() if not math.isfinite(float(value))]
        if wrong:
            numbers = (step - 1) * self._config.batch
            raise UserError(
                f"step {step}: {', '.join(wrong)} not finite, in the samples {numbers} to "
                f"{numbers + self._config.batch - 1}; the last checkpoint is from before: lower the rate or look at "
                "these samples"
            )

    def record(self) -> dict[str, Any]:
        """The record of the steps: means, rate, speed, share of time spent waiting for data."""
        self._check(self._step, self._metrics[-1])
        config = self._config
        rate = optimiser.rate_at(config.optimiser, config.epochs, config.steps_per_epoch, jnp.int32(self._step - 1))
        means = {name: float(np.mean([float(m[name]) for m in self._metrics])) for name in self._metrics[0]}
        seconds = time.perf_counter() - self._start
        steps = self._step - self._first
        return {
            "step": self._step,
            "epoch": (self._step - 1) // config.steps_per_epoch,
            "rate": float(rate),
            **means,
            "pairs_per_second": steps * config.batch / seconds,
            "data_wait": self._waited / seconds,
        }
