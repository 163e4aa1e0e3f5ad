"""The records of a training: one line of JSON and one row of CSV for each, TensorBoard's beside them if it can."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import jax

from jaxtrack import files


class Log:
    """`log.jsonl` and `log.csv` in a folder; what lies after a step from which one resumes is cut off.

    Of several processes the first writes; all of them have the records.
    """

    def __init__(self, folder: Path, resumed_step: int):
        """Opens the log.

        Args:
          folder: created when there is something to write.
          resumed_step: records of later steps are dropped: they are going to be made again.
        """
        self._writes = jax.process_index() == 0
        self._path = folder / "log.jsonl"
        self.records = [record for record in _read(self._path) if record["step"] <= resumed_step]
        if self._path.is_file():
            self._rewrite()
        self._board = _tensorboard(folder, resumed_step) if self._writes else None

    def write(self, record: dict[str, Any]) -> None:
        """Adds a record; it has a `step`. Numbers that are not finite become text."""
        record = {name: _plain(value) for name, value in record.items()}
        new_columns = not set(record) <= set(_columns(self.records))
        self.records.append(record)
        if new_columns:
            self._rewrite()
        elif self._writes:
            with self._path.open("a") as file:
                file.write(json.dumps(record) + "\n")
            with self._csv.open("a", newline="") as file:
                csv.DictWriter(file, _columns(self.records)).writerow(record)
        if self._board is not None:
            for name, value in record.items():
                if isinstance(value, float):
                    self._board.add_scalar(name, value, record["step"])

    @property
    def _csv(self) -> Path:
        return self._path.with_suffix(".csv")

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
    if not path.is_file():
        return []
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:  # the line that was being written when the process was killed
            break
    return records


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
