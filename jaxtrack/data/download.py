"""Fetching OTB's sequences from the benchmark's own server, one zip archive per video.

The images belong to the benchmark's authors (for research). The server offers neither https nor checksums:
an archive is accepted when it has the announced size, every member's CRC is right, it unpacks safely and
it holds all the files that the table of sequences asks for.
"""

import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from jaxtrack.data import otb, otb_table
from jaxtrack.data.archives import MAX_UNPACKED_BYTES, BrokenArchiveError, unpack_zip
from jaxtrack.errors import UserError

BASE_URL = "http://cvlab.hanyang.ac.kr/tracker_benchmark/seq"
ATTEMPTS = 5
BACKOFF_S = 1.0  # before the second attempt; doubled before each further one
TIMEOUT_S = 30.0  # of connecting, and of each read
_CHUNK_BYTES = 2**16
_WORTH_ANOTHER_ATTEMPT = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    HTTPStatus.TOO_MANY_REQUESTS,
)


class _TransferError(Exception):
    """The transfer stopped; what has arrived is kept and another attempt may go on from there."""


def download(names: Iterable[str], data_dir: Path, *, base_url: str = BASE_URL, progress: bool = True) -> list[Path]:
    """Fetches the videos of some OTB sequences into `data_dir`; those that are complete there are skipped.

    An interrupted download goes on where it stopped when called again. Two targets of one video share an
    archive, which is fetched once.

    Args:
      names: sequences in any spelling, e.g. `["Skiing", "jogging_1"]`.
      data_dir: the folder for `--data-dir`. Videos go into its folder `otb`, or to where it already holds
        others.
      base_url: address of the folder on the server with the archives `<Folder>.zip`.
      progress: whether to show a progress bar (on stderr).

    Returns:
      The folders that were fetched, in order.

    Raises:
      UserError: unknown name, no such archive, server out of reach, or an archive that is damaged, unsafe or
        incomplete, or a folder that is in the way.
    """
    if not base_url.startswith(("http://", "https://")):
        raise UserError(f"The address {base_url!r} must begin with http:// or https://")
    wanted = {otb_table.canonical_name(name) for name in names}
    entries = [entry for entry in otb_table.table() if entry.name in wanted]
    root = _root(Path(data_dir))
    fetched = []
    with _progress_bar(progress) as bar:
        for folder_name, targets in _by_folder(entries).items():
            folder = root / folder_name
            if not _is_complete(targets, Path(data_dir), folder):
                _fetch_sequence(f"{base_url.rstrip('/')}/{folder_name}.zip", folder, targets, bar)
                fetched.append(folder)
    return fetched


def _root(data_dir: Path) -> Path:
    """Where new sequences go: beside those that are there, else into `otb`."""
    present = otb.sequence_folders(otb_table.table(), data_dir)
    parents = [folder.parent for folder in present.values() if (folder / "img").is_dir()]
    return max(parents, key=parents.count) if parents else data_dir / "otb"


def _by_folder(entries: Iterable[otb_table.Entry]) -> dict[str, list[otb_table.Entry]]:
    folders: dict[str, list[otb_table.Entry]] = {}
    for entry in entries:
        folders.setdefault(entry.folder, []).append(entry)
    return folders


def _is_complete(targets: Sequence[otb_table.Entry], data_dir: Path, folder: Path) -> bool:
    """Whether all targets are there; refuses to touch a folder that holds only some of the files."""
    places = {folder, *otb.sequence_folders(targets, data_dir).values()}
    if any(not _missing_files(targets, place) for place in places):
        return True
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(
            f"{folder} is in the way: it is not a complete copy of {folder.name} "
            f"({_missing_files(targets, folder)[0]} is missing); move or remove it and download again"
        )
    return False


def _missing_files(targets: Sequence[otb_table.Entry], folder: Path) -> list[str]:
    return list(dict.fromkeys(name for entry in targets for name in otb.missing_files(entry, folder)))


def _fetch_sequence(url: str, folder: Path, targets: Sequence[otb_table.Entry], bar: Progress) -> None:
    """Fetches, unpacks and checks one archive, then moves the folder into place in one step."""
    part = folder.with_name(f"{folder.name}.zip.part")
    unpacked = folder.with_name(f".{folder.name}.unpacking")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(unpacked, ignore_errors=True)  # of a run that was killed
        _fetch_and_unpack(url, part, unpacked, bar)
        part.unlink()
        missing = _missing_files(targets, unpacked)
        if missing:
            raise UserError(
                f"The archive {url} does not hold the sequence {folder.name}: {missing[0]} is missing "
                f"({len(missing)} files in all)"
            )
        if folder.is_dir():
            folder.rmdir()  # it is empty, and not every system renames onto an empty folder
        unpacked.replace(folder)
    except OSError as error:
        raise UserError(f"Cannot write the sequence to {folder}: {error}") from error
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def _fetch_and_unpack(url: str, part: Path, unpacked: Path, bar: Progress) -> None:
    """Attempts with growing pauses: a broken transfer is resumed, a broken archive fetched from the start."""
    task = bar.add_task(part.name.removesuffix(".zip.part"), total=None)
    problem: Exception | None = None
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(BACKOFF_S * 2 ** (attempt - 1))
        try:
            _transfer(url, part, lambda done, total: bar.update(task, completed=done, total=total))
            unpack_zip(part, unpacked)
            return
        except _TransferError as error:
            problem = error
        except BrokenArchiveError as error:
            problem = error
            part.unlink()
        except UserError:
            part.unlink(missing_ok=True)
            raise
    kept = "; what has arrived is kept" if part.exists() else ""
    raise UserError(f"Could not download {url} in {ATTEMPTS} attempts ({problem}): try again later{kept}")


def _transfer(url: str, part: Path, report: Callable[[int, int | None], None]) -> None:
    """Appends to `part` what it lacks of the file at `url`; returns when it has the announced size."""
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            total = _receive(response, part, start, report)
    except urllib.error.HTTPError as error:
        with error:  # it holds the connection
            if not _is_whole(error, part):
                _explain(error, url)
        return
    except (urllib.error.URLError, TimeoutError, ConnectionError, ssl.SSLError, HTTPException) as error:
        raise _TransferError(str(error) or type(error).__name__) from error
    size = part.stat().st_size
    if total is not None and size != total:
        raise _TransferError(f"the transfer stopped after {size:,} of {total:,} bytes")


def _receive(response: HTTPResponse, part: Path, start: int, report: Callable[[int, int | None], None]) -> int | None:
    """Writes the answer to `part` and returns the size that the whole file should have, if the server said."""
    # A server that does not know ranges answers 200 and sends everything from the start.
    resumed = response.status == HTTPStatus.PARTIAL_CONTENT
    if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        part.unlink()
        raise _TransferError("the server sent another range than the one asked for")
    length = response.headers.get("Content-Length")
    total = None if length is None else int(length) + (start if resumed else 0)
    with part.open("ab" if resumed else "wb") as file:
        while chunk := response.read(_CHUNK_BYTES):
            file.write(chunk)
            report(file.tell(), total)
            if file.tell() > MAX_UNPACKED_BYTES:
                raise UserError(f"{response.url} is larger than any sequence, it was not downloaded")
    return total


def _is_whole(error: urllib.error.HTTPError, part: Path) -> bool:
    """Whether the server refused to send a rest because there is none; a `part` that is too long is removed."""
    if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return False
    total = (error.headers.get("Content-Range") or "").rpartition("/")[2]
    if total == str(part.stat().st_size):
        return True
    part.unlink()
    return False


def _explain(error: urllib.error.HTTPError, url: str) -> NoReturn:
    """Raises what an HTTP error means: worth another attempt or not."""
    answer = f"the server answers {error.code} {error.reason}"
    if error.code in _WORTH_ANOTHER_ATTEMPT or error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _TransferError(answer) from error
    raise UserError(f"{url} cannot be downloaded: {answer}") from error


def _progress_bar(shown: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not shown,
    )
