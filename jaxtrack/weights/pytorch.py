"""PyTorch's files of weights as NumPy arrays, read without running anything that a file may ask for.

A PyTorch file is a pickle, and a pickle can call functions. `torch.load(weights_only=True)` builds nothing but tensors
and plain containers. Published checkpoints also carry their optimiser's state, in which NumPy numbers stand; for the
names that such a number is pickled under this module has a stand-in that drops it, so that no code of NumPy runs
either. The same takes the place of the settings and records that TransT's training program stores beside its network,
objects of its own classes. Any other name ends the reading.
"""

import contextlib
import importlib
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxtrack.errors import UserError

# Where training programs put the state dict: PySOT and its descendants, TransT, MDNet.
_STATE_KEYS = ("state_dict", "net", "shared_layers")
_ZIP_START = b"PK\x03\x04"
_PICKLE_START = b"\x80"  # of the files that it wrote before version 1.6
_TAR_MAGIC = slice(257, 262)
_NAMES_IN_A_MESSAGE = 6
_INSTALL = "pip install -e '.[torch]'"


def read(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a PyTorch file by their names, in the file's order.

    The file holds a state dict, or a dictionary with one under `state_dict` or `net`; a leading `module.` of a name,
    which training on several GPUs leaves, is dropped. Floating-point types that NumPy lacks or that are narrower than
    float32 (bfloat16, half) become float32, which is exact; other types are kept. The arrays own their memory.

    Raises:
      UserError: torch is not installed, or the file is missing, damaged, of another format, holds no state dict, or
        asks for anything but tensors; nothing that it asks for is run.
    """
    path = Path(path)
    _check_container(path)
    content = _load(path, _import_torch())
    state = _find_state(content, path)
    arrays = {}
    for name, tensor in state.items():
        plain = name.removeprefix("module.")
        if plain in arrays:
            raise UserError(f"{path} holds {plain} twice, with and without 'module.': it is no file of one model")
        arrays[plain] = _to_numpy(tensor, name, path)
    return arrays


class _Dropped:
    """Takes the place of a NumPy number, a dtype or a foreign object: accepts what is said about it, keeps nothing."""

    def __init__(self, *_: Any):
        pass

    def __setstate__(self, _: Any) -> None:
        pass


# NumPy 1 and NumPy 2 pickle a number under different names.
_HARMLESS = [
    (_Dropped, "numpy.core.multiarray.scalar"),
    (_Dropped, "numpy._core.multiarray.scalar"),
    (_Dropped, "numpy.dtype"),
]
_RECORDS = "ltr."  # the package of TransT's training program
_UNKNOWN_NAME = re.compile(r"GLOBAL (\S+)")


def _import_torch() -> Any:
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise UserError(
            f"reading PyTorch files needs PyTorch, which is not installed: in a checkout of jaxtrack, {_INSTALL}"
        ) from error


def _check_container(path: Path) -> None:
    """Refuses what PyTorch would read wrongly, or complain about in its own words."""
    if not path.is_file():
        raise UserError(f"there is no file {path}" if not path.exists() else f"{path} is no file: name a file in it")
    with _reading(path), path.open("rb") as file:
        start = file.read(512)
    if start[_TAR_MAGIC] == b"ustar":
        raise UserError(
            f"{path} is a tar archive, as PyTorch wrote them before version 0.2: load it with PyTorch and save it again"
        )
    if start.startswith(_ZIP_START):
        _check_zip(path)
    elif not start.startswith(_PICKLE_START):  # before PyTorch is asked for, which may be yet to be installed
        raise _damaged(path)


def _check_zip(path: Path) -> None:
    try:
        with _reading(path), zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise _damaged(path) from error
    names = {member.filename.partition("/")[2] for member in members}
    if "data.pkl" not in names:
        raise UserError(f"{path} is a zip archive, but none that PyTorch wrote: it has no data.pkl")
    if "constants.pkl" in names:
        raise UserError(f"{path} is a TorchScript archive, which holds code: save the model's state_dict() instead")
    # The tensors are mapped from where they lie in the file; and what is not packed cannot unpack to terabytes.
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise UserError(f"{path} was compressed by another program than PyTorch: fetch the file as it was published")


def _load(path: Path, torch: Any) -> Any:
    """The unpickled content of a file."""
    with path.open("rb") as file:
        mapped = file.read(len(_ZIP_START)) == _ZIP_START
        file.seek(0)
        # Mapped, the optimiser's part of a checkpoint, often two thirds of it, is never read from the disk.
        source, options = (str(path), {"mmap": True}) if mapped else (file, {})
        harmless = list(_HARMLESS)
        while True:
            try:
                with torch.serialization.safe_globals(harmless), warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # on the pickle's protocol, on storage types of old versions
                    return torch.load(source, map_location="cpu", weights_only=True, **options)
            except Exception as error:  # whatever a foreign file may raise in PyTorch's parser
                record = _record(str(error))
                if record and all(record != name for _, name in harmless):
                    harmless.append((_Dropped, record))
                    file.seek(0)
                    continue
                # A file that ends within the name of something asks for the rest of a name, as it seems to PyTorch.
                ended = not mapped and not file.read(1)
                raise (_damaged(path) if ended else _refusal(path, str(error))) from error


def _record(message: str) -> str:
    """The class of a training program's records that PyTorch would not load; "" if it was something else."""
    named = _UNKNOWN_NAME.search(message)
    return named[1] if named and named[1].startswith(_RECORDS) else ""


def _refusal(path: Path, message: str) -> UserError:
    """What to tell about a file that PyTorch would not load."""
    named = _UNKNOWN_NAME.search(message)
    if named:
        what = f"asks for {named[1]}"
    elif re.search(r"(reduce for unrecognized|Can only (create new object|build))", message):
        what = "asks for an object of a foreign class"
    else:
        return _damaged(path)
    return UserError(
        f"{path} {what}, which no file of weights needs: nothing of it was run; load it in the program it comes from "
        "and save the model's state_dict() alone"
    )


def _damaged(path: Path) -> UserError:
    return UserError(f"{path} is cut off or damaged, or no PyTorch file: fetch it again")


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def _find_state(content: Any, path: Path) -> dict[str, Any]:
    """The state dict in what a file holds: names and tensors."""
    outer = _entries(content)
    inner = next((_entries(outer[key]) for key in _STATE_KEYS if isinstance(outer.get(key), dict)), outer)
    if not any(map(_is_tensor, inner.values())):
        what = _some_names(outer) or f"a {type(content).__name__}"
        raise UserError(f"{path} holds no tensors but {what}: expected a state dict, or one under state_dict or net")
    for name, value in inner.items():
        if not isinstance(name, str) or not _is_tensor(value):
            raise UserError(f"{path}: the entry {name!r} among the tensors is a {type(value).__name__}, not a tensor")
    return inner


def _entries(content: Any) -> dict[Any, Any]:
    """A plain copy: the file may give an OrderedDict attributes, also such as are called like its methods."""
    return dict(dict.items(content)) if isinstance(content, dict) else {}


def _is_tensor(value: Any) -> bool:
    return isinstance(value, importlib.import_module("torch").Tensor)


def _some_names(content: dict[Any, Any]) -> str:
    names = [str(name) for name in list(content)[:_NAMES_IN_A_MESSAGE]]
    return ", ".join([*names, "…"] if len(content) > len(names) else names)


def _to_numpy(tensor: Any, name: str, path: Path) -> np.ndarray:
    """A copy of a tensor `[...]` as an array of the same shape."""
    torch = importlib.import_module("torch")
    tensor = torch.Tensor.detach(tensor)  # without attributes that the file may have given it
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        raise UserError(f"{path}: {name} is a sparse, quantised or empty tensor; expected an ordinary one")
    # A tensor that repeats its memory would be larger here than in the file, up to terabytes.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise UserError(f"{path}: {name} of shape {list(tensor.shape)} is larger than its data in the file")
    if tensor.is_floating_point() and tensor.dtype != torch.float64:
        tensor = tensor.float()
    return np.array(tensor.resolve_conj().resolve_neg().numpy(), order="C")
