"""Files that appear whole: written under a temporary name, brought to the disk, renamed, and the folder synced too."""

from __future__ import annotations

import ctypes
import os
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from boir_sdk.errors import InputError

_TEMPORARY = re.compile(r"\..+\.[0-9]+\.tmp(?:\.\w+)?\Z")


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; what the block writes there becomes `path` when it ends without an error.

    A reader, also one after a crash or a power cut, finds the old file or the new one. Missing parent folders are made.
    A process that is killed leaves the temporary file behind (`sweep`).

    Args:
        path: an older file there is replaced.

    Raises:
        InputError: the place can't be written (read-only, full, name too long, a folder in the way).
    """
    temporary = temporary_for(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):  # the place itself may be the trouble (its folder is a file): then nothing was made
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise InputError(f"can't write {path}: {error.strerror or error}") from error
        raise


def temporary_for(path: Path, ending: str = "") -> Path:
    """Name the temporary file of this process for `path`: in the same folder, hidden, never too long, with an ending.

    A name may have 255 bytes, which are fewer letters; what is cut off one still tells it from others.
    """
    name, data = path.name, os.fsencode(path.name)
    if len(data) > 200:
        name = f"{data[:180].decode(errors='ignore')}-{zlib.crc32(data):08x}"
    return path.with_name(f".{name}.{os.getpid()}.tmp{ending}")


def replace(temporary: Path, path: Path) -> None:
    """Bring a complete temporary file to the disk and give it its name, which survives a power cut.

    Args:
        temporary: closed, in the folder of `path`.
        path: its place; a file that is there is replaced.

    Raises:
        OSError: the disk refuses; the temporary file is still there.
    """
    _sync_file(temporary)
    temporary.replace(path)
    sync_folder(path.parent)


def exchange(one: Path, other: Path) -> bool:
    """Let two files or folders of a file system change names at once; False where that can't be done.

    Python has no word for it; Linux has, and most of its file systems can.
    """
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return rename is not None and rename(here, os.fsencode(one), here, os.fsencode(other), swap) == 0


def sweep(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder which only the caller writes to."""
    for found in folder.iterdir():
        if _TEMPORARY.match(found.name) and found.is_file():
            found.unlink(missing_ok=True)


def sync_tree(folder: Path) -> None:
    """Bring every file of a folder, and the folders that name them, to the disk.

    Raises:
        OSError: the disk refuses.
    """
    for found in folder.rglob("*"):
        if found.is_dir():
            sync_folder(found)
        else:
            _sync_file(found)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut where the system lets a folder be synced (Windows doesn't)."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _sync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
