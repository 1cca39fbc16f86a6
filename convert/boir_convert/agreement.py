"""How far two models agree on the same pictures: people matched by OKS, their scores, their keypoints in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boir_sdk import oks
from boir_sdk.poses import Poses

SAME_PERSON = 0.5  # OKS from which two poses are the same person, as the loosest AP has it


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """The people of one picture as a reference and another model see them.

    Attributes:
        reference: people whom the reference finds (score at the threshold or above).
        other: people whom the other one finds.
        pairs: int64 [M, 2], the matched people: index among those the reference finds, and among the other's.
        likeness: float64 [M], OKS of the M matched pairs.
        score_change: float64 [M], the other's score minus the reference's.
        shift_px: float64 [J], distances of the matched people's joints that both are sure of, pixels of the picture.
        below_threshold: unmatched people whom the other side finds too, scored below the threshold.
    """

    reference: int
    other: int
    pairs: NDArray[np.int64]
    likeness: NDArray[np.float64]
    score_change: NDArray[np.float64]
    shift_px: NDArray[np.float64]
    below_threshold: int

    @property
    def disagreement(self) -> float:
        """People found on one side only, plus what matched people lack in OKS; 0 is perfect agreement."""
        alone = self.reference + self.other - 2 * len(self.likeness)
        return float(alone + (1 - self.likeness).sum())


def compare(reference: Poses, other: Poses, *, score_threshold: float, keypoint_threshold: float) -> Comparison:
    """Compare what two models find in one picture.

    Pairs are made from the most alike down, each person once, as long as their OKS is `SAME_PERSON` or more.

    Args:
        reference: everybody the reference finds, whatever the score.
        other: everybody the other model finds.
        score_threshold: people below it count as not found, 0..1.
        keypoint_threshold: joints that score lower on either side are left out of the distances, 0..1.
    """
    ours, theirs = (poses[poses.scores >= score_threshold] for poses in (reference, other))
    sigmas = reference.skeleton.sigmas
    likeness = oks.similarity(ours.keypoints, theirs.keypoints, sigmas)
    pairs = _pairs(likeness)
    rows, columns = pairs.T
    sure = (ours.keypoint_scores[rows] >= keypoint_threshold) & (theirs.keypoint_scores[columns] >= keypoint_threshold)
    distance = np.linalg.norm(ours.keypoints[rows].astype(np.float64) - theirs.keypoints[columns], axis=2)
    below = sum(
        _seen(found[np.setdiff1d(np.arange(len(found)), taken)], everybody[everybody.scores < score_threshold], sigmas)
        for found, taken, everybody in ((ours, rows, other), (theirs, columns, reference))
    )
    return Comparison(
        reference=len(ours),
        other=len(theirs),
        pairs=pairs,
        likeness=likeness[rows, columns],
        score_change=theirs.scores[columns].astype(np.float64) - ours.scores[rows],
        shift_px=distance[sure],
        below_threshold=below,
    )


def same_ids(reference: Poses, other: Poses, found: Comparison, score_threshold: float) -> tuple[Poses, Poses]:
    """The people that `compare` looked at, those matched under the same id on both sides, so that overlays agree.

    Args:
        reference: as given to `compare`.
        other: as given to `compare`.
        found: what it returned.
        score_threshold: as given to `compare`.
    """
    ours, theirs = (poses[poses.scores >= score_threshold] for poses in (reference, other))
    ids = np.arange(len(ours), len(ours) + len(theirs))
    ids[found.pairs[:, 1]] = found.pairs[:, 0]
    return _numbered(ours, np.arange(len(ours))), _numbered(theirs, ids)


def _numbered(poses: Poses, ids: NDArray[np.int64]) -> Poses:
    return Poses(poses.keypoints, poses.keypoint_scores, poses.scores, poses.skeleton, ids)


def _pairs(likeness: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows and columns of the best entries of [N, M], none used twice: [P, 2]."""
    pairs: list[tuple[int, int]] = []
    left = likeness.copy()
    while left.size and left.max() >= SAME_PERSON:
        row, column = (int(index) for index in np.unravel_index(left.argmax(), left.shape))
        pairs.append((row, column))
        left[row], left[:, column] = -1, -1
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _seen(people: Poses, among: Poses, sigmas: Sequence[float]) -> int:
    """How many of the people are also among others."""
    if not len(people) or not len(among):
        return 0
    return int((oks.similarity(people.keypoints, among.keypoints, sigmas).max(axis=1) >= SAME_PERSON).sum())


def summary(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Put the comparisons of many pictures together, ready for JSON.

    Returns:
        `people`: counts, and the matched pairs' mean OKS; `scores`: the other's minus the reference's; `pixels`:
        distances of joints. A statistic of nothing is None.
    """
    likeness, change, shift = (
        np.concatenate([np.zeros(0), *(getattr(one, name) for one in comparisons)])
        for name in ("likeness", "score_change", "shift_px")
    )
    reference, other = (sum(getattr(one, name) for one in comparisons) for name in ("reference", "other"))
    matched = len(likeness)
    return {
        "people": {
            "reference": reference,
            "other": other,
            "matched": matched,
            "only_reference": reference - matched,
            "only_other": other - matched,
            "unmatched_but_below_the_threshold": sum(one.below_threshold for one in comparisons),
            "mean_oks": float(likeness.mean()) if matched else None,
        },
        "scores": {"mean_change": float(change.mean()) if matched else None, **_statistics(np.abs(change))},
        "pixels": {"joints": len(shift), **_statistics(shift)},
    }


def _statistics(values: NDArray[np.float64]) -> dict[str, float | None]:
    if not len(values):
        return dict.fromkeys(("median", "mean", "p95", "max"))
    median, high = np.quantile(values, (0.5, 0.95))
    return {"median": float(median), "mean": float(values.mean()), "p95": float(high), "max": float(values.max())}
