"""A file that grows for hours and appears only when it is whole."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from boir_sdk.errors import InputError


class WholeFile:
    """A temporary file beside its final place: renamed by `finish`, removed by `discard`.

    Attributes:
        path: the final place; what was there stays until `finish`.
        temporary: where to write meanwhile; it has the same ending and exists.
    """

    def __init__(self, path: Path) -> None:
        """Make the temporary file, and missing parent folders.

        Raises:
            InputError: nothing can be written there.
        """
        self.path = path
        self.temporary = path.with_name(f".{path.stem[:180]}.{os.getpid()}.tmp{path.suffix}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError(0, "it is a folder")
            self.temporary.open("wb").close()
        except OSError as error:
            raise self.error(error) from error

    def finish(self) -> None:
        """Bring the temporary file to the disk and give it its name.

        Raises:
            InputError: that failed; the temporary file is gone.
        """
        try:
            with self.temporary.open("rb+") as file:
                os.fsync(file.fileno())
            self.temporary.replace(self.path)
        except OSError as error:
            self.discard()
            raise self.error(error) from error
        _sync_folder(self.path.parent)

    def discard(self) -> None:
        """Remove the temporary file."""
        with suppress(OSError):
            self.temporary.unlink(missing_ok=True)

    def error(self, problem: OSError) -> InputError:
        """Word what the system said about this file."""
        return InputError(f"can't write {self.path}: {problem.strerror or problem}")


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut where the system lets a folder be synced (Windows doesn't)."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
