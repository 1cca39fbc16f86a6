"""A changed bit anywhere in a bundle is found, and found before OpenVINO has been given anything."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys

import pytest

from boir_sdk import PoseEstimator, bundle, manifest, runtime
from boir_sdk.errors import BundleError
from tests.conftest import ROOT
from tests.sdk.test_manifest import GOOD


def accepted(good, bits):
    """Where a flip goes unnoticed; `bits` gives the bits to try at a place."""
    damaged, found = bytearray(good), []
    for place in range(len(good)):
        for bit in bits(place):
            damaged[place] ^= 1 << bit
            try:
                manifest.load(bytes(damaged), "m")
                found.append((place, bit))
            except BundleError:
                pass
            damaged[place] ^= 1 << bit
    assert bytes(damaged) == good and manifest.load(good, "m")
    return found


def test_every_flipped_bit_of_a_manifest_is_found():
    assert accepted(manifest.dump(GOOD), lambda place: range(8)) == []


def test_a_flipped_bit_in_every_byte_of_the_embedded_manifest_is_found():
    good = (bundle.default_path() / bundle.MANIFEST_NAME).read_bytes()
    assert accepted(good, lambda place: [(5 * place) % 8]) == []


def test_truncations_of_the_manifest_are_found():
    good = (bundle.default_path() / bundle.MANIFEST_NAME).read_bytes()
    for length in range(0, len(good), 3):
        with pytest.raises(BundleError):
            manifest.load(good[:length], "m")


SAMPLE = """
import random, sys
from pathlib import Path
from boir_sdk import bundle
from boir_sdk.errors import BundleError

folder, rng, found = Path(sys.argv[1]), random.Random(5), 0
bundle.read(folder)
for path in sorted(path for path in folder.rglob("*") if path.is_file()):
    good = path.read_bytes()
    for _ in range(8):
        damaged = bytearray(good)
        damaged[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
        for bad in (bytes(damaged), good[: rng.randrange(len(good))]):
            path.write_bytes(bad)
            try:
                bundle.read(folder)
            except BundleError as error:
                found += path.name in str(error) or path.name == "manifest.json"
            else:
                raise SystemExit(f"{path} was accepted with damage")
    path.write_bytes(good)
bundle.read(folder)
assert "openvino" not in sys.modules, "OpenVINO was loaded"
print(found)
"""


def test_a_sample_of_flips_and_truncations_of_every_file_is_found_without_openvino(tmp_path):
    folder = shutil.copytree(bundle.default_path(), tmp_path / "bundle")
    files = [path for path in folder.rglob("*") if path.is_file()]
    done = subprocess.run(
        [sys.executable, "-c", SAMPLE, str(folder)],
        env={"PYTHONPATH": str(ROOT / "sdk"), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) == 16 * len(files) > 100


@pytest.mark.parametrize(
    "name", ["int8/dense.bin", "int8/dense.xml", "int8/person.bin", "manifest.json", "selftest.npz"]
)
def test_an_estimator_gives_openvino_nothing_of_a_damaged_bundle(name, tmp_path, monkeypatch):
    folder = shutil.copytree(bundle.default_path(), tmp_path / "bundle")
    data = bytearray((folder / name).read_bytes())
    data[random.Random(name).randrange(len(data))] ^= 4
    (folder / name).write_bytes(data)
    made = []
    monkeypatch.setattr(runtime.ov, "Core", lambda *args: made.append(args))
    with pytest.raises(BundleError):
        PoseEstimator(folder)
    assert not made
