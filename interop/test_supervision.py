"""`Poses.to_supervision()` is taken by supervision itself: its checks, its annotators, its filters."""

from __future__ import annotations

import numpy as np
import supervision
from numpy.typing import NDArray

from boir_sdk import COCO17, Poses


def test_every_value_is_where_supervision_looks_for_it(poses: Poses) -> None:
    key_points = poses.to_supervision()
    assert type(key_points) is supervision.KeyPoints
    assert len(key_points) == len(poses)
    np.testing.assert_array_equal(key_points.xy, poses.keypoints)
    np.testing.assert_array_equal(key_points.keypoint_confidence, poses.keypoint_scores)
    np.testing.assert_array_equal(key_points.detection_confidence, poses.scores)
    np.testing.assert_array_equal(key_points.data["xyxy"], poses.boxes)
    assert key_points.visible.all()


def test_annotators_draw_where_the_people_are(poses: Poses, picture: NDArray[np.uint8]) -> None:
    key_points = poses.to_supervision(keypoint_threshold=0.1)
    edges = [(a + 1, b + 1) for a, b in COCO17.limbs]  # counted from 1 there
    for annotator in (supervision.VertexAnnotator(radius=2), supervision.EdgeAnnotator(thickness=1, edges=edges)):
        drawn = annotator.annotate(picture.copy(), key_points)
        changed = np.argwhere((drawn != picture).any(axis=2))[:, ::-1]
        assert len(changed) > 50
        visible = key_points.xy[poses.keypoint_scores >= 0.1]
        low, high = visible.min(axis=0) - 3, visible.max(axis=0) + 3
        assert ((changed >= low) & (changed <= high)).all()


def test_a_missing_keypoint_is_not_drawn(poses: Poses, picture: NDArray[np.uint8]) -> None:
    nothing = poses.to_supervision(keypoint_threshold=1.0)
    drawn = supervision.VertexAnnotator(radius=2).annotate(picture.copy(), nothing)
    np.testing.assert_array_equal(drawn, picture)


def test_people_are_chosen_as_supervision_does(poses: Poses) -> None:
    key_points = poses.to_supervision()
    best = key_points[key_points.detection_confidence > poses.scores[1]]
    np.testing.assert_array_equal(best.xy, poses.keypoints[:1])
    np.testing.assert_array_equal(best.data["xyxy"], poses.boxes[:1])


def test_boxes_and_ids_become_detections(poses: Poses) -> None:
    known = Poses(poses.keypoints, poses.keypoint_scores, poses.scores, poses.skeleton, [7, 8, 9, 10])
    key_points = known.to_supervision()
    detections = key_points.as_detections()
    np.testing.assert_allclose(detections.xyxy, poses.boxes, atol=1e-3)
    assert list(key_points.data["tracker_id"]) == [7, 8, 9, 10]


def test_nobody_is_nobody_there_too() -> None:
    nobody = Poses.empty(COCO17).to_supervision()
    assert len(nobody) == 0
    blank = np.zeros((20, 20, 3), dtype=np.uint8)
    np.testing.assert_array_equal(supervision.VertexAnnotator().annotate(blank.copy(), nobody), blank)
