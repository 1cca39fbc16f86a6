"""Files that are either whole or not there, and JSON Lines that lose at most their last line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from boir_sdk import durable
from boir_sdk.errors import DataError, InputError


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part.

    Missing parent folders are made. The data goes to a temporary name in the same folder, to the disk, and is renamed.

    Raises:
        InputError: the place can't be written (read-only, full, name too long, a folder in the way).
    """
    with durable.writing(path) as temporary:
        temporary.write_bytes(data)


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Read the objects of a JSON Lines file; a torn last line (from a killed run) is left out.

    Raises:
        DataError: a line before the last is not a JSON object.
        InputError: the file can't be read.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}") from error
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        record = _parsed(line)
        if record is not None:
            records.append(record)
        elif number < len(lines):
            raise DataError(
                f"{path}, line {number}: not a JSON object; this isn't a result file of boir, or it is damaged"
            )
    return records


class JsonLines:
    """Append records to a JSON Lines file, each with one write, so that a killed run leaves whole lines.

    A torn last line of an earlier, killed run is removed first. One process a file: two shards need two files.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("r+b" if path.exists() else "w+b", buffering=0)
            self._mend()
        except OSError as error:
            raise InputError(f"can't write {path}: {error.strerror or error}") from error

    def _mend(self) -> None:
        """Put the end of the file behind its last whole line."""
        size = self._file.seek(0, os.SEEK_END)
        tail, start = b"", size
        while start > 0 and b"\n" not in tail:
            step = min(start, 65536)
            start -= step
            self._file.seek(start)
            tail = self._file.read(step) + tail
        last = tail.rpartition(b"\n")[2]
        self._file.seek(0, os.SEEK_END)
        if last and _parsed(last) is not None:
            self._file.write(b"\n")
        elif last:
            self._file.truncate(size - len(last))
            self._file.seek(0, os.SEEK_END)

    def append(self, record: dict[str, Any]) -> None:
        """Add one record.

        Raises:
            InputError: the disk is full or the file can't be written any more; the file ends with a whole line.
        """
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        end = self._file.tell()
        try:
            done = self._file.write(line)
            if done != len(line):
                raise OSError(f"only {done} of {len(line)} bytes were written (disk full?)")
        except OSError as error:
            self._file.truncate(end)
            raise InputError(f"can't write {self._path}: {error.strerror or error}") from error

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            os.fsync(self._file.fileno())
        finally:
            self._file.close()


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The JSON object of a line, or None when there is no whole one."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
