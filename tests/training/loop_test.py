"""The loop: the same parameters however often it is killed and on however many devices it runs."""

import dataclasses
import json
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_training
from states import assert_same_bits, leaves

from jaxtrack import compilation
from jaxtrack.errors import UserError
from jaxtrack.training import loop
from jaxtrack.training.objective import Objective

pytestmark = pytest.mark.usefixtures("tiny")


def test_it_learns(uninterrupted):
    _, folder = uninterrupted
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [3, 4, 6, 9, 12]
    assert records[-1]["loss"] < 0.9 * records[0]["loss"]
    assert {"cls_positive", "cls_negative", "loc", "cr", "igr_1", "igr_2", "gradient_norm"} < records[0].keys()


def test_the_backbone_is_still_until_its_stage_begins(tmp_path):
    config = tiny_training.config(epochs=1)
    state = loop.train(config, tmp_path, devices=jax.devices()[:1])
    before = loop.initial_variables(config, loop.make_recipe(config))

    def same(part, tree):
        return jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), tree[part], before["params"][part]))

    assert same("backbone", state.params)
    assert not same("head", state.params)
    jax.tree.map(np.testing.assert_array_equal, state.batch_stats["backbone"], before["batch_stats"]["backbone"])


def test_the_same_training_twice_gives_the_same_bits(uninterrupted, tmp_path):
    again = loop.train(tiny_training.config(), tmp_path, devices=jax.devices()[:1])
    assert_same_bits(again, uninterrupted[0])


def test_one_device_and_four_agree(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "initial_variables", tiny_training.perturbed(loop.initial_variables))
    config = tiny_training.config(epochs=5)
    one, four = (leaves(loop.train(config, tmp_path / str(n), devices=jax.devices()[:n])) for n in (1, 4))
    for name in one:
        if ".params" in name:
            assert np.linalg.norm(one[name] - four[name]) <= 1e-5 * np.linalg.norm(one[name]), name


def test_gradients_of_per_device_means_are_summed(tmp_path):
    """With the references' convention the gradient grows with the number of devices."""
    norms = {}
    for kind in ("mean", "per_device"):
        loop.train(
            tiny_training.config(
                epochs=1, steps_per_epoch=1, checkpoint_steps=1, objective=Objective(), normalisation=kind
            ),
            tmp_path / kind,
            devices=jax.devices()[:4],
        )
        norms[kind] = json.loads((tmp_path / kind / "log.jsonl").read_text().splitlines()[0])["gradient_norm"]
    assert 3 < norms["per_device"] / norms["mean"] < 5  # about the number of devices


def gradient_norm(folder):
    return json.loads((folder / "log.jsonl").read_text().splitlines()[0])["gradient_norm"]


def test_on_another_number_of_devices_the_sum_of_gradients_is_scaled_to_the_references(tmp_path):
    """One device that is to do as four: its gradient is four times the mean's."""
    one_step = {"epochs": 1, "steps_per_epoch": 1, "checkpoint_steps": 1, "objective": Objective()}
    scaled = {"normalisation": "per_device", "reference_devices": 4, "scale_to_reference": True}
    for name, changes in (("mean", {}), ("scaled", scaled)):
        config = tiny_training.config(**one_step, **changes)
        loop.train(config, tmp_path / name, devices=jax.devices()[:1])
    assert gradient_norm(tmp_path / "scaled") == pytest.approx(4 * gradient_norm(tmp_path / "mean"), rel=1e-5)


def test_one_device_that_accumulates_has_the_gradients_of_the_references_four(tmp_path, monkeypatch):
    """Four batches of two pairs, averaged and scaled by four, are the sum of four devices with two pairs each."""
    monkeypatch.setattr(loop, "initial_variables", tiny_training.perturbed(loop.initial_variables))
    reference = {"normalisation": "per_device", "reference_devices": 4, "sync_norm": False, "checkpoint_steps": 100}
    four = loop.train(tiny_training.config(epochs=1, **reference), tmp_path / "four", devices=jax.devices()[:4])
    one = loop.train(
        tiny_training.config(
            **reference,
            epochs=1,
            batch=2,
            steps_per_epoch=16,
            scale_to_reference=True,
            optimiser=dataclasses.replace(tiny_training.OPTIMISER, accumulate=4),
        ),
        tmp_path / "one",
        devices=jax.devices()[:1],
    )
    found, expected = leaves(one), leaves(four)
    for name in expected:
        if ".params" in name:
            assert np.linalg.norm(found[name] - expected[name]) <= 1e-5 * np.linalg.norm(expected[name]), name


def test_scaling_needs_to_know_what_to_scale_to():
    for changes in ({"reference_devices": 4}, {"normalisation": "per_device"}):
        with pytest.raises(UserError, match=r"--set.scale-to-reference needs --set.reference-devices and --set.norm"):
            tiny_training.config(scale_to_reference=True, **changes)


# --- validation ----------------------------------------------------------------------------------------------------


def test_several_devices_validate_as_one_does(no_compilation_cache):
    """Six pairs on four devices: two are more than were asked for, and left out."""
    config = tiny_training.config(validation_pairs=6)
    recipe = loop.make_recipe(config)
    state, _ = loop.first_state(config, recipe)
    # Maps that are near 0, as those of a network that has been trained.
    level = state.params["head"]["level_only"]
    for branch in ("cls", "loc"):
        level[branch]["output"]["kernel"] *= 5e-4
    level["loc"]["output"]["bias"] += np.log(30.0)
    one, four = (loop.validator(config, recipe, jax.devices()[:count])(state) for count in (1, 4))
    assert one == pytest.approx(four, rel=1e-5)
    assert all(np.isfinite(list(one.values())))


# --- the order of things -------------------------------------------------------------------------------------------


def test_steps_under_way_are_waited_for_before_anything_is_compiled(tmp_path, events):
    """Also at the end of a stage that ends with no record and no checkpoint due."""
    config = tiny_training.config(checkpoint_steps=100, validation_pairs=4)
    loop.train(config, tmp_path, devices=jax.devices()[:1])
    stage = ["step"] * 4 + ["finish", "validate"]
    assert events == ["compile frozen", *stage, "compile whole", "step", "step", "step", "step", *stage]


def test_who_asks_to_stop_gets_a_checkpoint_and_no_validation(tmp_path, events):
    stop = loop.Stop(asked=True)
    loop.train(tiny_training.config(validation_pairs=4), tmp_path, devices=jax.devices()[:1], stop=stop)
    assert events == ["compile frozen", "step", "finish"]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["1"]


def test_what_takes_long_is_said(tmp_path, events):
    said = []
    config = tiny_training.config()
    for asked in (True, False, False):
        loop.train(config, tmp_path, devices=jax.devices()[:1], say=said.append, stop=loop.Stop(asked=asked))
    compiled = "compiling the step: up to minutes"
    frozen, whole = ((f"making the step of the stage {name!r}", compiled) for name in ("frozen", "whole"))
    assert [line.split(", where")[0] for line in said] == [
        *("making the first parameters of tiny", *frozen),
        *("going on from step 1", *frozen, *whole),
    ]


def test_compiling_the_validation_is_said_apart_from_compiling_the_step(tmp_path, events):
    said = []
    config = tiny_training.config(epochs=1, validation_pairs=4)
    loop.train(config, tmp_path, devices=jax.devices()[:1], say=said.append)
    assert [line.split(":")[0] for line in said[-2:]] == ["compiling the step", "compiling the validation"]


def test_compiling_the_validation_is_said_while_it_takes_long(monkeypatch):
    """Before anything is measured: here compiling fails."""
    said = threading.Event()

    def compiling(lowered):
        assert said.wait(30)
        raise InterruptedError

    monkeypatch.setattr(compilation, "NOTICE_SECONDS", 0.01)
    config = tiny_training.config(validation_pairs=4)
    recipe = loop.make_recipe(config)
    state, _ = loop.first_state(config, recipe)
    monkeypatch.setattr(compilation, "_compile", compiling)
    with pytest.raises(InterruptedError):
        loop.validator(config, recipe, jax.devices()[:1], said.set)(state)


def test_checkpoints_at_the_ends_of_epochs_are_kept_on_demand(tmp_path, events):
    config = tiny_training.config(epochs=5, checkpoint_steps=3, keep=1, keep_from_epoch=2)
    loop.train(config, tmp_path, devices=jax.devices()[:1])
    assert sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir()) == [8, 12, 16, 20]
    for step in ("8", "20"):
        assert int(loop.checkpointed(config, tmp_path, step).step) == int(step)


def test_a_training_that_fails_before_its_first_step_leaves_nothing_behind(tmp_path, events):
    class Broken(tiny_training.Squares):
        def batches(self, *place):
            raise UserError("no pairs")

    with pytest.raises(UserError, match="no pairs"):
        loop.train(tiny_training.config(source=Broken()), tmp_path / "mine", devices=jax.devices()[:1])
    assert not (tmp_path / "mine").exists()


def test_from_the_first_step_on_the_folder_tells_whose_it_is(tmp_path, events, monkeypatch):
    def no_checkpoint(*_):
        raise UserError("the disk is full")

    monkeypatch.setattr(loop.Checkpoints, "save", no_checkpoint)
    with pytest.raises(UserError, match="the disk is full"):
        loop.train(tiny_training.config(), tmp_path, devices=jax.devices()[:1])
    assert json.loads((tmp_path / "config.json").read_text())["batch"] == 8
    assert json.loads((tmp_path / "inputs.json").read_text()) == {"train": [], "start": ""}
    assert (tmp_path / "environment.json").is_file()


def test_warnings_of_the_source_are_said(tmp_path, events):
    class Doubtful(tiny_training.Squares):
        def warnings(self):
            return ["these are circles"]

    said = []
    config = tiny_training.config(source=Doubtful())
    loop.train(config, tmp_path, devices=jax.devices()[:1], say=said.append, stop=loop.Stop(asked=True))
    assert said[0] == "warning: these are circles"


def test_a_batch_that_does_not_divide_is_refused_with_sizes_that_do(tmp_path):
    with pytest.raises(UserError, match="batch of 6 does not divide over 4 devices: take 4 or 8"):
        loop.train(tiny_training.config(batch=6), tmp_path, devices=jax.devices()[:4])


def test_what_is_not_finite_stops_the_training_and_is_named(tmp_path, monkeypatch):
    class Broken(tiny_training.Squares):
        def pairs(self, items):
            made = super().pairs(items)
            return made.replace(search=made.search * jnp.where(jnp.any(items == 17), jnp.nan, 1.0))

    config = tiny_training.config(source=Broken())
    with pytest.raises(UserError, match=r"step 3: .*loss.* not finite, in the samples 16 to 23"):
        loop.train(config, tmp_path, devices=jax.devices()[:1])
