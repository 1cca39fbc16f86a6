"""What a user names -> the pictures meant: files, folders, globs, shards."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from boir_sdk.errors import InputError
from boir_sdk.stream.redact import redact

PICTURE_ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Endings looked for in folders and globs; a file named outright may have any."""


@dataclass(frozen=True, slots=True)
class Source:
    """One picture to work on.

    Attributes:
        path: where it lies, as the user wrote it.
        relative: its place below the folder or glob it was found in (a lone file: its name); names its overlay.
        number: its place among all pictures of the command, from 1, before shards are dealt out.
    """

    path: Path
    relative: Path
    number: int


def find(arguments: Sequence[str], *, recursive: bool = False) -> list[Source]:
    """List the pictures that the arguments name, each once, in the order of the arguments and sorted within one.

    A file that exists is taken as it is, whatever its ending and even if its name looks like a pattern. Hidden files
    and folders are passed over in folders. `**` in a pattern crosses folders.

    Args:
        arguments: files, folders and glob patterns.
        recursive: look into the folders below a folder too.

    Raises:
        InputError: an argument names nothing, or a folder or pattern holds no picture.
    """
    seen: set[str] = set()
    sources: list[Source] = []
    for argument in arguments:
        for path, relative in _expand(argument, recursive=recursive):
            key = os.path.realpath(path)
            if key not in seen:
                seen.add(key)
                sources.append(Source(path, relative, number=len(sources) + 1))
    return sources


def _expand(argument: str, *, recursive: bool) -> list[tuple[Path, Path]]:
    """The pictures of one argument as (path, relative path)."""
    path = Path(argument)
    if path.is_dir():
        found = [(p, p.relative_to(path)) for p in _in_folder(path, recursive=recursive)]
        if not found:
            hint = "" if recursive else " (--recursive looks into the folders below it)"
            raise InputError(f"no picture in the folder {redact(argument)}{hint}; endings: {' '.join(PICTURE_ENDINGS)}")
        return found
    if path.exists():
        return [(path, Path(path.name))]
    if not glob.has_magic(argument):
        raise InputError(
            f"{redact(argument)} doesn't exist: give a picture, a folder or a quoted pattern such as 'shots/*.jpg'"
        )
    base = _fixed_part(path)
    matches = sorted(Path(match) for match in glob.glob(argument, recursive=True))  # noqa: PTH207 - takes any pattern
    found = [(p, p.relative_to(base)) for p in matches if p.is_file() and p.suffix.lower() in PICTURE_ENDINGS]
    if not found:
        raise InputError(f"no picture matches the pattern {redact(argument)}; endings: {' '.join(PICTURE_ENDINGS)}")
    return found


def _in_folder(folder: Path, *, recursive: bool) -> list[Path]:
    """The visible pictures of a folder, sorted by path; links to folders are not followed (they can form a circle)."""
    found = []
    for top, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")] if recursive else []
        found += [Path(top) / n for n in names if not n.startswith(".") and Path(n).suffix.lower() in PICTURE_ENDINGS]
    return sorted(found)


def _fixed_part(pattern: Path) -> Path:
    """The folders of a pattern before its first wild card."""
    fixed = Path(pattern.anchor)
    for part in pattern.relative_to(pattern.anchor).parts[:-1]:
        if glob.has_magic(part):
            break
        fixed /= part
    return fixed


def parse_shard(text: str) -> tuple[int, int]:
    """Read `i/n`: this run is number i of n, counted from 1.

    Raises:
        ValueError: not two whole numbers with 1 <= i <= n.
    """
    first, slash, second = text.partition("/")
    if not slash or not first.isdecimal() or not second.isdecimal() or not 1 <= int(first) <= int(second):
        raise ValueError(f"a shard is i/n with 1 <= i <= n (1/4 to 4/4 for four runs), not {text!r}")
    return int(first), int(second)


def shard(sources: Sequence[Source], part: tuple[int, int]) -> list[Source]:
    """Deal out the pictures: run i of n takes each n-th picture from the i-th on, so the runs share no picture."""
    first, count = part
    return list(sources[first - 1 :: count])
