"""A student that learns its teacher's maps by the same loop as all other trainings."""

import json
import re

import jax
import numpy as np
import pytest
import tiny_stills
from states import assert_same_bits

from jaxtrack.commands import train
from jaxtrack.errors import UserError
from jaxtrack.models import rpn2t
from jaxtrack.trackers import rpn2t as tracker
from jaxtrack.training import loop
from jaxtrack.training.kinds import validator
from jaxtrack.weights import store

ONE = jax.devices()[:1]
HELD_OUT = tiny_stills.Squares(count=6, seed=9)


@pytest.fixture(autouse=True, scope="module")
def tiny():
    with pytest.MonkeyPatch.context() as patch:
        for name, architecture in tiny_stills.ARCHITECTURES.items():
            patch.setitem(rpn2t.ARCHITECTURES, name, architecture)
        yield


@pytest.fixture(scope="module")
def teacher(tiny, tmp_path_factory):
    """Random weights of the teacher, on disk."""
    params = rpn2t.stored(rpn2t.initial(tiny_stills.TEACHER, jax.random.key(3)))
    meta = store.Meta("tiny_teacher", "a test", "")
    return store.save(tmp_path_factory.mktemp("weights"), "teacher", {"params": params}, meta)


def records(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def conv1(params):
    return np.asarray(params["backbone"]["conv1"]["kernel"])


def test_the_error_falls_and_a_tracker_loads_the_student(teacher, tmp_path):
    config = tiny_stills.distillation(
        start=str(teacher), validation=HELD_OUT, epochs=3, steps_per_epoch=20, checkpoint_steps=10
    )
    recipe = loop.make_recipe(config)
    untrained = validator(config, recipe, ONE)(loop.first_state(config, recipe)[0])
    state = loop.train(config, tmp_path, devices=ONE)
    found = [record["validation_relative_error"] for record in records(tmp_path) if "validation_explained" in record]
    assert found[-1] < found[0] < 0.5 * untrained["relative_error"]
    assert records(tmp_path)[-1]["validation_explained"] == pytest.approx(1 - found[-1])
    path = train.write_weights(config, tmp_path, state, "student")
    params = tracker.init_params(tracker.Config(architecture="tiny_student", weights=str(path)), jax.random.key(0))
    np.testing.assert_array_equal(conv1(params), conv1(state.params))
    taught, _ = store.load(teacher)
    assert (conv1(params) != conv1(taught["params"])).any()
    np.testing.assert_array_equal(params["head"]["conv"]["kernel"], taught["params"]["head"]["conv"]["kernel"])


def test_the_student_begins_as_its_teacher_which_never_changes(teacher, tmp_path):
    config = tiny_stills.distillation(start=str(teacher))
    taught, _ = store.load(teacher)
    begun = loop.initial_variables(config, loop.make_recipe(config))
    jax.tree.map(np.testing.assert_array_equal, begun["params"]["backbone"], taught["params"]["backbone"])
    state = loop.train(config, tmp_path, devices=ONE)
    jax.tree.map(np.testing.assert_array_equal, state.batch_stats["teacher"], taught["params"])


def test_stopped_and_resumed_without_the_teachers_file_it_ends_with_the_same_bits(teacher, tmp_path):
    own = tmp_path / "own.safetensors"
    own.write_bytes(teacher.read_bytes())
    own.with_suffix(".json").write_bytes(teacher.with_suffix(".json").read_bytes())
    config = tiny_stills.distillation(start=str(own))
    whole = loop.train(config, tmp_path / "whole", devices=ONE)
    stop = loop.Stop()

    def ask(record):
        stop.asked = True

    stopped = loop.train(config, tmp_path / "parts", devices=ONE, report=ask, stop=stop)
    assert 0 < int(stopped.step) < config.steps
    own.unlink()
    assert_same_bits(loop.train(config, tmp_path / "parts", devices=ONE), whole)


def test_a_teacher_that_is_not_there_or_is_another_network_is_one_sentence(teacher, tmp_path):
    missing = tmp_path / "nobody.safetensors"
    config = tiny_stills.distillation(start=str(missing))
    with pytest.raises(UserError, match=re.escape(str(missing))):
        loop.train(config, tmp_path / "out", devices=ONE)
    assert not (tmp_path / "out").exists()
    student = store.save(tmp_path, "student", store.load(teacher)[0], store.Meta("tiny_student", "a test", ""))
    with pytest.raises(UserError, match=r"student.safetensors holds a student: start of a distillation names its tea"):
        loop.train(tiny_stills.distillation(start=str(student)), tmp_path / "out", devices=ONE)
    config = tiny_stills.distillation(start=str(teacher), architecture="rpn2t_small_student")
    with pytest.raises(UserError, match="holds tiny_teacher, the training is of rpn2t_small_student"):
        loop.train(config, tmp_path / "out", devices=ONE)
