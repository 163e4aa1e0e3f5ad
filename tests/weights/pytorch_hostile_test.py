"""PyTorch files that would run something when they are unpickled: refused by name, and nothing is run."""

import builtins
import collections
import decimal
import os
import pickle
import subprocess
import zipfile

import numpy as np
import pytest

from jaxtrack.errors import UserError
from jaxtrack.weights import pytorch


class Calls:
    """Pickles as the call of a function: what a hostile file does when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def hostile_zip(path, content):
    """A file that PyTorch's reader takes for its own, with a pickle of ours."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content, protocol=2, fix_imports=False))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    return path


def writes(path, command):
    """Files that run a shell command when they are unpickled without care, one way after the other."""
    yield "posix.system", hostile_zip(path, {"state_dict": Calls(os.system, command)})
    path.write_bytes(pickle.dumps(Calls(os.system, command), protocol=2, fix_imports=False))  # as legacy files begin
    yield "posix.system", path
    yield "eval", hostile_zip(path, {"a": Calls(builtins.eval, f"__import__('os').system({command!r})")})
    yield "subprocess.Popen", hostile_zip(path, {"a": Calls(subprocess.Popen, ["sh", "-c", command])})


def test_a_file_that_calls_functions_is_refused_by_name_and_nothing_is_run(tmp_path, torch):
    for name, path in writes(tmp_path / "x.pth", f"touch {tmp_path / 'ran'}"):
        with pytest.raises(UserError, match=rf"x.pth asks for {name}, .* nothing of it was run"):
            pytorch.read(path)
        assert not (tmp_path / "ran").exists()


def test_the_hostile_files_of_this_test_do_run_when_unpickled_without_care(tmp_path):
    _, path = next(writes(tmp_path / "x.pth", f"touch {tmp_path / 'ran'}"))
    with zipfile.ZipFile(path) as archive:
        pickle.loads(archive.read("archive/data.pkl"))
    assert (tmp_path / "ran").exists()


def test_a_class_of_the_authors_program_is_named(tmp_path, torch):
    with pytest.raises(UserError, match=r"asks for decimal\.Decimal, which no file of weights needs"):
        pytorch.read(hostile_zip(tmp_path / "x.pth", {"settings": decimal.Decimal(3)}))


def test_calling_a_method_of_something_harmless_is_refused(tmp_path, torch):
    # The name is allowed, what is called is not: an instance of the stand-in for a NumPy number.
    text = b"\x80\x02cnumpy.core.multiarray\nscalar\n)R)R."
    with zipfile.ZipFile(hostile_zip(tmp_path / "x.pth", {}), "w") as archive:
        archive.writestr("archive/data.pkl", text)
        archive.writestr("archive/version", "3\n")
    with pytest.raises(UserError, match=r"asks for an object of a foreign class, .* nothing of it was run"):
        pytorch.read(tmp_path / "x.pth")


class Hiding:
    """Pickles as an OrderedDict with attributes that are called like its methods."""

    def __init__(self, **items):
        self.items = items

    def __reduce__(self):
        attributes = dict.fromkeys(["items", "get", "values", "keys"], 3)
        return collections.OrderedDict, (), attributes, None, iter(self.items.items())


def test_attributes_that_hide_methods_are_not_looked_at(save, torch):
    tensor = torch.ones(3)
    tensor.numel = tensor.numpy = tensor.detach = 3
    arrays = pytorch.read(save(Hiding(state_dict=Hiding(a=tensor))))
    np.testing.assert_array_equal(arrays["a"], np.ones(3))


def test_no_name_stays_allowed_after_reading(save, tmp_path, torch):
    torch.serialization.clear_safe_globals()
    pytorch.read(save({"state_dict": {"a": torch.ones(3)}, "lr": np.float64(0.1)}))
    with pytest.raises(UserError):
        pytorch.read(hostile_zip(tmp_path / "x.pth", {"a": Calls(print, "ran")}))
    assert torch.serialization.get_safe_globals() == []


def test_a_numpy_number_in_place_of_a_tensor_is_no_tensor(save, torch):
    with pytest.raises(UserError, match="the entry 'b' among the tensors is a _Dropped, not a tensor"):
        pytorch.read(save({"a": torch.ones(3), "b": np.float64(3)}))


def test_an_archive_of_a_program_is_refused(tmp_path, torch):
    with zipfile.ZipFile(hostile_zip(tmp_path / "x.pth", {}), "a") as archive:
        archive.writestr("archive/constants.pkl", b"")
    with pytest.raises(UserError, match="is a TorchScript archive, which holds code"):
        pytorch.read(tmp_path / "x.pth")
