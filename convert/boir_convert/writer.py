"""Write a whole bundle, or nothing: everything goes into a temporary folder that is renamed at the end."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import openvino as ov

from boir_sdk import bundle, manifest
from boir_sdk.errors import InputError
from boir_sdk.manifest import FileEntry, Manifest
from boir_train.subject import sha256_of

Graphs = tuple[ov.Model, ov.Model]  # dense, person


def write(
    out: Path,
    describe: Callable[[Mapping[str, FileEntry]], Manifest],
    graphs: Mapping[str, Graphs],
    texts: Mapping[str, str],
    *,
    overwrite: bool = False,
) -> Manifest:
    """Write a bundle and read it back, verified.

    Args:
        out: the folder to make; its parent must exist.
        describe: makes the manifest once the files and their hashes are known.
        graphs: dense and person graph by precision; `fp16` and `int8` store what is float in half precision.
        texts: further files by name, such as the model card.
        overwrite: replace a bundle that is already there.

    Raises:
        InputError: `out` exists and may not be replaced, its parent is missing, or the disk refuses.
        BundleError: what was written doesn't verify.
    """
    check_place(out, overwrite=overwrite)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        for precision, (dense, person) in graphs.items():
            (work / precision).mkdir()
            for part, model in (("dense", dense), ("person", person)):
                ov.save_model(model, work / precision / f"{part}.xml", compress_to_fp16=precision != "fp32")
        for name, text in texts.items():
            (work / name).write_text(text, encoding="utf-8")
        files = {path.relative_to(work).as_posix(): _entry(path) for path in sorted(work.rglob("*")) if path.is_file()}
        made = describe(files)
        (work / bundle.MANIFEST_NAME).write_bytes(manifest.dump(made))
        bundle.read(work)
        work.chmod(0o755)
        _replace(work, out)
    except OSError as error:
        raise InputError(f"can't write the bundle {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return made


def check_place(out: Path, *, overwrite: bool) -> None:
    """Make sure that a bundle may be written to the folder `out`.

    Raises:
        InputError: `out` exists and may not be replaced, or its parent is missing.
    """
    if not out.parent.is_dir():
        raise InputError(f"the folder {out.parent} does not exist: make it, or choose another place for the bundle")
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists: choose another place, or say --overwrite to replace it")
    if out.exists() and not (out / bundle.MANIFEST_NAME).is_file():
        raise InputError(f"{out} exists and is not a bundle, so it won't be replaced: choose another place")


def _entry(path: Path) -> FileEntry:
    return FileEntry(size=path.stat().st_size, sha256=sha256_of(path))


def _replace(work: Path, out: Path) -> None:
    """Rename into place; an older bundle steps aside first and comes back if that fails."""
    aside = out.with_name(f".{out.name}-old-{os.getpid()}")
    if out.exists():
        out.rename(aside)
    try:
        work.rename(out)
    except OSError:
        if aside.exists():
            aside.rename(out)
        raise
    shutil.rmtree(aside, ignore_errors=True)
