"""A file that grows for hours and appears only when it is whole."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from boir_sdk import durable
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
        self.temporary = durable.temporary_for(path, path.suffix)
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
            durable.replace(self.temporary, self.path)
        except OSError as error:
            self.discard()
            raise self.error(error) from error

    def discard(self) -> None:
        """Remove the temporary file."""
        with suppress(OSError):
            self.temporary.unlink(missing_ok=True)

    def error(self, problem: OSError) -> InputError:
        """Word what the system said about this file."""
        return InputError(f"can't write {self.path}: {problem.strerror or problem}")
