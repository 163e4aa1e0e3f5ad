"""Files of random numbers in the published shapes, written by SciPy, PyTorch and protobuf's runtime."""

import collections

import jax
import numpy as np
import pytest
from online_weights import MATLAB_HEAD, RPN_LAYERS, VGG_M, ZF_LAYERS, hwio, save_caffemodel, save_mat

from jaxtrack.errors import UserError
from jaxtrack.models import mdnet as mdnet_models
from jaxtrack.models.rpn import ProposalHead
from jaxtrack.models.vgg_m import VGGM, MDNetHead, with_new_branch
from jaxtrack.models.zf import ZF
from jaxtrack.weights import caffe, matconvnet, online, published, pytorch, torchvision


def read(path):
    return published.read(path).convert()


def check(params, expected):
    """All layers of a part are there, with these arrays."""
    assert params.keys() == expected.keys()
    for name, (kernel, bias) in expected.items():
        np.testing.assert_array_equal(params[name]["kernel"], kernel, strict=True)
        np.testing.assert_array_equal(params[name]["bias"], bias, strict=True)


def image(seed=1, side=107):
    return (60 * np.random.default_rng(seed).normal(size=(2, side, side, 3))).astype(np.float32)


def shown(head, maps):
    """The first two outputs of fc5, by a branch that shows them."""
    head = with_new_branch(head, jax.random.key(0), location=False)
    head["fc6"]["kernel"] = np.eye(512, 2, dtype=np.float32)[None]
    return jax.jit(MDNetHead().apply)({"params": head}, maps.reshape(len(maps), -1))


# --- VGG-M ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vgg_m():
    return hwio(VGG_M)


def test_vgg_m_has_the_files_arrays(tmp_path, vgg_m):
    more = hwio({"conv4": (3, 4, 4), "fc6": (6, 4, 8)})
    architecture, variables = read(save_mat(tmp_path / "x.mat", vgg_m | more))
    assert architecture == "vgg_m"
    check(variables["params"].pop("backbone"), vgg_m)
    assert variables == {"params": {}}


def test_a_network_with_another_normalisation_is_refused(tmp_path, vgg_m):
    path = save_mat(tmp_path / "x.mat", vgg_m, (5.0, 1.0, 2e-5, 0.75))
    with pytest.raises(UserError, match=r"x\.mat: its normalisation has the constants \[5\.0, 1\.0, 2e-05, 0\.75\]"):
        read(path)


# weight_formats_and_rpn.md, A2, as scalars and as pairs.
STRIDES = {"conv1": 2.0, "pool1": 2.0, "conv2": [[2.0, 2.0]], "pool2": [[2.0, 2.0]], "conv3": 1.0}


@pytest.mark.parametrize(("layer", "stride"), [("pool1", 3), ("conv2", 1), ("conv3", 2)])
def test_a_network_with_other_strides_such_as_vgg_s_is_refused(tmp_path, vgg_m, layer, stride):
    assert read(save_mat(tmp_path / "x.mat", vgg_m, **STRIDES))[0] == "vgg_m"
    message = rf"x\.mat: its layer {layer} has the stride \[{stride}, {stride}\], VGG-M's is \["
    with pytest.raises(UserError, match=message):
        read(save_mat(tmp_path / "x.mat", vgg_m, **STRIDES | {layer: float(stride)}))


def test_a_network_that_lacks_a_layer_or_has_another_shape_is_refused(tmp_path, vgg_m):
    lacking = {name: arrays for name, arrays in vgg_m.items() if name != "conv2"}
    with pytest.raises(UserError, match=r"x\.mat: this is no vgg_m: it has no layer conv2 of the backbone"):
        read(save_mat(tmp_path / "x.mat", lacking))
    narrow = vgg_m | hwio({"conv3": (3, 256, 500)})
    message = r"the kernel of conv3 is \[3, 3, 256, 500\], expected \[3, 3, 256, 512\]"
    with pytest.raises(UserError, match=message):
        read(save_mat(tmp_path / "x.mat", narrow))
    kernel, bias = vgg_m["conv1"]
    with pytest.raises(UserError, match="the bias of conv1 has numbers that are not finite"):
        read(save_mat(tmp_path / "x.mat", vgg_m | {"conv1": (kernel, bias * np.inf)}))


def test_files_of_other_kinds_are_refused(tmp_path):
    (tmp_path / "x.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    message = r"x\.h5 is no published file of weights .* \(\.pth\), MatConvNet \(\.mat\) or Caffe \(\.caffemodel\)$"
    with pytest.raises(UserError, match=message):
        published.read(tmp_path / "x.h5")


# --- MDNet in MatConvNet ----------------------------------------------------------------------------------------


def test_matconvnets_mdnet_judges_a_map_by_all_of_its_layers(tmp_path, vgg_m):
    head = hwio(MATLAB_HEAD)
    architecture, variables = read(save_mat(tmp_path / "x.mat", vgg_m | head | hwio({"fc6": (1, 512, 2)}), **STRIDES))
    assert architecture == "mdnet_vggm"
    check(variables["params"]["backbone"], vgg_m)
    maps = np.random.default_rng(2).normal(size=(2, 3, 3, 512)).astype(np.float32)
    # A convolution whose kernel is as large as the map is one product of all of its numbers.
    (fc4, fc4_bias), (fc5, fc5_bias) = head.values()
    hidden = np.maximum(np.einsum("nyxc,yxco->no", maps, fc4) + fc4_bias, 0)
    expected = np.maximum(hidden @ fc5[0, 0] + fc5_bias, 0)[:, :2]
    np.testing.assert_allclose(shown(variables["params"]["head"], maps), expected, rtol=1e-4, atol=1e-4)


def test_fully_connected_layers_of_another_map_are_refused(tmp_path, vgg_m):
    path = save_mat(tmp_path / "x.mat", vgg_m | hwio(MATLAB_HEAD | {"fc4": (1, 4608, 512)}))
    message = r"no mdnet_vggm: the kernel of fc4 is \[1, 1, 4608, 512\], expected \[3, 3, 512, 512\]"
    with pytest.raises(UserError, match=message):
        read(path)


# --- MDNet in PyTorch -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="PyTorch writes the files of this test")


@pytest.fixture(scope="module")
def mdnet(torch):
    """The network of the published file, in PyTorch's layers."""
    nn = torch.nn
    torch.manual_seed(0)

    def conv(*shape):
        return [nn.Conv2d(*shape), nn.ReLU()]

    pool = [nn.LocalResponseNorm(2), nn.MaxPool2d(3, 2)]
    parts = {
        "conv1": nn.Sequential(*conv(3, 96, 7, 2), *pool),
        "conv2": nn.Sequential(*conv(96, 256, 5, 2), *pool),
        "conv3": nn.Sequential(*conv(256, 512, 3, 1)),
        "fc4": nn.Sequential(nn.Linear(512 * 3 * 3, 512), nn.ReLU()),
        "fc5": nn.Sequential(nn.Dropout(0.5), nn.Linear(512, 512), nn.ReLU()),
    }
    return nn.Sequential(collections.OrderedDict(parts)).eval()


def saved(torch, path, mdnet, **options):
    """Tensors that are views of others among them: one transposed, one that begins within its memory."""
    state = mdnet.state_dict()
    state["fc5.1.weight"] = state["fc5.1.weight"].T.contiguous().T
    state["fc4.0.bias"] = torch.cat([torch.zeros(7), state["fc4.0.bias"]])[7:]
    torch.save(state, path, **options)
    return path


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_mdnet_computes_what_pytorch_does(torch, mdnet, tmp_path, zipped):
    path = saved(torch, tmp_path / "x.pth", mdnet, _use_new_zipfile_serialization=zipped)
    params = online.py_mdnet(pytorch.read(path))["params"]
    pixels = image()
    with torch.no_grad():
        x = torch.tensor(pixels.transpose(0, 3, 1, 2))
        maps = mdnet.conv3(mdnet.conv2(mdnet.conv1(x)))
        hidden = mdnet.fc5(mdnet.fc4(maps.reshape(2, -1))).numpy()
    maps = maps.numpy().transpose(0, 2, 3, 1)
    network = mdnet_models.ARCHITECTURES[online.PY_MDNET].backbone
    assert isinstance(network, VGGM)
    assert network.normalisation == "py_mdnet"
    ours = jax.jit(network.apply)({"params": params["backbone"]}, pixels)
    np.testing.assert_allclose(ours, maps, rtol=1e-4, atol=1e-4 * np.abs(maps).max())
    np.testing.assert_allclose(shown(params["head"], maps), hidden[:, :2], rtol=1e-4, atol=1e-5)


def test_the_published_files_wrapping_is_known(torch, tmp_path):
    torch.save({"shared_layers": collections.OrderedDict({"conv1.0.weight": torch.ones(2)})}, tmp_path / "x.pth")
    assert list(pytorch.read(tmp_path / "x.pth")) == ["conv1.0.weight"]


def test_the_published_file_is_told_by_its_names(mdnet):
    assert set(online.PY_MDNET_NAMES) <= mdnet.state_dict().keys()


def test_other_tensors_are_refused(mdnet):
    state = {name: tensor.numpy() for name, tensor in mdnet.state_dict().items()}
    lacking = {name: array for name, array in state.items() if name != "fc4.0.bias"}
    with pytest.raises(UserError, match=r"no weights of MDNet in PyTorch: fc4\.0\.bias are missing$"):
        online.py_mdnet(lacking)
    narrow = state | {"fc4.0.weight": state["fc4.0.weight"][:, 9:]}
    with pytest.raises(UserError, match=r"the kernel of fc4 is \[4599, 512\], expected \[4608, 512\]"):
        online.py_mdnet(narrow)


# --- ZF and its region proposal network -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def zf():
    return hwio(ZF_LAYERS), hwio(RPN_LAYERS)


@pytest.mark.parametrize("first", ["rpn_conv/3x3", "rpn_conv1"])
def test_zf_has_the_files_arrays_and_reads_rgb(tmp_path, zf, first):
    backbone, head = zf
    renamed = {first if name == "rpn_conv/3x3" else name: arrays for name, arrays in head.items()}
    architecture, variables = read(save_caffemodel(tmp_path / "x.caffemodel", backbone | renamed))
    assert architecture == "zf_rpn"
    kernel, bias = backbone["conv1"]
    check(variables["params"]["backbone"], backbone | {"conv1": (kernel[:, :, ::-1].copy(), bias)})
    conv, scores, deltas = head.values()
    check(variables["params"]["head"], {"conv": conv, "scores": scores, "deltas": deltas})


def test_the_imported_network_sees_what_caffes_saw_in_bgr(tmp_path, zf):
    torch = pytest.importorskip("torch")
    backbone, head = zf
    _, variables = read(save_caffemodel(tmp_path / "x.caffemodel", backbone | head))
    pixels = image(side=43)
    x = torch.tensor(pixels[..., ::-1].transpose(0, 3, 1, 2).copy())
    for i, (stride, padding) in enumerate(((2, 3), (4, 2), (1, 1), (1, 1), (1, 1)), 1):
        kernel, bias = (torch.tensor(array) for array in backbone[f"conv{i}"])
        x = torch.relu(torch.nn.functional.conv2d(x, kernel.permute(3, 2, 0, 1), bias, stride, padding))
        if i < 3:
            x = x * (1 + 5e-5 * torch.nn.functional.avg_pool2d(x**2, 3, 1, 1)) ** -0.75
    expected = x.numpy().transpose(0, 2, 3, 1)
    params = variables["params"]
    ours = jax.jit(ZF(version="student_a").apply)({"params": params["backbone"]}, pixels)
    np.testing.assert_allclose(ours, expected, atol=1e-4 * np.abs(expected).max())
    scores, deltas = ProposalHead().apply({"params": params["head"]}, ours)
    assert scores.shape[3:] == (2, 9)
    assert deltas.shape[3:] == (9, 4)


def test_an_imagenet_network_without_proposals_is_refused(tmp_path, zf):
    path = save_caffemodel(tmp_path / "x.caffemodel", zf[0])
    with pytest.raises(UserError, match=r"this is no zf_rpn: it has no layer conv of the head"):
        read(path)


# --- VGG-16 and VGG-19 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("architecture", "last"), [("vgg16", "conv5_3"), ("vgg19", "conv5_4")])
def test_the_deep_networks_are_told_apart_and_read_rgb(architecture, last):
    expected = online.shapes(architecture)["params"]["backbone"]
    found = {name: (np.zeros(layer["kernel"].shape), np.ones(layer["bias"].shape)) for name, layer in expected.items()}
    assert last in found
    found["conv1_1"] = (np.broadcast_to(np.arange(3.0)[:, None], (3, 3, 3, 64)), np.ones(64))
    layers = {name: caffe.Layer("Convolution", (k.transpose(3, 2, 0, 1), b)) for name, (k, b) in found.items()}
    name, variables = online._from_caffe(caffe.convolutions(layers))
    assert name == architecture
    assert variables["params"]["backbone"]["conv1_1"]["kernel"][0, 0, :, 0].tolist() == [2, 1, 0]
    name, variables = online._from_matconvnet([matconvnet.Layer(n, "conv", arrays) for n, arrays in found.items()])
    assert name == architecture
    assert variables["params"]["backbone"]["conv1_1"]["kernel"][0, 0, :, 0].tolist() == [0, 1, 2]
    assert jax.tree.map(np.shape, variables["params"]["backbone"]) == jax.tree.map(lambda leaf: leaf.shape, expected)


# --- AlexNet ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torchvisions_alexnet():
    """Random arrays under torchvision's names, of whose 61,100,840 numbers the classifier's are left out."""
    shapes = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
    random = np.random.default_rng(0)
    state = {}
    for number, shape in shapes.items():
        deviation = (2 / np.prod(shape[1:])) ** 0.5
        state[f"features.{number}.weight"] = (deviation * random.normal(size=shape)).astype(np.float32)
        state[f"features.{number}.bias"] = random.normal(size=shape[0]).astype(np.float32)
    return {**state, "classifier.6.bias": np.zeros(1000, np.float32)}


def test_alexnet_sees_what_torchvisions_does(torch, torchvisions_alexnet, tmp_path):
    """torchvision's reads RGB as (v / 255 - mean) / std; here its layers are without padding."""
    path = tmp_path / "x.pth"
    torch.save({name: torch.tensor(array) for name, array in torchvisions_alexnet.items()}, path)
    architecture, variables = read(path)
    assert (architecture, list(variables["params"])) == ("alexnet", ["backbone"])
    values = np.random.default_rng(1).uniform(0, 255, (1, 131, 131, 3)).astype(np.float32)
    x = torch.tensor((values / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).float().permute(0, 3, 1, 2)
    for number, stride in ((0, 4), (3, 1), (6, 1)):
        kernel, bias = (torch.tensor(torchvisions_alexnet[f"features.{number}.{n}"]) for n in ("weight", "bias"))
        x = torch.relu(torch.nn.functional.conv2d(x, kernel, bias, stride))
        x = torch.nn.functional.max_pool2d(x, 3, 2) if number < 6 else x
    network = mdnet_models.ARCHITECTURES["mdnet_alexnet"]
    seen = values - np.asarray(network.mean_rgb, np.float32)
    ours = jax.jit(network.backbone.apply)({"params": variables["params"]["backbone"]}, seen)
    expected = x.numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(ours, expected, atol=1e-4 * np.abs(expected).max())


def test_tensors_that_are_no_alexnets_are_refused(torchvisions_alexnet):
    lacking = {name: array for name, array in torchvisions_alexnet.items() if name != "features.3.bias"}
    with pytest.raises(UserError, match=r"this is not torchvision's AlexNet: it lacks features\.3\.bias"):
        torchvision.alexnet(lacking)
    grey = torchvisions_alexnet | {"features.0.weight": torchvisions_alexnet["features.0.weight"][:, :1]}
    message = r"the kernel of conv1 is \[11, 11, 1, 64\], expected \[11, 11, 3, 64\]"
    with pytest.raises(UserError, match=message):
        torchvision.alexnet(grey)


def test_every_architecture_has_its_parameters():
    shapes = {name: online.shapes(name) for name in online.BACKBONES}
    shapes[online.PY_MDNET] = mdnet_models.shapes(mdnet_models.ARCHITECTURES[online.PY_MDNET])
    counts = {name: sum(leaf.size for leaf in jax.tree.leaves(leaves["params"])) for name, leaves in shapes.items()}
    convolutions = {name: sum(k * k * i * o + o for k, i, o in VGG_M.values()) for name in ("vgg_m", online.PY_MDNET)}
    convolutions[online.PY_MDNET] += 4608 * 512 + 512 + 512 * 512 + 512
    convolutions["zf_rpn"] = sum(k * k * i * o + o for k, i, o in (ZF_LAYERS | RPN_LAYERS).values())
    convolutions["alexnet"] = 64 * 3 * 121 + 64 + 192 * 64 * 25 + 192 + 384 * 192 * 9 + 384
    # The published totals of 138,357,544 and 143,667,240 without the three fully connected layers' 123,642,856.
    convolutions |= {"vgg16": 138_357_544 - 123_642_856, "vgg19": 143_667_240 - 123_642_856}
    convolutions["vgg16_torchvision"] = convolutions["vgg16"]
    assert counts == convolutions
