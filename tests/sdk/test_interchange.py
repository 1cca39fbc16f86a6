from __future__ import annotations

import json
import sys
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boir_sdk import interchange
from boir_sdk.errors import InputError
from boir_sdk.poses import Poses
from boir_sdk.skeleton import COCO17, CROWDPOSE14, Skeleton
from tests.sdk.test_poses import random_poses, same

SKELETONS = pytest.mark.parametrize("skeleton", [COCO17, CROWDPOSE14])


@SKELETONS
@pytest.mark.parametrize("count", [0, 1, 3])
def test_coco_and_back(count: int, skeleton: Skeleton) -> None:
    poses = random_poses(count, skeleton)
    records = json.loads(json.dumps(poses.to_coco(np.int64(42))))
    assert len(records) == count
    for i, record in enumerate(records):
        assert set(record) == {"image_id", "category_id", "keypoints", "score"}
        assert (record["image_id"], record["category_id"]) == (42, 1)
        assert len(record["keypoints"]) == 3 * len(skeleton)
        assert record["keypoints"][:3] == pytest.approx([*poses.keypoints[i, 0], poses.keypoint_scores[i, 0]], rel=1e-6)
        assert record["score"] == pytest.approx(poses.scores[i], rel=1e-6)
    assert same(Poses.from_coco(records, skeleton), poses)


@SKELETONS
@pytest.mark.parametrize("ids", [False, True])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_dict_and_back(count: int, ids: bool, skeleton: Skeleton) -> None:
    poses = random_poses(count, skeleton, ids=ids and count > 0)
    data = json.loads(json.dumps(poses.to_dict(), allow_nan=False))
    assert data["schema"] == "boir-poses/1" and data["skeleton"] == skeleton.name and len(data["people"]) == count
    for i, person in enumerate(data["people"]):
        assert list(person["keypoints"]) == list(skeleton.keypoints)
        assert person["box"] == pytest.approx(poses.boxes[i].tolist(), rel=1e-6)
        assert ("id" in person) == ids
    assert same(Poses.from_dict(data), poses)


def test_numbers_are_short_and_exact() -> None:
    poses = Poses(np.full((1, 17, 2), 0.1), np.full((1, 17), 1 / 3), [0.7], COCO17)
    assert poses.to_coco(1)[0]["keypoints"][:3] == [0.1, 0.1, 0.33333334]
    assert poses.to_coco(1)[0]["score"] == 0.7


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=34, max_size=34))
def test_every_float32_survives_a_line_of_json(values: list[float]) -> None:
    poses = Poses(np.reshape(values, (1, 17, 2)), np.zeros((1, 17)), [0.5], COCO17)
    again, extra = interchange.from_json_line(interchange.to_json_line(poses))
    assert same(again, poses) and not extra


def test_lines_carry_what_is_written_beside_the_poses() -> None:
    poses = random_poses(2, ids=True)
    line = interchange.to_json_line(poses, image="näme\nx.jpg", index=3, time_s=0.25)
    assert "\n" not in line and "NaN" not in line
    again, extra = interchange.from_json_line(line + "\n")
    assert same(again, poses)
    assert extra == {"image": "näme\nx.jpg", "index": 3, "time_s": 0.25}


@pytest.mark.parametrize("extra", [{"people": 1}, {"schema": "x"}, {"time_s": float("nan")}, {"image": object()}])
def test_what_may_not_stand_beside_the_poses(extra: dict) -> None:
    with pytest.raises(InputError):
        interchange.to_json_line(random_poses(1), **extra)


@pytest.mark.parametrize("line", ["", "{", '{"schema":"boir-poses/1","skel', "[]", "3", "[" * 100_000, "\ufeff{}"])
def test_damaged_lines(line: str) -> None:
    with pytest.raises(InputError, match="expected"):
        interchange.from_json_line(line)


def edited(**changes: object) -> dict:
    return {**random_poses(1).to_dict(), **changes}


def person(**changes: object) -> dict:
    data = random_poses(1).to_dict()
    merged = {**data["people"][0], **changes}
    data["people"] = [{key: value for key, value in merged.items() if value is not ...}]
    return data


NAMED = random_poses(1).to_dict()["people"][0]["keypoints"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (edited(schema="boir-poses/2"), "boir-poses/2"),
        ({}, "schema"),
        ([], "dictionary"),
        (edited(skeleton="hand21"), "hand21"),
        (edited(skeleton=["coco17"]), "skeleton"),
        (edited(people=None), "list of people"),
        (edited(people="abc"), "list of people"),
        (edited(people=[3]), "record 0"),
        (person(score=...), "'score'"),
        (person(score="0.5"), "scores: expected numbers"),
        (person(score=float("nan")), "finite"),
        (person(keypoints=...), "'keypoints'"),
        (person(keypoints={}), "each keypoint of coco17"),
        (person(keypoints={**NAMED, "tail": [1, 2, 0.5]}), "each keypoint of coco17"),
        (person(keypoints={**NAMED, "nose": [1, 2]}), "x, y and a score"),
        (person(keypoints={name: [1, 2] for name in NAMED}), "x, y and a score"),
        (person(keypoints={name: [1, 2, 3] for name in NAMED}), "0..1"),
        (person(keypoints={name: ["1", "2", "3"] for name in NAMED}), "expected numbers"),
        (person(id=1.5), "ids: expected 1 integers"),
        (person(id="seven"), "ids: expected 1 integers"),
        (person(id=10**30), "ids: expected 1 integers"),
    ],
)
def test_damaged_dictionaries(data: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Poses.from_dict(data)  # type: ignore[arg-type]


def test_an_id_for_some_people_only() -> None:
    data = random_poses(2, ids=True).to_dict()
    del data["people"][0]["id"]
    with pytest.raises(InputError, match="every person or for none"):
        Poses.from_dict(data)


def coco(**changes: object) -> list:
    record = {**random_poses(1).to_coco(1)[0], **changes}
    return [{key: value for key, value in record.items() if value is not ...}]


@pytest.mark.parametrize(
    ("records", "says"),
    [
        (coco(keypoints=[0.5] * 42), "51 numbers for coco17, got 42"),
        (coco(keypoints=None), "got NoneType"),
        (coco(keypoints=...), "'keypoints'"),
        (coco(score=...), "'score'"),
        (coco(image_id=...), "'image_id'"),
        (coco(keypoints=["a"] * 51), "expected numbers"),
        (coco(keypoints=[[1]] * 50 + [[1, 2]]), "x, y and a score"),
        (coco(keypoints=[2.0] * 51), "0..1"),
        (coco() + coco(image_id=2), "one picture"),
        ([5], "record 0"),
    ],
)
def test_damaged_coco_results(records: list, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Poses.from_coco(records, COCO17)


# supervision


class Renamed:
    """The constructor of supervision 0.29 and later."""

    def __init__(
        self,
        xy,
        class_id=None,
        keypoint_confidence=None,
        detection_confidence=None,
        visible=None,
        data=None,
        *,
        confidence=None,
    ) -> None:
        assert confidence is None, "deprecated"
        self.xy, self.keypoint_confidence, self.visible, self.data = xy, keypoint_confidence, visible, data
        self.detection_confidence = detection_confidence


class Old:
    """The constructor of supervision 0.27."""

    def __init__(self, xy, class_id=None, confidence=None, data=None) -> None:
        self.xy, self.keypoint_confidence, self.data = xy, confidence, data


@pytest.mark.parametrize("kind", [Renamed, Old])
@pytest.mark.parametrize("count", [0, 2])
def test_supervision_of_either_naming(kind: type, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", types.SimpleNamespace(KeyPoints=kind))
    poses = random_poses(count, ids=True)
    result = poses.to_supervision(keypoint_threshold=0.5)
    hidden = poses.keypoint_scores < 0.5
    assert (result.xy[hidden] == 0).all() and (result.xy[~hidden] == poses.keypoints[~hidden]).all()
    assert result.xy.dtype == np.float32 and (result.keypoint_confidence == poses.keypoint_scores).all()
    assert (result.data["xyxy"] == poses.boxes).all() and (result.data["tracker_id"] == poses.ids).all()
    if kind is Renamed:
        assert (result.visible == ~hidden).all() and (result.detection_confidence == poses.scores).all()
    for array in (result.xy, result.keypoint_confidence, result.data["xyxy"]):
        assert array.flags.writeable  # theirs to change, and the poses stay


def test_supervision_itself() -> None:
    supervision = pytest.importorskip("supervision", reason="needs the package supervision")
    poses = random_poses(2)
    result = poses.to_supervision()
    assert isinstance(result, supervision.KeyPoints)
    assert len(result) == 2 and (result.xy == poses.keypoints).all()


def test_supervision_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(InputError, match="pip install supervision"):
        random_poses(1).to_supervision()
