"""What is timed as TransT is TransT: its parts one after the other, and the network in PyTorch."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import siamese_synthetic
import transt_parts

from jaxtrack.models import siamese
from jaxtrack.models.layers import fold_batch_norm
from jaxtrack.models.siamese import ARCHITECTURES, Architecture
from jaxtrack.models.transformer import positions_of, tokens
from jaxtrack.models.transt import Projection, TransTHead, TruncatedResNet, normalised
from jaxtrack.trackers.transt import CONFIGS, Config
from jaxtrack.weights import names


@pytest.fixture(scope="module")
def parts():
    """Those of a tracker with a single fusion layer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CONFIGS, "one_layer", Config("transt_pico", search_factor=0.0))
        return transt_parts.programs("one_layer")


def run(parts, name, *given):
    """A part, of what it is timed with but for `given`, which come last."""
    program, timed = parts[name]
    return program(*timed[: len(timed) - len(given)], *given)


def test_the_timed_parts_make_up_the_network(parts):
    params, state, _ = parts["step"][1]
    image = run(parts, "crop")
    maps = run(parts, "projection", run(parts, "backbone", image))
    z, x = run(parts, "fusion layer", tokens(state.kept), tokens(maps[0]))
    x = run(parts, "decoder", z, x)
    norm = {"params": params["params"]["head"]["norm"]}
    logits, boxes = run(parts, "scores and boxes", nn.LayerNorm(1e-5).apply(norm, x))
    network = siamese.build(ARCHITECTURES["transt_pico"])
    expected = jax.jit(lambda *given: network.apply(*given, method=network.search))(params, state.kept, image)
    found = logits[..., ::-1], nn.sigmoid(boxes)
    for ours, whole in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, whole.reshape(ours.shape), atol=1e-4 * np.abs(whole).max())


def test_both_attentions_that_are_timed_are_the_same(parts):
    np.testing.assert_allclose(run(parts, "attention"), run(parts, "attention, Flax's"), rtol=1e-4, atol=1e-5)


# --- PyTorch -------------------------------------------------------------------------------------------------------


def convolution(folded):
    return {"weight": folded["conv"]["kernel"].transpose(3, 2, 0, 1), "bias": folded["conv"]["bias"]}


def dense(ours):
    return {"weight": ours["kernel"].T, "bias": ours["bias"]}


def norm(ours):
    return {"weight": ours["scale"], "bias": ours["bias"]}


def attention(ours):
    width = len(ours["query"]["kernel"])
    three = [ours[name] for name in ("query", "key", "value")]
    return {
        "in_proj_weight": np.concatenate([part["kernel"].reshape(width, width).T for part in three]),
        "in_proj_bias": np.concatenate([part["bias"].ravel() for part in three]),
        "out_proj.weight": ours["out"]["kernel"].reshape(width, width).T,
        "out_proj.bias": ours["out"]["bias"],
    }


def ego(ours):
    return {"attention": attention(ours["attend"]["attention"]), "norm": norm(ours["attend"]["norm"])}


def cross(ours):
    inner = {"dense.0": dense(ours["expand"]), "dense.2": dense(ours["reduce"]), "second": norm(ours["norm"])}
    own = ego(ours)
    return {"attention": own["attention"], "first": own["norm"], **inner}


def mlp(ours):
    return {str(2 * i): dense(ours[f"layer_{i}"]) for i in range(3)}


def as_pytorch(params):
    """The folded network's parameters by the names of `torch_transt.SearchNetwork`, one within the other."""
    backbone, head = params["backbone"], params["head"]
    places = {"conv1": "reduce", "conv2": "middle", "conv3": "expand", "shortcut": "shortcut"}
    stages = {
        f"{stage}.{block}": {places[name]: convolution(part) for name, part in layers.items()}
        for stage in range(3)
        for block, layers in enumerate(backbone[f"layer{stage + 1}"].values())
    }
    branches = enumerate(("template", "search"))
    fused = {kind: {} for kind in ("eca", "cfa")}
    for number, branch in branches:
        fused["eca"][f"0.{number}"] = ego(head["layer_0"][f"eca_{branch}"])
        fused["cfa"][f"0.{number}"] = cross(head["layer_0"][f"cfa_{branch}"])
    last = {"decoder": cross(head["decoder"]), "norm": norm(head["norm"])}
    heads = {"cls": mlp(head["cls"]), "box": mlp(head["box"])}
    first = {"stem": convolution(backbone["stem"]), "projection": convolution(params["neck"])}
    return {**first, "stages": stages, **fused, **last, **heads}


def flat(tree, prefix=""):
    for name, child in tree.items():
        if isinstance(child, dict):
            yield from flat(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child


def test_pytorchs_network_that_is_timed_is_ours():
    torch = pytest.importorskip("torch")
    from torch_transt import SearchNetwork

    sizes = {"template_px": 128, "search_px": 256, "score_cells": 32}
    architecture = Architecture(TruncatedResNet(), Projection(), TransTHead(layers=1), "tokens", **sizes)
    variables = names.to_flax(siamese_synthetic.state(architecture), architecture)
    params = fold_batch_norm(variables)
    theirs = SearchNetwork(layers=1).eval()
    state = {name: torch.tensor(np.ascontiguousarray(array)) for name, array in flat(as_pytorch(params["params"]))}

    image = siamese_synthetic.image(3, 64)
    kept = np.random.default_rng(0).normal(size=(1, 4, 4, 256)).astype(np.float32)
    search = jnp.zeros((1, 8, 8, 256))
    fixed = {"template": tokens(kept), "z_places": positions_of(kept), "x_places": positions_of(search)}
    for name, array in fixed.items():
        setattr(theirs, name, torch.tensor(np.asarray(array)))
    theirs.load_state_dict(state | {name: getattr(theirs, name) for name in fixed})
    # PyTorch's has no scaling but by 255: its cost is nothing.
    given = 255 * np.asarray(normalised(image)).transpose(0, 3, 1, 2)
    with torch.inference_mode():
        expected = [each.numpy() for each in theirs(torch.from_numpy(given))]
    network = siamese.build(architecture)
    cls, loc = jax.jit(lambda *given: network.apply(*given, method=network.search))(params, kept, image)
    for ours, right in zip((cls[..., ::-1], loc), expected, strict=True):
        np.testing.assert_allclose(ours.reshape(right.shape), right, atol=1e-4)
