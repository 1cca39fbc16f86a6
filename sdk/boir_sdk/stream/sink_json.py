"""Results as JSON Lines: one line a frame, and one for each event without a frame."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from boir_sdk import interchange
from boir_sdk.errors import InputError
from boir_sdk.stream.result import StreamResult


def record(result: StreamResult) -> dict[str, Any]:
    """What a line says beside the poses: `source`, `index`, `time_s`, `age_s`, `dropped`, `event`, `width`, `height`.

    `width` and `height` are None for an event without a frame; `event` is None for most frames.
    """
    height, width = (None, None) if result.frame is None else result.frame.shape[:2]
    event = result.event
    return {
        "source": result.source,
        "index": result.index,
        "time_s": round(result.time_s, 4),
        "age_s": round(result.age_s, 4),
        "dropped": result.dropped,
        "event": None if event is None else {"kind": event.kind, "code": event.code, "message": event.message},
        "width": width,
        "height": height,
        "timings_ms": {name: round(value, 2) for name, value in result.timings_ms.items()},
    }


class JsonLinesSink:
    """Writes each result as one line at once, so that a killed run leaves whole lines.

    A line is `record` and the poses as `Poses.to_dict`; `interchange.from_json_line` reads it. A file that was there
    before is replaced.
    """

    def __init__(self, target: str | Path) -> None:
        """Open the file.

        Args:
            target: a path, or `-` for the process's standard output.

        Raises:
            InputError: the file can't be written.
        """
        self._target = Path(target)
        self._file = None
        if str(target) == "-":
            return
        try:
            self._target.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._target.open("wb", buffering=0)
        except OSError as error:
            raise self._error(error) from error

    def write(self, result: StreamResult) -> None:
        """Add one line.

        Args:
            result: the next one of the stream.

        Raises:
            InputError: the disk is full or the file can't be written any more; it ends with a whole line.
            BrokenPipeError: nobody reads standard output any more.
        """
        line = interchange.to_json_line(result.poses, **record(result)) + "\n"
        if self._file is None:
            sys.stdout.write(line)
            sys.stdout.flush()
            return
        data = line.encode()
        end = self._file.tell() if self._file.seekable() else None  # a pipe has no end to go back to
        try:
            done = self._file.write(data)
            if done != len(data):
                raise OSError(f"only {done} of {len(data)} bytes were written (disk full?)")
        except OSError as error:
            if end is not None:
                with suppress(OSError):  # a device can't be cut
                    self._file.truncate(end)
            raise self._error(error) from error

    def close(self) -> None:
        """Bring the lines to the disk; a second call does nothing."""
        if self._file is not None and not self._file.closed:
            with suppress(OSError):  # a pipe or a device has no disk
                os.fsync(self._file.fileno())
            self._file.close()

    def _error(self, problem: OSError) -> InputError:
        return InputError(f"can't write {self._target}: {problem.strerror or problem}")

    def __enter__(self) -> JsonLinesSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
