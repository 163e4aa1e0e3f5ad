"""The records of a training: one line of JSON and one row of CSV for each, TensorBoard's beside them if it can."""

import contextlib
import csv
import functools
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from jaxtrack import files
from jaxtrack.errors import UserError


class Log:
    """`log.jsonl` and `log.csv` in a folder; what lies after a step from which one resumes is cut off.

    Of several processes the first writes; all of them have the records.
    """

    def __init__(self, folder: Path, resumed_step: int):
        """Opens the log.

        Args:
          folder: created when there is something to write.
          resumed_step: records of later steps are dropped: they are going to be made again.

        Raises:
          UserError: it cannot be written, as in all methods.
        """
        self._writes = jax.process_index() == 0
        self._path, self._resumed_step = folder / "log.jsonl", resumed_step
        self.records = [record for record in _read(self._path) if record["step"] <= resumed_step]
        if self._path.is_file():
            with self._writing():
                self._rewrite()

    def write(self, record: dict[str, Any]) -> None:
        """Adds a record; it has a `step`. Numbers that are not finite become text."""
        record = {name: _plain(value) for name, value in record.items()}
        new_columns = not set(record) <= set(_columns(self.records))
        self.records.append(record)
        with self._writing():
            if new_columns:
                self._rewrite()
            elif self._writes:
                with self._path.open("a") as file:
                    file.write(json.dumps(record) + "\n")
                with self._csv.open("a", newline="") as file:
                    csv.DictWriter(file, _columns(self.records)).writerow(record)
            self._draw(record["step"], record)

    def amend(self, step: int, values: dict[str, Any]) -> dict[str, Any] | None:
        """Adds to the last record what was not known when it was written, and returns it.

        None, and nothing happens, if that is not the record of `step`.
        """
        if not self.records or self.records[-1]["step"] != step:
            return None
        values = {name: _plain(value) for name, value in values.items()}
        self.records[-1] |= values
        with self._writing():
            self._rewrite()
            self._draw(step, values)
        return self.records[-1]

    def close(self) -> None:
        """Ends what TensorBoard's writer has begun."""
        board = vars(self).get("_board")
        if board is not None:
            with self._writing():
                board.close()

    @property
    def _csv(self) -> Path:
        return self._path.with_suffix(".csv")

    @functools.cached_property
    def _board(self) -> Any:
        """TensorBoard's writer, made when there is something to write: it makes a file."""
        return _tensorboard(self._path.parent, self._resumed_step) if self._writes else None

    def _draw(self, step: int, values: dict[str, Any]) -> None:
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, float):
                    self._board.add_scalar(name, value, step)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"{self._path} or what belongs to it could not be written ({error.strerror or error}): make room and "
                "start the training again; it goes on from the last checkpoint"
            ) from error

    def _rewrite(self) -> None:
        if not self._writes:
            return
        files.write_text(self._path, "".join(json.dumps(record) + "\n" for record in self.records))
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, _columns(self.records))
        writer.writeheader()
        writer.writerows(self.records)
        files.write_text(self._csv, table.getvalue())


def _columns(records: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for record in records for name in record))


def _read(path: Path) -> list[dict[str, Any]]:
    """The records of a log; a damaged line costs no other: what is not read is lost when the log is written anew."""
    if not path.is_file():
        return []
    return [record for line in path.read_bytes().splitlines() if (record := _record(line)) is not None]


def _record(line: bytes) -> dict[str, Any] | None:
    """The record of a line; None where it is damaged, as the last one is when the process was killed in writing it."""
    try:
        record = json.loads(line)
    except ValueError:  # also where the bytes are no text
        return None
    return record if isinstance(record, dict) and isinstance(record.get("step"), int) else None


def _plain(value: Any) -> Any:
    if isinstance(value, int | str):
        return value
    number = float(value)
    return number if math.isfinite(number) else str(number)


def _tensorboard(folder: Path, resumed_step: int) -> Any:
    try:
        from tensorboardX import SummaryWriter  # type: ignore[import-not-found]
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=resumed_step + 1)
