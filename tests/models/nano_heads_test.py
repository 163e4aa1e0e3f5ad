import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.models import nano_heads
from jaxtrack.models.nano_heads import NanoHeadV1, NanoHeadV2, NanoHeadV3


def both(head, zf, xf):
    return head.search(head.template(zf), xf)


@pytest.mark.parametrize(
    ("head", "channels", "side", "parameters"),
    [(NanoHeadV1(), 48, 16, 97_446), (NanoHeadV2(), 48, 16, 143_558), (NanoHeadV3(), 96, 15, 259_078)],
)
def test_maps_and_parameters_have_the_published_sizes(head, channels, side, parameters):
    zf, xf = ((jax.ShapeDtypeStruct((2, n, n, channels), jnp.float32),) for n in (8, 16))
    init = lambda key, z, x: head.init_with_output(key, z, x, method=both)  # noqa: E731
    (cls, loc), variables = jax.eval_shape(init, jax.random.key(0), zf, xf)
    assert cls.shape == (2, side, side, 2)
    assert loc.shape == (2, side, side, 4)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == parameters


def test_attention_scales_channels_by_a_sigmoid():
    module = nano_heads.ChannelAttention()
    x = jax.random.normal(jax.random.key(0), (2, 3, 3, 2))
    identity = jnp.eye(2).reshape(1, 1, 2, 2)
    layer = {"kernel": identity, "bias": jnp.asarray([0.5, -9.0])}
    out = module.apply({"params": {"fc1": layer, "fc2": layer}}, x)
    mean = np.asarray(x, np.float64).mean((1, 2))
    bias = np.asarray([0.5, -9.0])
    raw = np.maximum(mean + bias, 0) + bias
    np.testing.assert_allclose(out, np.asarray(x) / (1 + np.exp(-raw))[:, None, None], rtol=1e-4)


def test_the_depthwise_branch_sees_the_templates_centre_only():
    branch = nano_heads.DepthwiseBranch(3)
    z = jnp.zeros((1, 8, 8, 3)).at[:, 2:6, 2:6].set(1.0)
    x = jnp.ones((1, 16, 16, 3))
    variables = jax.jit(lambda: branch.init(jax.random.key(0), z, x, method=both))()
    template = jax.jit(lambda z: branch.apply(variables, z, method=branch.template))
    kept = template(z)
    assert kept.shape == (1, 4, 4, 3)
    np.testing.assert_allclose(kept, template(jnp.ones_like(z)), rtol=1e-6)


def test_boxes_are_exponentiated():
    head = NanoHeadV1(cls_features=8, loc_features=8)
    zf, xf = (jnp.ones((1, 8, 8, 4)),), (jnp.ones((1, 16, 16, 4)),)
    variables = jax.jit(lambda: head.init(jax.random.key(0), zf, xf, method=both))()
    output = variables["params"]["bbox_pred"]
    output["kernel"], output["bias"] = output["kernel"] * 0, jnp.asarray([0.0, 1.0, 2.0, -1.0])
    _, loc = jax.jit(lambda variables: head.apply(variables, zf, xf, method=both))(variables)
    np.testing.assert_allclose(loc[0, 3, 4], np.exp([0.0, 1.0, 2.0, -1.0]), rtol=1e-6)
