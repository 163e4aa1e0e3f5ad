"""What the benchmarks that are folders of images and annotations share: finding sequences, and reading them.

A benchmark's module says where the files of each sequence lie (a layout, a function from a folder to `Located`
sequences); `FolderBenchmark` searches, selects, counts and lists them, and reads PySOT's JSON file instead, where there
is one. Where no list of names is known, the sequences are those that are there, and the official number of them says
whether that is all.
"""

import dataclasses
import itertools
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from jaxtrack.data.located import Located, load, pysot_records, pysot_sequence
from jaxtrack.data.naming import match_name, plain
from jaxtrack.data.sequences import Benchmark, SequenceInfo, title_of_part
from jaxtrack.errors import UserError

LIST_NAMES = ("testing_set.txt", "list.txt")


Layout = Callable[[Path], Mapping[str, Located]]


@dataclasses.dataclass(frozen=True)
class FolderBenchmark:
    """A benchmark of folders; `benchmarks` loads, selects and lists it through this.

    Attributes:
      name: its short name.
      title: as papers print it.
      total: the official number of its sequences.
      layout: finds the sequences in a folder laid out as the authors ship it.
      shape: the layout in words, for messages.
      own: pattern of names (without case and punctuation) of folders that hold this benchmark.
      others: pattern of those that hold a relative of it, and are not looked into.
      json_names: names of PySOT's files, without case and punctuation, without `.json`.
      lengths: the sequences that are known by name, and their numbers of frames; 0 where that is not known.
      origin: what the files call the first pixel.
      protocol: see `Benchmark`.
      annotated: see `Benchmark`.
      norm_precision: see `Benchmark`.
      images: whether a sequence is only there with its images; results of others can be scored without.
    """

    name: str
    title: str
    total: int
    layout: Layout
    shape: str
    own: str
    others: str = r"(?!)"
    json_names: tuple[str, ...] = ()
    lengths: Mapping[str, int] = dataclasses.field(default_factory=dict)
    origin: float = 1.0
    protocol: str = "otb"
    annotated: bool = True
    norm_precision: bool = False
    images: bool = True

    @property
    def names_known(self) -> bool:
        """Whether every sequence is known by name without its files."""
        return len(self.lengths) == self.total

    @property
    def without_images(self) -> "FolderBenchmark":
        """The benchmark as far as there are annotations."""
        return dataclasses.replace(self, images=False)

    def canonical_name(self, spelling: str) -> str:
        """The official name of a sequence, or `UserError`; what is given where names are known by the files alone."""
        return match_name(spelling, self.lengths, what=f"sequence of {self.title}") if self.names_known else spelling

    def __call__(self, data_dir: Path | None, only: Collection[str] | None = None) -> Benchmark:
        """The sequences found below `data_dir`, or those of them that `only` names.

        Raises:
          UserError: nothing is there, something of `only` is not, or files are broken.
        """
        found = self._found(data_dir)
        if not found:
            raise UserError(self._nothing_found(data_dir))
        if len(found) > self.total:
            raise UserError(
                f"{len(found)} sequences found below {data_dir}, but {self.title} has {self.total}: give a folder "
                f"with those alone, or put their names into a file {LIST_NAMES[0]} there, one per line"
            )
        chosen = list(found) if only is None else [name for name in found if name in self._selected(only, found)]
        loaded = [load(name, found[name], self.origin, images=self.images) for name in chosen]
        title = title_of_part(self.title, len(loaded), self.total, selected=only is not None)
        missing = () if only is not None else tuple(name for name in self.lengths if name not in found)
        unnamed = 0 if only is not None else max(self.total - len({*self.lengths, *found}), 0)
        kind = (self.protocol, self.annotated, self.norm_precision)
        return Benchmark(self.name, title, loaded, missing, unnamed, *kind)

    def catalogue(self, data_dir: Path | None) -> list[SequenceInfo]:
        """Every sequence that is known by name or found."""
        found = self._found(data_dir)
        return [self._info(name, found.get(name)) for name in sorted({*self.lengths, *found}, key=str.casefold)]

    def count(self, data_dir: Path | None) -> tuple[int, int]:
        """(number of sequences found below `data_dir`, the official number)."""
        return len(self._found(data_dir)), self.total

    def unlisted(self, data_dir: Path | None) -> str:
        """Why the catalogue does not name every sequence, and what files it takes; "" where it does."""
        listed = len({*self.lengths, *self._found(data_dir)})
        if listed >= self.total:
            return ""
        return (
            f"{self.title} has {self.total} sequences, {self.total - listed} of which are known from their files "
            f"alone: {self._wanted()}"
        )

    def _info(self, name: str, located: Located | None) -> SequenceInfo:
        info = SequenceInfo(name, self.lengths.get(name, 0), found=located is not None)
        if located is None:
            return info
        try:
            sequence = load(name, located, self.origin, images=self.images)
        except UserError as error:
            return dataclasses.replace(info, problem=str(error))
        width, height = sequence.boxes[0, 2:].tolist()
        return SequenceInfo(name, len(sequence), sequence.attributes, box_size=(width, height))

    def _selected(self, only: Collection[str], found: Mapping[str, Located]) -> set[str]:
        missing = [name for name in only if plain(name) not in {plain(each) for each in found}]
        if missing and self.names_known:
            raise UserError(f"{', '.join(missing)} of {self.title} not found: expected {self.shape}")
        return {match_name(name, found, what=f"sequence of {self.title} at hand") for name in only}

    def _found(self, data_dir: Path | None) -> dict[str, Located]:
        """Name -> where its files are, sorted by name; the authors' layout goes before PySOT's."""
        found: dict[str, Located] = {}
        for root in () if data_dir is None else self._roots(data_dir):
            for name, located in itertools.chain(self.layout(root).items(), self._of_json(root).items()):
                known = not self.names_known or name in self.lengths
                if known and name not in found and (located.images.present or not self.images):
                    found[name] = located
        return dict(sorted(found.items(), key=lambda item: (item[0].casefold(), item[0])))

    def _of_json(self, root: Path) -> dict[str, Located]:
        """The sequences of PySOT's file in a folder."""
        paths = [
            path for path in sorted(root.glob("*.json")) if plain(path.stem) in (plain(self.name), *self.json_names)
        ]
        return {
            name: pysot_sequence(name, record, path, self.origin)
            for path in paths[:1]
            for name, record in pysot_records(path).items()
        }

    def _roots(self, data_dir: Path) -> list[Path]:
        """Folders in which sequences are looked for: `data_dir`, and those in it that bear the benchmark's name."""
        if not data_dir.is_dir():
            return []
        here = [] if re.fullmatch(self.others, plain(data_dir.resolve().name)) else [data_dir]
        inside = [path for path in sorted(data_dir.iterdir()) if re.fullmatch(self.own, plain(path.name))]
        return [*here, *(path for path in inside if path.is_dir())]

    def _nothing_found(self, data_dir: Path | None) -> str:
        looked = "no data folder was given" if data_dir is None else f"looked in {data_dir}"
        if data_dir is not None and not data_dir.is_dir():
            looked = f"the data folder {data_dir} does not exist"
        return f"No sequence of {self.title} found: {looked}; {self._wanted()}"

    def _wanted(self) -> str:
        json_file = f", or PySOT's {self.title}.json beside its folders of images" if self.json_names else ""
        return (
            "give the folder by --data-dir or the environment variable JAXTRACK_DATA, laid out as "
            f"{self.shape}{json_file}"
        )


def listed_names(root: Path) -> frozenset[str] | None:
    """The names in the list of sequences that lies in a folder; None if there is none."""
    path = next((root / name for name in LIST_NAMES if (root / name).is_file()), None)
    return None if path is None else frozenset(path.read_text("utf-8-sig", errors="replace").split())
