"""Training in bfloat16: what is computed in it, what is not, and how far the gradients are from float32's."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_training
from jax.extend.core import jaxprs_in_params

from jaxtrack.models import siamese
from jaxtrack.models.siamese import ARCHITECTURES
from jaxtrack.training import loop, task
from jaxtrack.training.objective import Objective
from jaxtrack.training.optimiser import trained

NUMBERS = np.arange(8, dtype=np.uint32)[None]
DEVICES = jax.devices()[:1]
STAGE = loop._stages(tiny_training.config())[1]


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "tiny", tiny_training.ARCHITECTURE)


def gradient_program(compute):
    """(state, numbers) to the gradient by all trained parameters, the metrics and the running statistics."""
    recipe = loop.make_recipe(tiny_training.config(compute=compute))

    def run(state, numbers):
        loss = recipe.loss(STAGE, state, numbers, numbers)
        return jax.grad(loss, has_aux=True)(trained(state.params, STAGE))

    return jax.pmap(run, axis_name=task.AXIS, in_axes=(None, 0), out_axes=None, devices=DEVICES)


@pytest.fixture(scope="module")
def state():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "tiny", tiny_training.ARCHITECTURE)
        config = tiny_training.config()
        return loop.first_state(config, loop.make_recipe(config))[0]


@pytest.fixture(scope="module")
def results(state):
    """Gradients, metrics and statistics by the dtype of the computation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "tiny", tiny_training.ARCHITECTURE)
        return {compute: gradient_program(compute)(state, NUMBERS) for compute in ("float32", "bfloat16")}


def test_losses_and_gradients_are_near_those_of_float32(results):
    (gradients, (metrics, stats)), (found, (found_metrics, found_stats)) = results.values()
    # bfloat16 has 8 binary digits: a relative error of up to 0.004 in every number.
    for name, value in metrics.items():
        assert float(found_metrics[name]) == pytest.approx(float(value), rel=0.05, abs=0.01), name
    a, b = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]) for tree in (gradients, found))
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.99
    assert np.linalg.norm(b) == pytest.approx(np.linalg.norm(a), rel=0.05)
    assert not np.array_equal(a, b)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(y, x, rtol=0.03, atol=0.03 * np.abs(x).max()), stats, found_stats
    )


def test_gradients_losses_and_statistics_are_float32(results):
    assert {leaf.dtype for leaf in jax.tree.leaves(results["bfloat16"])} == {np.dtype("float32")}


def operands(jaxpr, primitive):
    """The dtypes of what the operations of a kind are given, in a program and in those inside it."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == primitive:
            yield {variable.aval.dtype for variable in equation.invars}
        for inner in jaxprs_in_params(equation.params):
            yield from operands(inner, primitive)


@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
def test_every_convolution_forward_and_backward_is_in_the_chosen_dtype(state, compute):
    program = jax.make_jaxpr(gradient_program(compute))(state, NUMBERS)
    found = list(operands(program.jaxpr, "conv_general_dilated"))
    assert len(found) > 3 * 10  # a layer's output and both of its gradients
    assert all(dtypes == {jnp.dtype(compute)} for dtypes in found)


def test_it_learns_and_the_state_stays_float32(tmp_path):
    whole = dataclasses.replace(tiny_training.OPTIMISER, frozen_epochs=0)
    config = tiny_training.config(compute="bfloat16", optimiser=whole, objective=Objective())
    state = loop.train(config, tmp_path, devices=DEVICES)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.9 * losses[0]
    kept = jax.tree.leaves((state.params, state.batch_stats, state.optimiser))
    assert {leaf.dtype for leaf in kept} <= {np.dtype("float32"), np.dtype("int32")}
    assert sum(leaf.dtype == np.int32 for leaf in kept) == sum(leaf.ndim == 0 for leaf in kept)  # the count of updates


@pytest.mark.parametrize("name", ["siampw_r50", "nanotrack_v3", "siamrpn_mobilenetv2"])
def test_networks_of_every_kind_take_bfloat16_images_and_give_float32_maps(name):
    architecture = ARCHITECTURES[name]
    network, variables = siamese.build(architecture), siamese.shapes(architecture)
    parts = tuple(variables["params"]["backbone"])
    z, x = (
        jax.ShapeDtypeStruct((2, side, side, 3), jnp.bfloat16)
        for side in (architecture.template_px, architecture.search_px)
    )
    for flags in ({"train": True, "train_backbone": parts, "mutable": ["batch_stats"]}, {"mutable": ["batch_stats"]}):
        (cls, loc), stats = jax.eval_shape(
            lambda v, z, x, flags=flags: network.apply(v, z, x, **flags), variables, z, x
        )
        assert cls.dtype == loc.dtype == jnp.float32
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(stats))
