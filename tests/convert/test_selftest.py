"""Recording a bundle's self-test: every build has one, and it fails where something is wrong."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil

import numpy as np
import openvino as ov
import pytest

from boir_convert import drawn_people
from boir_convert import selftest as recording
from boir_sdk import Poses, bundle, manifest, selftest, signal_stack
from boir_sdk.errors import BundleError
from boir_sdk.manifest import FileEntry
from boir_sdk.skeleton import COCO17
from tests.support.small_bundle import small_bundle


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return small_bundle(tmp_path_factory)


@pytest.fixture
def copy(built, tmp_path):
    return shutil.copytree(built, tmp_path / "bundle")


def reseal(folder, name, data):
    """Put a file into a bundle as somebody who knows the format would."""
    (folder / name).write_bytes(data)
    before = manifest.load((folder / "manifest.json").read_bytes(), "m")
    entry = FileEntry(size=len(data), sha256=hashlib.sha256(data).hexdigest())
    (folder / "manifest.json").write_bytes(
        manifest.dump(dataclasses.replace(before, files={**before.files, name: entry}))
    )


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("threads", [1, 2])
def test_every_precision_passes(built, precision, threads):
    result = selftest.run(built, precision=precision, threads=threads)
    assert (result.status, result.problems) == ("passed", ())
    assert result.people == 2  # both drawn people
    assert result.effective == "f32"
    golden = selftest.read(bundle.read(built))[precision]
    assert golden.stable.mean() > 0.5
    assert golden.scores.min() > bundle.read(built).manifest.score_threshold


@pytest.mark.parametrize("part", ["dense", "person"])
def test_other_weights_fail(copy, part):
    """Damage that the hashes can't see, because somebody sealed it: one matrix of weights is a third too large."""
    with signal_stack.preserved():
        model = ov.Core().read_model(copy / "fp32" / f"{part}.xml")
    path = copy / "fp32" / f"{part}.bin"
    data = path.read_bytes()
    matrices = [node.data for node in model.get_ops() if node.get_type_name() == "Constant" and node.data.ndim >= 2]
    floats = [matrix for matrix in matrices if matrix.dtype == np.float32 and np.abs(matrix).max() < 1e3]
    largest = max(floats, key=lambda matrix: matrix.size)
    place = data.index(largest.tobytes())
    damage = (largest * np.float32(1.3)).tobytes()
    reseal(copy, f"fp32/{part}.bin", data[:place] + damage + data[place + len(damage) :])
    assert selftest.run(copy, precision="fp32").status == "failed"
    assert selftest.run(copy, precision="fp16").status == "passed"


def test_a_self_test_for_a_size_the_bundle_lacks_is_refused(copy):
    goldens = selftest.read(bundle.read(copy))
    reseal(copy, "selftest.npz", selftest.dump({"fp16": dataclasses.replace(goldens["fp16"], size=250)}))
    with pytest.raises(BundleError, match="size 250"):
        selftest.run(copy)


def test_a_precision_that_was_not_recorded_is_absent(copy):
    goldens = selftest.read(bundle.read(copy))
    reseal(copy, "selftest.npz", selftest.dump({"fp16": goldens["fp16"]}))
    assert selftest.run(copy, precision="fp32").status == "absent"
    assert selftest.run(copy, precision="fp16").status == "passed"


def test_it_is_small(built):
    assert bundle.read(built).manifest.files["selftest.npz"].size < 40_000


@pytest.mark.parametrize(
    ("scores", "kept", "threshold"),
    [
        ([], 0, 0.0),
        ([0.4], 1, 0.2),
        ([0.9, 0.8, 0.1, 0.05], 2, 0.45),
        ([0.9, 0.2, 0.19, 0.18], 1, 0.55),
        ([0.5] * 7 + [0.1] + [0.09] * 20, 7, 0.3),
        ([0.5 - 0.01 * i for i in range(5)] + [0.2] * 20, 5, 0.33),
    ],
)
def test_how_many_people_are_kept(scores, kept, threshold):
    found = recording.clearest_cut(np.array(scores, dtype=np.float32))
    assert found == (kept, pytest.approx(threshold, abs=1e-6))


def test_keypoints_that_jump_are_not_stable():
    people = np.stack([np.full((17, 2), 20.0), np.full((17, 2), 120.0)]).astype(np.float32)
    shaken = people[::-1].copy()
    shaken[1, 4] += 30  # of person 0
    shaken[0, 6] += 1.5  # of person 1: not a jump
    score = np.full((2, 17), 0.5, np.float32)
    best, other = (Poses(xy, score, [0.5, 0.4], COCO17) for xy in (people, shaken))
    found = recording.stable(best, [best, other])
    assert not found[0, 4]
    assert found.sum() == found.size - 1
    assert not recording.stable(best, [Poses.empty(COCO17)]).any()


def test_the_picture_is_the_same_every_time():
    first = drawn_people.picture()
    assert first.shape == (drawn_people.HEIGHT, drawn_people.WIDTH, 3)
    np.testing.assert_array_equal(first, drawn_people.picture())
