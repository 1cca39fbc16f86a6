"""What a run tells while it learns: JSON Lines always, TensorBoard where it is installed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from boir_sdk import durable
from boir_sdk.errors import InputError

FILE = "log.jsonl"


class RunLog:
    """Appends records to `log.jsonl` and its numbers to TensorBoard's events; a silent one (no folder) drops them."""

    def __init__(self, folder: Path | None, first_iteration: int = 0) -> None:
        """Open the log of `folder`; records from `first_iteration` on are those of a lost end and are removed.

        Raises:
            InputError: the log can't be written.
        """
        self._file = None
        self._board: Any = None
        if folder is None:
            return
        path = folder / FILE
        kept = _before(path, first_iteration) if path.is_file() else []
        with durable.writing(path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")
        self._path, self._file = path, path.open("ab", buffering=0)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=first_iteration)

    def write(self, kind: str, iteration: int, values: Mapping[str, Any]) -> None:
        """Record `values` of `kind` ("train" or "eval") after `iteration` steps.

        Raises:
            InputError: the disk refuses; the log ends with a whole line.
        """
        if self._file is None:
            return
        values = {name: _json_number(value) for name, value in values.items()}
        line = json.dumps({"kind": kind, "iteration": iteration, **values}).encode() + b"\n"
        end = self._file.tell()
        try:
            if self._file.write(line) != len(line):
                raise OSError("only a part was written (disk full?)")
        except OSError as error:
            with suppress(OSError):  # a device can't be cut
                self._file.truncate(end)
            raise InputError(f"can't write {self._path}: {error.strerror or error}") from error
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, (int, float)):
                    self._board.add_scalar(f"{kind}/{name}", value, iteration)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()


def _json_number(value: Any) -> Any:
    """Return `value`, or None for a float that JSON has no word for (a gradient that overflowed in half precision)."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _before(path: Path, first_iteration: int) -> list[str]:
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            record = json.loads(line)
        except ValueError:
            continue  # a line cut off by a crash
        if record["iteration"] <= first_iteration and line.endswith("\n"):
            kept.append(line)
    return kept
