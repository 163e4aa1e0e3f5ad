import jax
import jax.numpy as jnp
import numpy as np
import pytest
import siamese_synthetic

from jaxtrack.models.mobilenet_v2 import MobileNetV2
from jaxtrack.weights import names

# siamese.md 1.4: expansion, base channels, blocks, stride, dilation.
STAGES = [(1, 16, 1, 1, 1), (6, 24, 2, 2, 1), (6, 32, 3, 2, 1), (6, 64, 4, 1, 2), (6, 96, 3, 1, 2), (6, 160, 3, 1, 4)]
STAGES += [(6, 320, 1, 1, 4)]


@pytest.mark.parametrize(("side", "cells"), [(127, 15), (255, 31)])
def test_the_maps_have_the_published_sizes(side, cells):
    image = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    maps, variables = jax.eval_shape(MobileNetV2().init_with_output, jax.random.key(0), image)
    assert [level.shape for level in maps] == [(1, cells, cells, channels) for channels in (44, 134, 448)]
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 3_485_204


def test_layers_that_are_not_needed_have_no_parameters():
    image = jax.ShapeDtypeStruct((1, 127, 127, 3), jnp.float32)
    _, variables = jax.eval_shape(MobileNetV2(used=(3,)).init_with_output, jax.random.key(0), image)
    assert set(variables["params"]) == {"layer0", "layer1", "layer2", "layer3"}


def torch_outputs(torch, state, x):
    """The backbone's maps after each stage, from the tensors of a state dict by their published names."""
    functional = torch.nn.functional

    def conv_norm(x, prefix, conv, act, **options):
        x = functional.conv2d(x, state[f"{prefix}.{conv}.weight"], **options)
        norm = [state[f"{prefix}.{conv + 1}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
        x = functional.batch_norm(x, *norm, eps=1e-5)
        return functional.relu6(x) if act else x

    x = conv_norm(x, "backbone.layer0", 0, True, stride=2)
    outputs, before = [x], 1
    for stage, (_, _, blocks, stride, dilation) in enumerate(STAGES, 1):
        for block in range(blocks):
            s = 1 if block else stride
            d = dilation if block or dilation == before else max(dilation // 2, 1)
            prefix = f"backbone.layer{stage}.{block}.conv"
            out = conv_norm(x, prefix, 0, True)
            spatial = {"stride": s, "padding": d if d > 1 else 2 - s, "dilation": d, "groups": out.shape[1]}
            out = conv_norm(out, prefix, 3, True, **spatial)
            out = conv_norm(out, prefix, 6, False)
            x = out + x if s == 1 and out.shape == x.shape else out
        before = dilation
        outputs.append(x)
    return outputs


def test_it_computes_what_torchs_layers_do():
    torch = pytest.importorskip("torch")
    architecture = siamese_synthetic.narrow("siamrpn_mobilenetv2")
    state = siamese_synthetic.state(architecture)
    image = siamese_synthetic.image(0, 127) / 50
    tensors = {key: torch.tensor(value) for key, value in state.items()}
    expected = torch_outputs(torch, tensors, torch.tensor(image.transpose(0, 3, 1, 2)))
    variables = names.to_flax(state, architecture)
    backbone = {collection: tree["backbone"] for collection, tree in variables.items()}
    for index, actual in zip((3, 5, 7), jax.jit(architecture.backbone.apply)(backbone, image), strict=True):
        np.testing.assert_allclose(actual, expected[index].numpy().transpose(0, 2, 3, 1), atol=1e-4, rtol=1e-4)
