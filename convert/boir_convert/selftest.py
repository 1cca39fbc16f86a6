"""Record a bundle's golden self-test: what its own graphs give, here, for a small picture of our own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boir_convert import drawn_people
from boir_sdk import PoseEstimator, bundle, selftest
from boir_sdk.manifest import Manifest
from boir_sdk.poses import Poses
from boir_sdk.selftest import Golden

# Pixels and score that a sound machine may be off: floats differ by rounding, and a rounding can move a quantised value
# by a step. With kernels for SSE4.1 instead of AVX2 scores differed by 1e-6, keypoints by 4e-5 pixels, in INT8 too.
TOLERANCES = {"fp32": (0.05, 0.002), "fp16": (0.05, 0.002), "int8": (0.5, 0.01)}
STABLE_PIXELS = 2.0
_TRIALS, _NOISE = 3, 2  # pictures with values changed by up to so many levels
_SMALLEST = 256


def record(folder: Path) -> bytes:
    """Run every precision of a finished bundle on the drawn picture.

    Args:
        folder: the bundle, whole but for the self-test.

    Returns:
        The bytes of its `selftest.npz`.

    Raises:
        BundleError: the folder isn't a bundle.
        InferenceError: OpenVINO can't run it.
    """
    manifest = bundle.read(folder).manifest
    return selftest.dump({precision: _golden(folder, manifest, precision) for precision in manifest.precisions})


def _golden(folder: Path, manifest: Manifest, precision: str) -> Golden:
    picture = drawn_people.picture()
    size = next((size for size in manifest.sizes if size >= _SMALLEST), manifest.sizes[-1])
    everybody = min(manifest.max_people, selftest.LOOKED_AT)
    with PoseEstimator(folder, size=size, precision=precision, score_threshold=0.0, max_people=everybody) as estimator:
        poses = estimator(picture)
        changed = [estimator(_noisy(picture, trial)) for trial in range(_TRIALS)]
    kept, threshold = clearest_cut(poses.scores)
    best = poses[:kept]
    pixels, score = TOLERANCES[precision]
    return Golden(
        picture_bgr=picture,
        size=size,
        keypoints=best.keypoints,
        keypoint_scores=best.keypoint_scores,
        scores=best.scores,
        stable=stable(best, changed),
        pixels=pixels,
        score=score,
        threshold=threshold,
    )


def clearest_cut(scores: NDArray[np.float32]) -> tuple[int, float]:
    """Choose how many of the best people to keep: where the next one scores least like them.

    Args:
        scores: falling.

    Returns:
        How many, at most `MAX_PEOPLE`, and the score half way to the next.
    """
    if not len(scores):
        return 0, 0.0
    following = np.append(scores[1:], 0)
    lead = (scores - following)[: selftest.MAX_PEOPLE]
    kept = int(lead.argmax()) + 1
    return kept, float(scores[kept - 1] + following[kept - 1]) / 2


def stable(best: Poses, changed: list[Poses]) -> NDArray[np.bool_]:
    """Tell which keypoints stay within `STABLE_PIXELS` in every changed picture, bool [N, K]."""
    result = np.ones(best.keypoint_scores.shape, dtype=np.bool_)
    for poses in changed:
        for person in range(len(best)):
            if not len(poses):
                return np.zeros_like(result)
            off = np.abs(poses.keypoints - best.keypoints[person]).max(axis=2)  # [M, K]
            result[person] &= off[np.median(off, axis=1).argmin()] <= STABLE_PIXELS
    return result


def _noisy(picture: NDArray[np.uint8], trial: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(trial).integers(-_NOISE, _NOISE + 1, picture.shape)
    return (picture.astype(np.int64) + noise).clip(0, 255).astype(np.uint8)
