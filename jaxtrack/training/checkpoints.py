"""Checkpoints of a training: state and stage, written beside the work, whole or not at all, by Orbax.

The data's position is the step (`jaxtrack.training.sources`), so it is saved with the state.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import logging
import math
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from jaxtrack import files
from jaxtrack.errors import UserError
from jaxtrack.training.keys import restored_key
from jaxtrack.training.stopping import uninterrupted
from jaxtrack.training.task import TrainState

# How Orbax calls what it writes into the folder of a checkpoint.
_ABOUT, _METRICS = "_CHECKPOINT_METADATA", Path("metrics", "metrics")
_ABOUT_IS_LOST = f": its {_ABOUT} is missing or not what was saved"
# In what Orbax and the libraries below it print, many times over, of files that a `UserError` names in one sentence.
_ECHOES = ("Metadata file does not exist", "Failed to read Metadata file", "Event loop is closed", "in OCDBT database")


class Checkpoints:
    """The checkpoints in a folder; the newest few are kept, and those that the policy picks out."""

    def __init__(
        self,
        folder: Path,
        *,
        keep: int | None,
        best: str | None = None,
        always: Collection[int] = frozenset(),
        clean: bool = False,
    ):
        """Opens the folder, which need not exist.

        Args:
          folder: where they lie.
          keep: how many of the newest are kept; None for all.
          best: the metric whose greatest value is kept, too; NaN is less than any. None for none.
          always: steps that are kept whatever comes after them.
          clean: delete what a process that was killed has left half-written. Not for a folder in which another
            process may be writing.

        Raises:
          UserError: what is noted beside a checkpoint, or its metrics, are damaged.
        """
        self.folder, self._best = folder, best
        _leave_out_echoes()
        for path in sorted(folder.glob(f"*/{_METRICS.as_posix()}")):
            _check_metrics(path, best)
        # Orbax's own policies do not fit its own protocols in the eyes of a type checker.
        every_call: Any = ocp.training.save_decision_policies.FixedIntervalPolicy(1)
        try:
            self._orbax = ocp.training.Checkpointer(
                str(folder.absolute()),
                save_decision_policy=every_call,
                preservation_policy=_policy(keep, best, always),
                cleanup_tmp_directories=clean,
            )
        except ValueError as error:
            raise self._which_is_damaged(error) from error

    @property
    def steps(self) -> list[int]:
        """The steps of all whole checkpoints, ascending."""
        return sorted(checkpoint.step for checkpoint in self._orbax.checkpoints)

    def save(self, state: TrainState, stage: str, metrics: dict[str, Any] | None = None) -> None:
        """Begins to write a checkpoint; the arrays are copied before it returns, the rest happens beside the work.

        Raises:
          UserError: where the disk is full or cannot be written; earlier checkpoints stay as they are.
        """
        step = int(state.step)
        # Copies, as the next step reuses the state's own memory.
        plain = jax.tree.map(np.array, _plain(state))
        with self._writing(step):
            about: Any = {"stage": stage, "sha256": _digest(plain)}
            self._orbax.save_async(step, plain, metrics=metrics, custom_metadata=about, overwrite=step in self.steps)

    def wait(self) -> None:
        """Waits until what was begun is on disk; `UserError` as `save`."""
        with self._writing(None):
            self._orbax.wait()

    def unmeasured(self, step: int) -> bool:
        """Whether there is a checkpoint of that step, saved without metrics."""
        return any(checkpoint.step == step and not checkpoint.metrics for checkpoint in self._orbax.checkpoints)

    def add_metrics(self, step: int, metrics: dict[str, Any]) -> None:
        """Gives metrics to a checkpoint that was saved without; `UserError` as `save`.

        Saved once more it would be deleted first, and might be the only one.
        """
        with self._writing(step):
            if jax.process_index() == 0:
                files.write_text(self.folder / str(step) / _METRICS, json.dumps(metrics))
            if jax.process_count() > 1:
                multihost_utils.sync_global_devices(f"metrics of checkpoint {step}")
            self._orbax.reload()

    def find(self, which: str) -> int:
        """The step of a checkpoint: `best`, the one with the best validation, or a step written out."""
        if which == "best" and self._best is not None:
            known: Any = [(_value(self._best, c.metrics), c.step) for c in self._orbax.checkpoints if c.metrics]
            if known:
                return max(known)[1]
        elif which.isdecimal() and int(which) in self.steps:
            return int(which)
        there = ", ".join(map(str, self.steps)) or "none"
        raise UserError(f"{self.folder} has no checkpoint {which}: there are {there}")

    def stage(self, step: int) -> str:
        """The stage that a checkpoint belongs to, whose optimiser state it holds."""
        return self._about(step)["stage"]

    def _about(self, step: int) -> Any:
        """What `save` notes beside the arrays."""
        try:
            about: Any = self._orbax.metadata(step).custom_metadata
        except Exception as error:  # as in `load`
            raise self._damaged(step) from error
        if not isinstance(about, dict) or not {"stage", "sha256"} <= about.keys():
            raise self._damaged(step, _ABOUT_IS_LOST)
        return about

    def load(self, step: int, like: TrainState) -> TrainState:
        """The state of a checkpoint.

        Args:
          step: which one.
          like: a state of the same structure, shapes and dtypes; its values do not matter.

        Raises:
          UserError: if the checkpoint is damaged, or of another network or optimiser.
        """
        # What was saved as numpy's is restored as numpy's.
        abstract = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), jax.eval_shape(_plain, like))
        try:
            plain = self._orbax.load(step, abstract)
        except Exception as error:  # whatever a damaged file makes Orbax raise
            raise self._damaged(step, ", or of another network or optimiser") from error
        self._check_shapes(step, plain, abstract)
        if _digest(plain) != self._about(step)["sha256"]:
            raise self._damaged(step, ": its numbers are not those that were saved")
        plain = jax.tree.map(jnp.asarray, plain)
        return like.replace(**{**plain, "key": restored_key(plain["key"])})  # type: ignore[attr-defined]

    def _which_is_damaged(self, error: ValueError) -> UserError:
        """What to tell of the folder that Orbax cannot open: it gives a reason, and not the checkpoint."""
        for path in sorted(self.folder.glob(f"*/{_ABOUT}")):
            with contextlib.suppress(Exception):  # as in `load`
                if _read(path) is not None and ocp.metadata(str(path.parent.absolute())):
                    continue
            return self._damaged(path.parent.name, _ABOUT_IS_LOST)
        return UserError(f"{self.folder} holds no checkpoints that can be read ({_first_line(error)}): delete it")

    def _damaged(self, step: int | str, how: str = "") -> UserError:
        path = (self.folder / str(step)).absolute()
        return UserError(
            f"the checkpoint {path} is damaged{how}: delete it to resume from another one, or train in another folder"
        )

    def _check_shapes(self, step: int, found: Any, expected: Any) -> None:
        """Refuses arrays of other shapes, which Orbax restores as they are."""
        for (path, leaf), wanted in zip(
            jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(expected), strict=True
        ):
            if leaf.shape != wanted.shape:
                raise UserError(
                    f"{self.folder}: checkpoint {step} is of another network: {jax.tree_util.keystr(path)} has the "
                    f"shape {list(leaf.shape)}, not {list(wanted.shape)}: train in another folder"
                )

    def close(self) -> None:
        """Waits and frees what Orbax holds."""
        with uninterrupted():
            self.wait()
            self._orbax.close()

    @contextlib.contextmanager
    def _writing(self, step: int | None) -> Iterator[None]:
        what = "a checkpoint" if step is None else f"checkpoint {step}"
        # Interrupted, Orbax would leave tasks of its own behind, and what it was writing.
        with uninterrupted():
            try:
                yield
            except Exception as error:  # the libraries below Orbax have errors of their own for a full disk
                raise UserError(
                    f"{self.folder}: {what} could not be written ({_first_line(error)}): make room and start the "
                    "training again; the earlier ones are whole"
                ) from error


@functools.cache
def _leave_out_echoes() -> None:
    """Keeps `_ECHOES` off stderr.

    For good: reads that Orbax gives up when another one fails end later, in threads of their own, and complain then.
    """

    def is_new(text: str) -> bool:
        return not any(echo in text for echo in _ECHOES)

    for name in ("absl", "asyncio"):
        logging.getLogger(name).addFilter(lambda record: is_new(str(record.msg)))
    report = sys.unraisablehook
    sys.unraisablehook = lambda error: report(error) if is_new(str(error.exc_value)) else None


def _check_metrics(path: Path, best: str | None) -> None:
    """Refuses a file that holds no metrics, or not the one that tells the best."""
    try:
        metrics = _read(path)
    except FileNotFoundError:  # the training that goes on there has deleted it
        return
    if metrics is None or (best is not None and not isinstance(metrics.get(best), int | float)):
        raise UserError(f"{path} is damaged: delete it, and its checkpoint is one that was not validated")


def _read(path: Path) -> dict[str, Any] | None:
    """The JSON object that a file holds; None if it holds none."""
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError):  # also what is not UTF-8
        return None
    return found if isinstance(found, dict) else None


def _policy(keep: int | None, best: str | None, always: Collection[int]) -> Any:
    """Which checkpoints are not deleted; see `Checkpoints`."""
    policies = ocp.training.preservation_policies
    kept: list[Any] = [policies.LatestN(keep), policies.CustomSteps(tuple(always))]
    if best is not None:
        value = functools.partial(_value, best)
        kept.append(policies.BestN(get_metric_fn=value, n=1, keep_checkpoints_without_metrics=False))
    return policies.AnyPreservationPolicy(kept)


def _value(name: str, metrics: Any) -> float:
    return -math.inf if math.isnan(metrics[name]) else metrics[name]


def _plain(state: TrainState) -> dict[str, Any]:
    """A state as arrays that Orbax knows: no typed keys."""
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return {**fields, "key": jax.random.key_data(state.key)}


def _digest(plain: dict[str, Any]) -> str:
    """The sha256 of a state's numbers: the format below has no checksum of its own for all of them."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(plain):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0][:200]}"
