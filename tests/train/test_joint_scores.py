"""Scores of joints by visibility, against a case counted by hand."""

from __future__ import annotations

from typing import Any

import pytest

from boir_sdk.skeleton import COCO17
from boir_train.joint_scores import joint_scores


def person(visibility: list[int], x: float = 50.0, image_id: int = 1, **more: Any) -> dict[str, Any]:
    keypoints = [value for v in visibility for value in (x if v else 0.0, 50.0 if v else 0.0, v)]
    return {"image_id": image_id, "keypoints": keypoints, "area": 5000.0, "iscrowd": 0, **more}


def detection(scores: list[float], x: float = 50.0, image_id: int = 1) -> dict[str, Any]:
    return {"image_id": image_id, "keypoints": [value for score in scores for value in (x, 50.0, score)], "score": 1.0}


VISIBILITY = [2] * 8 + [1] * 4 + [0] * 5
SCORES = [0.9] * 8 + [0.5] * 4 + [0.1] * 5


def test_joints_are_sorted_by_what_the_annotation_says() -> None:
    found = joint_scores({"annotations": [person(VISIBILITY)]}, [detection(SCORES)], COCO17)
    assert found == {
        "absent": {"joints": 5, "quartiles": [0.1, 0.1, 0.1]},
        "hidden": {"joints": 4, "quartiles": [0.5, 0.5, 0.5]},
        "visible": {"joints": 8, "quartiles": [0.9, 0.9, 0.9]},
        "visible_over_absent": 1.0,
    }


@pytest.mark.parametrize(
    ("people", "detections"),
    [
        ([person(VISIBILITY)], []),
        ([person(VISIBILITY)], [detection(SCORES, x=400.0)]),  # somebody else
        ([person(VISIBILITY)], [detection(SCORES, image_id=2)]),
        ([person(VISIBILITY, iscrowd=1)], [detection(SCORES)]),
        ([person([0] * 17)], [detection(SCORES)]),
    ],
)
def test_only_people_who_were_found_count(people: list[dict[str, Any]], detections: list[dict[str, Any]]) -> None:
    found = joint_scores({"annotations": people}, detections, COCO17)
    assert [found[state]["joints"] for state in ("absent", "hidden", "visible")] == [0, 0, 0]
    assert found["visible_over_absent"] is None


def test_the_likeliest_detection_counts_and_ties_are_half() -> None:
    found = joint_scores(
        {"annotations": [person(VISIBILITY)]}, [detection([0.7] * 17, x=52.0), detection([0.3] * 17, x=51.0)], COCO17
    )
    assert found["visible"]["quartiles"] == [0.3, 0.3, 0.3]
    assert found["visible_over_absent"] == 0.5
