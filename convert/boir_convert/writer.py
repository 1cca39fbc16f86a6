"""Write a whole bundle, or nothing: everything goes into a temporary folder that is renamed at the end.

What a bundle must say of itself is added here, so that no bundle is without it: `rt_info` in every graph, and the
golden self-test, recorded from the very files that are about to be given out.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from boir_convert import facts, selftest
from boir_sdk import bundle, durable, manifest
from boir_sdk.errors import BundleError, InputError
from boir_sdk.manifest import FileEntry, Manifest
from boir_sdk.quiet_openvino import ov
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
        describe: makes the manifest of files and their hashes; called several times, first without any file.
        graphs: dense and person graph by precision; `fp16` and `int8` store what is float in half precision.
        texts: further files by name, such as the model card.
        overwrite: replace a bundle that is already there.

    Raises:
        InputError: `out` exists and may not be replaced, its parent is missing, or the disk refuses.
        BundleError: what was written doesn't verify.
        InferenceError: OpenVINO can't run what was written.
    """
    check_place(out, overwrite=overwrite)
    about = describe({})
    with folder(out) as work:
        for precision, (dense, person) in graphs.items():
            (work / precision).mkdir()
            for part, model in (("dense", dense), ("person", person)):
                facts.stamp(model, "model_info", facts.model_api(about, part))
                facts.stamp(model, "boir", facts.own(about, part, precision))
                save(model, work / precision / f"{part}.xml", half=precision != "fp32")
        for name, text in texts.items():
            (work / name).write_text(text, encoding="utf-8")
        _seal(work, describe)
        (work / bundle.SELFTEST_NAME).write_bytes(selftest.record(work))
        return _seal(work, describe)


def extend(out: Path, files: Mapping[str, bytes]) -> Manifest:
    """Add files to a bundle, such as a parity report: all of them, or the bundle stays as it was.

    Args:
        out: the bundle.
        files: contents by name; a name may have one folder in front. A file that is there is replaced, and a folder
            that is named again loses what it held.

    Raises:
        BundleError: `out` isn't a bundle, or a name isn't allowed in one.
        InputError: the disk refuses.
    """
    before = bundle.read(out).manifest
    graphs = [f"{precision}/" for precision in before.precisions]
    unsafe = [name for name in files if not manifest.is_safe_name(name) or name.startswith(tuple(graphs))]
    if unsafe:
        raise BundleError(f"{out}: {', '.join(unsafe)} can't be added to a bundle")
    with folder(out) as work:
        shutil.copytree(out, work, dirs_exist_ok=True)
        for parent in {name.split("/")[0] for name in files if "/" in name}:
            shutil.rmtree(work / parent, ignore_errors=True)
        for name, data in files.items():
            (work / name).parent.mkdir(exist_ok=True)
            (work / name).write_bytes(data)
        return _seal(work, lambda found: dataclasses.replace(before, files=dict(found)))


@contextmanager
def folder(out: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes `out` if the block succeeds, in the place of what was there.

    Raises:
        InputError: the disk refuses.
    """
    work = None
    try:
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        yield work
        work.chmod(0o755)
        durable.sync_tree(work)
        _replace(work, out)
    except OSError as error:
        raise InputError(f"can't write {out}: {error.strerror or error}") from error
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)


def save(model: ov.Model, path: Path, *, half: bool) -> None:
    """Write a graph as .xml and .bin.

    Args:
        model: the graph.
        path: of the .xml.
        half: store what is float in half precision.

    Raises:
        InputError: the disk refuses.
    """
    try:
        ov.save_model(model, path, compress_to_fp16=half)
    except RuntimeError as error:  # OpenVINO's word for a full disk, among others
        raise InputError(f"can't write {path}: {str(error).strip()}; is the disk full?") from error


def _seal(work: Path, describe: Callable[[Mapping[str, FileEntry]], Manifest]) -> Manifest:
    """Write the manifest of everything in a folder, and verify the folder as a bundle."""
    (work / bundle.MANIFEST_NAME).unlink(missing_ok=True)
    files = {path.relative_to(work).as_posix(): _entry(path) for path in sorted(work.rglob("*")) if path.is_file()}
    made = describe(files)
    (work / bundle.MANIFEST_NAME).write_bytes(manifest.dump(made))
    bundle.read(work)
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
    """Rename into place.

    An older bundle changes places with it at once; where the system can't do that, it steps aside first and comes back
    if the rename fails.
    """
    if out.exists() and durable.exchange(work, out):
        durable.sync_folder(out.parent)
        return
    aside = out.with_name(f".{out.name}-old-{os.getpid()}")
    if out.exists():
        out.rename(aside)
    try:
        work.rename(out)
    except OSError:
        if aside.exists():
            aside.rename(out)
        raise
    durable.sync_folder(out.parent)
    shutil.rmtree(aside, ignore_errors=True)
