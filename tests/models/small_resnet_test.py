"""The small backbone's geometry and size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.models.siamese import ARCHITECTURES, shapes
from jaxtrack.models.small_resnet import SmallResNet


def parameters(name):
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes(ARCHITECTURES[name])["params"]))


@pytest.mark.parametrize(("side", "cells"), [(127, 15), (255, 31)])
def test_images_become_maps_as_in_the_large_networks(side, cells):
    image = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32)
    (out,), _ = jax.eval_shape(SmallResNet().init_with_output, jax.random.key(0), image)
    assert out.shape == (2, cells, cells, 64)


def test_a_cell_is_centred_on_its_pixel():
    network = SmallResNet((2, 2, 2), ((), (), ()))
    flat = jnp.zeros((1, 127, 127, 3))
    # No weight is negative: nothing that a cell sees is lost in a ReLU.
    variables = jax.tree.map(jnp.abs, network.init(jax.random.key(0), flat))
    run = jax.jit(lambda image: network.apply(variables, image)[0])
    seen = set()
    for pixel in range(40, 80):
        changed = run(flat.at[0, 63, pixel].set(100.0))
        if bool(jnp.any(changed[0, 7, 6] != run(flat)[0, 7, 6])):
            seen.add(pixel)
    assert (min(seen) + max(seen)) / 2 == 8 * 6 + 7


def test_sizes_are_within_their_bounds():
    # Convolutions and twice their outputs for normalisation: 3-16-32-64 with one and three blocks, neck, head.
    conv = lambda inputs, outputs, kernel=3: kernel * kernel * inputs * outputs + 2 * outputs  # noqa: E731
    backbone = conv(3, 16) + conv(16, 32) + 2 * conv(32, 32) + conv(32, 64) + 6 * conv(64, 64)
    head = 2 * (2 * conv(64, 64) + conv(64, 64, 1)) + (64 + 1) * (2 + 4) + 1
    assert parameters("siamban_nano") == backbone + conv(64, 64, 1) + head <= 1_500_000
    assert parameters("siamban_pico") <= 300_000
