"""Object keypoint similarity of two poses, and suppression by it (SPEC-model M4.9).

No visibility is used: all K keypoints count, and a pose's area is that of the box round them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def areas(poses: NDArray[Any]) -> NDArray[np.float32]:
    """Return the area of the box round each pose's keypoints, float32 [N].

    Args:
        poses: [N, K, 2] or [N, K, 3]; x and y come first.
    """
    xy = np.asarray(poses, dtype=np.float32)[..., :2]
    if not len(xy):
        return np.zeros(0, dtype=np.float32)
    extent = xy.max(axis=1) - xy.min(axis=1)
    area: NDArray[np.float32] = extent[:, 0] * extent[:, 1]
    return area


def similarity(
    first: NDArray[Any], second: NDArray[Any], sigmas: Sequence[float] | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the OKS of each pose of `first` with each of `second`, in 0..1.

    The two areas are averaged, so it is symmetric. Two poses of area 0 have 1/K for each joint that coincides.

    Args:
        first: [N, K, 2] or [N, K, 3], x and y first, any one unit.
        second: [M, K, 2] or [M, K, 3], the same unit.
        sigmas: K fall-off constants.

    Returns:
        float64 [N, M].
    """
    a, b = (np.asarray(poses, dtype=np.float32)[..., :2] for poses in (first, second))
    # Differences are float32 and the rest float64: the kept lists of the fixtures depend on it.
    delta = (a[:, None] - b[None, :]).astype(np.float64)
    squared = delta[..., 0] ** 2 + delta[..., 1] ** 2
    variance = (2 * np.asarray(sigmas, dtype=np.float64)) ** 2
    area = (areas(a)[:, None].astype(np.float64) + areas(b)[None, :].astype(np.float64)) / 2
    exponent = squared / variance / (area + np.spacing(1.0))[..., None] / 2
    oks: NDArray[np.float64] = np.exp(-exponent).mean(axis=-1)
    return oks


def suppress(
    poses: NDArray[Any],
    scores: NDArray[Any],
    sigmas: Sequence[float] | NDArray[np.float64],
    threshold: float,
) -> NDArray[np.int64]:
    """Keep the best of poses that are much alike.

    Poses are taken by descending score (of equals the higher index first); each one kept drops the later ones whose OKS
    with it is greater than the threshold.

    Args:
        poses: [N, K, 2] or [N, K, 3] in picture pixels.
        scores: [N].
        sigmas: K fall-off constants.
        threshold: 0.8 in the COCO and CrowdPose protocols, 0.7 in OCHuman's.

    Returns:
        int64 indices of the kept poses, in the order they were kept.
    """
    poses = np.asarray(poses, dtype=np.float32)
    order = np.argsort(np.asarray(scores), kind="stable")[::-1]
    kept: list[int] = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        order = rest[similarity(poses[best : best + 1], poses[rest], sigmas)[0] <= threshold]
    return np.array(kept, dtype=np.int64)
