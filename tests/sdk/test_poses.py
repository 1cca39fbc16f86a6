from __future__ import annotations

import copy
import dataclasses
import pickle

import numpy as np
import pytest

from boir_sdk.errors import InputError
from boir_sdk.poses import Poses
from boir_sdk.skeleton import COCO17, CROWDPOSE14, Skeleton


def random_poses(count: int, skeleton: Skeleton = COCO17, *, ids: bool = False, seed: int = 0) -> Poses:
    rng = np.random.default_rng(seed)
    return Poses(
        rng.normal(300, 200, (count, len(skeleton), 2)),
        rng.random((count, len(skeleton))),
        rng.random(count),
        skeleton,
        rng.permutation(count) + 7 if ids else None,
    )


def same(a: Poses, b: Poses) -> bool:
    for field in dataclasses.fields(Poses):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, np.ndarray):
            if not isinstance(y, np.ndarray) or x.dtype != y.dtype or not np.array_equal(x, y):
                return False
        elif x is not y:
            return False
    return True


@pytest.mark.parametrize("skeleton", [COCO17, CROWDPOSE14])
@pytest.mark.parametrize("count", [0, 1, 4])
def test_shapes_and_types(count: int, skeleton: Skeleton) -> None:
    poses = random_poses(count, skeleton, ids=True)
    k = len(skeleton)
    assert len(poses) == count
    for name, dtype, shape in [
        ("keypoints", np.float32, (count, k, 2)),
        ("keypoint_scores", np.float32, (count, k)),
        ("scores", np.float32, (count,)),
        ("boxes", np.float32, (count, 4)),
        ("ids", np.int64, (count,)),
    ]:
        array = getattr(poses, name)
        assert array.dtype == dtype and array.shape == shape
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        poses.scores = None  # type: ignore[misc, assignment]


def test_boxes_are_round_all_keypoints() -> None:
    poses = random_poses(3)
    for i in range(3):
        x, y = poses.keypoints[i].T
        assert poses.boxes[i].tolist() == [x.min(), y.min(), x.max(), y.max()]


def test_the_callers_arrays_stay_theirs() -> None:
    keypoints = np.zeros((1, 17, 2), dtype=np.float32)
    scores, ids = np.zeros(1, dtype=np.float32), np.zeros(1, dtype=np.int64)
    poses = Poses(keypoints, np.zeros((1, 17), dtype=np.float32), scores, COCO17, ids)
    keypoints[:], scores[:], ids[:] = 5, 5, 5
    assert not poses.keypoints.any() and not poses.scores.any() and poses.ids is not None and not poses.ids.any()


def test_empty() -> None:
    poses = Poses.empty(CROWDPOSE14)
    assert len(poses) == 0 and poses.keypoints.shape == (0, 14, 2) and poses.ids is None and not list(poses)


def changed(**values: object) -> dict:
    base = {
        "keypoints": np.zeros((2, 17, 2)),
        "keypoint_scores": np.full((2, 17), 0.5),
        "scores": [0.5, 0.6],
        "skeleton": COCO17,
        "ids": [1, 2],
    }
    return {**base, **values}


def with_one(shape: tuple[int, ...], value: float) -> np.ndarray:
    array = np.full(shape, 0.5)
    array.flat[-1] = value
    return array


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"keypoints": np.zeros((2, 14, 2))}, r"keypoints: expected shape \[2, 17, 2\], got \[2, 14, 2\]"),
        ({"keypoints": np.zeros((2, 17, 3))}, r"got \[2, 17, 3\]"),
        ({"keypoints": np.zeros((3, 17, 2))}, r"got \[3, 17, 2\]"),
        ({"keypoints": [[1, 2], [3]]}, "keypoints: expected numbers"),
        ({"keypoints": "left"}, "keypoints: expected numbers"),
        ({"keypoints": np.zeros((2, 17, 2), complex)}, "complex128"),
        ({"keypoints": with_one((2, 17, 2), np.nan)}, r"keypoints: expected finite numbers, got nan at \[1, 16, 1\]"),
        ({"keypoints": with_one((2, 17, 2), 1e300)}, "got inf"),
        ({"keypoint_scores": np.zeros((2, 14))}, r"keypoint_scores: expected shape \[2, 17\], got \[2, 14\]"),
        ({"keypoint_scores": with_one((2, 17), 1.5)}, r"keypoint_scores: expected values in 0..1, got 0.5..1.5"),
        ({"keypoint_scores": with_one((2, 17), -0.25)}, r"got -0.25..0.5"),
        ({"keypoint_scores": with_one((2, 17), np.inf)}, "got inf"),
        ({"scores": [[0.5], [0.6]]}, r"scores: expected shape \[N\], got \[2, 1\]"),
        ({"scores": [0.5, None]}, "scores: expected numbers"),
        ({"scores": [0.5, np.nan]}, r"scores: expected finite numbers, got nan at \[1\]"),
        ({"ids": [1]}, r"ids: expected 2 integers, got int64 of shape \[1\]"),
        ({"ids": [1.5, 2.5]}, "ids: expected 2 integers, got float64"),
        ({"ids": np.array([1, 2**63], dtype=np.uint64)}, "64-bit signed"),
    ],
)
def test_impossible_values_are_named(values: dict, says: str) -> None:
    Poses(**changed())
    with pytest.raises(InputError, match=says):
        Poses(**changed(**values))


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (0, [0]),
        (-1, [3]),
        (np.int64(2), [2]),
        (slice(1, 3), [1, 2]),
        (slice(None, None, -1), [3, 2, 1, 0]),
        (np.array([True, False, False, True]), [0, 3]),
        ([False, False, False, False], []),
        ([2, 0, 2], [2, 0, 2]),
        (np.array([1, 3]), [1, 3]),
        ([], []),
    ],
)
@pytest.mark.parametrize("ids", [False, True])
def test_selection(index: object, expected: list[int], ids: bool) -> None:
    poses = random_poses(4, ids=ids)
    got = poses[index]
    assert isinstance(got, Poses) and len(got) == len(expected)
    assert (got.keypoints == poses.keypoints[expected]).all()
    assert (got.keypoint_scores == poses.keypoint_scores[expected]).all()
    assert (got.scores == poses.scores[expected]).all()
    assert (got.boxes == poses.boxes[expected]).all()
    if ids:
        assert got.ids is not None and poses.ids is not None and (got.ids == poses.ids[expected]).all()
    else:
        assert got.ids is None


@pytest.mark.parametrize("index", [4, -5, [9], [True, False], "a", 1.0, [0.5], (0, 1), None, [[0]]])
def test_impossible_selections(index: object) -> None:
    with pytest.raises((IndexError, InputError)):
        # A tuple would be read as two axes by NumPy; here it's a list of people and out of range.
        random_poses(1)[index if index != (0, 1) else (0, 1)]


def test_iteration_gives_people() -> None:
    poses = random_poses(3, ids=True)
    people = list(poses)
    assert [len(person) for person in people] == [1, 1, 1]
    assert [float(person.scores[0]) for person in people] == poses.scores.tolist()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda poses: pickle.loads(pickle.dumps(poses))])  # noqa: S301
def test_copies_are_equal_and_still_read_only(duplicate: object) -> None:
    poses = random_poses(2, ids=True)
    again = duplicate(poses)
    assert np.array_equal(again.keypoints, poses.keypoints) and np.array_equal(again.ids, poses.ids)
    assert not again.keypoints.flags.writeable
    assert again.skeleton == poses.skeleton


def test_repr_is_short() -> None:
    assert repr(random_poses(2, ids=True)).startswith("Poses(2 x coco17, scores=[")
    assert len(repr(random_poses(2))) < 100
