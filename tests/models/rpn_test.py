import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.models import rpn
from jaxtrack.models.rpn import AnchorHead, ProposalHead

# mdnet_family.md, section 4.3: rows and columns 0, 16, 32 and 48 pixels off, columns also 64, 80 and 96.
OVERLAPS = [
    [1.0000, 0.8289, 0.6847, 0.5616, 0.4553, 0.3625, 0.2809],
    [0.8289, 0.6972, 0.5833, 0.4837, 0.3959, 0.3178, 0.2481],
    [0.6847, 0.5833, 0.4934, 0.4131, 0.3411, 0.2760, 0.2169],
    [0.5616, 0.4837, 0.4131, 0.3490, 0.2904, 0.2367, 0.1873],
]
# Section 4.4: columns of the mask by row, first and last.
MASKS = {
    0.9: {6: (6, 7), 7: (6, 7)},
    0.8: {5: (6, 7), 6: (5, 8), 7: (5, 8), 8: (6, 7)},
    0.7: {5: (6, 7), 6: (5, 8), 7: (5, 8), 8: (6, 7)},
    0.6: {4: (6, 7), 5: (5, 8), 6: (4, 9), 7: (4, 9), 8: (5, 8), 9: (6, 7)},
    0.5: {3: (6, 7), 4: (5, 8), 5: (4, 9), 6: (3, 10), 7: (3, 10), 8: (4, 9), 9: (5, 8), 10: (6, 7)},
}


def random_params(module, *inputs):
    """Parameters that keep the size of what passes through; drawn by NumPy, which compiles nothing."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"]
    random = np.random.default_rng(1)
    scaled = lambda leaf: (2 / max(np.prod(leaf.shape[:-1]), 8)) ** 0.5 * random.normal(size=leaf.shape)  # noqa: E731
    return jax.tree.map(lambda leaf: scaled(leaf).astype(np.float32), shapes)


def test_overlaps_are_those_of_the_table():
    overlaps = rpn.anchor_overlaps()
    assert overlaps.shape == (14, 14)
    np.testing.assert_allclose(overlaps[7:11, 7:], OVERLAPS, atol=5e-5)
    np.testing.assert_array_equal(overlaps, overlaps.T)
    np.testing.assert_array_equal(overlaps, overlaps[::-1])


@pytest.mark.parametrize(("threshold", "count"), [(0.9, 4), (0.8, 12), (0.7, 12), (0.6, 24), (0.5, 40)])
def test_masks_are_those_of_the_table(threshold, count):
    expected = np.zeros((14, 14), bool)
    for row, (first, last) in MASKS[threshold].items():
        expected[row, first : last + 1] = True
    mask = rpn.anchor_mask(threshold)
    assert mask.sum() == count
    np.testing.assert_array_equal(mask, expected)


def test_a_smaller_map_has_anchors_of_its_own():
    """Of 8 cells, 16 px apart, and targets of 90 px: (90 - 16) / (90 + 16) is an IoU of a neighbour, 0.698."""
    overlaps = rpn.anchor_overlaps(8, 90.0)
    assert overlaps.shape == (8, 8)
    assert (overlaps[3:5, 3:5] == 1).all()
    assert overlaps[3, 5] == overlaps[2, 4] == pytest.approx(74 / 106)
    assert overlaps[3, 7] == pytest.approx((90 - 48) / (90 + 48))
    assert rpn.anchor_mask(0.7, 8, 90.0).sum() == 4
    assert rpn.anchor_mask(0.69, 8, 90.0).sum() == 4 + 8


def test_the_papers_mask_is_the_default_and_an_exact_match_counts():
    np.testing.assert_array_equal(rpn.anchor_mask(), rpn.anchor_mask(0.7))
    assert rpn.anchor_mask(1.0).sum() == 4


@pytest.mark.parametrize("threshold", [0.0, -0.5, 1.01, float("nan")])
def test_thresholds_that_no_iou_has_are_refused(threshold):
    with pytest.raises(ValueError, match="must lie above 0 and be at most 1"):
        rpn.anchor_mask(threshold)


def test_both_heads_have_the_published_layers():
    x = jnp.zeros((2, 14, 14, 256))
    (a, q), variables = jax.eval_shape(AnchorHead().init_with_output, jax.random.key(0), x)
    assert a.shape == q.shape == (2, 14, 14, 2)
    ours = {name: layer["kernel"].shape for name, layer in variables["params"].items()}
    assert ours == {"conv": (3, 3, 256, 256), "masked_scores": (1, 1, 256, 2), "all_scores": (1, 1, 256, 2)}
    (scores, deltas), variables = jax.eval_shape(ProposalHead().init_with_output, jax.random.key(0), x)
    assert scores.shape == (2, 14, 14, 2, 9)
    assert deltas.shape == (2, 14, 14, 9, 4)
    theirs = {name: layer["kernel"].shape for name, layer in variables["params"].items()}
    assert theirs == {"conv": (3, 3, 256, 256), "scores": (1, 1, 256, 18), "deltas": (1, 1, 256, 36)}


@pytest.mark.parametrize("head", [AnchorHead(64), ProposalHead(64)])
def test_new_layers_start_small(head):
    params = jax.jit(head.init)(jax.random.key(0), jnp.zeros((1, 2, 2, 32)))["params"]
    for layer in params.values():
        assert (layer["bias"] == 0).all()
        assert abs(np.std(layer["kernel"]) - 0.01) < 2e-3


def test_the_two_scores_of_a_cell_see_its_neighbours_and_have_weights_of_their_own():
    head = AnchorHead(2)
    x = np.abs(np.random.default_rng(0).normal(size=(1, 5, 5, 3))).astype(np.float32)
    params = random_params(head, x)
    padded = np.pad(x[0], ((1, 1), (1, 1), (0, 0)))
    kernel, bias = params["conv"]["kernel"], params["conv"]["bias"]
    hidden = np.array([[np.tensordot(padded[i : i + 3, j : j + 3], kernel, 3) for j in range(5)] for i in range(5)])
    hidden = np.maximum(hidden + bias, 0)
    for out, name in zip(head.apply({"params": params}, x), ("masked_scores", "all_scores"), strict=True):
        np.testing.assert_allclose(out[0], hidden @ params[name]["kernel"][0, 0] + params[name]["bias"], atol=1e-5)


def test_channels_of_the_proposal_head_are_in_caffes_order():
    head = ProposalHead(2)
    x = jnp.ones((1, 1, 1, 3))
    params = jax.tree.map(jnp.zeros_like, random_params(head, x))
    params["scores"]["bias"] = jnp.arange(18.0)
    params["deltas"]["bias"] = jnp.arange(36.0)
    scores, deltas = head.apply({"params": params}, x)
    # weight_formats_and_rpn.md (b): the first 9 channels are background; 4 offsets for each anchor.
    np.testing.assert_array_equal(scores[0, 0, 0], [np.arange(9), np.arange(9, 18)])
    np.testing.assert_array_equal(deltas[0, 0, 0, 2], [8, 9, 10, 11])
