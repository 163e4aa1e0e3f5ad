"""The numbers of a record: means, rate and epoch of its steps, their speed and the time spent waiting."""

import jax.numpy as jnp
import pytest
import tiny_training

from jaxtrack.errors import UserError
from jaxtrack.training import window
from jaxtrack.training.optimiser import Optimiser
from jaxtrack.training.window import Window

# Four steps an epoch, eight pairs a step; rates 0.001 and 0.01.
CONFIG = tiny_training.config(
    epochs=2, optimiser=Optimiser(warmup_epochs=1, warmup_rate=1e-3, rate=1e-2, last_rate=1e-2, frozen_epochs=0)
)


@pytest.fixture
def clock(monkeypatch):
    """Seconds that a test sets."""
    now = [0.0]
    monkeypatch.setattr(window.time, "perf_counter", lambda: now[0])
    return now


def steps(first, losses, clock):
    """A window of steps after `first` with these losses; each waits a second and takes three more."""
    found = Window(CONFIG, first)
    for step, loss in enumerate(losses, first + 1):
        with found.waiting():
            clock[0] += 1.0
        clock[0] += 3.0
        found.add(step, {"loss": jnp.float32(loss)})
    return found


def test_a_record_has_means_speed_and_the_share_of_waiting(clock):
    record = steps(2, [1.0, 2.0], clock).record()
    assert record == {
        "step": 4,
        "epoch": 0,
        "rate": pytest.approx(1e-3),
        "loss": 1.5,
        "pairs_per_second": 2 * 8 / 8.0,
        "data_wait": 0.25,
    }


def test_rate_and_epoch_are_those_of_the_last_step_done(clock):
    assert [steps(step, [1.0], clock).record()["epoch"] for step in (0, 3, 4, 7)] == [0, 0, 1, 1]
    found = [steps(step, [1.0], clock).record()["rate"] for step in (0, 3, 4, 7)]
    assert found == pytest.approx([1e-3, 1e-3, 1e-2, 1e-2])


def test_the_step_before_is_looked_at_while_one_runs_and_the_last_one_for_the_record(clock):
    nan = float("nan")
    with pytest.raises(UserError, match=r"step 3: loss not finite, in the samples 16 to 23; the last checkpoint is fr"):
        steps(2, [nan, 1.0], clock)
    last = steps(2, [1.0, nan], clock)
    with pytest.raises(UserError, match="step 4: loss not finite, in the samples 24 to 31"):
        last.record()
