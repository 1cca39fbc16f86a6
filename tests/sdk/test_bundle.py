"""Reading a bundle: the embedded one verifies, and any change of any file is found before OpenVINO sees it."""

from __future__ import annotations

import json
import shutil

import pytest

from boir_sdk import bundle
from boir_sdk.errors import BundleError


@pytest.fixture
def copy(tmp_path):
    """A bundle that a test may damage."""
    return shutil.copytree(bundle.default_path(), tmp_path / "bundle")


def test_embedded_bundle_verifies():
    assert bundle.read("default").manifest.preset == "nano"


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
