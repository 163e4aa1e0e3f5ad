import jax
import jax.numpy as jnp
import pytest

from jaxtrack.models.resnet import ResNet

TINY = {"width": 4, "blocks": (1, 1, 2, 1)}


def shapes(module, side):
    image = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    return jax.eval_shape(module.init_with_output, jax.random.key(0), image)


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(("side", "cells"), [(127, (61, 31, 15, 15, 15)), (255, (125, 63, 31, 31, 31))])
def test_every_layers_map_has_the_published_size(side, cells):
    maps, _ = shapes(ResNet(used=(0, 1, 2, 3, 4)), side)
    channels = (64, 256, 512, 1024, 2048)
    assert [level.shape for level in maps] == [(1, n, n, c) for n, c in zip(cells, channels, strict=True)]


def test_layers_that_are_not_needed_have_no_parameters():
    _, full = shapes(ResNet(), 63)
    assert size(full["params"]) == 45_528_128
    maps, short = shapes(ResNet(used=(2, 3)), 63)
    assert size(short["params"]) == 13_786_176
    assert "layer4" not in short["params"]
    assert [level.shape[-1] for level in maps] == [512, 1024]


def test_maps_come_in_the_order_asked_for():
    maps, _ = shapes(ResNet(used=(3, 0), **TINY), 63)
    assert [level.shape[-1] for level in maps] == [64, 4]
