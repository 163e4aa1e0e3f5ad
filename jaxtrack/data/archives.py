"""Unpacking zip archives from outside: nothing leaves the folder, nothing half-written stays.

Archives are never trusted: members that would land outside the folder, links, encrypted members and archives
that unpack to more than a limit are refused before anything is written.
"""

import re
import shutil
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from jaxtrack.errors import UserError

MAX_UNPACKED_BYTES = 4 * 2**30  # far more than any video of the benchmark
MAX_MEMBERS = 100_000
_DRIVE = re.compile(r"^[A-Za-z]:")
_ENCRYPTED = 0x1
# What `zipfile` and its decoders raise on damaged bytes; NotImplementedError means an unknown compression method.
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, NotImplementedError)
# What macOS adds when it packs a folder.
_LITTER = re.compile(r"(^|/)(__MACOSX(/|$)|\._|\.DS_Store$)")


class BrokenArchiveError(Exception):
    """The file is not a complete zip archive (cut off, or damaged on the way): fetching it again may help."""


def unpack_zip(archive: Path, folder: Path) -> None:
    """Unpacks `archive` into the new folder `folder`, without the archive's own top folder if it has one.

    Args:
      archive: a zip file from outside.
      folder: where its files go; it must not exist (its parent must).

    Raises:
      UserError: a member has an unsafe name or kind, or the archive is too large when unpacked.
      BrokenArchiveError: the archive is damaged; every member's checksum is verified.
    """
    folder.mkdir()
    try:
        with zipfile.ZipFile(archive) as opened:
            for member, path in _targets(opened, archive.name).items():
                _extract(opened, member, folder / path)
    except _DAMAGE as error:
        shutil.rmtree(folder)
        raise BrokenArchiveError(f"{archive.name} is not a complete zip archive ({error})") from error
    except BaseException:
        shutil.rmtree(folder)
        raise


def _targets(opened: zipfile.ZipFile, archive: str) -> dict[zipfile.ZipInfo, Path]:
    """Where each file of the archive goes, relative to the folder; refuses the archive as a whole if need be."""
    members = opened.infolist()
    # `zipfile` never reads more of a member than the size that its header declares, so the sum is a bound.
    unpacked = sum(member.file_size for member in members)
    if unpacked > MAX_UNPACKED_BYTES or len(members) > MAX_MEMBERS:
        raise UserError(
            f"{archive} would unpack to {unpacked:,} bytes in {len(members):,} files, more than a sequence "
            f"can have ({MAX_UNPACKED_BYTES:,} bytes, {MAX_MEMBERS:,} files): it was not unpacked"
        )
    for member in members:
        _refuse_unsafe(member, archive)
    files = {
        member: PurePosixPath(member.filename)
        for member in members
        if not member.is_dir() and not _LITTER.search(member.filename)
    }
    tops = {path.parts[0] for path in files.values()}
    # One folder around everything is the archive's own, unless it is the images' folder itself.
    shared = len(tops) == 1 and tops != {"img"} and all(len(path.parts) > 1 for path in files.values())
    return {member: Path(*path.parts[shared:]) for member, path in files.items()}


def _refuse_unsafe(member: zipfile.ZipInfo, archive: str) -> None:
    name = member.filename
    kind = stat.S_IFMT(member.external_attr >> 16)
    nowhere = not PurePosixPath(name).parts and not name.endswith("/")
    if nowhere or name.startswith("/") or "\\" in name or _DRIVE.match(name) or ".." in name.split("/"):
        problem = "a path that leads out of the folder"
    elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        problem = "a link or another special file"
    elif member.flag_bits & _ENCRYPTED:
        problem = "an encrypted file"
    else:
        return
    raise UserError(f"{archive} was not unpacked: its member {name[:200]!r} is {problem}")


def _extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # "x", as two members of one name would otherwise overwrite each other silently.
        with opened.open(member) as source, path.open("xb") as target:
            shutil.copyfileobj(source, target, length=2**20)
    except (FileExistsError, IsADirectoryError) as error:
        raise UserError(f"{opened.filename} was not unpacked: it holds {member.filename!r} twice") from error
