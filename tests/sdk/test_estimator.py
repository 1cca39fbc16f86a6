"""`PoseEstimator` on the embedded bundle and the demo picture: the public names of DESIGN section 6."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from boir_sdk import PoseEstimator, Poses, bundle, looks, manifest, oks
from boir_sdk.errors import BoirError, BundleError, InferenceError, InputError
from boir_sdk.skeleton import COCO17
from tests.conftest import ROOT

PICTURE = ROOT / "demos" / "people.jpg"


@pytest.fixture(scope="module")
def estimator():
    with PoseEstimator(size=320, threads=2) as made:
        yield made


@pytest.fixture(scope="module")
def picture():
    return cv2.imread(str(PICTURE))


def test_finds_the_people_of_the_demo_picture(estimator, picture):
    poses = estimator(PICTURE)
    assert isinstance(poses, Poses)
    assert len(poses) >= 2
    assert poses.skeleton == COCO17
    assert poses.keypoints.shape == (len(poses), 17, 2)
    assert (np.diff(poses.scores) <= 0).all()
    height, width = picture.shape[:2]
    shoulders = poses.keypoints[:, 5:7]
    assert ((shoulders >= 0) & (shoulders <= [width, height])).all()


def test_the_slower_model_finds_them_too(estimator):
    """By its name; whom `nano` finds, `small` finds in about the same place."""
    with PoseEstimator("small", size=320, threads=2) as made:
        poses = made(PICTURE)
        assert made.info["model"] == "boir-small-coco17"
    others = estimator(PICTURE)
    assert len(poses) >= len(others)
    assert oks.similarity(others.keypoints, poses.keypoints, COCO17.sigmas).max(axis=1).min() > 0.6


def test_every_way_to_give_a_picture_gives_the_same(estimator, picture):
    PIL = pytest.importorskip("PIL.Image")
    expected = estimator(picture)
    # the same pixels, so that decoders of lossy files can't differ
    encoded = cv2.imencode(".png", picture)[1].tobytes()
    for given in (encoded, PIL.fromarray(picture[:, :, ::-1].copy()), np.asfortranarray(picture)):
        assert same(estimator(given), expected)


def test_a_mirrored_picture_has_mirrored_people(estimator, picture):
    """Left and right are people's own: mirrored, the left shoulder is the other one, and on the other side."""
    there = estimator(picture)
    back = estimator(np.ascontiguousarray(picture[:, ::-1]))
    best = there.keypoints[0]
    mirrored = back.keypoints[:, list(COCO17.flip_index)].copy()
    mirrored[..., 0] = picture.shape[1] - mirrored[..., 0]
    distance = np.linalg.norm(mirrored[:, 5:13] - best[5:13], axis=2).mean(axis=1).min()
    assert distance < 0.1 * np.ptp(best[:, 1])


def test_flip_test_moves_people_little(picture):
    with PoseEstimator(size=320) as plain, PoseEstimator(size=320, flip_test=True) as flipped:
        one, two = plain(picture), flipped(picture)
    assert flipped.info["flip_test"]
    assert not same(one, two)
    distance = np.linalg.norm(two.keypoints[:, None, 5:13] - one.keypoints[None, :, 5:13], axis=3).mean(axis=2)
    assert distance.min(axis=0).max() < 0.1 * picture.shape[0]


def test_max_people_and_threshold(picture):
    with PoseEstimator(size=320, max_people=1, score_threshold=0.0) as one:
        assert len(one(picture)) == 1
    with PoseEstimator(size=320, score_threshold=1.0) as nobody:
        assert len(nobody(picture)) == 0


def test_a_threshold_spares_people_and_changes_nobody(picture, monkeypatch):
    """Whose centre is below the threshold can't reach it: the person graph doesn't run for them."""
    with PoseEstimator(size=320, score_threshold=0.0) as all_of_them:
        everybody = all_of_them(picture)
    threshold = float(everybody.scores[1])  # a score that somebody has exactly
    with PoseEstimator(size=320, score_threshold=threshold) as some_of_them:
        asked: list[int] = []
        infer = some_of_them._runtime.infer

        def spy(*args, **kwargs):
            found = infer(*args, **kwargs)
            asked.append(len(found.center_scores))
            assert (found.center_scores >= np.float32(threshold)).all()
            return found

        monkeypatch.setattr(some_of_them._runtime, "infer", spy)
        best = some_of_them(picture)
    kept = everybody.scores >= np.float32(threshold)
    assert same(best, everybody[kept])
    assert 2 <= len(best) <= asked[0] < 20


def test_threads_share_an_estimator_and_get_the_same_bits(estimator, picture):
    pictures = [picture, np.ascontiguousarray(picture[:, : picture.shape[1] // 2]), cv2.transpose(picture)]
    expected = [estimator(one) for one in pictures]
    wrong: list[object] = []

    def work():
        for _ in range(4):
            for one, right in zip(pictures, expected, strict=True):
                try:
                    if not same(estimator(one), right):
                        wrong.append("other bits")
                except BoirError as error:
                    wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_batch_gives_all_in_order(estimator, picture):
    pictures = [picture[:, : 100 + 40 * i] for i in range(7)]
    for got, one in zip(estimator.batch(pictures), pictures, strict=True):
        assert same(got, estimator(one))


def test_batch_fails_at_the_bad_picture_not_before(estimator, picture):
    results = estimator.batch([picture, picture, "nowhere.jpg", picture])
    assert same(next(results), next(results))
    with pytest.raises(InputError, match=r"nowhere\.jpg"):
        next(results)


@pytest.fixture(scope="module")
def two_looks(tmp_path_factory):
    """The embedded bundle, made for a second look in which everybody counts."""
    return _copy(tmp_path_factory.mktemp("bundle") / "two", second_look_px=1)


def _copy(folder, **changes):
    own = bundle.read("default")
    shutil.copytree(own.path, folder)
    changed = dataclasses.replace(own.manifest, **changes)
    (folder / "manifest.json").write_bytes(manifest.dump(changed))
    return folder


def test_the_second_look_is_one_at_half_size(two_looks, picture):
    options = {"score_threshold": 0.02, "threads": 2, "second_look": False}
    with PoseEstimator(two_looks, size=512, **options) as full, PoseEstimator(two_looks, size=256, **options) as half:
        one, other = full(picture), half(picture)
    with PoseEstimator(two_looks, size=512, score_threshold=0.02, threads=2) as both:
        assert both.info["second_look"]
        joined = both(picture)
    assert same(joined, looks.join(one, other, 0.0))
    own = {row.tobytes() for row in one.keypoints}
    assert {row.tobytes() in own for row in joined.keypoints} == {True, False}


def test_max_people_holds_for_both_looks_together(two_looks, picture):
    with PoseEstimator(two_looks, size=320, max_people=2, score_threshold=0.0) as few:
        assert len(few(picture)) == 2


def test_small_sizes_look_once_unless_asked(tmp_path):
    bundle = _copy(tmp_path / "from", second_look_px=1, second_look_from=384)
    for size, looks_twice in ((320, False), (384, True)):
        with PoseEstimator(bundle, size=size) as made:
            assert made.info["second_look"] is looks_twice
        with PoseEstimator(bundle, size=size, second_look=not looks_twice) as made:
            assert made.info["second_look"] is not looks_twice


def test_a_budget_is_measured_as_each_size_looks(tmp_path):
    bundle = _copy(tmp_path / "from", second_look_px=1, second_look_from=640)
    with PoseEstimator(bundle, budget_ms=1e6) as large, PoseEstimator(bundle, budget_ms=1e-3) as small:
        assert (large.info["size"]["used"], large.info["second_look"]) == (640, True)
        assert not small.info["second_look"]
        assert [320, 576] not in small.info["compiled_shapes"]


def test_a_second_look_is_refused_where_the_bundle_is_not_made_for_it(tmp_path):
    one_look = _copy(tmp_path / "one", second_look_px=0)
    with PoseEstimator(one_look) as made:
        assert not made.info["second_look"]
    with pytest.raises(InputError, match="second look"):
        PoseEstimator(one_look, second_look=True)


def test_info_says_what_runs(picture):
    with PoseEstimator(size=256, precision="int8") as made:
        assert made.info["precision"]["effective"] is None
        made(picture)
        info = json.loads(json.dumps(made.info))
    effective = info["precision"].pop("effective")
    assert info["precision"] == {"asked": "int8", "weights": "int8", "hint": "f32"}
    assert effective in ("int8+f32", "f32")  # the second where a processor has no 8-bit kernels
    assert info["size"]["used"] == 256
    assert info["device"] == "CPU"


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_precision_that_the_bundle_lacks_is_refused(precision):
    with pytest.raises(InputError, match=f"no precision '{precision}'.*int8"):
        PoseEstimator(precision=precision)


def test_bfloat16_beside_eight_bits_is_used_or_refused_by_name():
    try:
        with PoseEstimator(size=256) as usual, PoseEstimator(size=256, precision="int8+bf16") as made:
            expected, poses = usual(PICTURE), made(PICTURE)
            info = made.info["precision"]
    except InferenceError as error:
        assert "this processor has no bfloat16" in str(error)
        return
    assert (info["weights"], info["hint"], info["effective"]) == ("int8", "bf16", "int8+bf16")
    assert len(poses) == len(expected)
    np.testing.assert_allclose(poses.scores, expected.scores, atol=0.05)


def test_a_budget_chooses_a_size_and_says_why():
    with PoseEstimator(budget_ms=1e6) as large, PoseEstimator(budget_ms=1e-3) as small:
        assert large.info["size"]["used"] == max(large.info["size"]["offered"])
        assert "budget" in large.info["size"]["why"]
        assert small.info["size"]["used"] == min(small.info["size"]["offered"])
        assert "even the smallest" in small.info["size"]["why"]


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"size": 300}, InputError, "size 300"),
        ({"size": 256, "budget_ms": 10}, InputError, "budget"),
        ({"budget_ms": 0}, InputError, "budget_ms"),
        ({"precision": "fp64"}, InputError, "fp64"),
        ({"device": "TPU"}, InferenceError, "TPU"),
        ({"max_people": 0}, InputError, "max_people"),
        ({"max_people": 31}, InputError, "1 to 30"),
        ({"score_threshold": 1.5}, InputError, "score_threshold"),
        ({"threads": 0}, InputError, "threads"),
        ({"model": "/nowhere"}, BundleError, "nowhere"),
    ],
)
def test_impossible_options(options, error, says):
    with pytest.raises(error, match=says):
        PoseEstimator(**options)


def test_a_closed_estimator_says_so(picture):
    made = PoseEstimator(size=256)
    made.close()
    with pytest.raises(InferenceError, match="closed"):
        made(picture)


def _infer_in_child(made, queue):
    try:
        made(np.zeros((64, 64, 3), np.uint8))
        queue.put("worked")
    except InferenceError as error:
        queue.put(str(error))


def test_after_a_fork_it_is_refused_not_hung(estimator):
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_infer_in_child, args=(estimator, queue))
    child.start()
    assert "fork" in queue.get()
    child.join(10)


PROBE = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "onnx", "nncf", "pycocotools", "matplotlib"):
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Blocked())
from boir_sdk import PoseEstimator
assert len(PoseEstimator()(sys.argv[1])) >= 2
# not getrusage: its peak is inherited from the process that started this one
print(int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from Linux' /proc")
def test_runs_without_training_packages_in_250_mb():
    """The main-job issue's line 5: a bare process, the default options, the demo picture."""
    done = subprocess.run([sys.executable, "-c", PROBE, str(PICTURE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 250


def same(one: Poses, two: Poses) -> bool:
    """Bit for bit."""
    return np.array_equal(one.keypoints, two.keypoints) and np.array_equal(one.scores, two.scores)
