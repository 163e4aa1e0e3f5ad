"""`jaxtrack weights` with files of MatConvNet, Caffe and MDNet's own program, and the trackers that use them."""

import functools

import command_line
import jax
import numpy as np
import pytest
from online_weights import (
    MATLAB_HEAD,
    RPN_LAYERS,
    VGG_M,
    ZF_LAYERS,
    hwio,
    mdnet_tensors,
    save_caffemodel,
    save_mat,
    save_pth,
)

from jaxtrack import trackers
from jaxtrack.__main__ import main
from jaxtrack.weights import known, places, store

error_of = functools.partial(command_line.error_of, "weights")


def run(*arguments):
    return main(["weights", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The user's folder of weights, empty, and no other."""
    monkeypatch.setenv(places.FOLDER_VARIABLE, str(tmp_path / "weights"))
    return tmp_path / "weights"


@pytest.fixture
def vgg_m(tmp_path):
    """VGG-M's first layers and one that is not wanted."""
    return save_mat(tmp_path / "imagenet-vgg-m.mat", hwio(VGG_M | {"fc6": (6, 4, 8)}))


@pytest.fixture
def zf(tmp_path):
    return save_caffemodel(tmp_path / "ZF_faster_rcnn_final.caffemodel", hwio(ZF_LAYERS | RPN_LAYERS))


@pytest.fixture
def mdnet(tmp_path):
    return save_pth(tmp_path / "mdnet_vot-otb.pth", mdnet_tensors())


@pytest.fixture(params=["vgg_m", "zf", "mdnet"])
def published(request):
    return request.getfixturevalue(request.param)


# --- good files -------------------------------------------------------------------------------------------------

# Numbers of kernels and biases: weight_formats_and_rpn.md, A1 to A3.
VGG_M_NUMBERS = 49 * 3 * 96 + 96 + 25 * 96 * 256 + 256 + 9 * 256 * 512 + 512


def test_vgg_m_is_imported_verified_and_inspected(vgg_m, folder, capsys):
    assert run("import", vgg_m, "--out", folder) == 0
    assert f"vgg_m.safetensors: vgg_m, 6 arrays, {VGG_M_NUMBERS:,} parameters" in capsys.readouterr().out
    variables, meta = store.load(folder / "vgg_m.safetensors")
    assert (meta.architecture, meta.source) == ("vgg_m", "imagenet-vgg-m.mat")
    assert list(variables["params"]) == ["backbone"]
    for path in (vgg_m, "vgg_m"):
        assert run("verify", path) == 0
        assert " is vgg_m" in capsys.readouterr().out
    assert run("inspect", vgg_m, "--tensors") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == ["architecture: vgg_m", f"tensors: 8 ({VGG_M_NUMBERS + 36 * 4 * 8 + 8:,} numbers)"]
    assert ["conv1/filters", "7", "x", "7", "x", "3", "x", "96", "float32", "14,112"] in map(str.split, lines)


def test_the_proposal_network_is_imported_for_rpn2ts_teacher(zf, folder, capsys):
    assert run("import", zf, "--out", folder) == 0
    assert "rpn2t_teacher.safetensors: zf_rpn, 16 arrays" in capsys.readouterr().out
    assert run("verify", zf) == 0
    assert run("inspect", zf) == 0
    assert "architecture: zf_rpn\n" in capsys.readouterr().out
    params = trackers.build("rpn2t_teacher", trackers.default_config("rpn2t_teacher")).params()
    stored = store.load(folder / "rpn2t_teacher.safetensors")[0]["params"]
    jax.tree.map(np.testing.assert_array_equal, params["backbone"], stored["backbone"])
    assert list(params["head"]) == ["conv"]


def test_mdnets_file_is_imported_for_the_tracker_with_its_constants(mdnet, folder, capsys):
    assert run("import", mdnet, "--out", folder) == 0
    assert "mdnet_py2019.safetensors: mdnet_vggm_py, 10 arrays" in capsys.readouterr().out
    assert run("verify", mdnet) == 0
    assert " is mdnet_vggm_py; sha256 " in capsys.readouterr().out
    assert run("inspect", mdnet) == 0
    assert "architecture: mdnet_vggm_py\n" in capsys.readouterr().out
    method = trackers.build("mdnet_py2019", trackers.default_config("mdnet_py2019"))
    assert method.weights_sha256 == store.sha256_of(folder / "mdnet_py2019.safetensors")
    params, stored = method.params(), store.load(folder / "mdnet_py2019.safetensors")[0]["params"]
    jax.tree.map(np.testing.assert_array_equal, params, stored)
    assert list(params["head"]) == ["fc4", "fc5"]


def test_mdnets_older_files_are_imported_for_the_other_tracker(mdnet, folder, capsys):
    assert run("import", mdnet, "--architecture", "mdnet_vggm", "--name", "mdnet", "--out", folder) == 0
    capsys.readouterr()
    assert trackers.build("mdnet", trackers.default_config("mdnet")).params()
    assert "there are no weights" in error_of(capsys, "verify", "mdnet_py2019")


def test_mdnets_file_of_matconvnet_is_imported_for_the_tracker_mdnet(tmp_path, folder):
    path = save_mat(tmp_path / "mdnet_vot-otb.mat", hwio(VGG_M | MATLAB_HEAD))
    assert run("import", path, "--out", folder) == 0
    assert trackers.build("mdnet", trackers.default_config("mdnet")).params()


def test_a_file_of_another_program_does_not_take_the_place_of_the_one_it_is_named_like(vgg_m, tmp_path, folder):
    named_alike = vgg_m.rename(tmp_path / "mdnet_vot-otb.mat")
    assert run("import", named_alike, "--out", folder) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["vgg_m.json", "vgg_m.safetensors"]


# --- no weights -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tracker", "fetch"),
    [
        ("mdnet_py2019", "mdnet_vot-otb from https://github.com/hyeonseobnam/py-MDNet (folder models)"),
        (
            "rpn2t_teacher",
            "ZF_faster_rcnn_final from https://github.com/rbgirshick/py-faster-rcnn (folder data/scripts)",
        ),
    ],
)
def test_without_its_weights_a_tracker_says_what_to_fetch_and_the_command(
    folder, data_dir, tmp_path, capsys, tracker, fetch
):
    where = ["--benchmark=otb2013", f"--data-dir={data_dir}", f"--results={tmp_path / 'results'}", "--quiet"]
    line = command_line.error_of("evaluate", capsys, f"--tracker={tracker}", "--sequences=Deer", *where)
    command = f"`jaxtrack weights import FILE --name {tracker} --out {folder}`"
    assert f"{tracker}.safetensors: fetch the published file {fetch}, then {command}" in line


def test_weights_that_only_jaxtrack_trains_are_answered_with_the_training(folder, capsys):
    line = error_of(capsys, "verify", "rankloc")
    assert "rankloc.safetensors: train them by `python train.py --config configs/rankloc_vot58.py`" in line


@pytest.mark.parametrize(
    ("name", "program"), [("x.mat", "MatConvNet"), ("x.caffemodel", "Caffe"), ("x.pth", "PyTorch")]
)
def test_a_published_file_is_no_weights_yet(folder, tmp_path, data_dir, capsys, name, program):
    where = ["--benchmark=otb2013", f"--data-dir={data_dir}", f"--results={tmp_path / 'results'}", "--quiet"]
    options = ["--tracker=mdnet", f"--mdnet.weights={name}", "--sequences=Deer", *where]
    line = command_line.error_of("evaluate", capsys, *options)
    assert f"{name} is a {program} file: import it first, by `jaxtrack weights import {name}`" in line


# --- bad files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["import", "inspect", "verify"])
def test_a_file_cut_off_is_told(published, tmp_path, capsys, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    with published.open("r+b") as file:
        file.truncate(published.stat().st_size - 100)
    assert f"{published} is cut off or damaged, or no " in error_of(capsys, command, published)
    assert not (tmp_path / "weights").exists()


@pytest.mark.parametrize("name", ["x.mat", "x.caffemodel", "x.pth", "x.bin"])
@pytest.mark.parametrize("command", ["import", "inspect", "verify"])
def test_a_web_page_in_place_of_a_file_is_told(tmp_path, capsys, name, command):
    (tmp_path / name).write_bytes(b"<html>404 Not Found</html>" * 20)
    line = error_of(capsys, command, tmp_path / name)
    assert "is cut off or damaged, or no" in line or "is no published file of weights" in line


def test_a_wrong_ending_is_told(vgg_m, zf, mdnet, tmp_path, capsys):
    wrong = {vgg_m: ".caffemodel", zf: ".mat", mdnet: ".mat"}
    for path, ending in wrong.items():
        renamed = path.rename(tmp_path / f"renamed{ending}")
        assert f"{renamed} is cut off or damaged, or no " in error_of(capsys, "import", renamed)


def test_a_network_of_other_layers_is_told(tmp_path, folder, capsys):
    lacking = {name: shape for name, shape in VGG_M.items() if name != "conv2"}
    path = save_mat(tmp_path / "x.mat", hwio(lacking))
    line = error_of(capsys, "import", path, "--out", folder)
    assert line == f"error: {path}: this is no vgg_m: it has no layer conv2 of the backbone"
    assert error_of(capsys, "verify", path) == line
    assert run("inspect", path) == 0
    assert "architecture: none that jaxtrack has\n" in capsys.readouterr().out
    assert not folder.exists()


def test_an_architecture_that_the_file_is_not_of_is_told(vgg_m, folder, capsys):
    line = error_of(capsys, "import", vgg_m, "--architecture", "zf_rpn", "--out", folder)
    assert line == f"error: {vgg_m} holds weights of vgg_m, not of zf_rpn"
    assert not folder.exists()


def test_numbers_that_are_not_finite_are_told_wherever_they_stand(tmp_path, capsys):
    layers = hwio(VGG_M | {"fc6": (6, 4, 8)})
    layers["fc6"][0][0, 0, 0, :3] = np.nan
    path = save_mat(tmp_path / "x.mat", layers)
    assert "3 of the 1152 numbers of fc6/filters are not finite" in error_of(capsys, "verify", path)


# --- list -------------------------------------------------------------------------------------------------------


def test_the_list_names_the_files_of_trackers_that_learn_online(capsys):
    assert run("list") == 0
    printed = capsys.readouterr().out
    lines = [line.split() for line in printed.splitlines()]
    for row in known.online():
        assert any(line[:2] == [row.name, row.import_as] and line[-1] == row.architecture for line in lines), row
        assert f"{row.published_by}; licence: see there" in printed
