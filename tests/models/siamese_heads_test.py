import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.models.siamese_heads import BANHead, PWHead, RPNHead, fuse

RNG = np.random.RandomState(0)


def features(side, levels):
    return tuple(RNG.standard_normal((1, side, side, 4)).astype(np.float32) for _ in range(levels))


def both(head, zf, xf):
    return head.search(head.template(zf), xf)


def init(head, zf, xf):
    return jax.jit(lambda: head.init(jax.random.key(0), zf, xf, method=both))()


def run(head, variables, zf, xf):
    return jax.jit(lambda variables: head.apply(variables, zf, xf, method=both))(variables)


def test_unweighted_maps_are_averaged():
    maps = [jnp.full((1, 2, 2, 1), value) for value in (1.0, 2.0, 6.0)]
    np.testing.assert_allclose(fuse(maps, None), np.full((1, 2, 2, 1), 3.0), rtol=1e-6)
    np.testing.assert_array_equal(fuse(maps[:1], None), maps[0])


def test_weights_of_fusion_go_through_a_softmax():
    maps = [jnp.full((1, 2, 2, 1), value) for value in (1.0, 2.0, 6.0)]
    weight = jnp.log(jnp.asarray([1.0, 2.0, 5.0])) + 7
    np.testing.assert_allclose(fuse(maps, weight), np.full((1, 2, 2, 1), (1 + 4 + 30) / 8), rtol=1e-6)


def test_boxes_of_points_are_exponentiated_level_by_level_before_fusion():
    head, zf, xf = BANHead(levels=2, features=4), features(5, 2), features(9, 2)
    variables = init(head, zf, xf)
    variables["params"]["loc_scale"] = jnp.asarray([2.0, 0.5])
    variables["params"]["loc_weight"] = jnp.asarray([0.0, jnp.log(3.0)])
    for name in ("level_2", "level_3"):  # raw boxes of 1.5 everywhere
        output = variables["params"][name]["loc"]["output"]
        output["kernel"], output["bias"] = output["kernel"] * 0, output["bias"] * 0 + 1.5
    _, loc = run(head, variables, zf, xf)
    expected = 0.25 * np.exp(1.5 * 2) + 0.75 * np.exp(1.5 * 0.5)
    np.testing.assert_allclose(loc, np.full((1, 5, 5, 4), expected), rtol=1e-5)


def test_raw_boxes_of_anchors_are_only_fused():
    head, zf, xf = RPNHead(levels=1, features=4, anchors=3, weighted=False), features(5, 1), features(9, 1)
    variables = init(head, zf, xf)
    assert set(variables["params"]) == {"level_only"}
    output = variables["params"]["level_only"]["loc"]["output"]
    output["kernel"], output["bias"] = output["kernel"] * 0, jnp.arange(12.0) - 6
    cls, loc = run(head, variables, zf, xf)
    assert cls.shape == (1, 5, 5, 6)
    np.testing.assert_allclose(loc[0, 2, 3], np.arange(12.0) - 6, rtol=1e-6)


def test_what_is_kept_of_a_template_is_the_kernels():
    head, zf, xf = RPNHead(features=4), features(7, 3), features(31, 3)
    kept = jax.eval_shape(lambda: head.apply(init(head, zf, xf), zf, method=head.template))
    assert [leaf.shape for leaf in jax.tree.leaves(kept)] == [(1, 5, 5, 4)] * 6


def test_siampw_starts_with_a_low_foreground_score_on_both_channels():
    head, zf, xf = PWHead(levels=2, features=8, groups=2), features(7, 2), features(31, 2)
    variables = init(head, zf, xf)
    for name in ("level_2", "level_3"):
        np.testing.assert_allclose(variables["params"][name]["cls_logits"]["bias"], [-4.59512] * 2, rtol=1e-5)
    cls, loc = run(head, variables, zf, xf)
    assert cls.shape == (1, 25, 25, 2)
    assert loc.shape == (1, 25, 25, 4)


@pytest.mark.parametrize("head", [RPNHead(), BANHead()])
def test_every_branch_has_its_own_path_for_the_template(head):
    zf, xf = (tuple(jnp.zeros((1, side, side, 4)) for _ in range(3)) for side in (7, 31))
    variables = jax.eval_shape(lambda: init(head, zf, xf))
    levels = [variables["params"][f"level_{i}"] for i in (2, 3, 4)]
    assert all(set(level) == {"cls", "loc"} for level in levels)
    assert set(levels[0]["cls"]) == {"conv_kernel", "conv_search", "hidden", "output"}
