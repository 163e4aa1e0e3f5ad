"""Checkpoints of a training: state and stage, written beside the work, whole or not at all, by Orbax.

The data's position is the step (`jaxtrack.training.sources`), so it is saved with the state.
"""

import contextlib
import dataclasses
import functools
import hashlib
import math
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from orbax.checkpoint import v1 as ocp

from jaxtrack.errors import UserError
from jaxtrack.training.stopping import uninterrupted
from jaxtrack.training.task import TrainState


class Checkpoints:
    """The checkpoints in a folder; the newest few are kept, and those that the policy picks out."""

    def __init__(
        self, folder: Path, *, keep: int | None, best: str | None = None, always: Collection[int] = frozenset()
    ):
        """Opens the folder, which need not exist.

        Args:
          folder: where they lie.
          keep: how many of the newest are kept; None for all.
          best: the metric whose greatest value is kept, too; NaN is less than any. None for none.
          always: steps that are kept whatever comes after them.
        """
        # Orbax's own policies do not fit its own protocols in the eyes of a type checker.
        every_call: Any = ocp.training.save_decision_policies.FixedIntervalPolicy(1)
        self._orbax = ocp.training.Checkpointer(
            str(folder.absolute()),
            save_decision_policy=every_call,
            preservation_policy=_policy(keep, best, always),
            cleanup_tmp_directories=True,
        )
        self.folder, self._best = folder, best

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
            return self._orbax.metadata(step).custom_metadata or {}
        except Exception as error:  # as in `load`
            raise UserError(
                f"{self.folder}: checkpoint {step} cannot be read ({_first_line(error)}): delete it"
            ) from error

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
            raise UserError(
                f"{self.folder}: checkpoint {step} cannot be restored ({_first_line(error)}): delete it to resume from "
                "an earlier one, or train in another folder"
            ) from error
        self._check_shapes(step, plain, abstract)
        if _digest(plain) != self._about(step).get("sha256"):
            raise UserError(
                f"{self.folder}: checkpoint {step} is damaged: its numbers are not those that were saved: delete it to "
                "resume from an earlier one"
            )
        plain = jax.tree.map(jnp.asarray, plain)
        return like.replace(**{**plain, "key": jax.random.wrap_key_data(plain["key"])})  # type: ignore[attr-defined]

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
