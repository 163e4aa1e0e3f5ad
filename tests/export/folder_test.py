"""Exported folders: what they hold does what the network does, and nothing else is ever left behind."""

import contextlib
import hashlib
import importlib.util
import json
import sys

import jax
import numpy as np
import pytest
from siamese_synthetic import image, narrow, state

from jaxtrack import UserError
from jaxtrack.export import folder, onnx_model
from jaxtrack.export.folder import FORMATS, Network, Request, difference
from jaxtrack.models import siamese
from jaxtrack.weights import names, store

needs_onnx = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime")), reason="the extra onnx is missing"
)
each_format = pytest.mark.parametrize("name", ["stablehlo", pytest.param("onnx", marks=needs_onnx)])


def network(name, settings=None):
    architecture = narrow(name)
    meta = store.Meta(name, "made-up.pth", "ab" * 32, sha256="cd" * 32)
    return Network(architecture, names.to_flax(state(architecture), architecture), meta, settings)


def expected(network, z, x):
    """The network as it is trained: batch normalisation not folded."""
    module = siamese.build(network.architecture)
    return jax.jit(module.apply)(network.variables, z, x)


def run_recorded_lines(out, name, z, x, monkeypatch):
    """(cls, loc) by the lines of Python that the record gives its readers."""
    monkeypatch.chdir(out)
    lines = json.loads((out / "export.json").read_text("utf-8"))["formats"][name]["python"]
    scope = {"z": z, "x": x}
    exec("\n".join(lines), scope)
    return [np.asarray(scope[key]) for key in ("cls", "loc")]


@pytest.fixture
def alex():
    return network("siamrpn_alex")


@each_format
@pytest.mark.parametrize("architecture", ["siamrpn_alex", "siamban_r50", "siampw_r50", "nanotrack_v2", "transt"])
def test_the_recorded_lines_run_the_network(architecture, name, tmp_path, monkeypatch):
    net = network(architecture)
    found = folder.export(net, tmp_path / "out", Request((name,)))
    assert found.keys() == {name}
    assert 0 <= found[name] < 1e-5
    z, x = image(3, net.architecture.template_px), image(4, net.architecture.search_px)
    for right, array in zip(
        expected(net, z, x), run_recorded_lines(tmp_path / "out", name, z, x, monkeypatch), strict=True
    ):
        np.testing.assert_allclose(array, right, rtol=1e-4, atol=1e-5 * np.abs(right).max())


@each_format
def test_a_batch_gives_each_pair_its_own_maps(alex, name, tmp_path, monkeypatch):
    folder.export(alex, tmp_path / "out", Request((name,), batch=2))
    z, x = (np.concatenate([image(i, side), image(i + 1, side)]) for i, side in ((5, 127), (7, 287)))
    cls, loc = run_recorded_lines(tmp_path / "out", name, z, x, monkeypatch)
    assert (cls.shape, loc.shape) == ((2, 21, 21, 10), (2, 21, 21, 20))
    for i in range(2):
        for right, array in zip(expected(alex, z[i : i + 1], x[i : i + 1]), (cls, loc), strict=True):
            np.testing.assert_allclose(array[i], right[0], rtol=1e-4, atol=1e-5 * np.abs(right).max())


def test_boxes_that_overflow_on_noise_alone_do_no_harm(tmp_path):
    """As after a short training, which has shown the network photographs only."""
    net = network("siamban_r50")
    net.variables["params"]["head"]["loc_scale"] *= 100
    z, x = image(3, net.architecture.template_px), image(4, net.architecture.search_px)
    assert np.isinf(expected(net, z, x)[1]).any()
    assert folder.export(net, tmp_path / "out", Request()) == {"stablehlo": 0}


def test_the_record_tells_what_goes_in_and_comes_out(alex, tmp_path):
    out = tmp_path / "new" / "out"
    folder.export(alex, out, Request(platforms=("cpu", "tpu")))
    record = json.loads((out / "export.json").read_text("utf-8"))
    assert sorted(path.name for path in out.iterdir()) == ["export.json", "search.stablehlo", "template.stablehlo"]
    assert record["architecture"] == "siamrpn_alex"
    assert record["weights"] == {"sha256": "cd" * 32, "source": "made-up.pth", "source_sha256": "ab" * 32}
    template, search = record["programs"]["template"], record["programs"]["search"]
    port = lambda name, *shape: {"name": name, "shape": list(shape), "dtype": "float32"}  # noqa: E731
    assert template["inputs"] == [port("z", 1, 127, 127, 3)]
    # 6 x 6 cells of the template through a 3 x 3 convolution, in two branches of 16 channels.
    assert template["outputs"] == [port("kept_0", 1, 4, 4, 16), port("kept_1", 1, 4, 4, 16)]
    assert search["inputs"] == [port("x", 1, 287, 287, 3), *template["outputs"]]
    assert search["outputs"] == [port("cls", 1, 21, 21, 10), port("loc", 1, 21, 21, 20)]
    assert record["images"] == {"layout": "NHWC", "colour": "BGR", "range": [0, 255], "scaled_or_centred": False}
    assert record["output"]["kind"] == "anchors"
    assert record["output"]["cell_positions_px"] == [8.0 * i for i in range(-10, 11)]
    assert record["output"]["anchors_wh_px"][2] == [64, 64]  # ratio 1: 8 times the stride
    assert record["formats"]["stablehlo"]["platforms"] == ["cpu", "tpu"]
    assert record["formats"]["stablehlo"]["run_on"] == "cpu"
    for name, digest in record["files_sha256"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest


# --- refused -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def written_as(monkeypatch, name, change):
    """What `name` writes is changed."""
    right = FORMATS[name]
    write = lambda program, platforms: change(program, right.write(program, platforms))  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setitem(FORMATS, name, right._replace(write=write))
        yield


def damaged_weight(program, content):
    """A hundred numbers in the middle of the template's program, most of which is weights, are changed."""
    if program.name != "template":
        return content
    changed = bytearray(content)
    for place in range(len(content) // 2, len(content) // 2 + 400):
        changed[place] ^= 0x3F
    return bytes(changed)


@each_format
def test_programs_that_do_something_else_are_refused_and_leave_nothing(alex, name, tmp_path, monkeypatch):
    with written_as(monkeypatch, name, damaged_weight), pytest.raises(UserError, match=f"the {name} programs") as error:
        folder.export(alex, tmp_path / "out", Request((name,)))
    assert "differ from the network by" in str(error.value)
    assert list(tmp_path.iterdir()) == []


@each_format
def test_files_that_cannot_be_loaded_back_are_refused_and_leave_nothing(alex, name, tmp_path, monkeypatch):
    cut = lambda program, content: content[: len(content) // 2]  # noqa: E731
    with (
        written_as(monkeypatch, name, cut),
        pytest.raises(UserError, match=f"{name} programs .* cannot be run") as error,
    ):
        folder.export(alex, tmp_path / "out", Request((name,)))
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_export_leaves_nothing(alex, tmp_path, monkeypatch):
    def interrupt(program, content):
        raise KeyboardInterrupt

    with written_as(monkeypatch, "stablehlo", interrupt), pytest.raises(KeyboardInterrupt):
        folder.export(alex, tmp_path / "out", Request())
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite_are_refused(alex, tmp_path):
    alex.variables["params"]["backbone"]["layer1"]["conv"]["kernel"][0, 0, 0, 0] = np.nan
    with pytest.raises(UserError, match="not finite: are the weights right"):
        folder.export(alex, tmp_path / "out", Request())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_refused_and_stays_as_it_is(alex, tmp_path):
    (tmp_path / "mine").write_text("mine")
    for used in (tmp_path, tmp_path / "mine"):
        with pytest.raises(UserError, match="is there already: choose another folder by --out"):
            folder.export(alex, used, Request())
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_folder_that_cannot_be_made_is_refused(alex, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write to .*file/out"):
        folder.export(alex, tmp_path / "file" / "out", Request())


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (Request(platforms=("cpu", "gpu")), "there is no platform 'gpu': expected some of cpu, cuda, rocm, tpu"),
        (Request(platforms=("tpu",)), "programs for tpu cannot be tried here, where JAX runs on cpu: add it to them"),
        (Request(batch=0), "at least 1 image, not 0"),
    ],
)
def test_requests_that_cannot_be_met_are_refused(request_, sentence, tmp_path):
    with pytest.raises(UserError, match=sentence):
        folder.check(tmp_path / "out", request_)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_without_the_extra_onnx_is_refused_by_its_name(package, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_model, "_PACKAGES", (package,))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"needs the package {package}, .*, pip install -e '.\[onnx\]'"):
        folder.check(tmp_path / "out", Request(("onnx",)))


def test_without_flatbuffers_stablehlo_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs the package flatbuffers"):
        folder.check(tmp_path / "out", Request())


# --- differences ---------------------------------------------------------------------------------------------------


def test_a_difference_is_a_share_of_the_number_or_of_the_median():
    right = [np.asarray([0, 0, 0, 1.0, -4.0, 16.0]), np.asarray([100.0])]  # medians 4, without the zeros, and 100
    changed = lambda place, by: [right[0] + by * (np.arange(6) == place), np.asarray([101.0])]  # noqa: E731
    assert difference(right, right) == 0
    assert difference(right, changed(0, -0.5)) == 0.125
    assert difference(right, changed(3, 0.5)) == 0.125
    assert difference(right, changed(5, 4)) == 0.25
    assert difference(right, changed(5, 0.125)) == 0.01  # of the 100


def test_a_huge_number_hides_no_difference():
    right = np.asarray([1, 2, 3, 3e38], np.float32)
    assert difference([right], [right + np.asarray([1, 0, 0, 0], np.float32)]) == 0.4  # the median is 2.5
    assert difference([right], [-right]) == 2  # their difference is no float32


@pytest.mark.parametrize("wrong", [[np.zeros(2)], [np.zeros((1, 3))], [np.asarray([0, np.nan, 0])], []])
def test_other_shapes_and_numbers_that_are_not_finite_differ_infinitely(wrong):
    assert difference([np.zeros(3)], wrong) == np.inf
