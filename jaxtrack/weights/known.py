"""Published weights: what exists, where its authors publish it, and how to know the right file.

The tables are `known.csv`, of Siamese trackers and what they are trained from, and `known_online.csv`, of trackers that
learn online; nothing is downloaded. Columns:

* `name`: what its authors call the file, without ending.
* `import_as`: the name under which jaxtrack's trackers look for it.
* `architecture`: a name of `jaxtrack.models.siamese.ARCHITECTURES`, or of `BACKBONES` there for what is no tracker's;
  in the second table one of `jaxtrack.models.mdnet.ARCHITECTURES` or `jaxtrack.weights.online.BACKBONES`.
* `published_by`: the project's page or package, and where to look there.
* `licence`: of the weights as the authors state it, or of the repository they lie in; empty where nothing is stated.
* `sha256`: the first 16 hexadecimal digits, empty where nobody has told them.
* `what`: in words.
"""

import csv
import dataclasses
import functools
import importlib.resources


@dataclasses.dataclass(frozen=True)
class Known:
    """One row of the table (see the module's docstring)."""

    name: str
    import_as: str
    architecture: str
    published_by: str
    licence: str
    sha256: str
    what: str


@functools.cache
def table() -> tuple[Known, ...]:
    """Published weights of Siamese trackers."""
    return _rows("known.csv")


@functools.cache
def online() -> tuple[Known, ...]:
    """Published weights of trackers that learn online."""
    return _rows("known_online.csv")


def everything() -> tuple[Known, ...]:
    """All published weights that the tables name."""
    return (*table(), *online())


def _rows(name: str) -> tuple[Known, ...]:
    text = importlib.resources.files("jaxtrack.weights").joinpath(name).read_text("utf-8")
    return tuple(Known(**row) for row in csv.DictReader(text.splitlines()))


def find(sha256: str) -> Known | None:
    """The published file that has this sha256 (hexadecimal, 64 digits); None if no row's digits begin it."""
    return next((known for known in everything() if known.sha256 and sha256.startswith(known.sha256)), None)
