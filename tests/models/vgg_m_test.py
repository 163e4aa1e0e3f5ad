import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.models.vgg_m import VGGM, MDNetHead, with_new_branch


def normal(*shape, scale=1.0, seed=0):
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def random_params(module, *inputs):
    """Parameters that keep the size of what passes through; drawn by NumPy, which compiles nothing."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"]
    return jax.tree.map(lambda leaf: normal(*leaf.shape, scale=(2 / max(np.prod(leaf.shape[:-1]), 8)) ** 0.5), shapes)


def sizes(tree):
    return {name: sum(leaf.size for leaf in jax.tree.leaves(part)) for name, part in tree.items()}


def test_107_pixels_give_3_by_3_cells_and_the_published_number_of_parameters():
    image = jax.ShapeDtypeStruct((1, 107, 107, 3), jnp.float32)
    out, variables = jax.eval_shape(VGGM().init_with_output, jax.random.key(0), image)
    assert (out.shape, out.dtype) == ((1, 3, 3, 512), jnp.float32)
    # mdnet_family.md, section 2.1: kernels 7, 5 and 3, channels 96, 256 and 512.
    assert sizes(variables["params"]) == {
        "conv1": 7 * 7 * 3 * 96 + 96,
        "conv2": 5 * 5 * 96 * 256 + 256,
        "conv3": 3 * 3 * 256 * 512 + 512,
    }


def test_the_chain_of_sizes_is_that_of_the_spec():
    jaxpr = jax.make_jaxpr(lambda x: VGGM((2, 3, 4)).init_with_output(jax.random.key(0), x)[0])(
        jnp.zeros((1, 107, 107, 3))
    )
    shapes = [v.aval.shape[1:] for e in jaxpr.jaxpr.eqns for v in e.outvars if len(v.aval.shape) == 4]
    chain = [shape for shape in dict.fromkeys(shapes) if shape[0] == shape[1]]
    for expected in ((51, 51, 2), (25, 25, 2), (11, 11, 3), (5, 5, 3), (3, 3, 4)):
        assert expected in chain


@pytest.mark.parametrize("normalisation", ["vgg_m", "py_mdnet"])
def test_it_computes_what_torchs_layers_do(normalisation):
    torch = pytest.importorskip("torch")
    network = VGGM((6, 8, 10), normalisation)
    image = normal(2, 107, 107, 3, scale=60)
    params = random_params(network, image)
    lrn = {
        "vgg_m": lambda: torch.nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0),
        "py_mdnet": lambda: torch.nn.LocalResponseNorm(2),
    }[normalisation]
    x = torch.tensor(image.transpose(0, 3, 1, 2))
    for i, stride in ((1, 2), (2, 2), (3, 1)):
        kernel, bias = (torch.tensor(np.array(params[f"conv{i}"][name])) for name in ("kernel", "bias"))
        x = torch.relu(torch.nn.functional.conv2d(x, kernel.permute(3, 2, 0, 1), bias, stride))
        if i < 3:
            x = torch.nn.functional.max_pool2d(lrn()(x), 3, 2)
    actual = jax.jit(network.apply)({"params": params}, image)
    np.testing.assert_allclose(actual, x.numpy().transpose(0, 2, 3, 1), atol=1e-4 * float(x.abs().max()))


def test_images_without_three_channels_are_refused():
    with pytest.raises(AssertionError, match="shape"):
        VGGM((2, 2, 2)).init(jax.random.key(0), jnp.zeros((1, 107, 107, 1)))


# --- the head ---------------------------------------------------------------------------------------------------


FEATURES, LOCATIONS = normal(6, 18), normal(6, 4, seed=1)


def test_the_head_has_the_papers_layers():
    head = MDNetHead(branches=3)
    features = jax.ShapeDtypeStruct((5, 4608), jnp.float32)
    out, variables = jax.eval_shape(head.init_with_output, jax.random.key(0), features)
    assert out.shape == (5, 2)
    assert sizes(variables["params"]) == {"fc4": 4608 * 512 + 512, "fc5": 512 * 512 + 512, "fc6": 3 * (512 * 2 + 2)}
    location = jax.ShapeDtypeStruct((5, 4), jnp.float32)
    variables = jax.eval_shape(head.init, jax.random.key(0), features, location)
    assert variables["params"]["fc6"]["kernel"].shape == (3, 516, 2)


def test_with_a_third_hidden_layer_the_others_keep_their_names_and_shapes():
    features, location = jax.ShapeDtypeStruct((5, 4608), jnp.float32), jax.ShapeDtypeStruct((5, 4), jnp.float32)
    two, three = (
        jax.eval_shape(MDNetHead(branches=3, hidden=hidden).init, jax.random.key(0), features, location)["params"]
        for hidden in (2, 3)
    )
    assert {name: three[name] for name in two} == two
    assert {name: sizes(three)[name] for name in three.keys() - two} == {"fc5b": 512 * 512 + 512}
    assert (MDNetHead().layers, MDNetHead(hidden=3).layers) == (("fc4", "fc5", "fc6"), ("fc4", "fc5", "fc5b", "fc6"))


def test_its_initial_weights_are_mdnets():
    params = jax.jit(MDNetHead(256, branches=4, hidden=3).init)(jax.random.key(0), normal(1, 512))["params"]
    for name in ("fc4", "fc5", "fc5b", "fc6"):
        assert abs(np.std(params[name]["kernel"]) - 0.01) < 5e-4
    for name in ("fc4", "fc5", "fc5b"):
        assert (params[name]["bias"] == 0.1).all()
    assert (params["fc6"]["bias"] == 0).all()
    first, second = params["fc6"]["kernel"][:2]
    assert not np.array_equal(first, second)


def by_hand(params, features, location, branch):
    x = features
    for name in ("fc4", "fc5", "fc5b")[: len(params) - 1]:
        x = np.maximum(x @ np.asarray(params[name]["kernel"]) + np.asarray(params[name]["bias"]), 0)
    x = x if location is None else np.concatenate([x, location], 1)
    return x @ np.asarray(params["fc6"]["kernel"])[branch] + np.asarray(params["fc6"]["bias"])[branch]


@pytest.mark.parametrize("hidden", [2, 3])
@pytest.mark.parametrize("location", [None, LOCATIONS])
def test_scores_are_those_of_the_branch_asked_for(location, hidden):
    head = MDNetHead(8, branches=3, hidden=hidden)
    params = random_params(head, FEATURES, *([] if location is None else [location]))
    apply = jax.jit(lambda branch: head.apply({"params": params}, FEATURES, location, branch=branch))
    for branch in range(3):
        expected = by_hand(params, FEATURES, location, branch)
        np.testing.assert_allclose(apply(jnp.int32(branch)), expected, atol=1e-5)
    np.testing.assert_allclose(
        head.apply({"params": params}, FEATURES, location, branch=2), apply(jnp.int32(2)), atol=1e-5
    )


def test_only_the_branch_in_use_and_the_shared_layers_learn():
    head = MDNetHead(8, branches=3)
    params = random_params(head, FEATURES)
    gradient = jax.grad(lambda p: jnp.sum(head.apply({"params": p}, FEATURES, branch=1) ** 2))(params)
    learning = np.abs(gradient["fc6"]["kernel"]).sum((1, 2)) > 0
    assert learning.tolist() == [False, True, False]
    assert np.abs(gradient["fc4"]["kernel"]).sum() > 0


def test_training_drops_half_of_fc4_and_of_fc5_and_no_location():
    # Weights that make every hidden output 1 and let the scores count what is left of fc5, and read the location.
    width = 400
    head = MDNetHead(width)
    params = jax.tree.map(jnp.zeros_like, random_params(head, FEATURES, LOCATIONS))
    for name in ("fc4", "fc5"):
        params[name]["bias"] = jnp.ones(width)
    params["fc6"]["kernel"] = params["fc6"]["kernel"].at[0, :width, 0].set(1.0).at[0, width, 1].set(1.0)

    def scores(seed, **options):
        rngs = {"dropout": jax.random.key(seed)}
        return head.apply({"params": params}, FEATURES, LOCATIONS, rngs=rngs, **options)

    np.testing.assert_array_equal(scores(0)[:, 0], np.full(6, width))
    for seed in (0, 1):
        out = scores(seed, train=True)
        kept = out[:, 0] / 2  # What is kept is doubled.
        np.testing.assert_allclose(kept, np.round(kept), atol=1e-4)
        assert (np.abs(kept - width / 2) < 50).all()  # Five standard deviations of 10.
        assert np.unique(kept).size > 1
        np.testing.assert_allclose(out[:, 1], LOCATIONS[:, 0], rtol=1e-6)
    assert not np.array_equal(scores(0, train=True), scores(1, train=True))
    # fc4's dropout shows where fc5 copies fc4: an output then survives both with a quarter's chance, times four.
    params["fc5"] = {"kernel": jnp.eye(width), "bias": jnp.zeros(width)}
    kept = scores(0, train=True)[:, 0] / 4
    assert (np.abs(kept - width / 4) < 45).all()


def test_a_third_hidden_layer_is_dropped_from_too_and_the_location_joins_behind_it():
    width = 400
    head = MDNetHead(width, hidden=3)
    params = jax.tree.map(jnp.zeros_like, random_params(head, FEATURES, LOCATIONS))
    params["fc5b"]["bias"] = jnp.ones(width)
    params["fc6"]["kernel"] = params["fc6"]["kernel"].at[0, :width, 0].set(1.0).at[0, width, 1].set(1.0)
    out = head.apply({"params": params}, FEATURES, LOCATIONS, train=True, rngs={"dropout": jax.random.key(0)})
    # What is kept, half of 400 with a deviation of 10, is doubled.
    assert (np.abs(out[:, 0] / 2 - width / 2) < 50).all()
    assert np.unique(out[:, 0]).size > 1
    np.testing.assert_allclose(out[:, 1], LOCATIONS[:, 0], rtol=1e-6)


def test_a_tracker_starts_with_one_new_branch():
    head = MDNetHead(300, branches=5)
    params = random_params(head, FEATURES, LOCATIONS)
    fresh = with_new_branch(params, jax.random.key(7), location=True)
    assert fresh["fc4"] is params["fc4"]
    assert fresh["fc5"] is params["fc5"]
    assert fresh["fc6"]["kernel"].shape == (1, 304, 2)
    assert abs(np.std(fresh["fc6"]["kernel"]) - 0.01) < 1.5e-3
    assert (fresh["fc6"]["bias"] == 0).all()
    assert MDNetHead(300).apply({"params": fresh}, FEATURES, LOCATIONS).shape == (6, 2)
    deep = {**params, "fc5b": params["fc5"]}
    assert with_new_branch(deep, jax.random.key(7), location=True)["fc5b"] is deep["fc5b"]
    imported = {name: params[name] for name in ("fc4", "fc5")}
    fresh = with_new_branch(imported, jax.random.key(7), location=False)
    assert MDNetHead(300).apply({"params": fresh}, FEATURES).shape == (6, 2)
