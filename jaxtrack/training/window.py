"""The steps between two records of a training's log: their metrics and their time."""

import contextlib
import math
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack.errors import UserError
from jaxtrack.training import optimiser
from jaxtrack.training.config import Training


class Window:
    """The steps since the last record: their metrics and their time."""

    def __init__(self, config: Training, step: int):
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
            f"{config.counted}_per_second": steps * config.batch / seconds,
            "data_wait": self._waited / seconds,
        }
