import re

import jax
import numpy as np
import pytest
import siamese_synthetic

from jaxtrack.errors import UserError
from jaxtrack.models import siamese
from jaxtrack.models.siamese import PUBLISHED
from jaxtrack.weights import names

# Entries of the published state dicts (siamese.md 8, nanotrack.md 1), of NanoTrack's without the unused neck's six.
ENTRIES = {
    "siamrpn_r50": 458,
    "siamrpn_r50_unweighted": 456,
    "siamrpn_r50_lt": 458,  # as many layers as the others', wider ones
    "siamrpn_r50_lt_unweighted": 456,
    "siamban_r50": 459,
    "siampw_r50": 343,
    "transt": 430,
    "nanotrack_v1": 231 - 6,
    "nanotrack_v2": 298 - 6,
    "nanotrack_v3": 438 - 6,
}


@pytest.mark.parametrize("name", ENTRIES)
def test_state_dicts_have_the_published_number_of_entries(name):
    keys = names.torch_names(name)
    counters = sum(key.endswith(".running_mean") for key in keys)  # each comes with num_batches_tracked
    assert len(keys) + counters == ENTRIES[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_tensor_has_a_name_of_its_own_in_the_published_spelling(name):
    tree = siamese.shapes(PUBLISHED[name])
    keys = names.torch_names(name)
    packed = sum(".in_proj_" in key for key in keys)  # three of our leaves in one tensor
    assert len(keys) + 2 * packed == len(jax.tree.leaves(tree))
    for key in keys:
        key = key.replace("decoder.norm.", "")  # the only one that is called so there as well
        assert not re.search(r"/|level|block|stem|only|attention|\.(conv|norm)\.(weight|bias)|pointwise|depthwise", key)
        assert not re.search(r"query|_template|_search\.(norm|expand)|attend", key)


# Keys and shapes that the specs spell out, or follow from the tables of layers.
SAMPLES = {
    "siamrpn_r50": {
        "backbone.conv1.weight": (64, 3, 7, 7),
        "backbone.bn1.running_var": (64,),
        "backbone.layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "backbone.layer3.0.downsample.0.weight": (1024, 512, 3, 3),
        "backbone.layer3.5.conv2.weight": (256, 256, 3, 3),
        "backbone.layer4.2.bn3.bias": (2048,),
        "neck.downsample4.downsample.0.weight": (256, 2048, 1, 1),
        "neck.downsample2.downsample.1.running_mean": (256,),
        "rpn_head.cls_weight": (3,),
        "rpn_head.rpn2.cls.conv_kernel.0.weight": (256, 256, 3, 3),
        "rpn_head.rpn4.loc.conv_search.1.weight": (256,),
        "rpn_head.rpn3.loc.head.3.weight": (20, 256, 1, 1),
        "rpn_head.rpn3.cls.head.3.bias": (10,),
    },
    "siamrpn_r50_lt": {
        "neck.downsample2.downsample.0.weight": (128, 512, 1, 1),
        "neck.downsample3.downsample.1.running_mean": (256,),
        "neck.downsample4.downsample.0.weight": (512, 2048, 1, 1),
        "rpn_head.loc_weight": (3,),
        "rpn_head.rpn2.cls.conv_kernel.0.weight": (128, 128, 3, 3),
        "rpn_head.rpn3.loc.conv_search.1.bias": (256,),
        "rpn_head.rpn4.loc.conv_search.0.weight": (512, 512, 3, 3),
        "rpn_head.rpn4.cls.head.0.weight": (512, 512, 1, 1),
        "rpn_head.rpn2.loc.head.3.weight": (20, 128, 1, 1),
        "rpn_head.rpn4.cls.head.3.weight": (10, 512, 1, 1),
    },
    "siamrpn_alex": {
        "backbone.features.0.weight": (96, 3, 11, 11),
        "backbone.features.4.bias": (256,),
        "backbone.features.15.running_mean": (256,),
        "rpn_head.loc.head.3.weight": (20, 256, 1, 1),
    },
    "transt": {
        "backbone.0.body.conv1.weight": (64, 3, 7, 7),
        "backbone.0.body.layer2.0.downsample.0.weight": (512, 256, 1, 1),
        "backbone.0.body.layer3.5.bn3.running_var": (1024,),
        "input_proj.weight": (256, 1024, 1, 1),
        "featurefusion_network.encoder.layers.3.self_attn1.in_proj_weight": (768, 256),
        "featurefusion_network.encoder.layers.0.multihead_attn2.out_proj.bias": (256,),
        "featurefusion_network.encoder.layers.2.linear21.weight": (2048, 256),
        "featurefusion_network.encoder.layers.2.linear12.bias": (256,),
        "featurefusion_network.encoder.layers.1.norm23.weight": (256,),
        "featurefusion_network.decoder.layers.0.multihead_attn.in_proj_bias": (768,),
        "featurefusion_network.decoder.layers.0.linear2.weight": (256, 2048),
        "featurefusion_network.decoder.norm.bias": (256,),
        "class_embed.layers.2.weight": (2, 256),
        "bbox_embed.layers.0.weight": (256, 256),
        "bbox_embed.layers.2.bias": (4,),
    },
    "siamban_r50": {"head.loc_scale": (3,), "head.box4.loc.head.3.bias": (4,)},
    "siampw_r50": {
        "head.box2.head.fi.0.weight": (256, 512, 1, 1),
        "head.box3.head.fi.0.bias": (256,),
        "head.box3.head.fi.1.running_var": (256,),
        "head.box2.head.cls_tower.6.weight": (256, 256, 3, 3),
        "head.box2.head.reg_tower.7.bias": (256,),
        "head.box3.head.bbox_pred.weight": (4, 256, 3, 3),
    },
    "nanotrack_v1": {
        "backbone.features.0.0.weight": (16, 3, 3, 3),
        "backbone.features.1.conv.0.weight": (16, 1, 3, 3),
        "backbone.features.1.conv.3.fc.0.weight": (8, 16),
        "backbone.features.1.conv.5.running_mean": (16,),
        "backbone.features.4.conv.5.fc.2.bias": (96,),
        "backbone.features.8.conv.7.weight": (48, 144, 1, 1),
        "ban_head.corr_pw.CA_layer.fc2.weight": (64, 64, 1, 1),
        "ban_head.cls_tower.0.weight": (64, 1, 5, 5),
        "ban_head.bbox_tower.13.weight": (96, 96, 1, 1),
        "ban_head.bbox_tower.14.running_mean": (96,),
        "ban_head.cls_logits.0.weight": (2, 128, 1, 1),
    },
    "nanotrack_v2": {
        "ban_head.corr_pw_reg.conv_search.0.bias": (48,),
        "ban_head.corr_pw_cls.CA_layer.fc1.weight": (64, 64, 1, 1),
        "ban_head.bbox_pw_tower.20.weight": (96, 1, 3, 3),
        "ban_head.cls_pred.0.bias": (2,),
    },
    "nanotrack_v3": {
        "ban_head.corr_pw_cls.conv.0.weight": (64, 1, 2, 2),
        "ban_head.corr_pw_cls.conv.3.bias": (64,),
        "ban_head.corr_dw_reg.conv_kernel.1.weight": (96,),
        "ban_head.down_reg.0.weight": (96, 160, 1, 1),
        "ban_head.cls_tower.28.weight": (96, 96, 1, 1),
        "ban_head.bbox_tower.29.running_var": (96,),
    },
}


@pytest.mark.parametrize("name", SAMPLES)
def test_names_and_shapes_are_the_published_ones(name):
    keys = names.torch_names(name)
    assert {key: keys.get(key) for key in SAMPLES[name]} == SAMPLES[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_architecture_is_told_from_its_names(name):
    shapes = names.torch_names(name)
    assert names.detect(shapes) == name
    assert names.detect({f"module.{key}": shape for key, shape in shapes.items()}) == name


def test_other_names_are_no_architectures():
    assert names.detect({}) is None
    assert names.detect({"features.0.weight": (64, 3, 11, 11), "classifier.6.bias": (1000,)}) is None


def small():
    architecture = siamese_synthetic.narrow("nanotrack_v2")
    return architecture, siamese_synthetic.state(architecture)


def test_layouts_are_turned_and_values_kept():
    architecture, state = small()
    variables = names.to_flax(state, architecture)
    params, stats = variables["params"], variables["batch_stats"]
    fc = state["backbone.features.1.conv.3.fc.0.weight"]
    np.testing.assert_array_equal(params["backbone"]["block_1"]["squeeze"]["fc1"]["kernel"], fc.T)
    conv = state["backbone.features.2.conv.0.weight"]
    kernel = params["backbone"]["block_2"]["expand"]["conv"]["kernel"]
    assert kernel.dtype == np.float32
    for o, i in np.ndindex(*conv.shape[:2]):
        np.testing.assert_array_equal(kernel[:, :, i, o], conv[o, i])
    depthwise = state["ban_head.cls_pw_tower.4.weight"]
    kernel = params["head"]["cls_tower_1"]["depthwise"]["kernel"]
    np.testing.assert_array_equal(kernel[:, :, 0, 3], depthwise[3, 0])
    norm = {key: state[f"ban_head.corr_pw_reg.conv_kernel.1.{key}"] for key in ("weight", "running_var")}
    path = ("corr_reg", "conv_kernel", "norm")
    np.testing.assert_array_equal(at(params["head"], path)["scale"], norm["weight"])
    np.testing.assert_array_equal(at(stats["head"], path)["var"], norm["running_var"])


def test_packed_attention_is_taken_apart_and_its_heads_get_an_axis():
    architecture = siamese_synthetic.narrow("transt")
    state = siamese_synthetic.state(architecture)
    head = names.to_flax(state, architecture)["params"]["head"]
    # Sixteen features in four heads; rows of PyTorch's matrix are outputs: queries, keys, values.
    prefix = "featurefusion_network.encoder.layers.1.self_attn2"
    packed, bias = state[f"{prefix}.in_proj_weight"], state[f"{prefix}.in_proj_bias"]
    attention = head["layer_1"]["eca_search"]["attend"]["attention"]
    for i, part in enumerate(("query", "key", "value")):
        assert attention[part]["kernel"].shape == (16, 4, 4)
        for h, k in np.ndindex(4, 4):
            np.testing.assert_array_equal(attention[part]["kernel"][:, h, k], packed[16 * i + 4 * h + k])
            assert attention[part]["bias"][h, k] == bias[16 * i + 4 * h + k]
    out = state[f"{prefix}.out_proj.weight"]
    for h, k in np.ndindex(4, 4):
        np.testing.assert_array_equal(attention["out"]["kernel"][h, k], out[:, 4 * h + k])
    template = head["layer_1"]["cfa_template"]["attend"]["attention"]
    packed = state["featurefusion_network.encoder.layers.1.multihead_attn1.in_proj_weight"]
    np.testing.assert_array_equal(template["value"]["kernel"][:, 0, 0], packed[32])


def test_a_missing_attention_is_named_as_the_file_has_it():
    architecture = siamese_synthetic.narrow("transt")
    state = siamese_synthetic.state(architecture)
    del state["featurefusion_network.decoder.layers.0.multihead_attn.in_proj_weight"]
    with pytest.raises(
        UserError, match=r"1 missing \(featurefusion_network\.decoder.*multihead_attn\.in_proj_weight\)$"
    ):
        names.to_flax(state, architecture)


def at(tree, path):
    for name in path:
        tree = tree[name]
    return tree


@pytest.mark.parametrize("name", ["siamrpn_alex", "siampw_r50", "nanotrack_v3", "transt"])
def test_the_tree_is_the_networks_own(name):
    architecture = siamese_synthetic.narrow(name)
    variables = names.to_flax(siamese_synthetic.state(architecture), architecture)
    expected = siamese.shapes(architecture)
    assert jax.tree.map(lambda leaf: leaf.shape, variables) == jax.tree.map(lambda leaf: leaf.shape, expected)


def test_prefixes_counters_and_the_neck_that_nanotrack_never_uses_are_dropped():
    architecture, state = small()
    more = {f"module.{key}": value for key, value in state.items()}
    more["module.backbone.features.0.1.num_batches_tracked"] = np.asarray(7)
    more["module.neck.downsample.downsample.0.weight"] = np.zeros((64, 64, 1, 1), np.float32)
    expected = names.to_flax(state, architecture)
    jax.tree.map(np.testing.assert_array_equal, names.to_flax(more, architecture), expected)


def test_everything_that_does_not_fit_is_named():
    architecture, state = small()
    del state["ban_head.cls_pred.0.bias"]
    state["ban_head.extra.weight"] = np.zeros(3, np.float32)
    state["ban_head.bbox_pred.0.bias"] = np.zeros(5, np.float32)
    state["backbone.features.0.1.weight"] = np.full_like(state["backbone.features.0.1.weight"], np.nan)
    with pytest.raises(UserError) as error:
        names.to_flax(state, architecture)
    message = str(error.value)
    assert "1 missing (ban_head.cls_pred.0.bias)" in message
    assert "1 not part of it (ban_head.extra.weight)" in message
    assert "1 of another shape (ban_head.bbox_pred.0.bias (5,), expected (4,))" in message
    assert "1 not finite (backbone.features.0.1.weight)" in message


def test_ten_names_are_enough():
    with pytest.raises(
        UserError, match=r"the weights do not fit nanotrack_v1; tensors 194 missing .*, and 184 more\)$"
    ):
        names.to_flax({}, "nanotrack_v1")


def test_an_unknown_architecture_is_one_sentence():
    with pytest.raises(UserError, match="no architecture is named 'siamfc'; there are siamrpn_r50, "):
        names.torch_names("siamfc")
