"""The loop of a training: batches, steps, checkpoints, records; killed at any moment, it goes on where it was."""

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from jaxtrack import files
from jaxtrack.compilation import Program, compiling
from jaxtrack.errors import UserError
from jaxtrack.training import identity, optimiser, sources
from jaxtrack.training.checkpoints import Checkpoints
from jaxtrack.training.config import Training
from jaxtrack.training.keys import seed_key
from jaxtrack.training.kinds import make_recipe, validator
from jaxtrack.training.logs import Log
from jaxtrack.training.optimiser import Stage, Updates
from jaxtrack.training.step import local, make_step, on_all_hosts, split
from jaxtrack.training.stopping import Stop
from jaxtrack.training.task import Task, TrainState
from jaxtrack.training.window import Window
from jaxtrack.weights import places, store

Report = Callable[[dict[str, Any]], None]
Say = Callable[[str], None]
RECORD_STEPS = 20  # the means of so many steps are a record
LOCK = ".lock"  # the file that is there while a training runs in its folder


def train(
    config: Training,
    folder: Path,
    *,
    devices: Sequence[Any] | None = None,
    report: Report = lambda record: None,
    say: Say = lambda line: None,
    stop: Stop | None = None,
) -> TrainState:
    """Trains, or goes on with the training whose checkpoints lie in `folder`, and returns the last state.

    Args:
      config: what to train.
      folder: for `checkpoints`, `log.jsonl`, `log.csv` and, from the first step on, `config.json` and what
        `jaxtrack.training.identity` has beside it.
      devices: by default all of this and the other processes.
      report: called with every record of the log.
      say: called with a line about what takes long, and with warnings.
      stop: may ask for an early end.

    Raises:
      UserError: the batch does not divide over the devices; the folder belongs to another training, or one runs there
        now; a checkpoint is damaged or cannot be written; a loss or gradient is not finite.
    """
    devices = list(devices or jax.devices())
    config.check_devices(len(devices))
    recipe = make_recipe(config)
    with _claimed(folder, config) as begin, contextlib.ExitStack() as opened:
        for warning in getattr(config.source, "warnings", list)():
            say(f"warning: {warning}")
        checkpoints = opened.enter_context(_opened(config, folder / "checkpoints"))
        state, stage = _beginning(config, recipe, checkpoints, say)
        log = opened.enter_context(contextlib.closing(Log(folder, int(state.step))))
        validate = validator(config, recipe, devices, functools.partial(say, compiling("the validation")))
        run = _Run(config, recipe, devices, checkpoints, log, validate, report, say, stop or Stop(), begin)
        run.catch_up(state)
        for current in itertools.dropwhile(lambda s: s.name != stage.name, _stages(config)):
            state, stopped = run.stage(current, state)
            if stopped:
                break
    return state


@contextlib.contextmanager
def _claimed(folder: Path, config: Training) -> Iterator[Callable[[], None]]:
    """Refuses a folder of another training, or one in which one runs; what it gives makes the folder this one's.

    Nothing stays behind of a training that fails before its first step.
    """
    inputs = identity.inputs_of(config)
    first = jax.process_index() == 0

    def begin() -> None:
        if first:
            identity.write(folder, config, inputs)

    taken = f"another training runs in {folder}: wait until it has ended, or choose another folder"
    try:
        # The other processes of a training share its folder.
        with files.locked(folder / LOCK, taken) if first else contextlib.nullcontext():
            identity.check(folder, config, inputs)
            yield begin
    finally:
        _remove_if_empty(folder)


@contextlib.contextmanager
def _opened(config: Training, folder: Path) -> Iterator[Checkpoints]:
    """The checkpoints of a training."""
    kept: dict[str, Any] = {"keep": config.keep, "best": config.best, "always": config.kept_steps}
    try:
        with contextlib.closing(Checkpoints(folder, clean=True, **kept)) as found:
            yield found
    finally:
        _remove_if_empty(folder)


def _remove_if_empty(folder: Path) -> None:
    if jax.process_index() == 0:
        with contextlib.suppress(OSError):  # it is not empty
            folder.rmdir()


def initial_variables(config: Training, recipe: Task) -> Any:
    """The variables that a training starts from: those of a file, or drawn by its seed what the file does not hold."""
    if not config.start:
        return _drawn_variables(config, recipe)
    loaded, meta = store.load(places.locate(config.start))
    loaded = jax.tree.map(jnp.asarray, loaded)
    if meta.architecture == config.architecture:
        return recipe.completed(loaded, lambda: _drawn_variables(config, recipe))
    if meta.architecture in recipe.backbones:
        drawn = _drawn_variables(config, recipe)
        started = {kind: _with_backbone(part, loaded.get(kind)) for kind, part in drawn.items()}
        if jax.tree.map(jnp.shape, started) == jax.tree.map(jnp.shape, drawn):
            return started
    raise UserError(f"{config.start} holds {meta.architecture}, the training is of {config.architecture}")


def _with_backbone(variables: Any, loaded: Any) -> Any:
    """Variables with the backbone of a file, which may have more parts than the network needs."""
    if "backbone" not in variables:
        return variables
    return {**variables, "backbone": {name: loaded["backbone"].get(name) for name in variables["backbone"]}}


def _drawn_variables(config: Training, recipe: Task) -> Any:
    return Program(recipe.draw)(seed_key(config.seed))


def first_state(config: Training, recipe: Task) -> tuple[TrainState, Stage]:
    """The state that a training begins with, and its first stage."""
    _check_parts(config, recipe)
    stage = _stages(config)[0]
    return _fresh(config, stage, jnp.int32(0), initial_variables(config, recipe)), stage


def _check_parts(config: Training, recipe: Task) -> None:
    there = recipe.shapes()["params"]["backbone"]
    unknown = sorted(set(config.optimiser.trained_backbone) - set(there))
    if unknown:
        raise UserError(
            f"trained_backbone names {', '.join(unknown)}, which the backbone of {config.architecture} does not have: "
            f"its parts are {', '.join(sorted(there))}"
        )


def _fresh(config: Training, stage: Stage, step: Any, variables: Any) -> TrainState:
    """A state at the beginning of a stage."""
    trained = optimiser.trained(variables["params"], stage)
    return TrainState(  # type: ignore[call-arg]
        step=jnp.asarray(step, jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        optimiser=updates_of(config, stage).init(trained),
        key=seed_key(config.seed),
    )


def updates_of(config: Training, stage: Stage) -> Updates:
    """The optimiser of a stage."""
    return Updates(config.optimiser, stage, config.epochs, config.steps_per_epoch)


def _stages(config: Training) -> tuple[Stage, ...]:
    return optimiser.stages(config.optimiser, config.epochs, config.steps_per_epoch)


def _beginning(config: Training, recipe: Task, checkpoints: Checkpoints, say: Say) -> tuple[TrainState, Stage]:
    """The state to go on from, and its stage."""
    resumed = _resume(config, recipe, checkpoints)
    if resumed is None:
        _check_parts(config, recipe)
        if config.start:
            places.locate(config.start)
        say(f"making the first parameters of {config.architecture}")
        return first_state(config, recipe)
    if int(resumed[0].step) < config.steps:
        say(f"going on from step {int(resumed[0].step)}")
    return resumed


def _resume(config: Training, recipe: Task, checkpoints: Checkpoints) -> tuple[TrainState, Stage] | None:
    """The newest checkpoint's state and stage; None where there is none."""
    if not checkpoints.steps:
        return None
    step = checkpoints.steps[-1]
    stage = next(s for s in _stages(config) if s.name == checkpoints.stage(step))
    return checkpoints.load(step, _like(config, recipe, stage.name)), stage


def checkpointed(config: Training, folder: Path, which: str) -> TrainState:
    """The state of a checkpoint of the training in `folder`: `best`, by validation, or the one of a step.

    Raises:
      UserError: there is none, or it is damaged; the training is one of another configuration.
    """
    if not (folder / "checkpoints").is_dir():
        raise UserError(f"{folder} holds no training: there are no checkpoints to export, or they lie in another --out")
    identity.check(folder, config, {})  # the data need not be there
    with contextlib.closing(Checkpoints(folder / "checkpoints", keep=None, best=config.best)) as checkpoints:
        if which != "best" and not which.isdecimal():
            there = ", ".join(map(str, checkpoints.steps)) or "none"
            raise UserError(
                f"--export takes best, the checkpoint of the best validation, or a step, not {which}: there are {there}"
            )
        step = checkpoints.find(which)
        return checkpoints.load(step, _like(config, make_recipe(config), checkpoints.stage(step)))


def _like(config: Training, recipe: Task, stage_name: str) -> TrainState:
    """The shapes of a state in a stage."""
    stage = next(s for s in _stages(config) if s.name == stage_name)
    shapes = recipe.shapes()
    return jax.eval_shape(
        lambda: _fresh(config, stage, jnp.int32(0), jax.tree.map(lambda s: jnp.zeros(s.shape), shapes))
    )


def _finish(state: TrainState) -> None:
    """Waits for the steps under way.

    What comes next may compile a program. On a CPU that takes the threads with which devices wait for one another, and
    XLA aborts the process if they wait for long.
    """
    jax.block_until_ready(state.params)


@dataclasses.dataclass(frozen=True)
class _Run:
    """A training under way: all that its stages share."""

    config: Training
    recipe: Task
    devices: list[Any]
    checkpoints: Checkpoints
    log: Log
    validate: Callable[[TrainState], dict[str, float]]
    report: Report
    say: Say
    stop: Stop
    begin: Callable[[], None]

    def stage(self, stage: Stage, state: TrainState) -> tuple[TrainState, bool]:
        """The steps of a stage from where `state` is: the last state, and whether the training ends with it."""
        step, last_step, stopping = int(state.step), self.last_step(stage), False
        if step >= last_step:
            return state, False
        place = (self.config.batch, jax.process_index(), jax.process_count())
        own = len(local(self.devices))
        state, program = self._entered(stage, state)
        window = Window(self.config, step)
        with contextlib.closing(self.config.source.batches(step, *place)) as batches:
            while step < last_step and not stopping:
                with window.waiting():
                    items = split(next(batches), own)
                state, metrics = program(state, items, split(sources.sample_numbers(step, *place), own))
                step += 1
                window.add(step, metrics)
                if step == 1:
                    self.begin()
                stopping = self._stopping(step)
                if stopping or self._due(step):
                    window = self._pause(stage, state, window, stopping)
        return state, stopping

    def _entered(self, stage: Stage, state: TrainState) -> tuple[TrainState, Program]:
        """The state that a stage goes on with, and its step."""
        if int(state.step) == stage.first_step:
            # A stage starts with an optimiser of its own: as in the references, momentum is lost.
            variables = {"params": state.params, "batch_stats": state.batch_stats}
            state = _fresh(self.config, stage, state.step, variables)
        if jax.process_count() > 1:
            state = on_all_hosts(state, self.devices)
        self.say(f"making the step of the stage {stage.name!r}")
        notice = functools.partial(self.say, compiling("the step"))
        if jax.process_count() > 1:  # whose programs are not compiled ahead of their first step
            notice()
        return state, make_step(self.recipe, stage, updates_of(self.config, stage), self.devices, notice)

    def _due(self, step: int) -> bool:
        """Whether there is something to record or to save after this step."""
        return step % RECORD_STEPS == 0 or self._saving(step)

    def _saving(self, step: int) -> bool:
        ends = {stage.first_step for stage in _stages(self.config)} | self.config.kept_steps | {self.config.steps}
        return step % self.config.checkpoint_steps == 0 or step in ends

    def _pause(self, stage: Stage, state: TrainState, window: Window, stopping: bool) -> Window:
        """Waits for the steps under way, then validates, records and saves what is due; the window that follows."""
        _finish(state)
        step = int(state.step)
        saving = self._saving(step)
        # Whoever asks to stop may not wait for a validation.
        measures = self.validate(state) if saving and not stopping else {}
        # Before the checkpoint: a record without one is made again, one that is missing before it would stay so.
        self.log.write({**window.record(), **_named(measures)})
        self.report(self.log.records[-1])
        if saving or stopping:
            self.checkpoints.save(state, stage.name, measures or None)
        if saving and stopping and self.config.best is not None:
            self.say(f"the validation of step {step} is left out, until the same command goes on")
        return Window(self.config, step)

    def catch_up(self, state: TrainState) -> None:
        """Makes the validation of a checkpoint that a stop has left out (see `_pause`), as if it had been made then."""
        step = int(state.step)
        if self.config.best is None or not self._saving(step) or not self.checkpoints.unmeasured(step):
            return
        self.say(f"validating step {step}, which the stop left out")
        measures = self.validate(state)
        record = self.log.amend(step, _named(measures))
        if record is not None:
            self.report(record)
        # Last, as it tells that all this is done.
        self.checkpoints.add_metrics(step, measures)

    def last_step(self, stage: Stage) -> int:
        """The step that a stage ends with."""
        later = [s.first_step for s in _stages(self.config) if s.first_step > stage.first_step]
        return min([*later, self.config.steps])

    def _stopping(self, step: int) -> bool:
        """Whether the training ends after this step; all processes must say the same."""
        if jax.process_count() == 1:
            return self.stop.asked
        return step % RECORD_STEPS == 0 and bool(np.any(multihost_utils.process_allgather(np.asarray(self.stop.asked))))


def _named(measures: dict[str, float]) -> dict[str, float]:
    """Measures as a record has them."""
    return {f"validation_{name}": value for name, value in measures.items()}
