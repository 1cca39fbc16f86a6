"""Bundles made to do harm: each is refused by name, says what to do, and nothing outside the folder is touched."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import socket
import struct
import zipfile
from pathlib import Path

import pytest
from fuzz.settings import sealed

from boir_sdk import bundle, manifest, selftest
from boir_sdk.errors import BundleError
from boir_sdk.manifest import FileEntry
from tests.sdk.test_manifest import GOOD, PARTS

CONTENT = b"abc"
SECRET = b"what lies beside a bundle is nobody's business"


@pytest.fixture
def folder(tmp_path):
    """A tiny bundle that verifies, with a secret beside it."""
    made = tmp_path / "bundle"
    (made / "fp16").mkdir(parents=True)
    for part in PARTS:
        (made / "fp16" / part).write_bytes(CONTENT)
    (made / "manifest.json").write_bytes(manifest.dump(GOOD))
    (tmp_path / "secret").write_bytes(SECRET)
    assert bundle.read(made).manifest == GOOD
    return made


ENTRY = {"size": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}


def reseal(folder, change):
    content = json.loads(manifest.dump(GOOD))
    change(content)
    (folder / "manifest.json").write_bytes(sealed(content))


def setting(key, value):
    return lambda folder: reseal(folder, lambda content: content.update({key: value}))


def listing(*names, size=ENTRY["size"]):
    """A manifest that lists further files."""
    entries = {name: {**ENTRY, "size": size} for name in names}
    return lambda folder: reseal(folder, lambda content: content["files"].update(entries))


def raw(text):
    """A manifest of these bytes, or of the good text changed by a function."""

    def make(folder):
        path = folder / "manifest.json"
        path.write_bytes(text(path.read_text()).encode() if callable(text) else text)

    return make


def instead(make):
    """Something else in the place of a listed file."""

    def put(folder):
        path = folder / "fp16" / "dense.bin"
        path.unlink()
        make(path)

    return put


def beside(name, make):
    return lambda folder: make(folder / name)


def listening(path):
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def deep(levels):
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


def linked_folder(folder):
    (folder / "fp16").rename(folder.parent / "elsewhere")
    (folder / "fp16").symlink_to(folder.parent / "elsewhere")


def empty_pipe(folder):
    """A pipe that the manifest lists with the size that pipes have: who opens it waits for ever."""
    listing("pipe", size=0)(folder)
    os.mkfifo(folder / "pipe")


ATTACKS = {
    # names in the manifest
    "parent folder": (listing("../secret"), "unsafe file name '../secret'"),
    "parent folder inside": (listing("fp16/../../secret"), "unsafe"),
    "absolute": (listing("/etc/passwd"), "unsafe file name '/etc/passwd'"),
    "drive letter": (listing("C:secret"), "unsafe"),
    "drive and folder": (listing("C:\\secret"), "unsafe"),
    "backslashes": (listing("..\\secret"), "unsafe"),
    "share": (listing("//server/share"), "unsafe"),
    "NUL": (listing("secret\0.bin"), "control character"),
    "line break": (listing("a\nb"), "unsafe"),
    "stream of a file": (listing("dense.bin:hidden"), "unsafe"),
    "device name": (listing("NUL"), "unsafe"),
    "device name with an ending": (listing("fp16/com1.txt"), "unsafe"),
    "trailing full stop": (listing("fp16."), "unsafe"),
    "look-alike letters": (listing("fp16/dense\u2024bin"), "unsafe"),
    "right to left": (listing("a\u202enib"), "unsafe"),
    "empty name": (listing(""), "unsafe"),
    "the manifest itself": (listing("manifest.json"), "unsafe"),
    "the manifest in capitals": (listing("MANIFEST.json"), "unsafe"),
    "names differing by case": (listing("fp16/DENSE.bin"), "differ only in case"),
    "folders differing by case": (listing("FP16/other.bin"), "differ only in case"),
    "a file that is a folder": (listing("fp16"), "as a file and as a folder"),
    "long name": (listing("x" * 300), "unsafe"),
    "101 entries": (listing(*(f"f{i}" for i in range(101))), "over the limit of 100"),
    "3 GiB claimed": (listing("big", size=3 << 30), "bytes of files"),
    "a size of 400 digits": (listing("big", size=10**400), "bytes of files"),
    "negative size": (listing("f", size=-1), "entry of 'f'"),
    "size in text": (listing("f", size="3"), "entry of 'f'"),
    # values in the manifest
    "deep JSON": (setting("provenance", {"a": deep(100)}), "nested more than 16 deep"),
    "very deep JSON": (raw(b'{"format": 1, "x": ' + b"[" * 100_000), "manifest.json is not valid JSON"),
    "deep and whole": (raw(b'{"format": 1, "x": ' + b"[" * 900 + b"]" * 900 + b"}"), "nested more than"),
    "NaN": (raw(lambda text: text.replace("0.8", "NaN")), "the number nan"),
    "infinity by digits": (raw(lambda text: text.replace("0.8", "1e999")), "the number inf"),
    "a number of 5000 digits": (raw(lambda text: text.replace("0.8", "1" * 5000)), "not valid JSON"),
    "duplicate key": (raw(lambda text: text.replace("{\n", '{\n "name": "other",\n', 1)), "was changed"),
    "format true": (setting("format", True), "has format True"),
    "format of another kind": (setting("format", [1]), "has format"),
    "wrong type": (setting("sizes", "256"), "sizes is '256'"),
    "truth instead of a number": (setting("max_people", True), "max_people"),
    "huge window": (setting("pool_kernel", 10**300 + 1), "pool_kernel"),
    "steering a terminal": (setting("name", "\x1b]0;owned\x07"), "control character"),
    "half a letter": (setting("version", "\ud800"), "control character"),
    "name of a megabyte": (setting("name", "x" * 900_000), "name is 'xxx"),
    "unknown key of a kilobyte": (setting("y" * 1000, 1), "unknown key yyy"),
    "two megabytes": (raw(b" " * (2 << 20)), "over the limit of 1048576"),
    "not text": (raw(b"\xff\xfe{}"), "not valid JSON"),
    "empty manifest": (raw(b""), "not valid JSON"),
    # what lies in the folder
    "link to a secret": (instead(lambda path: path.symlink_to("../../secret")), "link 'fp16/dense.bin'"),
    "link to itself": (instead(lambda path: path.symlink_to(path)), "link"),
    "link to a device": (instead(lambda path: path.symlink_to("/dev/zero")), "link"),
    "linked folder": (linked_folder, "link 'fp16'"),
    "pipe instead of a file": (instead(os.mkfifo), "pipe, device or socket"),
    "listed pipe of size 0": (empty_pipe, "pipe, device or socket"),
    "pipe nobody lists": (beside("pipe", os.mkfifo), "'pipe', which is a pipe"),
    "socket": (beside("socket", listening), "'socket', which is a pipe, device or socket"),
    "folder instead of a file": (instead(Path.mkdir), "folder 'fp16/dense.bin'"),
    "folder nobody lists": (beside("plugins", Path.mkdir), "folder 'plugins'"),
    "hidden file": (beside(".config", lambda path: path.write_bytes(b"x")), r"'\.config', which its manifest doesn't"),
    "file of strange name": (beside("a\nb\x1b[2J", lambda path: path.write_bytes(b"x")), "which its manifest doesn't"),
    "missing file": (instead(lambda path: None), "dense.bin is missing"),
    "longer file": (
        lambda folder: (folder / "fp16/dense.xml").write_bytes(CONTENT + b"d"),
        "dense.xml in .* has 4 bytes",
    ),
    "other file of the same size": (
        lambda folder: (folder / "fp16/dense.xml").write_bytes(b"abd"),
        "dense.xml .* damaged",
    ),
    "manifest is a link": (
        lambda folder: [
            (folder / "manifest.json").rename(folder.parent / "m"),
            (folder / "manifest.json").symlink_to("../m"),
        ],
        "no manifest.json that is a plain file",
    ),
    "manifest is a pipe": (
        lambda folder: [(folder / "manifest.json").unlink(), os.mkfifo(folder / "manifest.json")],
        "no manifest.json that is a plain file",
    ),
    "manifest is a folder": (
        lambda folder: [(folder / "manifest.json").unlink(), (folder / "manifest.json").mkdir()],
        "no manifest.json that is a plain file",
    ),
}
ADVICE = ("get the bundle again", "remove it", "give a folder", "upgrade boir-sdk", "check the path")


def everything(folder):
    """All that lies there, without following a link or opening a pipe."""
    return {
        path: (path.lstat().st_mode, path.read_bytes() if path.is_file() and not path.is_symlink() else None)
        for path in folder.rglob("*")
    }


def test_there_are_forty_attacks_and_more():
    assert len(ATTACKS) >= 40


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused(attack, folder, tmp_path, monkeypatch):
    make, says = ATTACKS[attack]
    make(folder)
    before, opened, really = everything(tmp_path), [], os.open

    def watched(path, *args, **kwargs):
        opened.append(Path(path))
        return really(path, *args, **kwargs)

    monkeypatch.setattr(bundle.os, "open", watched)
    with pytest.raises(BundleError, match=says) as caught:
        bundle.read(folder)
    monkeypatch.undo()
    message = str(caught.value)
    assert str(folder) in message and any(advice in message for advice in ADVICE), message
    assert len(message) < 600 and "\x1b" not in message and "\0" not in message
    assert everything(tmp_path) == before
    assert all(path.parent in (folder, folder / "fp16") and not path.is_symlink() for path in opened), opened


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "nowhere/at/all", "/dev/null", "/dev/zero", ""])
def test_a_name_that_is_no_bundle(name):
    with pytest.raises(BundleError, match=r"no bundle|not a bundle|has no manifest"):
        bundle.read(name)


def test_a_folder_that_cannot_be_read_is_named(folder, monkeypatch):
    """As root everything can be read, so the system's refusal is played."""

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(bundle.os, "scandir", refuse)
    with pytest.raises(BundleError, match="Permission denied"):
        bundle.read(folder)


def test_a_million_files_are_not_walked_through(folder, monkeypatch):
    """The first stranger ends the walk."""
    for number in range(300):
        (folder / f"extra{number}").write_bytes(b"")
    seen, really = [], os.scandir

    class Watched:
        def __init__(self, path):
            self.inner = really(path)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.inner.close()

        def __iter__(self):
            for entry in self.inner:
                seen.append(entry.name)
                yield entry

    monkeypatch.setattr(bundle.os, "scandir", Watched)
    with pytest.raises(BundleError, match="extra"):
        bundle.read(folder)
    assert len([name for name in seen if name.startswith("extra")]) == 1


def npy(shape, kind="'<f8'", data=b""):
    head = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


SELF_TESTS = {
    "claims 8 TB": {"format.npy": npy((10**12,))},
    "claims more than there are numbers": {"format.npy": npy((10**30,))},
    "negative shape": {"format.npy": npy((-1,))},
    "a format in text": {"format.npy": npy((), "'<U3'", b"a\0\0\0b\0\0\0c\0\0\0")},
    "a format of NaN": {"format.npy": npy((), "'<f8'", struct.pack("<d", float("nan")))},
    "a header without end": {"format.npy": b"\x93NUMPY\x01\x00\x10\x00{'descr': (((((\n"},
    "a pickle": {"format.npy": npy((1,), "'|O'", b"\x80\x04cos\nsystem\n.")},
    "nothing": {},
}


@pytest.mark.parametrize("case", SELF_TESTS)
def test_a_self_test_made_to_do_harm(case, tmp_path):
    path = tmp_path / "selftest.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in SELF_TESTS[case].items():
            archive.writestr(name, data)
    with pytest.raises(BundleError, match=r"selftest\.npz"):
        selftest.load(path.read_bytes(), "selftest.npz")


def test_a_self_test_that_unpacks_to_much(tmp_path):
    path = tmp_path / "selftest.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("format.npy", bytes(selftest.MAX_BYTES + 1))
    assert path.stat().st_size < 100_000
    with pytest.raises(BundleError, match="over the limit"):
        selftest.load(path.read_bytes(), "selftest.npz")


def test_a_zip_is_no_bundle(folder, tmp_path):
    made = shutil.make_archive(str(tmp_path / "packed"), "zip", folder)
    with pytest.raises(BundleError, match="is a file, not a folder"):
        bundle.read(made)


def test_the_dump_of_a_changed_manifest_still_reads(folder):
    changed = dataclasses.replace(GOOD, files={**GOOD.files, "note.txt": FileEntry(**ENTRY)})
    (folder / "note.txt").write_bytes(CONTENT)
    (folder / "manifest.json").write_bytes(manifest.dump(changed))
    assert bundle.read(folder).manifest == changed
