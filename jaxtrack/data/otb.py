"""The object tracking benchmark: OTB-100, OTB-2013 and TB-50 as they lie on disk (see `otb_table`)."""

import contextlib
import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from jaxtrack.data.boxfiles import annotated_rows, read_boxes
from jaxtrack.data.image_folder import ImageFolder
from jaxtrack.data.located import Located, NoImages, load, pysot_records, pysot_sequence
from jaxtrack.data.naming import plain
from jaxtrack.data.otb_table import Entry, canonical_name, entry_named, omitted_frames, table
from jaxtrack.data.sequences import Benchmark, Sequence, SequenceInfo, check_init_box, title_of_part
from jaxtrack.errors import UserError

ALIASES = {"otb2015": "otb100", "tb100": "otb100", "cvpr13": "otb2013"}
REFUSED = {
    "otb50": "otb50 may mean OTB-2013 (51 targets in 50 videos) or TB-50 (the harder half of OTB-100): "
    "say otb2013 or tb50"
}
_PYSOT_FILES = ("otb100", "otb2015", "otb2013", "otb50", "cvpr13", "tb50", "tb100")
_FETCH = "remove the folder and fetch it again with --download, or copy it again"


def sequence_folders(entries: Iterable[Entry], data_dir: Path) -> dict[str, Path]:
    """Folders of the sequences that are there: name of the sequence -> its folder.

    A sequence lies in `data_dir` itself or in a folder of it whose name begins with OTB or TB. A folder with
    images goes before one without, so that a tree of annotations alone does not hide the images beside it.
    """
    roots = search_roots(data_dir)
    folders = {}
    for entry in entries:
        candidates = [root / entry.folder for root in roots]
        with_images = [folder for folder in candidates if (folder / "img").is_dir()]
        annotated = [folder for folder in candidates if (folder / entry.annotation).is_file()]
        if with_images or annotated:
            folders[entry.name] = (with_images + annotated)[0]
    return folders


def found_sequences(entries: Iterable[Entry], data_dir: Path) -> dict[str, Path | Located]:
    """The sequences that are there: name -> its folder, or where PySOT's file says that its images are.

    The annotations of PySOT's file (`OTB100.json` beside the folders) are taken where a folder lacks its own.
    """
    entries = tuple(entries)
    folders = sequence_folders(entries, data_dir)
    records = _pysot_sequences(entries, data_dir)
    lacking = {entry.name for entry in entries if not _annotated(entry, folders.get(entry.name))}
    return {**folders, **{name: located for name, located in records.items() if name in lacking}}


def _annotated(entry: Entry, folder: Path | None) -> bool:
    return folder is not None and (folder / entry.annotation).is_file()


def _pysot_sequences(entries: Iterable[Entry], data_dir: Path) -> dict[str, Located]:
    """The sequences of PySOT's file whose images are there, without images and rows that are not tracked."""
    found = {}
    known = {entry.name: entry for entry in entries}
    paths = [path for root in search_roots(data_dir) for path in sorted(root.glob("*.json"))]
    for path in [path for path in paths if plain(path.stem) in _PYSOT_FILES]:
        for spelling, record in pysot_records(path).items():
            with contextlib.suppress(UserError):
                entry = known.get(canonical_name(spelling))
                located = None if entry is None else pysot_sequence(entry.name, _tracked(entry, record), path, 1.0)
                if entry is not None and located is not None and located.images.present:
                    found.setdefault(entry.name, located)
    return found


def _tracked(entry: Entry, record: Mapping[str, Any]) -> Mapping[str, Any]:
    """PySOT's record of a sequence without what is before or after the images that are tracked."""
    names, rows = record.get("img_names"), record.get("gt_rect")
    if not isinstance(names, list) or not isinstance(rows, list) or len(names) > len(rows):
        return record
    numbers = [int(digits[-1]) if (digits := re.findall(r"\d+", str(name))) else -1 for name in names]
    kept = [i for i, number in enumerate(numbers) if entry.first_tracked <= number <= entry.last_image]
    return {**record, "img_names": [names[i] for i in kept], "gt_rect": [rows[i] for i in kept]}


def search_roots(data_dir: Path) -> list[Path]:
    """The folders in which sequences are looked for, `data_dir` first; none if it does not exist."""
    if not data_dir.is_dir():
        return []
    inside = (child for child in sorted(data_dir.iterdir()) if child.name.casefold().startswith(("otb", "tb")))
    return [data_dir, *(child for child in inside if child.is_dir())]


def load_found(entry: Entry, found: Path | Located, *, images: bool = True) -> Sequence:
    """A sequence of `found_sequences`, without its images if they are neither there nor needed."""
    if isinstance(found, Path):
        return load_sequence(entry, found) if images or (found / "img").is_dir() else _without_images(entry, found)
    sequence = load(entry.name, found, 1.0, images=images)
    omitted = omitted_frames(entry)[: len(sequence)]
    return dataclasses.replace(
        sequence, attributes=entry.attributes, omitted=omitted if len(omitted) == len(sequence) else None
    )


def _without_images(entry: Entry, folder: Path) -> Sequence:
    """A sequence whose annotations alone are at hand: the rows that are tracked and have an image.

    Collections of annotations may have been cut to the tracked rows already.
    """
    boxes = read_boxes(folder / entry.annotation)
    untracked = entry.first_tracked - entry.first_image if len(boxes) >= entry.rows else 0
    boxes = boxes[untracked:][: entry.frames - entry.spare_rows]
    omitted = omitted_frames(entry)[: len(boxes)]
    frames = NoImages(entry.name, len(boxes))
    return Sequence(entry.name, frames, boxes, annotated_rows(boxes), entry.attributes, omitted=omitted)


def load_sequence(entry: Entry, folder: Path) -> Sequence:
    """Reads the annotation of a sequence and finds its images, which are decoded later, on demand.

    Raises:
      UserError: images are missing, the annotation is broken or shorter than the images, or the first box
        is empty or outside the first image.
    """
    images = _image_paths(entry, folder)
    boxes = read_boxes(folder / entry.annotation)
    if len(boxes) < len(images):
        raise UserError(
            f"{entry.name}: {folder / entry.annotation} has {len(boxes)} rows for {len(images)} images "
            f"({images[0].name} to {images[-1].name}): {_FETCH}"
        )
    tracked = slice(entry.first_tracked - entry.first_image, len(images))
    frames, boxes = ImageFolder(entry.name, images[tracked]), boxes[tracked]
    check_init_box(boxes[0], frames.size, f"{entry.name} ({folder / entry.annotation})")
    valid, omitted = annotated_rows(boxes), omitted_frames(entry)[: len(boxes)]
    return Sequence(entry.name, frames, boxes, valid, entry.attributes, omitted=omitted)


def missing_files(entry: Entry, folder: Path) -> list[str]:
    """Files of the sequence that `folder` lacks: its annotation, and images beyond those that may be missing."""
    present = _file_names(folder / "img")
    required = entry.image_names[: entry.rows - entry.spare_rows]
    missing = [f"img/{name}" for name in required if name not in present]
    return missing if (folder / entry.annotation).is_file() else [entry.annotation, *missing]


@dataclasses.dataclass(frozen=True)
class OtbList:
    """One of the benchmark's lists of sequences; `benchmarks` loads, selects and lists it through this.

    Attributes:
      name: the list, as the column `lists` of the table has it.
      title: as papers print it.
      images: whether a sequence's images must be there; results of others can be scored without.
    """

    name: str
    title: str
    images: bool = True

    @property
    def without_images(self) -> "OtbList":
        """The list as far as there are annotations."""
        return dataclasses.replace(self, images=False)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Rows of the table that belong to the list, in the benchmark's order."""
        return tuple(entry for entry in table() if self.name in entry.lists)

    def canonical_name(self, spelling: str) -> str:
        """The official name of a sequence of this list, or `UserError`."""
        name = canonical_name(spelling)
        if name not in {entry.name for entry in self.entries}:
            raise UserError(f"{name} is a sequence of OTB-100 but not of {self.title}: leave it out")
        return name

    def __call__(self, data_dir: Path | None, only: Collection[str] | None = None) -> Benchmark:
        """The sequences found below `data_dir`; all of `only` (official names) must be there if it is given."""
        folders = {} if data_dir is None else found_sequences(self.entries, data_dir)
        if not folders:
            raise UserError(_nothing_found(self.title, data_dir))
        chosen = [entry for entry in self.entries if only is None or entry.name in only]
        missing = tuple(entry.name for entry in chosen if entry.name not in folders)
        if only is not None and missing:
            raise UserError(
                f"{', '.join(missing)} of {self.title} not found below {data_dir}: expected a folder "
                f"{entry_named(missing[0]).folder} with the images in img; fetch it with --download"
            )
        found = [(entry, folders[entry.name]) for entry in chosen if entry.name in folders]
        sequences = [load_found(entry, folder, images=self.images) for entry, folder in found]
        title = title_of_part(self.title, len(sequences), len(self.entries), selected=only is not None)
        return Benchmark(self.name, title, sequences, missing)

    def catalogue(self, data_dir: Path | None) -> list[SequenceInfo]:
        """Every sequence of the list with what the table says of it, and what its files say if found."""
        folders = {} if data_dir is None else found_sequences(self.entries, data_dir)
        return [_info(entry, folders.get(entry.name)) for entry in self.entries]

    def count(self, data_dir: Path | None) -> tuple[int, int]:
        """(number of sequences of the list below `data_dir`, number of all)."""
        found = 0 if data_dir is None else len(found_sequences(self.entries, data_dir))
        return found, len(self.entries)


BENCHMARKS = {
    "otb2013": OtbList("otb2013", "OTB-2013"),
    "tb50": OtbList("tb50", "TB-50"),
    "otb100": OtbList("otb100", "OTB-100"),
}


def _image_paths(entry: Entry, folder: Path) -> list[Path]:
    """Paths of the images `first_image` to `last_image`; spare rows may lack theirs."""
    names, present = entry.image_names, _file_names(folder / "img")
    if present.isdisjoint(names):
        raise UserError(
            f"{entry.name}: empty sequence, no image in {folder / 'img'} (expected {names[0]} to {names[-1]}): {_FETCH}"
        )
    while entry.rows - len(names) < entry.spare_rows and names[-1] not in present:
        names.pop()
    missing = [name for name in names if name not in present]
    if missing:
        raise UserError(
            f"{entry.name}: image {missing[0]} is missing in {folder / 'img'} "
            f"({len(missing)} of the images {names[0]} to {names[-1]} are): {_FETCH}"
        )
    return [folder / "img" / name for name in names]


def _file_names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _info(entry: Entry, folder: Path | Located | None) -> SequenceInfo:
    info = SequenceInfo(entry.name, entry.frames, entry.attributes, found=folder is not None)
    if folder is None:
        return info
    try:
        sequence = load_found(entry, folder)
    except UserError as error:
        return dataclasses.replace(info, problem=str(error))
    width, height = sequence.boxes[0, 2:].tolist()
    return dataclasses.replace(info, frames=len(sequence), box_size=(width, height))


def _nothing_found(title: str, data_dir: Path | None) -> str:
    if data_dir is None:
        looked = "no data folder was given"
    elif not data_dir.is_dir():
        looked = f"the data folder {data_dir} does not exist"
    elif (data_dir / "img").is_dir() and any(data_dir.glob("groundtruth_rect*.txt")):
        parent = data_dir.resolve().parent
        return f"No sequence of {title} found: {data_dir} is itself a sequence, give the folder that holds it: {parent}"
    else:
        looked = f"looked for its folders in {', '.join(str(root) for root in search_roots(data_dir))}"
    return (
        f"No sequence of {title} found: {looked}; give the folder by --data-dir or the environment variable "
        "JAXTRACK_DATA, laid out as <folder>/otb/<Sequence>/img/0001.jpg … with groundtruth_rect.txt beside "
        "img, or fetch the sequences into it with --download"
    )
