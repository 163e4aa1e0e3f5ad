import collections
import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from jaxtrack.errors import UserError
from jaxtrack.weights import pytorch

ROOT = Path(__file__).resolve().parents[2]

# nanotrack.md: first 16 digits of the sha256, entries of the state dict, entries that are no batch counters.
NANOTRACK = {
    "nanotrackv1": ("2a24bbfd1163a769", 231, 199),
    "nanotrackv2": ("938a320c560fd8c8", 298, 257),
    "nanotrackv3": ("4f0d25108385a67b", 438, 374),
}


def test_without_torch_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "x.pth").write_bytes(b"\x80\x02anything")

    def refuse(name, *rest):
        if name == "torch":
            raise ImportError(name)
        return importlib_import(name, *rest)

    importlib_import = pytorch.importlib.import_module
    monkeypatch.setattr(pytorch.importlib, "import_module", refuse)
    message = r"needs PyTorch, which is not installed: in a checkout of jaxtrack, pip install -e '\.\[torch\]'$"
    with pytest.raises(UserError, match=message):
        pytorch.read(tmp_path / "x.pth")


def test_the_readme_installs_torch_as_the_error_message_says():
    readme = Path(__file__).parents[2] / "README.md"
    assert pytorch._INSTALL in readme.read_text("utf-8").splitlines()


def test_the_command_line_does_not_import_torch():
    code = "import sys, jaxtrack.commands.weights; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.pth", None, "there is no file .*none.pth$"),
        ("empty.pth", b"", "empty.pth is cut off or damaged, or no PyTorch file"),
        ("text.pth", b"<html>404</html>" * 100, "text.pth is cut off or damaged, or no PyTorch file"),
        ("zip.pth", b"PK\x03\x04 and no more", "zip.pth is cut off or damaged"),
    ],
)
def test_what_is_no_pytorch_file_is_told_whether_pytorch_is_there_or_not(tmp_path, monkeypatch, name, content, message):
    monkeypatch.setitem(sys.modules, "torch", None)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        pytorch.read(tmp_path / name)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(UserError, match="is no file: name a file in it"):
        pytorch.read(tmp_path)


def test_archives_of_others(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("a/photo.jpg", b"")
    with pytest.raises(UserError, match=r"photos.zip is a zip archive, but none that PyTorch wrote"):
        pytorch.read(tmp_path / "photos.zip")
    with tarfile.open(tmp_path / "old.pth", "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO())
    with pytest.raises(UserError, match=r"old.pth is a tar archive, as PyTorch wrote them before version 0\.2"):
        pytorch.read(tmp_path / "old.pth")


# --- what PyTorch writes ----------------------------------------------------------------------------------------


KERNEL = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)


def wrappings(torch):
    state = collections.OrderedDict({"a.weight": torch.from_numpy(KERNEL.copy()), "a.count": torch.tensor(7)})
    parallel = {f"module.{name}": tensor for name, tensor in state.items()}
    optimizer = {"lr": np.float64(0.005), "step": np.int64(3), "momentum": torch.ones(9)}
    return {
        "bare": state,
        "state_dict": {"epoch": 3, "state_dict": state, "optimizer": optimizer},
        "net": {"net": state, "stats": {"loss": [0.5]}},
        "several GPUs": {"state_dict": parallel},
        "parameters": {name: torch.nn.Parameter(t, requires_grad=t.is_floating_point()) for name, t in state.items()},
    }


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("wrapping", ["bare", "state_dict", "net", "several GPUs", "parameters"])
def test_a_state_dict_is_found_in_every_wrapping(save, torch, wrapping, zipped):
    arrays = pytorch.read(save(wrappings(torch)[wrapping], _use_new_zipfile_serialization=zipped))
    assert list(arrays) == ["a.weight", "a.count"]
    np.testing.assert_array_equal(arrays["a.weight"], KERNEL, strict=True)
    np.testing.assert_array_equal(arrays["a.count"], np.array(7), strict=True)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_views_keep_their_offsets_and_strides(save, torch, zipped):
    flat = torch.arange(20, dtype=torch.float32)
    views = {"transposed": flat.reshape(4, 5).T, "offset": flat[7:13].reshape(2, 3), "steps": flat[1::3]}
    arrays = pytorch.read(save(views, _use_new_zipfile_serialization=zipped))
    numbers = np.arange(20, dtype=np.float32)
    np.testing.assert_array_equal(arrays["transposed"], numbers.reshape(4, 5).T, strict=True)
    np.testing.assert_array_equal(arrays["offset"], [[7, 8, 9], [10, 11, 12]])
    np.testing.assert_array_equal(arrays["steps"], [1, 4, 7, 10, 13, 16, 19])
    assert all(array.flags.c_contiguous and array.flags.owndata for array in arrays.values())


def test_narrow_floats_become_float32_and_other_types_stay(save, torch):
    kinds = {
        "bfloat16": torch.tensor([1.5, -3.0], dtype=torch.bfloat16),
        "half": torch.tensor([1.5, -3.0], dtype=torch.float16),
        "double": torch.tensor([1.5, -3.0], dtype=torch.float64),
        "long": torch.tensor([1, -3]),
    }
    arrays = pytorch.read(save(kinds))
    np.testing.assert_array_equal(arrays["bfloat16"], np.array([1.5, -3], np.float32), strict=True)
    np.testing.assert_array_equal(arrays["half"], np.array([1.5, -3], np.float32), strict=True)
    np.testing.assert_array_equal(arrays["double"], np.array([1.5, -3], np.float64), strict=True)
    np.testing.assert_array_equal(arrays["long"], np.array([1, -3]), strict=True)


def test_a_file_that_torch_would_warn_of_is_read_in_silence(save, torch):
    path = save({"a": torch.ones(3)}, pickle_protocol=3)
    with pytest.warns(UserWarning, match="pickle protocol 3"):
        torch.load(path, weights_only=True)
    np.testing.assert_array_equal(pytorch.read(path)["a"], np.ones(3))


def test_arrays_do_not_change_when_the_file_does(save, torch):
    path = save({"a": torch.ones(4096)})
    array = pytorch.read(path)["a"]
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    np.testing.assert_array_equal(array, np.ones(4096))


@pytest.mark.parametrize("name", NANOTRACK)
def test_published_nanotrack_files_are_read(test_data, torch, name):
    path = test_data / "weights" / "nanotrack" / f"{name}.pth"
    digits, entries, without_counters = NANOTRACK[name]
    assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(digits)
    arrays = pytorch.read(path)
    assert len(arrays) == entries
    weights = {key: array for key, array in arrays.items() if not key.endswith("num_batches_tracked")}
    assert len(weights) == without_counters
    assert {array.dtype for array in weights.values()} == {np.dtype(np.float32)}
    assert arrays["backbone.features.0.0.weight"].shape == (16, 3, 3, 3)


def test_a_published_file_is_read_as_torch_itself_reads_it(test_data, torch):
    path = test_data / "weights" / "nanotrack" / "nanotrackv2.pth"
    numpy_globals = [
        (
            np.core.multiarray.scalar if np.__version__ < "2" else np._core.multiarray.scalar,
            "numpy.core.multiarray.scalar",
        ),
        np.dtype,
        np.dtypes.Float64DType,
    ]
    with torch.serialization.safe_globals(numpy_globals):
        expected = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    arrays = pytorch.read(path)
    assert list(arrays) == list(expected)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(arrays[name], tensor.numpy(), strict=True)


def test_a_file_cut_off_anywhere_is_refused(save, torch):
    path = save({"a.weight": torch.ones(300)})
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="cut off or damaged"):
            pytorch.read(path)


def test_a_legacy_file_cut_off_anywhere_is_refused(save, torch):
    path = save({"a.weight": torch.ones(300)}, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="cut off or damaged"):
            pytorch.read(path)


def test_a_file_packed_anew_is_refused(save, torch):
    path = save({"a.weight": torch.ones(300)})
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    with pytest.raises(UserError, match="was compressed by another program"):
        pytorch.read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "holds no tensors but a dict"),
        ([1, 2], "holds no tensors but a list"),
        ({"epoch": 3, "lr": 0.1}, "holds no tensors but epoch, lr: expected a state dict"),
        ({"state_dict": {}}, "holds no tensors but state_dict"),
        (dict.fromkeys("abcdefgh", 1), "holds no tensors but a, b, c, d, e, f, …: expected"),
    ],
)
def test_a_file_without_tensors(save, content, message):
    with pytest.raises(UserError, match=message):
        pytorch.read(save(content))


def test_a_single_tensor_is_no_state_dict(save, torch):
    with pytest.raises(UserError, match="holds no tensors but a Tensor"):
        pytorch.read(save(torch.ones(3)))


def test_tensors_among_which_something_else_stands(save, torch):
    with pytest.raises(UserError, match="the entry 'version' among the tensors is a int, not a tensor"):
        pytorch.read(save({"a": torch.ones(3), "version": 3}))
    with pytest.raises(UserError, match="the entry 4 among the tensors"):
        pytorch.read(save({4: torch.ones(3)}))


def test_one_name_with_and_without_the_prefix(save, torch):
    with pytest.raises(UserError, match=r"holds a twice, with and without 'module\.'"):
        pytorch.read(save({"module.a": torch.ones(3), "a": torch.ones(3)}))


def test_tensors_that_are_not_ordinary(save, torch):
    with pytest.raises(UserError, match="s is a sparse, quantised or empty tensor"):
        pytorch.read(save({"s": torch.eye(3).to_sparse()}))
    with pytest.raises(UserError, match="m is a sparse, quantised or empty tensor"):
        pytorch.read(save({"m": torch.ones(3, device="meta")}))


def test_a_tensor_that_claims_more_than_the_file_holds(save, torch):
    with pytest.raises(UserError, match=r"a of shape \[1000000000, 1000000\] is larger than its data"):
        pytorch.read(save({"a": torch.ones(1).expand(10**9, 10**6)}))
