from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from boir_sdk import oks
from boir_sdk.skeleton import COCO17, CROWDPOSE14, Skeleton

COORDINATES = st.floats(-2000, 5000, width=32, allow_subnormal=False)


@st.composite
def people(draw: st.DrawFn, most: int = 6) -> tuple[np.ndarray, Skeleton]:
    skeleton = draw(st.sampled_from([COCO17, CROWDPOSE14]))
    count = draw(st.integers(1, most))
    return draw(hnp.arrays(np.float32, (count, len(skeleton), 2), elements=COORDINATES)), skeleton


def oks_by_the_book(a: np.ndarray, b: np.ndarray, sigmas: tuple[float, ...]) -> float:
    def area(pose: np.ndarray) -> float:
        return float((pose[:, 0].max() - pose[:, 0].min()) * (pose[:, 1].max() - pose[:, 1].min()))

    scale = (area(a) + area(b)) / 2 + 2.220446049250313e-16
    total = 0.0
    for (ax, ay), (bx, by), sigma in zip(a, b, sigmas, strict=True):
        total += math.exp(-(float(ax - bx) ** 2 + float(ay - by) ** 2) / (2 * sigma) ** 2 / scale / 2)
    return total / len(sigmas)


@given(people())
def test_similarity_equals_the_formula_and_is_symmetric_in_range_and_one_with_itself(case: tuple) -> None:
    poses, skeleton = case
    matrix = oks.similarity(poses, poses, skeleton.sigmas)
    assert matrix.shape == (len(poses), len(poses)) and matrix.dtype == np.float64
    assert (matrix == matrix.T).all()
    assert (np.diag(matrix) == 1).all()
    assert matrix.min() >= 0 and matrix.max() <= 1
    for i, j in np.ndindex(matrix.shape):
        assert matrix[i, j] == pytest.approx(oks_by_the_book(poses[i], poses[j], skeleton.sigmas), abs=1e-12)


@given(people(most=1), st.sampled_from([0.25, 2.0, 8.0]))
def test_similarity_does_not_depend_on_scale(case: tuple, factor: float) -> None:
    poses, skeleton = case
    moved = poses + np.float32(3)
    if oks.areas(poses)[0] < 1:
        return
    before = oks.similarity(poses, moved, skeleton.sigmas)
    after = oks.similarity(poses * np.float32(factor), moved * np.float32(factor), skeleton.sigmas)
    assert after == pytest.approx(before, abs=1e-9)


def test_scores_behind_the_coordinates_are_not_read() -> None:
    rng = np.random.default_rng(0)
    poses = rng.normal(size=(3, 17, 3)).astype(np.float32)
    assert (oks.similarity(poses, poses, COCO17.sigmas) == oks.similarity(poses[..., :2], poses, COCO17.sigmas)).all()


def test_area_zero_counts_the_joints_that_coincide() -> None:
    a, b = np.zeros((1, 17, 2)), np.zeros((1, 17, 2))
    b[0, :, 0] = 7
    assert oks.similarity(a, a, COCO17.sigmas)[0, 0] == 1
    assert oks.similarity(a, b, COCO17.sigmas)[0, 0] == 0


@given(people(most=8), st.data())
def test_suppression_keeps_no_two_alike_and_explains_every_drop(case: tuple, data: st.DataObject) -> None:
    poses, skeleton = case
    levels = st.sampled_from([0.1, 0.2, 0.5])
    scores = np.array(data.draw(st.lists(levels, min_size=len(poses), max_size=len(poses))))
    threshold = data.draw(st.sampled_from([0.0, 0.3, 0.7, 0.8]))
    kept = oks.suppress(poses, scores, skeleton.sigmas, threshold).tolist()
    matrix = oks.similarity(poses, poses, skeleton.sigmas)
    rank = {i: place for place, i in enumerate(sorted(range(len(poses)), key=lambda i: (-scores[i], -i)))}
    assert [rank[i] for i in kept] == sorted(rank[i] for i in kept)
    for i in range(len(poses)):
        better = [j for j in kept if rank[j] < rank[i]]
        assert (i in kept) == all(matrix[i, j] <= threshold for j in better)


def test_a_similarity_equal_to_the_threshold_is_kept() -> None:
    poses = np.random.default_rng(2).normal(size=(2, 17, 2)) * 50
    exact = float(oks.similarity(poses[:1], poses[1:], COCO17.sigmas)[0, 0])
    assert oks.suppress(poses, [0.5, 0.9], COCO17.sigmas, exact).tolist() == [1, 0]
    assert oks.suppress(poses, [0.5, 0.9], COCO17.sigmas, np.nextafter(exact, 0)).tolist() == [1]


def test_of_equal_scores_the_higher_index_comes_first() -> None:
    poses = np.zeros((3, 17, 2))
    assert oks.suppress(poses, [0.4, 0.4, 0.4], COCO17.sigmas, 0.8).tolist() == [2]


def test_nobody_is_kept_of_nobody() -> None:
    kept = oks.suppress(np.zeros((0, 17, 3)), np.zeros(0), COCO17.sigmas, 0.8)
    assert kept.shape == (0,) and kept.dtype == np.int64
    assert oks.similarity(np.zeros((0, 17, 3)), np.zeros((2, 17, 3)), COCO17.sigmas).shape == (0, 2)
