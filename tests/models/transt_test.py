"""TransT's network against the numbers of siamese.md, sections 10 and 13.1."""

import collections

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import siamese_synthetic

from jaxtrack.models import siamese, transformer, transt
from jaxtrack.models.siamese import ARCHITECTURES
from jaxtrack.models.transformer import MLP
from jaxtrack.models.transt import Projection, TransTHead, TruncatedResNet, normalised
from jaxtrack.weights import names


@pytest.mark.parametrize(("side", "cells"), [(128, 16), (256, 32)])
def test_the_backbone_ends_after_layer3_at_stride_8(side, cells):
    image = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    (only,), variables = jax.eval_shape(TruncatedResNet().init_with_output, jax.random.key(0), image)
    assert only.shape == (1, cells, cells, 1024)
    assert set(variables["params"]) == {"stem", "layer1", "layer2", "layer3"}


def test_of_layer3_the_first_block_alone_is_dilated():
    """What a cell of the map depends on, in one row: without the rest of the network, 2 + 1 cells to each side."""
    stage = transt._Stage(2, 2, 1, 2)
    x = jnp.zeros((1, 9, 9, 4))

    @jax.jit
    def gradient_of_the_middle(x):
        variables = stage.init(jax.random.key(0), x, train=False)
        variables = {**variables, "params": jax.tree.map(jnp.ones_like, variables["params"])}
        return jax.grad(lambda x: stage.apply(variables, x + 1, train=False)[0, 4, 4, 0])(x)  # type: ignore[index]

    gradient = gradient_of_the_middle(x)
    seen = np.abs(np.asarray(gradient)).sum((0, 3))[4]
    # A dilated kernel reaches cells -2, 0, 2, the plain one behind it adds one to either side: all of -3 to 3.
    np.testing.assert_array_equal(seen > 0, [False, True, True, True, True, True, True, True, False])


def test_images_are_scaled_and_centred_as_rgb():
    image = jnp.asarray([[[[255.0, 0.0, 255 * 0.485]]]])  # blue, green, red
    np.testing.assert_allclose(normalised(image)[0, 0, 0], [0.0, -0.456 / 0.224, (1 - 0.406) / 0.225], atol=1e-6)


def test_entries_are_dropped_in_training_alone():
    head = TransTHead(layers=1, heads=2, hidden=8, dropout=0.5)
    z, x = (jax.random.normal(jax.random.key(i), (2, side, side, 8)) for i, side in enumerate((2, 3)))
    params = jax.jit(lambda: head.init(jax.random.key(2), z, (x,), method="search"))()

    @jax.jit
    def boxes(key):
        rngs = {"dropout": jax.random.key(key)}
        return [head.apply(params, z, (x,), train=train, method="search", rngs=rngs)[1] for train in (False, True)]

    (still, first), (same, second) = boxes(0), boxes(1)
    np.testing.assert_array_equal(still, same)
    assert (first != second).all()
    assert (first != still).all()


def test_weights_of_attention_and_hidden_and_residual_entries_are_dropped_in_every_layer(monkeypatch):
    """siamese.md 10.1, of two fusion layers and the decoder; 4 tokens of the template and 9 of the search region."""
    head = TransTHead(layers=2, heads=2, hidden=12, dropout=0.25)
    weights, entries = [], collections.Counter()

    def attend(queries, *_, dropout_rate, broadcast_dropout, deterministic, **__):
        weights.append((dropout_rate, broadcast_dropout, deterministic))
        return queries

    def note(call, given, named, context):
        if isinstance(context.module, nn.Dropout):
            entries[(context.module.rate, named["deterministic"], *given[0].shape[1:])] += 1
        return call(*given, **named)

    monkeypatch.setattr(transformer, "attend", attend)
    z, x = jnp.zeros((1, 2, 2, 8)), jnp.zeros((1, 3, 3, 8))
    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    with nn.intercept_methods(note):
        jax.eval_shape(lambda: head.init(rngs, z, (x,), method="search", train=True))
    assert weights == [(0.25, False, False)] * 9
    # In a layer: after ECA, after CFA's attention and after its dense layers; 12 wide between these.
    expected = {(4, 8): 2 * 3, (4, 12): 2, (9, 8): 2 * 3 + 2, (9, 12): 2 + 1}
    assert entries == {(0.25, False, *shape): count for shape, count in expected.items()}


def test_the_parts_that_are_named_normalise_by_the_batch():
    network = TruncatedResNet(2, (1, 1, 1))
    x = 255 * jax.random.uniform(jax.random.key(0), (2, 16, 16, 3))

    shapes = jax.eval_shape(network.init, jax.random.key(0), x)
    before = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.1, leaf.dtype), shapes)
    named = ("stem", "layer2")
    _, after = jax.jit(lambda before: network.apply(before, x, train=named, mutable=["batch_stats"]))(before)
    moved = {
        name: {bool((leaf != 0.1).all()) for leaf in jax.tree.leaves(part)}
        for name, part in after["batch_stats"].items()
    }
    assert moved == {"stem": {True}, "layer1": {False}, "layer2": {True}, "layer3": {False}}


def test_projection_and_heads_are_drawn_as_pytorch_does():
    """Uniform in +-1/sqrt(inputs), weights and biases."""
    projection = jax.jit(Projection(64).init)(jax.random.key(0), (jnp.zeros((1, 2, 2, 96)),))["params"]
    mlp = jax.jit(MLP(64, 4).init)(jax.random.key(1), jnp.zeros((1, 96)))["params"]
    for layer, inputs in ((projection["conv"], 96), (mlp["layer_0"], 96), (mlp["layer_1"], 64), (mlp["layer_2"], 64)):
        bound = inputs**-0.5
        assert 0.97 * bound < np.abs(layer["kernel"]).max() <= bound
        assert 0 < np.abs(layer["bias"]).max() <= bound


def test_in_bfloat16_the_same_comes_out_roughly_and_as_float32():
    architecture = siamese_synthetic.narrow("transt")
    network = siamese.build(architecture)
    variables = names.to_flax(siamese_synthetic.state(architecture), architecture)
    images = [siamese_synthetic.normal_image(i, side) for i, side in ((1, 128), (2, 256))]
    run = jax.jit(network.apply)
    full, half = (run(variables, *(jnp.asarray(i, kind) for i in images)) for kind in (jnp.float32, jnp.bfloat16))
    for a, b in zip(full, half, strict=True):
        assert b.dtype == jnp.float32
        assert 0 < float(jnp.mean(jnp.abs(a - b))) < 0.05


@pytest.fixture(scope="module")
def published():
    """What the synthetic checkpoint makes of the specification's inputs, as trackers run it: maps, logits, boxes."""
    architecture = ARCHITECTURES["transt"]
    network = siamese.build(architecture)
    params = siamese.for_inference(architecture, names.to_flax(siamese_synthetic.state("transt"), "transt"))

    @jax.jit
    def run(params, z, x):
        def both(network, z, x):
            return network.backbone(z)[0], *network(z, x)

        return network.apply(params, z, x, method=both)

    z, x = siamese_synthetic.normal_image(1, 128), siamese_synthetic.normal_image(2, 256)
    return [np.asarray(out, np.float64) for out in run(params, z, x)]


def test_the_templates_map_is_the_references(published):
    layer3 = published[0]
    found = (layer3.mean(), layer3.std(), layer3[0, 7, 9, 5])
    np.testing.assert_allclose(found, (1.636372, 1.675832, 1.980804), atol=1e-4)


def test_logits_are_the_references(published):
    logits = published[1].reshape(1024, 2)[:, ::-1]  # the reference's order: target, background
    np.testing.assert_allclose((logits.mean(), logits.std()), (-0.144071, 0.056803), atol=1e-4)
    np.testing.assert_allclose(logits[0], (-0.198794, -0.064554), atol=1e-4)
    found = (logits[33, 0], logits[500, 1], logits[1023, 0])
    np.testing.assert_allclose(found, (-0.195975, -0.087852, -0.194649), atol=1e-4)


def test_boxes_are_the_references(published):
    boxes = published[2].reshape(1024, 4)
    np.testing.assert_allclose((boxes.mean(), boxes.std()), (0.465360, 0.147329), atol=1e-4)
    np.testing.assert_allclose(boxes[0, :2], (0.369943, 0.705285), atol=1e-4)
    found = (boxes[33, 2], boxes[500, 3], boxes[1023, 0])
    np.testing.assert_allclose(found, (0.324553, 0.460386, 0.369394), atol=1e-4)
