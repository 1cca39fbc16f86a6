"""The golden self-test: what was recorded reads back, and only poses like the recorded ones pass."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest

from boir_sdk import Poses, bundle, selftest
from boir_sdk.errors import BundleError, InputError
from boir_sdk.selftest import Golden
from boir_sdk.skeleton import COCO17

RANDOM = np.random.default_rng(5)
STABLE = np.ones((2, 17), dtype=np.bool_)
STABLE[0, 3] = False
GOLDEN = Golden(
    picture_bgr=RANDOM.integers(0, 256, (24, 32, 3), dtype=np.uint8),
    size=256,
    keypoints=np.stack([RANDOM.uniform(0, 60, (17, 2)), RANDOM.uniform(100, 160, (17, 2))]).astype(np.float32),
    keypoint_scores=np.full((2, 17), 0.5, np.float32),
    scores=np.array([0.6, 0.4], np.float32),
    stable=STABLE,
    pixels=0.5,
    score=0.01,
    threshold=0.2,
)


def poses(*, moved=(), keypoint_scores=0.5, scores=(0.6, 0.4), others=0, other_score=0.1):
    """The golden people with some keypoints moved (person, joint, pixels), and others far away."""
    keypoints = GOLDEN.keypoints.copy()
    for person, joint, pixels in moved:
        keypoints[person, joint, 1] += pixels
    keypoints = np.concatenate([keypoints, np.full((others, 17, 2), 900.0, np.float32)])
    joint_scores = np.full((2 + others, 17), keypoint_scores, np.float32)
    return Poses(keypoints, joint_scores, np.array([*scores, *[other_score] * others], np.float32), COCO17)


def outcome(found):
    return selftest.compare(GOLDEN, found, precision="fp16", effective="f32", pixels=0.5, score=0.01)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (poses(), None),
        (poses()[[1, 0]], None),
        (poses(moved=[(0, 5, 0.4), (1, 7, -0.4)], scores=(0.605, 0.395)), None),
        (poses(moved=[(0, 3, 70)]), None),
        (poses(others=3, other_score=0.2), None),
        (poses(moved=[(0, 4, 0.6)]), "a keypoint is 0.6 pixels off"),
        (poses(scores=(0.6, 0.42)), "a score is 0.02 off"),
        (poses(keypoint_scores=0.6), "a score is 0.1 off"),
        (poses()[:1], "person 2 of 2 is missing"),
        (Poses.empty(COCO17), "person 1 of 2 is missing"),
        (poses(moved=[(1, joint, 90) for joint in range(17)]), "person 2 of 2 is missing"),
        (poses(others=2, other_score=0.22), "2 more people than expected"),
    ],
)
def test_compare(found, says):
    result = outcome(found)
    assert result.people == 2
    assert result.status == ("passed" if says is None else "failed")
    assert (says or "") in "; ".join(result.problems)
    assert bool(result.problems) == (says is not None)


def test_figures_are_the_largest_differences():
    result = outcome(poses(moved=[(0, 5, 0.25), (0, 3, 40)], scores=(0.6, 0.404)))
    assert result.pixels == pytest.approx(0.25, abs=1e-4)
    assert result.score == pytest.approx(0.004, abs=1e-4)


def test_round_trip():
    again = selftest.load(selftest.dump({"fp16": GOLDEN, "int8": dataclasses.replace(GOLDEN, score=0.3)}), "here")
    assert again.keys() == {"fp16", "int8"}
    assert again["int8"].score == 0.3
    for field in dataclasses.fields(Golden):
        np.testing.assert_array_equal(getattr(again["fp16"], field.name), getattr(GOLDEN, field.name))


def changed(**arrays):
    """The golden file with other arrays; None leaves one out."""
    with np.load(io.BytesIO(selftest.dump({"fp16": GOLDEN}))) as file:
        content = {name: file[name] for name in file.files} | arrays
    out = io.BytesIO()
    np.savez_compressed(out, **{name: value for name, value in content.items() if value is not None})
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a self-test"),
        (b"PK\x03\x04 no archive", "not a self-test"),
        (changed()[:-40], "not a self-test"),
        (changed(format=np.int64(2)), "another format"),
        (changed(format=None), "another format"),
        (changed(picture_bgr=np.zeros((4, 4), np.uint8)), "picture_bgr"),
        (changed(picture_bgr=np.zeros((0, 4, 3), np.uint8)), "picture_bgr"),
        (changed(picture_bgr=None), "picture_bgr"),
        (changed(picture_bgr=np.zeros((2048, 2048, 3), np.uint8)), "over the limit"),
        (changed(size=np.float64(256)), "size"),
        (changed(fp16_scores=np.zeros(3, np.float32)), "scores"),
        (changed(fp16_scores=None), "fp16_scores"),
        (changed(fp16_keypoints=np.full((2, 17, 2), np.nan, np.float32)), "fp16_keypoints"),
        (changed(fp16_stable=np.ones((2, 17), np.float32)), "fp16_stable"),
        (changed(fp16_tolerance=np.array([-1.0, 0.1])), "negative"),
        (changed(fp16_threshold=np.array("x", dtype=object)), "not a self-test"),
    ],
)
def test_what_is_no_self_test(data, says):
    with pytest.raises(BundleError, match=says):
        selftest.load(data, "here")


def test_a_bundle_from_before_has_none_and_says_so(monkeypatch):
    monkeypatch.setattr(selftest, "read", lambda opened: {})
    result = selftest.run("default")
    assert result.status == "absent"
    assert "build it again" in result.problems[0]


def test_unknown_precision():
    with pytest.raises(InputError, match="has no precision 'fp99'"):
        selftest.run("default", precision="fp99")


@pytest.mark.parametrize("name", bundle.EMBEDDED)
def test_the_embedded_bundles_own_self_test(name):
    result = selftest.run(name, threads=1)
    recorded = bundle.SELFTEST_NAME in bundle.read(name).manifest.files
    assert result.status == ("passed" if recorded else "absent"), result.problems
