import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.models.zf import ZF

WIDTHS = (3, 4, 5, 6, 7)


def normal(*shape, scale=1.0, seed=0):
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def random_params(module, *inputs):
    """Parameters that keep the size of what passes through; drawn by NumPy, which compiles nothing."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"]
    random = np.random.default_rng(1)
    scaled = lambda leaf: (2 / max(np.prod(leaf.shape[:-1]), 8)) ** 0.5 * random.normal(size=leaf.shape)  # noqa: E731
    return jax.tree.map(lambda leaf: scaled(leaf).astype(np.float32), shapes)


def shape_of(network, side):
    return jax.eval_shape(network.init_with_output, jax.random.key(0), jnp.zeros((1, side, side, 3)))


@pytest.mark.parametrize(
    ("version", "side", "cells"),
    [("teacher", 203, 14), ("teacher", 224, 15), ("teacher", 107, 8), ("student_a", 107, 14), ("student_b", 107, 14)],
)
def test_maps_have_the_sizes_of_the_spec(version, side, cells):
    out, _ = shape_of(ZF(version=version), side)
    assert (out.shape, out.dtype) == ((1, cells, cells, 256), jnp.float32)


def test_teacher_and_students_have_the_published_parameters_in_the_same_tree():
    trees = [shape_of(ZF(version=version), 107)[1]["params"] for version in ("teacher", "student_a", "student_b")]
    assert trees[0] == trees[1] == trees[2]
    # mdnet_family.md, section 4.2.
    plan = {"conv1": (7, 3, 96), "conv2": (5, 96, 256), "conv3": (3, 256, 384), "conv4": (3, 384, 384)}
    plan["conv5"] = (3, 384, 256)
    shapes = {name: (layer["kernel"].shape, layer["bias"].shape) for name, layer in trees[0].items()}
    assert shapes == {name: ((k, k, i, o), (o,)) for name, (k, i, o) in plan.items()}


def sides(version, side):
    """The side of every map on the way."""
    network = ZF(WIDTHS, version)
    image = jnp.zeros((1, side, side, 3))
    jaxpr = jax.make_jaxpr(lambda x: network.init_with_output(jax.random.key(0), x)[0])(image)
    shapes = [v.aval.shape for e in jaxpr.jaxpr.eqns for v in e.outvars if len(v.aval.shape) == 4]
    return {shape[1:] for shape in shapes if shape[0] == 1}


@pytest.mark.parametrize(
    ("version", "side", "chain"),
    [
        ("teacher", 203, [(102, 3), (52, 3), (26, 4), (14, 4), (14, 7)]),
        ("teacher", 107, [(54, 3), (28, 3), (14, 4), (8, 4), (8, 7)]),
        ("student_a", 107, [(54, 3), (14, 4), (14, 7)]),
        ("student_b", 107, [(27, 3), (14, 4), (14, 7)]),
    ],
)
def test_the_chain_of_sizes_is_that_of_the_spec(version, side, chain):
    assert {(cells, cells, channels) for cells, channels in chain} <= sides(version, side)


@pytest.mark.parametrize(("version", "side"), [("teacher", 61), ("student_a", 43), ("student_b", 43)])
def test_it_computes_what_torchs_layers_do(version, side):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    network, image = ZF(WIDTHS, version), normal(2, side, side, 3, scale=60)
    params = random_params(network, image)
    x = torch.tensor(image.transpose(0, 3, 1, 2))
    strides = {"teacher": (2, 2), "student_a": (2, 4), "student_b": (4, 2)}[version]
    for i, (stride, padding) in enumerate(zip((*strides, 1, 1, 1), (3, 2, 1, 1, 1), strict=True), 1):
        kernel, bias = (torch.tensor(np.array(params[f"conv{i}"][name])) for name in ("kernel", "bias"))
        x = torch.relu(functional.conv2d(x, kernel.permute(3, 2, 0, 1), bias, stride, padding))
        if i < 3:
            # Caffe's mean counts what padding adds.
            x = x * (1 + 5e-5 * functional.avg_pool2d(x**2, 3, 1, 1, count_include_pad=True)) ** -0.75
            if version == "teacher":
                x = functional.max_pool2d(x, 3, 2, 1, ceil_mode=True)
    actual = jax.jit(network.apply)({"params": params}, image)
    np.testing.assert_allclose(actual, x.numpy().transpose(0, 2, 3, 1), atol=1e-4 * float(x.abs().max()))
