"""COCO results are read back and evaluated by pycocotools."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from boir_sdk import COCO17, Poses
from boir_sdk.interchange import from_coco

SIZE = (480, 270)


@pytest.fixture
def truth(poses: Poses, tmp_path: Path) -> COCO:
    """Annotations that say the poses are right, in two pictures: the people, and nobody."""
    people = []
    for number, person in enumerate(poses, start=1):
        x1, y1, x2, y2 = person.boxes[0].tolist()
        flat = np.concatenate([person.keypoints[0], np.full((len(COCO17), 1), 2.0)], axis=1).ravel()
        people.append(
            {
                "id": number,
                "image_id": 42,
                "category_id": 1,
                "iscrowd": 0,
                "keypoints": flat.tolist(),
                "num_keypoints": len(COCO17),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": max((x2 - x1) * (y2 - y1), 32.0**2 + 1),
            }
        )
    content = {
        "info": {},
        "images": [{"id": 42, "width": SIZE[0], "height": SIZE[1]}, {"id": 43, "width": SIZE[0], "height": SIZE[1]}],
        "annotations": people,
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO17.keypoints), "skeleton": []}],
    }
    (tmp_path / "truth.json").write_text(json.dumps(content))
    return COCO(str(tmp_path / "truth.json"))


def evaluate(truth: COCO, results: Path) -> COCOeval:
    evaluation = COCOeval(truth, truth.loadRes(str(results)), "keypoints")
    evaluation.params.kpt_oks_sigmas = np.array(COCO17.sigmas)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation


def test_the_right_poses_score_one(poses: Poses, truth: COCO, tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    results.write_text(json.dumps(poses.to_coco(42)))
    stats = evaluate(truth, results).stats
    assert stats[0] == pytest.approx(1.0)
    assert stats[5] == pytest.approx(1.0)


def test_moved_poses_score_less(poses: Poses, truth: COCO, tmp_path: Path) -> None:
    moved = Poses(poses.keypoints + 4.0, poses.keypoint_scores, poses.scores, poses.skeleton)
    results = tmp_path / "results.json"
    results.write_text(json.dumps(moved.to_coco(42)))
    assert evaluate(truth, results).stats[0] < 0.99


def test_sigmas_are_pycocotools_own() -> None:
    own = COCOeval(iouType="keypoints").params.kpt_oks_sigmas
    np.testing.assert_allclose(COCO17.sigmas, own, rtol=1e-12)


def test_what_loadres_gives_becomes_the_same_poses(poses: Poses, truth: COCO, tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    results.write_text(json.dumps(poses.to_coco(42)))
    loaded = truth.loadRes(str(results))
    back = from_coco(loaded.loadAnns(loaded.getAnnIds(imgIds=42)), COCO17)
    np.testing.assert_array_equal(back.keypoints, poses.keypoints)
    np.testing.assert_array_equal(back.keypoint_scores, poses.keypoint_scores)
    np.testing.assert_array_equal(back.scores, poses.scores)
