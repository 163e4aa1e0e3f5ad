"""Files of all three programs: what they hold, by whom they are read, and what is said of others."""

import re
import shutil

import numpy as np
import pytest
from online_weights import VGG_M, hwio, mdnet_tensors, save_caffemodel, save_mat, save_pth

from jaxtrack.errors import UserError
from jaxtrack.models import mdnet, rpn2t
from jaxtrack.trackers import mdnet as mdnet_tracker
from jaxtrack.trackers import rpn2t as rpn2t_tracker
from jaxtrack.weights import known, online, published


def test_matconvnets_arrays_are_named_by_layer(tmp_path):
    arrays = published.read(save_mat(tmp_path / "x.mat", hwio({"a": (3, 2, 4), "b": (1, 4, 5)}))).arrays()
    shapes = {"a/filters": (3, 3, 2, 4), "a/biases": (4,), "b/filters": (1, 1, 4, 5), "b/biases": (5,)}
    assert {name: array.shape for name, array in arrays.items()} == shapes


def test_caffes_arrays_are_named_by_layer_and_have_its_own_layout(tmp_path):
    layers = hwio({"a": (3, 2, 4)})
    arrays = published.read(save_caffemodel(tmp_path / "x.caffemodel", layers)).arrays()
    assert list(arrays) == ["a/0", "a/1"]
    np.testing.assert_array_equal(arrays["a/0"], np.einsum("hwio->oihw", layers["a"][0]))
    np.testing.assert_array_equal(arrays["a/1"], layers["a"][1])


def test_pytorchs_arrays_have_its_own_names(tmp_path):
    tensors = mdnet_tensors()
    arrays = published.read(save_pth(tmp_path / "x.pth", tensors)).arrays()
    assert list(arrays) == list(tensors)


def test_an_ending_in_capitals_is_the_same(tmp_path):
    assert published.read(save_mat(tmp_path / "X.MAT", hwio(VGG_M))).architecture() == "vgg_m"


@pytest.mark.parametrize("name", ["checkpoint_e20", "x.ckpt"])
def test_a_pytorch_file_is_known_by_its_begin_where_its_ending_says_nothing(tmp_path, name):
    shutil.move(save_pth(tmp_path / "x.pth", mdnet_tensors()), tmp_path / name)
    assert published.read(tmp_path / name).architecture() == online.PY_MDNET


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"<html>404</html>"])
def test_a_file_of_another_kind_is_refused_in_a_sentence(tmp_path, content):
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(
        UserError, match=r"x\.onnx is no published file of weights that jaxtrack reads: expected one of"
    ):
        published.read(tmp_path / "x.onnx")


def test_weights_of_jaxtracks_own_need_no_import(tmp_path):
    (tmp_path / "mine.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"mine\.safetensors holds weights of jaxtrack's own, which are not imported"):
        published.read(tmp_path / "mine.safetensors")


def test_a_network_that_there_is_not_has_no_architecture(tmp_path):
    file = published.read(save_mat(tmp_path / "x.mat", hwio({"a": (3, 2, 4)})))
    assert file.architecture() is None
    with pytest.raises(UserError, match=r"x\.mat: this is no vgg_m: it has no layer conv1 of the backbone"):
        file.convert()


@pytest.mark.parametrize("spelt", ["mdnet_vggm", "MDNet-VGGM"])
def test_mdnets_tensors_can_be_those_of_the_other_normalisation(tmp_path, spelt):
    file = published.read(save_pth(tmp_path / "x.pth", mdnet_tensors()))
    assert file.convert()[0] == "mdnet_vggm_py"
    architecture, variables = file.convert(spelt)
    assert architecture == "mdnet_vggm"
    np.testing.assert_array_equal(variables["params"]["head"]["fc4"]["bias"], file.arrays()["fc4.0.bias"])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("zf_rpn", r"x\.mat holds weights of vgg_m, not of zf_rpn"),
        ("nanotrack_v1", r"x\.mat holds weights of vgg_m, not of nanotrack_v1"),
        ("vgg_x", "There is no architecture of published files called 'vgg_x': did you mean vgg"),
        ("", "There is no architecture of published files called ''"),
    ],
)
def test_another_network_than_the_files_is_refused(tmp_path, asked, message):
    file = published.read(save_mat(tmp_path / "x.mat", hwio(VGG_M)))
    assert file.convert("VGG-M")[0] == "vgg_m"
    with pytest.raises(UserError, match=message):
        file.convert(asked)


def test_networks_of_matconvnet_and_caffe_are_not_read_from_pytorch(tmp_path):
    file = published.read(save_pth(tmp_path / "x.pth", mdnet_tensors()))
    with pytest.raises(UserError, match=r"x\.pth is a PyTorch file: vgg_m is imported from one of MatConvNet or Caffe"):
        file.convert("vgg_m")


# --- the table --------------------------------------------------------------------------------------------------


def test_every_row_of_the_table_says_what_it_is_and_who_publishes_it():
    assert {row.architecture for row in known.online()} == {*online.MDNETS, *online.BACKBONES}
    for row in known.online():
        assert row.name, row
        assert row.what, row
        assert row.licence, row
        assert re.match(r"https://(github\.com/[\w-]+/[\w-]+ \(folder |www\.vlfeat\.org/)", row.published_by), row
    rows = known.everything()
    assert len({row.import_as for row in rows}) == len({(row.name, row.architecture) for row in rows}) == len(rows)


def test_trackers_that_learn_online_look_for_their_weights_under_a_name_of_the_table():
    names = {row.import_as: row.architecture for row in known.online()}
    for name in ("mdnet", "mdnet_py2019"):
        config = mdnet_tracker.CONFIGS[name]
        assert names[config.weights] == config.architecture
    teacher = rpn2t_tracker.CONFIGS["rpn2t_teacher"]
    assert names[teacher.weights or teacher.architecture] == rpn2t.PROPOSALS


def test_a_network_has_one_name():
    for others in (mdnet.ARCHITECTURES, rpn2t.ARCHITECTURES):
        assert not online.BACKBONES.keys() & others.keys()
    assert set(online.MDNETS) <= mdnet.ARCHITECTURES.keys()
