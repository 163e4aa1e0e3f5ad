"""PyTorch's files in which a training program has left objects of its own classes."""

import pickle
import sys
import types

import numpy as np
import pytest

from jaxtrack.weights import pytorch

KERNEL = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)


class Recorded:
    """An object of a training program's class; unpickling it without care imports that class."""

    def __init__(self, **fields):
        self.fields = fields


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_records_of_transts_training_program_are_passed_over(tmp_path, zipped, monkeypatch):
    """siamese.md 8: beside `net` its files have `constructor`, `stats` and `settings`."""
    torch = pytest.importorskip("torch")
    for name in ("ltr", "ltr.admin", "ltr.admin.settings", "ltr.admin.stats"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    content = {"net": {"a.weight": torch.from_numpy(KERNEL.copy())}}
    for key, module, title in (
        ("settings", "ltr.admin.settings", "Settings"),
        ("stats", "ltr.admin.stats", "AverageMeter"),
    ):
        record = type(title, (Recorded,), {"__module__": module})
        setattr(sys.modules[module], title, record)
        content[key] = record(loss=[0.5], inner={"rate": 1e-4})
    path = tmp_path / "transt.pth"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    monkeypatch.undo()
    with pytest.raises(pickle.UnpicklingError, match=r"ltr\.admin"):
        torch.load(path, weights_only=True)
    np.testing.assert_array_equal(pytorch.read(path)["a.weight"], KERNEL)
