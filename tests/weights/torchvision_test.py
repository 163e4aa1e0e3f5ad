import jax
import numpy as np
import pytest
import torchvision_resnet
from scipy.signal import correlate

from jaxtrack.errors import UserError
from jaxtrack.models import siamese
from jaxtrack.models.backbones import IMAGENET_MEAN_RGB
from jaxtrack.weights import known, names, pytorch, torchvision
from jaxtrack.weights import published as published_files


@pytest.fixture(scope="module")
def published():
    """Random arrays under torchvision's names."""
    random = np.random.default_rng(0)
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in torchvision_resnet.shapes().items()}


@pytest.fixture(scope="module")
def imported(published):
    return torchvision.backbone_state(published)


def test_the_file_described_here_is_torchvisions(published):
    # torchvision's documentation gives 25,557,032 parameters.
    counted = {name: array.size for name, array in published.items() if "running" not in name and "num_" not in name}
    assert sum(counted.values()) == 25_557_032
    assert len(published) == 320


def test_the_backbone_has_its_265_tensors_and_its_parameters(imported):
    assert len(imported) == 265
    assert all(name.startswith("backbone.") for name in imported)
    assert {array.dtype for array in imported.values()} == {np.dtype(np.float32)}
    # siamese.md section 1.1: 45,528,128 parameters in 318 entries, of which 53 are the counters left out here.
    assert sum(array.size for name, array in imported.items() if "running" not in name) == 45_528_128
    kernels = [name for name, array in imported.items() if array.ndim == 4]
    assert len(kernels) == 53
    assert len(imported) - len(kernels) == 4 * 53
    assert 265 + 53 == 318


def test_all_but_stem_and_shortcuts_is_unchanged(published, imported):
    changed = {
        name
        for name, array in imported.items()
        if array.shape != published[name.removeprefix("backbone.")].shape
        or not np.array_equal(array, published[name.removeprefix("backbone.")])
    }
    assert changed == {
        "backbone.conv1.weight",
        "backbone.bn1.running_mean",
        "backbone.layer2.0.downsample.0.weight",
        "backbone.layer3.0.downsample.0.weight",
        "backbone.layer4.0.downsample.0.weight",
    }


def convolved(image, kernel, stride=1):
    """`[C, H, W]` with `[O, C, h, w]` in float64, without padding: `[O, H', W']`."""
    out = [correlate(image, one, mode="valid", method="direct")[0] for one in kernel.astype(np.float64)]
    return np.stack(out)[:, ::stride, ::stride]


def normalised(maps, state, name):
    """What the normalisation `name` makes of `[C, H, W]`, in float64."""
    scale, shift, mean, variance = (
        state[f"{name}.{part}"].astype(np.float64)[:, None, None]
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (maps - mean) / np.sqrt(variance + 1e-5) * scale + shift


def test_the_stem_gives_for_bgr_0_to_255_what_torchvisions_gives_for_normalised_rgb(published, imported):
    published, imported = dict(published), dict(imported)
    for state, prefix in ((published, ""), (imported, "backbone.")):
        state[f"{prefix}bn1.running_var"] = np.abs(state[f"{prefix}bn1.running_var"]) + 0.1
    rgb = np.random.default_rng(1).integers(0, 256, (3, 15, 17)).astype(np.float64)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    theirs = convolved((rgb / 255 - mean[:, None, None]) / std[:, None, None], published["conv1.weight"], 2)
    ours = convolved(rgb[::-1], imported["backbone.conv1.weight"], 2)
    assert ours.shape == (64, 5, 6)
    np.testing.assert_allclose(
        normalised(ours, imported, "backbone.bn1"), normalised(theirs, published, "bn1"), rtol=1e-5, atol=1e-4
    )


# Stride, padding and dilation of the dilated network's 3 x 3 shortcuts: siamese.md section 1.1.
@pytest.mark.parametrize(("layer", "stride", "padding", "dilation"), [(2, 2, 0, 1), (3, 1, 1, 1), (4, 1, 2, 2)])
def test_a_shortcut_sees_the_centre_of_the_window_and_nothing_else(
    published, imported, layer, stride, padding, dilation
):
    name = f"layer{layer}.0.downsample.0.weight"
    small, large = published[name][:4, :6].astype(np.float64), imported[f"backbone.{name}"][:4, :6].astype(np.float64)
    assert large.shape == (4, 6, 3, 3)
    maps = np.random.default_rng(2).normal(size=(6, 9, 9))
    padded = np.pad(maps, ((0, 0), (padding, padding), (padding, padding)))
    cells = (padded.shape[1] - 2 * dilation - 1) // stride + 1
    for i in range(cells):
        for j in range(cells):
            rows, columns = (slice(at * stride, at * stride + 2 * dilation + 1, dilation) for at in (i, j))
            centre = padded[:, i * stride + dilation, j * stride + dilation]
            out = (large * padded[:, rows, columns]).sum(axis=(1, 2, 3))
            np.testing.assert_allclose(out, small[:, :, 0, 0] @ centre, rtol=1e-12)


def test_the_stem_agrees_with_torch(published, imported):
    torch = pytest.importorskip("torch")
    rgb = torch.from_numpy(np.random.default_rng(3).integers(0, 256, (1, 3, 31, 31)).astype(np.float64))
    mean, std = torch.tensor([0.485, 0.456, 0.406]).double(), torch.tensor([0.229, 0.224, 0.225]).double()
    theirs, ours = (
        torch.nn.functional.conv2d(image, torch.from_numpy(kernel.astype(np.float64)), stride=2)[0].numpy()
        for image, kernel in (
            ((rgb / 255 - mean[:, None, None]) / std[:, None, None], published["conv1.weight"]),
            (rgb.flip(1), imported["backbone.conv1.weight"]),
        )
    )
    offset = imported["backbone.bn1.running_mean"] - published["bn1.running_mean"]
    np.testing.assert_allclose(ours - offset[:, None, None], theirs, rtol=1e-5, atol=1e-4)


def test_the_variables_are_those_of_the_backbone_of_a_network(published, imported):
    variables = torchvision.to_flax(published)
    network = siamese.shapes(siamese.ARCHITECTURES["siamban_r50"])
    expected = {collection: {"backbone": parts["backbone"]} for collection, parts in network.items()}
    assert jax.tree.map(lambda a: a.shape, variables) == jax.tree.map(lambda a: a.shape, expected)
    block = variables["params"]["backbone"]["layer4"]["block_2"]
    for o, i in ((0, 1), (511, 2047)):
        assert block["conv1"]["conv"]["kernel"][0, 0, i, o] == published["layer4.2.conv1.weight"][o, i, 0, 0]
    stem = variables["batch_stats"]["backbone"]["stem"]["norm"]["mean"]
    np.testing.assert_array_equal(stem, imported["backbone.bn1.running_mean"])


def test_numbers_that_are_not_finite_are_refused(published):
    state = dict(published)
    state["layer1.0.bn2.bias"] = np.full(64, np.nan, np.float32)
    with pytest.raises(UserError, match=r"do not fit the backbone of .* 1 not finite \(backbone.layer1.0.bn2.bias\)"):
        torchvision.to_flax(state)


def test_the_input_is_not_changed(published):
    before = {name: array.copy() for name, array in published.items()}
    torchvision.backbone_state(published)
    for name, array in published.items():
        np.testing.assert_array_equal(array, before[name])


def test_old_files_without_counters_and_backbones_without_a_classifier_are_taken(published, imported):
    few = {name: a for name, a in published.items() if "num_batches" not in name and not name.startswith("fc.")}
    assert torchvision.backbone_state(few).keys() == imported.keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("layer3.5.conv2.weight"), r"lacks layer3\.5\.conv2\.weight$"),
        (lambda state: state.update({"layer3.6.conv1.weight": np.ones(3)}), r"has layer3\.6\.conv1\.weight$"),
        (lambda state: state.clear(), "lacks bn1.bias, bn1.running_mean, bn1.running_var and 262 more$"),
        (
            lambda state: state.update({"layer2.0.downsample.0.weight": np.ones((512, 256, 3, 3))}),
            r"layer2\.0\.downsample\.0\.weight has the shape \[512, 256, 3, 3\], expected \[512, 256, 1, 1\]",
        ),
        (
            lambda state: state.update({"conv1.weight": np.ones((64, 1, 7, 7))}),
            r"conv1\.weight has the shape \[64, 1, 7, 7\], expected \[64, 3, 7, 7\]",
        ),
    ],
    ids=["missing", "surplus", "empty", "3 x 3 shortcut", "grey stem"],
)
def test_other_networks_are_refused(published, change, message):
    state = dict(published)
    change(state)
    with pytest.raises(UserError, match=f"this is not torchvision's ResNet-50: (it )?{message}"):
        torchvision.backbone_state(state)


# --- VGG-16 --------------------------------------------------------------------------------------------------------

VGG16_LAYERS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # weight_formats_and_rpn.md, A1
VGG16_WIDTHS = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)


def vgg16_state():
    """Kernels under torchvision's names that hold hardly any memory but the first."""
    state = {}
    for number, inputs, outputs in zip(VGG16_LAYERS, VGG16_WIDTHS, VGG16_WIDTHS[1:], strict=False):
        state[f"features.{number}.weight"] = np.broadcast_to(np.float32(number), (outputs, inputs, 3, 3))
        state[f"features.{number}.bias"] = np.full(outputs, number + 0.5, np.float32)
    state["features.0.weight"] = np.random.default_rng(0).normal(size=(64, 3, 3, 3)).astype(np.float32)
    return {**state, "classifier.6.bias": np.zeros(1000, np.float32)}


def test_vgg16_is_told_from_the_other_vggs_by_its_names():
    state = vgg16_state()
    assert names.detect({name: array.shape for name, array in state.items()}) == "vgg16_torchvision"
    nineteen = {f"features.{n}.weight": (1,) for n in (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)}
    assert names.detect(nineteen) is None
    normalised = {f"features.{n}.weight": (1,) for n in (0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40)}
    normalised |= {f"features.{int(name.split('.')[1]) + 1}.weight": (1,) for name in list(normalised)}
    assert names.detect(normalised) is None


def test_vgg16s_layers_have_the_authors_names_and_our_layout():
    state = vgg16_state()
    backbone = torchvision.vgg16(state)["params"]["backbone"]
    assert len(backbone) == 13
    for ours, number in (("conv1_2", 2), ("conv3_1", 10), ("conv4_1", 17), ("conv4_3", 21), ("conv5_3", 28)):
        assert (backbone[ours]["kernel"] == number).all()
        assert (backbone[ours]["bias"] == number + 0.5).all()
    assert backbone["conv4_1"]["kernel"].shape == (3, 3, 256, 512)


def test_vgg16_sees_in_rgb_less_the_mean_what_torchvisions_sees_in_normalised_rgb_at_the_border_too():
    state = vgg16_state()
    params = torchvision.vgg16(state)["params"]["backbone"]["conv1_1"]
    rgb = np.random.default_rng(1).integers(0, 256, (3, 9, 8)).astype(np.float64)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    theirs = np.pad((rgb / 255 - mean[:, None, None]) / std[:, None, None], ((0, 0), (1, 1), (1, 1)))
    expected = convolved(theirs, state["features.0.weight"]) + 0.5
    seen = np.pad(rgb - np.array(IMAGENET_MEAN_RGB)[:, None, None], ((0, 0), (1, 1), (1, 1)))
    found = convolved(seen, params["kernel"].transpose(3, 2, 0, 1)) + params["bias"][:, None, None]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_files_that_are_no_vgg16_are_refused():
    state = vgg16_state()
    del state["features.10.bias"]
    with pytest.raises(UserError, match=r"this is not torchvision's VGG-16: it lacks features\.10\.bias"):
        torchvision.vgg16(state)
    state = vgg16_state() | {"features.12.weight": np.zeros((256, 256, 1, 1), np.float32)}
    with pytest.raises(UserError, match=r"the kernel of conv3_2 is \[1, 1, 256, 256\], expected \[3, 3, 256, 256\]"):
        torchvision.vgg16(state)


def test_vgg16s_file_is_imported_for_tadt(tmp_path, monkeypatch):
    state, path = vgg16_state(), tmp_path / "vgg16-397923af.pth"
    path.write_bytes(b"stands for torchvision's file")
    monkeypatch.setattr(pytorch, "read", lambda _: state)
    architecture, variables = published_files.read(path).convert()
    assert architecture == "vgg16_torchvision"
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 138_357_544 - 123_642_856
    row = next(row for row in known.online() if row.name == path.stem)
    assert (row.import_as, row.architecture) == ("vgg16_torchvision", "vgg16_torchvision")


# --- TransT's, which is torchvision's own --------------------------------------------------------------------------


def test_the_plain_backbone_is_torchvisions_as_far_as_layer3(published):
    variables = torchvision.plain(published)
    network = siamese.shapes(siamese.ARCHITECTURES["transt"])
    expected = {collection: {"backbone": parts["backbone"]} for collection, parts in network.items()}
    assert jax.tree.map(lambda a: a.shape, variables) == jax.tree.map(lambda a: a.shape, expected)
    stem = variables["params"]["backbone"]["stem"]["conv"]["kernel"]
    np.testing.assert_array_equal(stem, published["conv1.weight"].transpose(2, 3, 1, 0))
    shortcut = variables["params"]["backbone"]["layer3"]["block_0"]["shortcut"]["conv"]["kernel"]
    np.testing.assert_array_equal(shortcut, published["layer3.0.downsample.0.weight"].transpose(2, 3, 1, 0))
    norm = variables["batch_stats"]["backbone"]["layer2"]["block_3"]["conv2"]["norm"]
    np.testing.assert_array_equal(norm["var"], published["layer2.3.bn2.running_var"])


def test_a_tensor_that_the_plain_backbone_lacks_is_named(published):
    lacking = {name: array for name, array in published.items() if name != "layer1.0.conv1.weight"}
    with pytest.raises(
        UserError, match=r"the backbone of transt; tensors 1 missing \(backbone\.0\.body\.layer1\.0\.conv1"
    ):
        torchvision.plain(lacking)


def test_the_plain_backbone_is_imported_where_it_is_asked_for(published, tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "resnet50-0676ba61.pth"
    torch.save({name: torch.from_numpy(np.array(array)) for name, array in published.items()}, path)
    file = published_files.read(path)
    assert file.architecture() == "resnet50"
    architecture, variables = file.convert("ResNet50-plain")
    assert architecture == "resnet50_plain"
    jax.tree.map(np.testing.assert_array_equal, variables, torchvision.plain(published))
