"""The short-term data of the VOT challenges 2013 to 2019 as they lie on disk.

Two layouts are read, also mixed: the authors' (`<sequence>/groundtruth.txt`, images in `<sequence>/color/` or in
`<sequence>/` itself, one file of zeros and ones per tag) and PySOT's (`VOT2018.json` beside the folders of images).
What is known of each edition stands in `vot_sequences.csv`: the names of its sequences, and their lengths where known.
"""

import csv
import dataclasses
import functools
import importlib.resources
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxtrack.data.image_folder import ImageFolder
from jaxtrack.data.located import NoImages, pysot_records
from jaxtrack.data.naming import match_name, plain
from jaxtrack.data.regionfiles import Regions, read_regions, regions
from jaxtrack.data.sequences import Benchmark, Frames, Sequence, SequenceInfo, title_of_part
from jaxtrack.errors import UserError

EDITIONS = range(2013, 2020)
TAGS = ("camera_motion", "illum_change", "motion_change", "size_change", "occlusion")
# The names that some editions' files have instead.
_TAG_FILES = {"motion_change": ("motion_change", "motion"), "size_change": ("size_change", "size")}
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_LARGEST_SIDE_PX = 65_535  # of a JPEG


@dataclasses.dataclass(frozen=True, eq=False)
class VotSequence(Sequence):
    """A sequence whose annotation is a region; `boxes` are those of `Regions.start_boxes`.

    Attributes:
      regions: the annotations.
      tags: name -> `bool [N]`, what is true of each frame; all of `TAGS`.
      stated_size: (width, height) of the images in pixels, None where no file says it.
    """

    regions: Regions = dataclasses.field(kw_only=True)
    tags: Mapping[str, np.ndarray] = dataclasses.field(kw_only=True)
    stated_size: tuple[int, int] | None = dataclasses.field(default=None, kw_only=True)

    @functools.cached_property
    def size(self) -> tuple[int, int]:
        """(width, height) of the images in pixels; reads the first image where no file says it."""
        return self.stated_size or (self[0].shape[1], self[0].shape[0])

    def tagged(self, tag: str) -> np.ndarray:
        """`bool [N]`: frames with a tag; `all` is every frame, `empty` those with none of `TAGS`."""
        if tag == "all":
            return np.ones(len(self), np.bool_)
        return ~np.any(list(self.tags.values()), axis=0) if tag == "empty" else self.tags[tag]


@dataclasses.dataclass(frozen=True, eq=False)
class VotBenchmark(Benchmark):
    """One edition, or the part of it that is at hand.

    Attributes:
      edition: the year.
      complete: whether every sequence of the edition is there.
    """

    edition: int = dataclasses.field(kw_only=True)
    complete: bool = dataclasses.field(kw_only=True)


@dataclasses.dataclass(frozen=True)
class _Found:
    """Where the files of a sequence lie: its folder, and what the JSON file says of it (empty without one)."""

    folder: Path
    record: Mapping[str, Any]


@functools.cache
def table() -> Mapping[int, Mapping[str, int]]:
    """For each edition its sequences in alphabetical order and their lengths; 0 where it is not known."""
    text = importlib.resources.files("jaxtrack.data").joinpath("vot_sequences.csv").read_text("utf-8")
    rows = sorted(csv.DictReader(text.splitlines()), key=lambda row: row["name"])
    return {
        year: {row["name"]: int(row["frames"] or 0) for row in rows if str(year) in row["editions"].split()}
        for year in EDITIONS
    }


@dataclasses.dataclass(frozen=True)
class VotEdition:
    """One edition; `benchmarks` loads, selects and lists it through this.

    Attributes:
      year: which one.
      images: whether a sequence is only there with its images; results of others can be scored without.
    """

    year: int
    images: bool = True

    @property
    def without_images(self) -> "VotEdition":
        """The edition as far as there are annotations."""
        return dataclasses.replace(self, images=False)

    @property
    def name(self) -> str:
        """The benchmark's short name."""
        return f"vot{self.year}"

    @property
    def title(self) -> str:
        """The benchmark's name as papers print it."""
        return f"VOT{self.year}"

    @property
    def lengths(self) -> Mapping[str, int]:
        """Every sequence and its number of frames, 0 where it is not known."""
        return table()[self.year]

    def canonical_name(self, spelling: str) -> str:
        """The official name of a sequence, or `UserError`."""
        return match_name(spelling, self.lengths, what=f"sequence of {self.title}")

    def __call__(self, data_dir: Path | None, only: Collection[str] | None = None) -> VotBenchmark:
        """The sequences found below `data_dir`: the edition's own folder, or one that holds it.

        Raises:
          UserError: nothing is there, something of `only` (official names) is not, or files are broken.
        """
        found = self._found(data_dir)
        if not found:
            raise UserError(self._nothing_found(data_dir))
        chosen = [name for name in self.lengths if only is None or name in only]
        missing = tuple(name for name in chosen if name not in found)
        if only is not None and missing:
            raise UserError(
                f"{', '.join(missing)} of {self.title} not found below {data_dir}: expected a folder {missing[0]} with "
                "groundtruth.txt and the images in color"
            )
        loaded = [load_sequence(name, found[name], images=self.images) for name in chosen if name in found]
        title = title_of_part(self.title, len(loaded), len(self.lengths), selected=only is not None)
        complete = len(loaded) == len(self.lengths)
        return VotBenchmark(self.name, title, loaded, missing, edition=self.year, complete=complete)

    def catalogue(self, data_dir: Path | None) -> list[SequenceInfo]:
        """Every sequence of the edition with what the table says of it, and what its files say if found."""
        found = self._found(data_dir)
        return [self._info(name, found.get(name)) for name in self.lengths]

    def count(self, data_dir: Path | None) -> tuple[int, int]:
        """(number of sequences found below `data_dir`, number of all)."""
        return len(self._found(data_dir)), len(self.lengths)

    def _info(self, name: str, found: _Found | None) -> SequenceInfo:
        info = SequenceInfo(name, self.lengths[name], found=found is not None)
        if found is None:
            return info
        try:
            sequence = load_sequence(name, found, images=self.images)
        except UserError as error:
            return dataclasses.replace(info, problem=str(error))
        width, height = sequence.boxes[0, 2:].tolist()
        return SequenceInfo(name, len(sequence), sequence.attributes, box_size=(width, height))

    def _found(self, data_dir: Path | None) -> dict[str, _Found]:
        """Name -> where its files are, for the sequences with an annotation (and images where they are needed)."""
        found: dict[str, _Found] = {}
        for root in () if data_dir is None else self._roots(data_dir):
            path = root / f"{self.title}.json"
            records = pysot_records(path) if path.is_file() else {}
            for name in self.lengths:
                folder, record = root / name, records.get(name, {})
                if name in found or not (record or (folder / "groundtruth.txt").is_file()):
                    continue
                if not self.images or _image_folder(folder) is not None:
                    found[name] = _Found(folder, record)
        return found

    def _roots(self, data_dir: Path) -> list[Path]:
        """Folders in which sequences are looked for: `data_dir` unless it is another edition's, `vot2018` in it."""
        if not data_dir.is_dir():
            return []
        own = [path for path in sorted(data_dir.iterdir()) if plain(path.name) == self.name and path.is_dir()]
        stated = re.search(r"vot(\d{4})", plain(data_dir.resolve().name))
        here = [data_dir] if stated is None or int(stated[1]) == self.year else []
        return [folder for root in (*here, *own) for folder in (root, root / "sequences")]

    def _nothing_found(self, data_dir: Path | None) -> str:
        looked = "no data folder was given" if data_dir is None else f"looked in {data_dir}"
        needed = "with groundtruth.txt and the images in color" if self.images else "with groundtruth.txt"
        return (
            f"No sequence of {self.title} found: {looked}; give the folder by --data-dir or the environment variable "
            f"JAXTRACK_DATA, laid out as <folder>/<sequence> {needed}, or as <folder>/{self.title}.json beside the "
            f"sequences' folders; the folder may also be called {self.name} inside the one that is given"
        )


BENCHMARKS = {f"vot{year}": VotEdition(year) for year in EDITIONS}


def load_sequence(name: str, found: _Found, *, images: bool = True) -> VotSequence:
    """One sequence; the images are read when they are asked for.

    Raises:
      UserError: a file is broken, or images and annotations differ in number.
    """
    annotation = found.folder / "groundtruth.txt"
    truth = read_regions(annotation) if annotation.is_file() else _regions_of(name, found.record)
    frames: Frames = _images(name, found, len(truth), needed=images)
    if not truth.present[0]:
        raise UserError(f"{name}: the first frame has no annotation, there is nothing to start a tracker from")
    tags = {tag: _tag(name, tag, found, len(truth)) for tag in TAGS}
    return VotSequence(
        name=name,
        frames=frames,
        boxes=truth.start_boxes(),
        valid=truth.present,
        attributes=frozenset(tag for tag, frames_with in tags.items() if frames_with.any()),
        regions=truth,
        tags=tags,
        stated_size=_stated_size(name, found.record),
    )


def _image_folder(folder: Path) -> Path | None:
    """Where the images of a sequence are: in `color`, or in its folder; None if there is none."""
    for place in (folder / "color", folder):
        if place.is_dir() and any(path.suffix.lower() in _IMAGE_SUFFIXES for path in place.iterdir()):
            return place
    return None


def _images(name: str, found: _Found, rows: int, *, needed: bool) -> Frames:
    place = _image_folder(found.folder)
    if place is None:
        assert not needed  # else the sequence would not have been found
        return NoImages(name, rows, ", and no file says how large they are")
    images = ImageFolder(name, place)
    if len(images) != rows:
        raise UserError(f"{name}: {len(images)} images in {place} but {rows} annotations: copy the sequence again")
    return images


def _regions_of(name: str, record: Mapping[str, Any]) -> Regions:
    rows = record.get("gt_rect")
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{name}: the JSON file has no list gt_rect of annotations")
    sentence = f"{name}: gt_rect of the JSON file must be rows of numbers"
    if not all(isinstance(row, list) for row in rows):
        raise UserError(sentence)
    try:
        return regions([[float(x) for x in row] for row in rows])
    except (TypeError, ValueError, OverflowError):
        raise UserError(sentence) from None
    except UserError as error:
        raise UserError(f"{name}: gt_rect of the JSON file, {error}") from error


def _stated_size(name: str, record: Mapping[str, Any]) -> tuple[int, int] | None:
    """(width, height) in pixels by the JSON file; None where it has neither."""
    given = (record.get("width"), record.get("height"))
    if given == (None, None):
        return None
    sides = [side for side in given if type(side) is int and 0 < side <= _LARGEST_SIDE_PX]
    if len(sides) < 2:
        raise UserError(
            f"{name}: width and height of the JSON file must be whole numbers of pixels from 1 to {_LARGEST_SIDE_PX}"
        )
    return sides[0], sides[1]


def _tag(name: str, tag: str, found: _Found, length: int) -> np.ndarray:
    """`bool [N]`: frames with a tag, by its file, else by the JSON file; frames beyond the file's end lack it."""
    files = [found.folder / f"{stem}.{kind}" for stem in _TAG_FILES.get(tag, (tag,)) for kind in ("tag", "label")]
    path = next((path for path in files if path.is_file()), None)
    values = path.read_text("utf-8", errors="replace").split() if path else found.record.get(tag, [])
    known = {"0": False, "1": True}
    if not isinstance(values, list) or any(str(value) not in known for value in values):
        raise UserError(f"{name}: {path or f'{tag} of the JSON file'} must have a 0 or a 1 per frame")
    return np.array([known[str(value)] for value in values[:length]] + [False] * (length - len(values)), np.bool_)
