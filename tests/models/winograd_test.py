"""Winograd's convolution beside XLA's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from siamese_synthetic import image, narrow

from jaxtrack.models import layers, siamese, winograd
from jaxtrack.models.siamese import ARCHITECTURES


@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize(
    ("height", "width", "padding", "dilation"),
    [(7, 7, 1, 1), (8, 11, 1, 1), (9, 6, 0, 1), (31, 31, 2, 2), (10, 13, 4, 4), (5, 5, 0, 2)],
)
def test_it_is_the_same_convolution(height, width, padding, dilation, tile, monkeypatch):
    if tile == 4:
        monkeypatch.setattr(winograd, "LARGE_TILE_CHANNELS", 1)
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, height, width, 5)), jnp.float32)
    kernel = rng.normal(size=(3, 3, 5, 7)).astype(np.float32)
    expected = layers.convolve(x, jnp.asarray(kernel), 1, padding, dilation)
    products = winograd.transform(kernel)
    assert len(products) == (tile + 2) ** 2
    out = jax.jit(winograd.convolve, static_argnums=(2, 3))(x, products, padding, dilation)
    np.testing.assert_allclose(out, expected, atol=1e-4 if tile == 4 else 2e-5)


def test_it_is_for_the_large_kernels_of_stride_one():
    paths = {"/".join(path) for path in siamese.winograd_paths(ARCHITECTURES["siamrpn_r50"])}
    # Two shortcuts and all nine blocks of layers 3 and 4; of each level's two branches, template and search.
    assert len([path for path in paths if "layer3" in path or "layer4" in path]) == 11
    assert len([path for path in paths if path.startswith("head")]) == 12
    assert len(paths) == 23
    assert not siamese.winograd_paths(ARCHITECTURES["nanotrack_v3"])


def test_a_network_gives_the_same_with_transformed_kernels(monkeypatch):
    monkeypatch.setattr(winograd, "FEWEST_CHANNELS", 16)
    architecture = narrow("siamrpn_r50")
    network = siamese.build(architecture)
    z, x = image(1, architecture.template_px), image(2, architecture.search_px)
    variables = jax.jit(network.init)(jax.random.key(0), z, x)
    ready = siamese.for_inference(architecture, variables)
    assert "winograd" in str(jax.tree.structure(ready))
    apply = jax.jit(network.apply)
    for ours, plain in zip(apply(ready, z, x), apply(variables, z, x), strict=True):
        np.testing.assert_allclose(ours, plain, atol=1e-5 * float(np.abs(plain).max()))
