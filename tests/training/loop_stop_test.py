"""Trainings that are stopped in an unlucky step: nothing is compiled in vain, no validation is lost."""

import dataclasses
import json

import jax
import pytest
import tiny_training

from jaxtrack.training import loop
from jaxtrack.training.checkpoints import Checkpoints

pytestmark = pytest.mark.usefixtures("tiny")

CONFIG = tiny_training.config(validation_pairs=4)  # checkpoints, and so validations, after the steps 3, 4, 6, 9, 12
ONE = jax.devices()[:1]


def stopped_at(step, folder, validation_pairs=4):
    """Trains until somebody asks to stop during a step; what was said."""
    stop, said = loop.Stop(), []

    class Asking(tiny_training.Squares):
        def batches(self, first_step, *place):
            for number, items in enumerate(super().batches(first_step, *place), first_step + 1):
                stop.asked = number == step
                yield items

    Asking.__name__ = "Squares"
    config = tiny_training.config(validation_pairs=validation_pairs, source=Asking())
    state = loop.train(config, folder, devices=ONE, stop=stop, say=said.append)
    assert int(state.step) == step
    return said


def records(folder):
    """The log without what is never the same."""
    found = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in r.items() if name not in ("pairs_per_second", "data_wait")} for r in found]


def best(folder):
    checkpoints = Checkpoints(folder / "checkpoints", keep=None, best="iou")
    found = checkpoints.find("best"), [step for step in checkpoints.steps if not checkpoints.unmeasured(step)]
    checkpoints.close()
    return found


@pytest.fixture
def whole(tmp_path, events):
    """The folder of a training that nobody has stopped."""
    loop.train(CONFIG, tmp_path / "whole", devices=ONE)
    events.clear()
    return tmp_path / "whole"


def test_a_stop_in_the_last_step_of_a_stage_compiles_no_other(tmp_path, events):
    stopped_at(4, tmp_path)
    assert events == ["compile frozen", "step", "step", "step", "finish", "validate", "step", "finish"]


def test_a_validation_that_a_stop_left_out_is_made_before_the_training_goes_on(tmp_path, whole, events):
    said = stopped_at(4, tmp_path / "mine")
    assert said[-1] == "the validation of step 4 is left out, until the same command goes on"
    assert "validation_iou" not in records(tmp_path / "mine")[-1]
    events.clear()
    said, reported = [], []
    loop.train(CONFIG, tmp_path / "mine", devices=ONE, say=said.append, report=reported.append)
    assert events[:3] == ["validate", "compile whole", "step"]
    assert events.count("validate") == 4
    assert said[:2] == ["going on from step 4", "validating step 4, which the stop left out"]
    assert reported[0]["validation_iou"] == 1
    assert records(tmp_path / "mine") == records(whole)
    assert best(tmp_path / "mine") == best(whole) == (4, [4, 9, 12])


def test_the_last_validation_is_made_by_the_same_command_and_only_once(tmp_path, whole, events):
    stopped_at(12, tmp_path / "mine")
    for expected in (["validate"], []):
        events.clear()
        loop.train(CONFIG, tmp_path / "mine", devices=ONE)
        assert events == expected
        assert records(tmp_path / "mine") == records(whole)
        assert best(tmp_path / "mine") == best(whole)


@pytest.mark.parametrize("step", [4, 5])
def test_the_next_samples_after_a_stop_are_those_that_were_next(step, tmp_path, events, monkeypatch):
    """At the end of a stage, and within one: eight pairs a step, each of 96 once and in order."""
    batches, seen = tiny_training.Squares.batches, []

    def noted(self, *place):
        for items in batches(self, *place):
            seen.extend(items.tolist())
            yield items

    monkeypatch.setattr(tiny_training.Squares, "batches", noted)
    config = dataclasses.replace(CONFIG, validation_pairs=0)
    stopped_at(step, tmp_path, validation_pairs=0)
    assert seen == list(range(8 * step))
    loop.train(config, tmp_path, devices=ONE)
    assert seen == list(range(96))


def test_a_checkpoint_at_which_no_validation_is_due_gets_none(tmp_path, events):
    said = stopped_at(5, tmp_path)
    assert not [line for line in said if "validation" in line and "compiling" not in line]
    events.clear()
    loop.train(CONFIG, tmp_path, devices=ONE, stop=loop.Stop(asked=True))
    assert events == ["compile whole", "step", "finish"]


def test_a_training_without_validation_makes_up_for_none(tmp_path, events):
    config = tiny_training.config(epochs=1)
    for _ in range(2):
        loop.train(config, tmp_path, devices=ONE)
    assert "validate" not in events
