"""Read a model bundle: find it, check every byte, describe it. Nothing is given to OpenVINO before that."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from boir_sdk import manifest as manifests
from boir_sdk.errors import BundleError
from boir_sdk.manifest import Manifest
from boir_sdk.stream.redact import redact

MANIFEST_NAME = "manifest.json"
PARITY_NAME = "parity.json"  # what the conversion cost, measured; a bundle may have it
EMBEDDED = ("default", "small")  # the bundles inside this package: `nano`, and the slower and better `small`
SELFTEST_NAME = "selftest.npz"  # see `boir_sdk.selftest`; bundles from before it have none
MAX_PARITY_BYTES = 1 << 20
_CHUNK = 1 << 20
# A link isn't followed and a pipe isn't waited for, also when it takes a file's place between a look and the opening.
_OPEN_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY", "O_NOCTTY"))


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle.

    Attributes:
        path: its folder, absolute.
        manifest: what it says of itself.
    """

    path: Path
    manifest: Manifest

    def graph(self, precision: str, part: str) -> Path:
        """Return the path of the graph of `part` (`dense` or `person`) at a precision the manifest offers."""
        return self.path / precision / f"{part}.xml"

    def describe(self) -> dict[str, Any]:
        """Return everything a person or program may want to know, ready for JSON; `parity` only if it was measured.

        Raises:
            BundleError: the parity report isn't a JSON object, or too large for one.
        """
        content = dataclasses.asdict(self.manifest)
        content["path"] = str(self.path)
        content["bytes"] = sum(entry.size for entry in self.manifest.files.values())
        content["selftest"] = SELFTEST_NAME in self.manifest.files
        if PARITY_NAME in self.manifest.files:
            content["parity"] = _parity(self.path / PARITY_NAME)
        return content


def default_path() -> Path:
    """Return the folder of the bundle that is taken when none is named."""
    return embedded_path(EMBEDDED[0])


def embedded_path(name: str) -> Path:
    """Return the folder of a bundle that is part of this package, by its name in `EMBEDDED`."""
    return Path(__file__).resolve().parent / "models" / name


def read(path: str | Path) -> Bundle:
    """Read and verify a bundle.

    Args:
        path: its folder, or `default` or `small` for one inside this package (a folder of that name: `./small`).

    Raises:
        BundleError: the folder isn't a bundle, its manifest is unacceptable, or a file is missing, unlisted, no plain
            file or of other content than the manifest says.
    """
    folder = embedded_path(str(path)) if str(path) in EMBEDDED else Path(path).absolute()
    try:
        if not folder.is_dir():
            what = "is a file, not a folder" if folder.exists() else "does not exist"
            raise BundleError(
                f"no bundle at {redact(str(folder))}: it {what}; give a folder made by boir-convert, or one "
                f"of {', '.join(EMBEDDED)}"
            )
        listed = folder / MANIFEST_NAME
        if listed.is_symlink() or not listed.is_file():
            raise BundleError(
                f"{folder} is not a bundle: it has no {MANIFEST_NAME} that is a plain file; "
                "give a folder made by boir-convert"
            )
        with _plain(listed) as file:
            data = file.read(manifests.MAX_MANIFEST_BYTES + 1)
        manifest = manifests.load(data, str(listed))
        _refuse_strangers(folder, manifest)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        shown = redact(str(folder)[:300])
        raise BundleError(f"no bundle at {shown}: it can't be read ({reason}); check the path") from None
    for name, entry in manifest.files.items():
        _verify(folder / name, name, entry)
    return Bundle(path=folder, manifest=manifest)


def _parity(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PARITY_BYTES + 1)
        if len(data) > MAX_PARITY_BYTES:
            raise BundleError(f"{path} is over the limit of {MAX_PARITY_BYTES} bytes: measure it again")
        content = json.loads(data)
    except OSError as error:
        raise BundleError(f"{path} can't be read ({error.strerror}): measure it again") from None
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not valid JSON ({error}): measure it again with boir-convert parity") from None
    if not isinstance(content, dict):
        raise BundleError(f"{path} is not a JSON object: measure it again with boir-convert parity")
    return content


def _refuse_strangers(folder: Path, manifest: Manifest) -> None:
    """A file that no hash covers could be picked up by a later reader, so there may be none.

    The walk stops at the first stranger and never goes deeper than the manifest does, whatever lies in the folder.
    """
    parents = {name.split("/")[0] for name in manifest.files if "/" in name}
    for inside in ("", *sorted(parents)):
        if not (folder / inside).is_dir():
            continue  # whoever reads the files that should be in it will miss them
        with os.scandir(folder / inside) as entries:
            for entry in entries:
                name = f"{inside}/{entry.name}" if inside else entry.name
                if entry.is_symlink():
                    raise BundleError(f"{folder} holds the link {name!r}: a bundle has only plain files, remove it")
                if entry.is_dir():
                    if name not in parents:
                        raise BundleError(f"{folder} holds the folder {name!r}, which no listed file is in: remove it")
                elif not entry.is_file():
                    raise BundleError(f"{folder} holds {name!r}, which is a pipe, device or socket: remove it")
                elif name not in manifest.files and name != MANIFEST_NAME:
                    raise BundleError(f"{folder} holds {name!r}, which its manifest doesn't list: remove it")


@contextmanager
def _plain(path: Path) -> Iterator[BinaryIO]:
    handle = os.open(path, _OPEN_FLAGS)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise BundleError(f"{path} is not a plain file: get the bundle again")
        yield file


def _verify(path: Path, name: str, entry: manifests.FileEntry) -> None:
    try:
        digest = hashlib.sha256()
        with _plain(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size != entry.size:
                raise BundleError(
                    f"{name} in {path.parent} has {size} bytes, expected {entry.size}: get the bundle again"
                )
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except FileNotFoundError:
        raise BundleError(f"{name} is missing from {path.parent}: get the bundle again") from None
    except OSError as error:
        raise BundleError(f"{name} in {path.parent} can't be read ({error.strerror}): get the bundle again") from None
    if digest.hexdigest() != entry.sha256:
        raise BundleError(f"{name} in {path.parent} is damaged (its SHA-256 differs): get the bundle again")
