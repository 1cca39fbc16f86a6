"""Reading a bundle: the embedded one verifies, and any change of any file is found before OpenVINO sees it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil

import pytest

from boir_sdk import bundle, manifest
from boir_sdk.errors import BundleError
from boir_sdk.manifest import FileEntry


@pytest.fixture
def copy(tmp_path):
    """A bundle that a test may damage."""
    return shutil.copytree(bundle.default_path(), tmp_path / "bundle")


@pytest.mark.parametrize(("name", "preset"), [("default", "nano"), ("small", "small")])
def test_embedded_bundles_verify(name, preset):
    assert bundle.read(name).manifest.preset == preset
    assert set(bundle.EMBEDDED) == {path.name for path in bundle.default_path().parent.iterdir()}


def test_a_folder_with_an_embedded_bundles_name_is_named_with_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(bundle.default_path(), "small")
    assert bundle.read("./small").manifest.preset == "nano"
    assert bundle.read("small").manifest.preset == "small"


def test_description_is_json_and_complete(copy):
    described = json.loads(json.dumps(bundle.read(copy).describe()))
    assert described["path"] == str(copy)
    assert described["bytes"] == sum(entry["size"] for entry in described["files"].values())
    assert {"name", "sizes", "precisions", "provenance", "score_threshold"} <= described.keys()


def test_a_flipped_bit_in_any_file_is_found(copy):
    for path in sorted(path for path in copy.rglob("*") if path.is_file()):
        good = path.read_bytes()
        for place in {0, len(good) // 2, len(good) - 1}:
            damaged = bytearray(good)
            damaged[place] ^= 1
            path.write_bytes(damaged)
            with pytest.raises(BundleError):
                bundle.read(copy)
        path.write_bytes(good)
    bundle.read(copy)


def test_a_missing_or_cut_file_is_found(copy):
    for path in sorted(path for path in copy.rglob("*") if path.is_file()):
        good = path.read_bytes()
        path.write_bytes(good[:-1])
        with pytest.raises(BundleError):
            bundle.read(copy)
        path.unlink()
        with pytest.raises(BundleError, match=r"missing|has no"):
            bundle.read(copy)
        path.write_bytes(good)


def test_a_file_nobody_lists_is_refused(copy):
    (copy / "extra.bin").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"extra\.bin"):
        bundle.read(copy)


def test_a_link_is_refused(copy, tmp_path):
    weights = next(copy.rglob("dense.bin"))
    moved = weights.rename(tmp_path / "elsewhere.bin")
    weights.symlink_to(moved)
    with pytest.raises(BundleError, match="link"):
        bundle.read(copy)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: folder / "nowhere", "does not exist"),
        (lambda folder: folder, "has no manifest"),
        (lambda folder: shutil.copy(__file__, folder / "file"), "not a folder"),
    ],
)
def test_what_is_no_bundle(tmp_path, make, says):
    with pytest.raises(BundleError, match=says):
        bundle.read(make(tmp_path))


def with_file(folder, name, data):
    """Put a file into a bundle as its maker would, hashes and all."""
    before = manifest.load((folder / "manifest.json").read_bytes(), "m")
    entry = FileEntry(size=len(data), sha256=hashlib.sha256(data).hexdigest())
    (folder / name).write_bytes(data)
    (folder / "manifest.json").write_bytes(
        manifest.dump(dataclasses.replace(before, files={**before.files, name: entry}))
    )


def test_parity_is_described_if_it_was_measured(copy):
    with_file(copy, bundle.PARITY_NAME, b'{"int8": {"ap": 40.7}}')
    assert bundle.read(copy).describe()["parity"] == {"int8": {"ap": 40.7}}


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"\xff", b"[" * 100000, b" " * (bundle.MAX_PARITY_BYTES + 1)])
def test_a_parity_report_that_is_none(copy, data):
    with_file(copy, bundle.PARITY_NAME, data)
    read = bundle.read(copy)  # the bundle runs all the same
    with pytest.raises(BundleError, match=r"parity\.json"):
        read.describe()


def test_a_self_test_is_named_in_the_description(copy):
    listed = bundle.SELFTEST_NAME in bundle.read(copy).manifest.files
    assert bundle.read(copy).describe()["selftest"] is listed
    with_file(copy, bundle.SELFTEST_NAME, b"anything: who runs it checks it")
    assert bundle.read(copy).describe()["selftest"] is True
