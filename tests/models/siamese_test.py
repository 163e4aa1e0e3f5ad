import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import siamese_synthetic

from jaxtrack.models import siamese
from jaxtrack.models.layers import fold_batch_norm
from jaxtrack.models.siamese import ARCHITECTURES, PUBLISHED
from jaxtrack.weights import names

# Parameters by part (siamese.md 1 and 3, nanotrack.md 1): backbone, neck, head, all. None where no source says.
PARAMETERS = {
    "siamrpn_r50": (45_528_128, 919_040, 7_503_456, 53_950_624),
    "siamrpn_r50_unweighted": (45_528_128, 919_040, 7_503_450, 53_950_618),
    # Neck: kernels 512 * 128 + 1024 * 256 + 2048 * 512, normalisations 2 (128 + 256 + 512). Head: a branch w wide has
    # 9 w^2 + 2 w twice, w^2 + 2 w, and w + 1 for each output; both branches of a level have 38 w^2 + 12 w + 30 (w + 1):
    # 627,998 + 2,501,150 + 9,983,006. The levels' weights are 6.
    "siamrpn_r50_lt": (45_528_128, 1_378_048, 13_112_160, 60_018_336),
    "siamrpn_r50_lt_unweighted": (45_528_128, 1_378_048, 13_112_154, 60_018_330),
    "siamrpn_alex": (3_749_952, 0, None, None),
    "siamrpn_mobilenetv2": (3_485_204, None, 7_503_450, None),
    "siamban_r50": (45_528_128, 919_040, 7_484_955, 53_932_123),
    "siampw_r50": (13_786_176, 394_240, 7_378_450, 21_558_866),
    "transt": (8_543_296, 262_400, None, 23_016_006),
    # Two layers less (the paper: 16.7 million), of 2 ECA and 2 CFA: 263,168 numbers of an attention, 512 of a
    # normalisation, 1,050,880 of two dense layers.
    "transt_n2": (8_543_296, 262_400, None, 23_016_006 - 2 * (4 * 263_168 + 6 * 512 + 2 * 1_050_880)),
    "nanotrack_v1": (190_520, 0, 97_446, 287_966),
    "nanotrack_v2": (190_520, 0, 143_558, 334_078),
    "nanotrack_v3": (282_368, 0, 259_078, 541_446),
}


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_have_the_published_numbers_of_parameters(name):
    params = siamese.shapes(ARCHITECTURES[name])["params"]
    sizes = [size(params.get(part, {})) for part in ("backbone", "neck", "head")] + [size(params)]
    for actual, expected in zip(sizes, PARAMETERS[name], strict=True):
        assert expected is None or actual == expected


@pytest.mark.parametrize("name", PUBLISHED)
def test_maps_have_the_sizes_that_the_table_says(name):
    architecture = siamese_synthetic.narrow(name)
    sides = (architecture.template_px, architecture.search_px)
    z, x = (jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32) for side in sides)
    network = siamese.build(architecture)
    cls, loc = jax.eval_shape(network.init_with_output, jax.random.key(0), z, x)[0]
    boxes = {"anchors": 5, "points": 1, "tokens": 1}[architecture.kind]
    cells = architecture.score_cells
    assert cls.shape == (2, cells, cells, 2 * boxes)
    assert loc.shape == (2, cells, cells, 4 * boxes)
    # The outermost cells' centres lie symmetrically, inside the search region.
    assert (cells - 1) * architecture.stride_px < architecture.search_px


def test_the_long_term_network_has_97_cells_in_its_far_region():
    # siamese.md 7.5: 831 pixels; (831 - 127) / 8 + 1 + 8 cells.
    network = siamese.build(siamese_synthetic.narrow("siamrpn_r50_lt"))
    z, x = (jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32) for side in (127, 831))
    cls, loc = jax.eval_shape(network.init_with_output, jax.random.key(0), z, x)[0]
    assert (cls.shape, loc.shape) == ((1, 97, 97, 10), (1, 97, 97, 20))


@pytest.mark.parametrize("name", ["siamrpn_r50", "siampw_r50", "nanotrack_v3", "transt"])
def test_a_folded_network_with_a_kept_template_is_the_whole_network(name):
    architecture = siamese_synthetic.narrow(name)
    network = siamese.build(architecture)
    variables = names.to_flax(siamese_synthetic.state(architecture), architecture)
    z = siamese_synthetic.image(1, architecture.template_px)
    x = siamese_synthetic.image(2, architecture.search_px)
    whole = jax.jit(network.apply)(variables, z, x)
    folded = fold_batch_norm(variables)
    assert size(folded) < size(variables["params"])
    kept = jax.jit(lambda v, z: network.apply(v, z, method=network.template))(folded, z)
    parts = jax.jit(lambda v, kept, x: network.apply(v, kept, x, method=network.search))(folded, kept, x)
    for actual, expected in zip(parts, whole, strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-5, rtol=1e-5)


def changed(before, after):
    """Whether each leaf is another one."""
    return jax.tree.map(lambda a, b: bool((a != b).any()), before, after)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("siamrpn_r50", {"layer2", "layer4"}),
        ("siamrpn_alex", {"layer1", "layer5"}),
        ("siamrpn_mobilenetv2", {"layer0", "layer3"}),
        ("nanotrack_v3", {"stem", "block_4"}),
        ("transt", {"stem", "layer3"}),
    ],
)
def test_only_the_named_parts_of_a_backbone_normalise_by_the_batch(name, parts):
    architecture = siamese_synthetic.narrow(name)
    variables = names.to_flax(siamese_synthetic.state(architecture), architecture)
    backbone = {collection: tree["backbone"] for collection, tree in variables.items()}

    @jax.jit
    def train(backbone, image):
        return architecture.backbone.apply(backbone, image, train=parts, mutable=["batch_stats"])[1]["batch_stats"]

    before, after = backbone["batch_stats"], train(backbone, siamese_synthetic.image(1, 127))
    assert parts < set(after) == set(before)
    for part, leaves in changed(before, after).items():
        assert set(jax.tree.leaves(leaves)) == {part in parts}, part


def test_in_training_neck_and_head_normalise_by_the_batch():
    architecture = siamese_synthetic.narrow("siamban_r50")
    network = siamese.build(architecture)
    variables = names.to_flax(siamese_synthetic.state(architecture), architecture)

    @jax.jit
    def train(variables, z, x):
        return network.apply(variables, z, x, train=True, mutable=["batch_stats"])[1]["batch_stats"]

    after = train(variables, siamese_synthetic.image(1, 127), siamese_synthetic.image(2, 255))
    for part, leaves in changed(variables["batch_stats"], after).items():
        assert set(jax.tree.leaves(leaves)) == {part != "backbone"}, part


def test_images_of_another_type_or_shape_are_refused():
    architecture = siamese_synthetic.narrow("siamrpn_alex")
    network = siamese.build(architecture)
    z, x = jnp.zeros((1, 127, 127, 3)), jnp.zeros((1, 287, 287, 3))
    for wrong in (x.astype(jnp.uint8), x[0], x[..., :1]):
        with pytest.raises(AssertionError):
            jax.eval_shape(network.init, jax.random.key(0), z, wrong)


# siamese.md 13.1: mean, standard deviation, and the value at [0, 5, 7, 9] (search) or [0, 5, 3, 2] (template) in
# PyTorch's order of axes.
BACKBONE = [(1.092184, 1.191494, 2.013558), (1.439744, 1.477473, 3.289939), (1.219097, 1.424363, 1.445837)]
NECK_SEARCH = [(0.005546, 1.612435, 0.195004), (0.040352, 1.966380, 1.753958), (-0.150007, 2.052855, 0.736641)]
NECK_TEMPLATE = [(0.006175, 1.618436, -0.221583), (0.047391, 2.060842, 1.770976), (-0.171487, 2.164181, 1.062591)]
# Mean, standard deviation, minimum, maximum; values by index, in PyTorch's order of axes.
HEADS = {
    "siamrpn_r50": (
        (0.041659, 0.416827, -0.682153, 0.919559),
        {(0, 0, 0): 0.620233, (1, 3, 20): -0.074161, (9, 12, 12): -0.635864, (5, 24, 24): -0.068014},
        (0.140134, 0.639208, -1.283350, 1.295002),
        {(0, 0, 0): -0.079541, (1, 3, 20): 0.637230, (19, 12, 12): -0.787497, (10, 24, 24): -1.033132},
    ),
    "siamban_r50": (
        (-0.127971, 0.348082, -0.539278, 0.301767),
        {(0, 0, 0): -0.499355, (1, 3, 20): 0.245810, (1, 12, 12): 0.188562, (1, 24, 24): 0.232453},
        (1.243230, 0.594430, 0.437496, 2.250501),
        {(0, 0, 0): 0.554811, (1, 3, 20): 2.147938, (3, 12, 12): 1.404009, (2, 24, 24): 1.037962},
    ),
    "siampw_r50": (
        (-0.308895, 0.143588, -0.841543, 0.223483),
        {(0, 0, 0): -0.451473, (1, 3, 20): -0.370034, (1, 12, 12): -0.329086, (1, 24, 24): -0.151933},
        (0.982849, 0.425594, 0.361609, 1.929802),
        {(0, 0, 0): 1.261771, (1, 3, 20): 0.619520, (3, 12, 12): 1.508361, (2, 24, 24): 0.689460},
    ),
}


@pytest.fixture(scope="module")
def maps():
    """Backbone and neck of the synthetic checkpoint on both images, run once: the three networks share them.

    As trackers run them: normalisation folded, kernels transformed.
    """
    network = siamese.build(ARCHITECTURES["siamrpn_r50"])
    variables = names.to_flax(siamese_synthetic.state("siamrpn_r50"), "siamrpn_r50")
    ready = siamese.for_inference(ARCHITECTURES["siamrpn_r50"], variables)

    @jax.jit
    def features(params, image):
        def both(network, image):
            backbone = network.backbone(image)
            return backbone, network.neck(backbone)

        return network.apply(params, image, method=both)

    backbone, search = features(ready, siamese_synthetic.image(2, 255))
    _, template = features(ready, siamese_synthetic.image(1, 127))
    return types.SimpleNamespace(variables=variables, backbone=backbone, search=search, template=template)


@pytest.mark.parametrize(
    ("part", "rows", "row", "column"),
    [("backbone", BACKBONE, 7, 9), ("search", NECK_SEARCH, 7, 9), ("template", NECK_TEMPLATE, 3, 2)],
)
def test_backbone_and_neck_are_the_references(maps, part, rows, row, column):
    for level, expected in zip(getattr(maps, part), rows, strict=True):
        level = np.asarray(level, np.float64)
        np.testing.assert_allclose((level.mean(), level.std(), level[0, row, column, 5]), expected, atol=1e-5)


def select(tree, like):
    """The branches of a tree that another one has."""
    return {name: select(tree[name], child) if isinstance(child, dict) else tree[name] for name, child in like.items()}


@pytest.mark.parametrize("name", HEADS)
def test_class_and_box_maps_are_the_references(maps, name):
    architecture = ARCHITECTURES[name]
    variables = names.to_flax(siamese_synthetic.state(name), name)
    # What was computed with another network's backbone and neck is this one's too.
    for part in ("backbone", "neck"):
        same = jax.tree.map(
            np.array_equal, variables["params"][part], select(maps.variables["params"][part], variables["params"][part])
        )
        assert all(jax.tree.leaves(same))
    params = {"params": siamese.for_inference(architecture, variables)["params"]["head"]}
    levels = len(architecture.backbone.used)

    def head(module, z, x):
        return module.search(module.template(z), x)

    apply = jax.jit(lambda params, z, x: architecture.head.apply(params, z, x, method=head))
    outputs = apply(params, maps.template[:levels], maps.search[:levels])
    for out, numbers, samples in zip(outputs, HEADS[name][::2], HEADS[name][1::2], strict=True):
        out = np.asarray(out, np.float64)
        np.testing.assert_allclose((out.mean(), out.std(), out.min(), out.max()), numbers, atol=1e-5)
        for (channel, row, column), value in samples.items():
            assert out[0, row, column, channel] == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_nanotracks_maps_are_the_references(version, test_data):
    pytest.importorskip("torch")
    from jaxtrack.weights import pytorch

    name = f"nanotrack_v{version}"
    state = pytorch.read(test_data / "weights" / "nanotrack" / f"nanotrackv{version}.pth")
    assert names.detect({key: array.shape for key, array in state.items()}) == name
    folded = fold_batch_norm(names.to_flax(state, name))
    network = siamese.build(ARCHITECTURES[name])

    @jax.jit
    def run(params, z, x):
        def maps(network, z, x):
            zf, xf = network.features(z), network.features(x)
            return zf[0], xf[0], *network.head.search(network.head.template(zf), xf)

        return network.apply(params, z, x, method=maps)

    outputs = run(folded, siamese_synthetic.image(0, 127), siamese_synthetic.image(1, 255))
    with np.load(test_data / "golden" / "nanotrack_golden.npz") as golden:
        expected = [golden[f"v{version}/{part}"].transpose(0, 2, 3, 1) for part in ("zf", "xf", "cls", "loc")]
    for actual, map_ in zip(outputs, expected, strict=True):
        # The reference's own float32 noise: 3e-5 on backbone maps, 9e-6 on cls, 8e-5 on loc.
        np.testing.assert_allclose(actual, map_, rtol=1e-5, atol=5e-5)
