"""The manifest: what is written reads back, and nothing else does."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import pytest

from boir_sdk import manifest
from boir_sdk.errors import BundleError
from boir_sdk.manifest import FileEntry, Manifest

ENTRY = FileEntry(size=3, sha256=hashlib.sha256(b"abc").hexdigest())
PARTS = ("dense.xml", "dense.bin", "person.xml", "person.bin")
GOOD = Manifest(
    name="tiny",
    version="1",
    preset="nano",
    skeleton="coco17",
    protocol="coco",
    stride=4,
    multiple=32,
    fit_rule="long",
    resample="area",
    sizes=(192, 256),
    default_size=256,
    max_side=1024,
    precisions=("fp16",),
    default_precision="fp16",
    max_people=30,
    person_batches=(1, 4),
    center_threshold=0.01,
    score_threshold=0.2,
    keypoint_threshold=0.1,
    pool_kernel=3,
    oks_threshold=0.8,
    provenance={"data": "none"},
    files={f"fp16/{part}": ENTRY for part in PARTS},
)


def resealed(**changes):
    """The good manifest with other JSON values, and a digest that fits them."""
    content = json.loads(manifest.dump(GOOD))
    del content["sha256"]
    for key, value in changes.items():
        if value is None:
            del content[key]
        else:
            content[key] = value
    content["sha256"] = hashlib.sha256(manifest._canonical(content)).hexdigest()
    return manifest._canonical(content)


def test_round_trip():
    assert manifest.load(manifest.dump(GOOD), "m") == GOOD


def test_every_changed_byte_is_noticed():
    data = manifest.dump(GOOD)
    for place in range(len(data)):
        for bit in (0, 5):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            with pytest.raises(BundleError):
                manifest.load(bytes(damaged), "m")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": 2}, "format 2"),
        ({"surprise": 1}, "unknown key surprise"),
        ({"stride": None}, "missing key stride"),
        ({"skeleton": "coco18"}, "skeleton"),
        ({"fit_rule": "wide"}, "fit_rule"),
        ({"sizes": []}, "sizes"),
        ({"sizes": [256, 192]}, "sizes"),
        ({"sizes": [256, 1 << 20]}, "sizes"),
        ({"default_size": 300}, "default_size"),
        ({"default_precision": "int8"}, "default_precision"),
        ({"precisions": ["fp16", "fp64"]}, "precisions"),
        ({"precisions": ["fp16", "fp32"]}, "fp32/dense.xml"),
        ({"center_threshold": float(2)}, "center_threshold"),
        ({"center_threshold": "0.1"}, "center_threshold"),
        ({"max_people": True}, "max_people"),
        ({"max_people": 101}, "max_people"),
        ({"person_batches": [2, 4]}, "person_batches"),
        ({"pool_kernel": 4}, "pool_kernel"),
        ({"multiple": 7}, "multiple"),
        ({"max_side": 100000}, "max_side"),
        ({"name": "x" * 201}, "name"),
        ({"provenance": []}, "provenance"),
        ({"second_look_px": -1}, "second_look_px"),
        ({"second_look_px": 1025}, "at most max_side"),
        ({"second_look_from": -1}, "second_look_from"),
        ({"second_look_from": 1025}, "at most max_side"),
    ],
)
def test_impossible_values(changes, says):
    with pytest.raises(BundleError, match=says):
        manifest.load(resealed(**changes), "m")


def test_a_bundle_from_before_the_second_look_has_none():
    assert manifest.load(resealed(second_look_px=None), "m").second_look_px == 0
    assert manifest.load(resealed(second_look_from=None), "m").second_look_from == 0
    assert manifest.load(resealed(second_look_px=100), "m").second_look_px == 100


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "/etc/passwd",
        "a/../b",
        "a\\b",
        "C:x",
        "a//b",
        "a/b/c",
        ".hidden",
        "",
        "a\0b",
        "manifest.json",
        "a/",
        "é",
    ],
)
def test_file_names_that_could_leave_the_folder(name):
    assert not manifest.is_safe_name(name)
    files = json.loads(manifest.dump(GOOD))["files"] | {name: dataclasses.asdict(ENTRY)}
    with pytest.raises(BundleError, match=r"unsafe|control character"):
        manifest.load(resealed(files=files), "m")


@pytest.mark.parametrize("name", ["selftest.npz", "parity.json", "parity/README.md", "parity/worst-1.jpg"])
def test_what_a_bundle_may_have_besides_its_graphs(name):
    assert manifest.is_safe_name(name)
    files = json.loads(manifest.dump(GOOD))["files"] | {name: dataclasses.asdict(ENTRY)}
    assert manifest.load(resealed(files=files), "m").files[name] == ENTRY


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"A.txt": dataclasses.asdict(ENTRY), "a.txt": dataclasses.asdict(ENTRY)}, "only in case"),
        ({f"f{i}": dataclasses.asdict(ENTRY) for i in range(101)}, "over the limit"),
        ({"big": {"size": 3 << 30, "sha256": ENTRY.sha256}}, "bytes of files"),
        ({"f": {"size": -1, "sha256": ENTRY.sha256}}, "entry"),
        ({"f": {"size": 1, "sha256": "zz"}}, "entry"),
        ({"f": {"size": 1, "sha256": ENTRY.sha256, "url": "x"}}, "entry"),
        ({"f": 3}, "entry"),
    ],
)
def test_file_lists_that_are_refused(files, says):
    with pytest.raises(BundleError, match=says):
        manifest.load(resealed(files=files), "m")


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100000, b" " * (manifest.MAX_MANIFEST_BYTES + 1)]
)
def test_what_is_no_manifest(data):
    with pytest.raises(BundleError):
        manifest.load(data, "m")
