"""Do keypoint scores tell what can be seen? Scores of found people's joints by what the annotation says of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from boir_sdk.skeleton import Skeleton

FOUND = 0.5  # OKS from which a detection counts as the annotated person
STATES = ("absent", "hidden", "visible")  # v = 0, 1, 2


def joint_scores(
    content: Mapping[str, Any], detections: Sequence[Mapping[str, Any]], skeleton: Skeleton
) -> dict[str, Any]:
    """Compare the keypoint scores of found people with the visibility of their annotated joints.

    Args:
        content: COCO-style annotations.
        detections: COCO-style results.
        skeleton: of both.

    Returns:
        For each of `absent` (outside the picture or not annotated), `hidden` and `visible`: the number of `joints` and
        the `quartiles` of their scores (None without any). `visible_over_absent`: how often a visible joint scores
        higher than an absent one, 0.5 is chance (None if one of them is missing).
    """
    by_picture: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    for detection in detections:
        by_picture[detection["image_id"]].append(detection)
    scores: dict[str, list[float]] = {state: [] for state in STATES}
    for person in content["annotations"]:
        truth = np.asarray(person["keypoints"], np.float64).reshape(-1, 3)
        seen = truth[:, 2] > 0
        if person["iscrowd"] or not seen.any():
            continue
        best, match = FOUND, None
        for detection in by_picture[person["image_id"]]:
            found = np.asarray(detection["keypoints"], np.float64).reshape(-1, 3)
            likeness = _oks(found[seen, :2], truth[seen, :2], person["area"], np.asarray(skeleton.sigmas)[seen])
            if likeness >= best:
                best, match = likeness, found
        if match is not None:
            for visibility, score in zip(truth[:, 2].astype(int), match[:, 2], strict=True):
                scores[STATES[visibility]].append(float(score))
    above = _share_above(scores["visible"], scores["absent"])
    return {**{state: _summary(values) for state, values in scores.items()}, "visible_over_absent": above}


def _oks(found: np.ndarray, truth: np.ndarray, area: float, sigmas: np.ndarray) -> float:
    """COCO's likeness of one detection with one annotated person over the annotated joints."""
    distance = np.square(found - truth).sum(axis=1) / (2 * (area + np.spacing(1)) * np.square(2 * sigmas))
    return float(np.exp(-distance).mean())


def _summary(values: list[float]) -> dict[str, Any]:
    quartiles = np.quantile(values, [0.25, 0.5, 0.75]).round(4).tolist() if values else None
    return {"joints": len(values), "quartiles": quartiles}


def _share_above(some: list[float], others: list[float]) -> float | None:
    if not some or not others:
        return None
    ordered = np.sort(others)
    below = np.searchsorted(ordered, some, "left") + np.searchsorted(ordered, some, "right")
    return float(below.mean() / 2 / len(ordered))
