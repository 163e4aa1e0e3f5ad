import jax
import jax.numpy as jnp
import numpy as np
import pytest
import siamese_synthetic

from jaxtrack.models.alexnet import AlexNet
from jaxtrack.weights import names


@pytest.mark.parametrize(("side", "cells"), [(127, 6), (287, 26)])
def test_the_map_has_the_published_size(side, cells):
    image = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    (out,), variables = jax.eval_shape(AlexNet().init_with_output, jax.random.key(0), image)
    assert out.shape == (1, cells, cells, 256)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 3_749_952


def test_it_computes_what_torchs_layers_do():
    torch = pytest.importorskip("torch")
    architecture = siamese_synthetic.narrow("siamrpn_alex")
    state = siamese_synthetic.state(architecture)
    layers = []
    # Entries of the published Sequential: kernel size and stride of a convolution, "norm", "pool", "relu".
    plan = [(11, 2), "norm", "pool", "relu", (5, 1), "norm", "pool", "relu"]
    plan += [(3, 1), "norm", "relu", (3, 1), "norm", "relu", (3, 1), "norm"]
    make = {"norm": lambda: torch.nn.BatchNorm2d(8), "pool": lambda: torch.nn.MaxPool2d(3, 2), "relu": torch.nn.ReLU}
    for entry in plan:
        inputs = 8 if layers else 3
        layers.append(make[entry]() if isinstance(entry, str) else torch.nn.Conv2d(inputs, 8, *entry))
    network = torch.nn.Sequential(*layers).eval()
    prefix = "backbone.features."
    weights = {key.removeprefix(prefix): torch.tensor(v) for key, v in state.items() if key.startswith(prefix)}
    missing = network.load_state_dict(weights, strict=False).missing_keys
    assert all(key.endswith("num_batches_tracked") for key in missing)
    image = siamese_synthetic.image(0, 127)
    with torch.no_grad():
        expected = network(torch.tensor(image.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
    variables = names.to_flax(state, architecture)
    backbone = {collection: tree["backbone"] for collection, tree in variables.items()}
    (actual,) = architecture.backbone.apply(backbone, image)
    np.testing.assert_allclose(actual, expected, atol=1e-5 * np.abs(expected).max())
