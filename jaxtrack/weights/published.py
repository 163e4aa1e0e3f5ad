"""Published files of weights, whichever program wrote them: what they hold, and the variables that become of it.

| ending | program | networks |
|---|---|---|
| .pth, .pt, .tar, .model | PyTorch | Siamese trackers (`names`), classifiers (`torchvision`), MDNet (`online`) |
| .mat | MatConvNet | `online` |
| .caffemodel | Caffe | `online` |

A file with another ending is PyTorch's if it begins like one.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxtrack.data.naming import match_name
from jaxtrack.errors import UserError
from jaxtrack.models.siamese import BACKBONES, PUBLISHED
from jaxtrack.weights import caffe, matconvnet, names, online, pytorch, store, torchvision

_PYTORCH, _MATCONVNET, _CAFFE = "PyTorch", "MatConvNet", "Caffe"

PROGRAMS: dict[str, str] = dict.fromkeys((".pth", ".pt", ".tar", ".model"), _PYTORCH)
PROGRAMS |= {".mat": _MATCONVNET, ".caffemodel": _CAFFE}
"""The program that writes files with an ending."""

_FROM_PYTORCH = (*PUBLISHED, *BACKBONES, *online.MDNETS, online.ALEXNET, online.TORCHVISION_VGG16)
ARCHITECTURES = tuple(dict.fromkeys((*_FROM_PYTORCH, *online.BACKBONES)))
"""All networks that published files are of."""

_STARTS = (b"PK\x03\x04", b"\x80\x02")  # of PyTorch's zip archives, and of the pickles that it wrote before
_NAMES_IN_A_MESSAGE = 3


@dataclasses.dataclass(frozen=True)
class File:
    """A file that has been read.

    Attributes:
      path: where it lies.
      program: the one that wrote it.
      content: what the reader of that program's files returns.
    """

    path: Path
    program: str
    content: Any

    def arrays(self) -> dict[str, np.ndarray]:
        """Its arrays, in its own layout, by its own names; MatConvNet's and Caffe's by layer and place in it."""
        if self.program == _PYTORCH:
            return self.content
        if self.program == _CAFFE:
            layers = [(name, layer.blobs) for name, layer in self.content.items()]
            return {f"{name}/{i}": blob for name, blobs in layers for i, blob in enumerate(blobs)}
        layers = [(layer.name or f"layer {i}", layer.arrays) for i, layer in enumerate(self.content, 1)]
        return {
            f"{name}/{kind}": a for name, pair in layers for kind, a in zip(("filters", "biases"), pair, strict=False)
        }

    def architecture(self) -> str | None:
        """The network that it shows itself to be of; None for none that there is."""
        if self.program == _PYTORCH:
            return names.detect({name: array.shape for name, array in self.content.items()})
        try:
            return online.convert(self.content)[0]
        except UserError:
            return None

    def convert(self, asked: str | None = None) -> tuple[str, dict[str, Any]]:
        """The network and its variables.

        Args:
          asked: the network that it is to be of, however it is spelt; by default told by what it holds.

        Raises:
          UserError: it does not fit the network, is of another one or of none.
        """
        if asked is not None:
            asked = match_name(asked, ARCHITECTURES, what="architecture of published files")
        if self.program == _PYTORCH:
            architecture = self._of_pytorch(asked)
            with _naming(self.path):
                return architecture, _from_pytorch(self.content, architecture)
        with _naming(self.path):
            architecture, variables = online.convert(self.content)
        if asked not in (None, architecture):
            raise UserError(f"{self.path} holds weights of {architecture}, not of {asked}")
        return architecture, variables

    def _of_pytorch(self, asked: str | None) -> str:
        """The network of a PyTorch file."""
        if asked in online.BACKBONES and asked not in _FROM_PYTORCH:
            raise UserError(f"{self.path} is a PyTorch file: {asked} is imported from one of MatConvNet or Caffe")
        found = asked or self.architecture()
        if not found:
            some = ", ".join(list(self.content)[:_NAMES_IN_A_MESSAGE])
            raise UserError(
                f"{self.path} holds tensors such as {some}, which belong to no network that jaxtrack has; if they "
                f"should, say by --architecture which: {', '.join(_FROM_PYTORCH)}"
            )
        return found


def read(path: Path) -> File:
    """The content of a published file.

    Raises:
      UserError: it cannot be read, is damaged, or of none of the programs.
    """
    path = Path(path)
    program = _program(path)
    if program == _MATCONVNET:
        return File(path, program, matconvnet.read(path))
    return File(path, program, caffe.read(path) if program == _CAFFE else pytorch.read(path))


def _program(path: Path) -> str:
    """The program whose file it is, or should be."""
    known = PROGRAMS.get(path.suffix.lower())
    if known is not None or not path.is_file():
        return known or _PYTORCH  # whose reader says what is amiss
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    if path.suffix == store.SUFFIX:
        raise UserError(
            f"{path} holds weights of jaxtrack's own, which are not imported: name the file by the option weights "
            "(--TRACKER.weights FILE)"
        )
    if not start.startswith(_STARTS):
        raise UserError(
            f"{path} is no published file of weights that jaxtrack reads: expected one of PyTorch (.pth), MatConvNet "
            "(.mat) or Caffe (.caffemodel)"
        )
    return _PYTORCH


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Puts the file's name before what is wrong with it."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _from_pytorch(state: dict[str, np.ndarray], architecture: str) -> dict[str, Any]:
    if architecture == torchvision.NAME:
        return torchvision.to_flax(state)
    if architecture == torchvision.PLAIN:
        return torchvision.plain(state)
    if architecture == online.TORCHVISION_VGG16:
        return torchvision.vgg16(state)
    if architecture == online.ALEXNET:
        return torchvision.alexnet(state)
    if architecture in online.MDNETS:
        return online.py_mdnet(state, architecture)
    return names.to_flax(state, architecture)
