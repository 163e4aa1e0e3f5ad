import jax
import jax.numpy as jnp
import pytest

from jaxtrack.models.mobilenet_v3 import MobileNetV3, make_divisible


@pytest.mark.parametrize(("blocks", "channels", "parameters"), [(8, 48, 190_520), (9, 96, 282_368)])
@pytest.mark.parametrize(("side", "cells"), [(127, 8), (255, 16)])
def test_the_map_has_the_published_size(blocks, channels, parameters, side, cells):
    image = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    (out,), variables = jax.eval_shape(MobileNetV3(blocks).init_with_output, jax.random.key(0), image)
    assert out.shape == (1, cells, cells, channels)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == parameters


def test_hidden_and_squeezed_channels_are_the_published_ones():
    image = jax.ShapeDtypeStruct((1, 127, 127, 3), jnp.float32)
    variables = jax.eval_shape(MobileNetV3(9).init, jax.random.key(0), image)
    blocks = [variables["params"][f"block_{i}"] for i in range(1, 10)]
    hidden = [block["depthwise"]["conv"]["kernel"].shape[-1] for block in blocks]
    squeezed = [block["squeeze"]["fc1"]["kernel"].shape[-1] for block in blocks if "squeeze" in block]
    assert hidden == [16, 72, 88, 96, 240, 240, 120, 144, 288]
    assert squeezed == [8, 24, 64, 64, 32, 40, 72]


def test_make_divisible_rounds_to_the_nearest_but_never_far_down():
    assert [make_divisible(v) for v in (4, 88.08, 60, 36)] == [8, 88, 64, 40]
    assert make_divisible(18) == 24, "16 is less than 0.9 of 18"
