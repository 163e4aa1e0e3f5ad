"""Files that appear whole or not at all, and files that lock."""

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from jaxtrack.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file, open for writing, that takes the place of `path` when all is written, and vanishes after an error.

    The folder is created if needed. No reader ever sees half a file, whenever the process is killed.

    Raises:
      OSError: it cannot be written; `filename` and `strerror` say what and why.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, because a rename across file systems is a copy; not by `tempfile`, whose files are
    # private to the user whatever the umask says.
    unfinished = beside(path)
    try:
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        # On a full disk `write` does not say of which file, and nobody knows the one with the other name.
        if isinstance(error, OSError) and error.filename in (None, str(unfinished)):
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise


def beside(path: Path, suffix: str = "") -> Path:
    """A path beside `path` for what is to take its place, which no other process has; it ends in `suffix`.

    No process of this host, nor of another one that shares the folder.
    """
    # Processes of several hosts may have one number: those in containers often do.
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp{suffix}")


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8, whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


def read_json(path: Path) -> Any:
    """What a JSON file from anywhere holds.

    Raises:
      UserError: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:  # the last where brackets are nested by the thousand
        raise UserError(f"cannot read {path}: {error}") from error


@contextlib.contextmanager
def locked(path: Path, taken: str = "") -> Iterator[None]:
    """Inside, nobody else is inside with the same path; the file is there for so long. Its folder is created if needed.

    The lock ends with the process, whatever ends that. A platform or file system that has no locks locks nothing.

    Args:
      path: the file.
      taken: what to say if somebody else is inside; without a sentence it waits until nobody is.

    Raises:
      UserError: somebody else is inside.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as opened:
        while fcntl is not None:
            file = opened.enter_context(path.open("ab"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if taken else 0))
            except BlockingIOError as error:
                raise UserError(taken) from error
            except OSError:  # some network file systems have no locks
                pass
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    break  # else whoever had the lock has removed the file in between
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()
