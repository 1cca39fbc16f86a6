"""Targets beyond what the fixtures show: borders, duplicates, the options of ours."""

from __future__ import annotations

import numpy as np
import pytest

from boir_train.data import targets
from tests.support.scripted_draws import ScriptedDraws


def corners(x1: float, y1: float, x2: float, y2: float) -> np.ndarray:
    return np.array([[x1, y1], [x2, y1], [x1, y2], [x2, y2]], np.float64)


@pytest.mark.parametrize(
    ("x", "y", "cell"),
    [(5.9, 7.2, (7, 5)), (-0.9, 3.0, (3, 0)), (0.0, -0.1, (0, 0)), (15.99, 15.99, (15, 15))],
)
def test_a_coordinate_is_truncated_to_its_cell(x: float, y: float, cell: tuple[int, int]) -> None:
    heatmap = np.zeros((16, 16), np.float32)
    targets.draw(heatmap, x, y, 2)
    assert np.argwhere(heatmap == 1).tolist() == [list(cell)]


@pytest.mark.parametrize(("x", "y"), [(-1.0, 3.0), (3.0, 16.0), (16.0, 3.0), (3.0, -1.5)])
def test_outside_the_map_nothing_is_drawn(x: float, y: float) -> None:
    heatmap = np.zeros((16, 16), np.float32)
    targets.draw(heatmap, x, y, 3)
    assert not heatmap.any()


def test_overlapping_gaussians_keep_the_larger_value() -> None:
    alone, both = np.zeros((16, 16), np.float32), np.zeros((16, 16), np.float32)
    targets.draw(alone, 5, 5, 3)
    targets.draw(both, 5, 5, 3)
    targets.draw(both, 7, 5, 3)
    assert (both >= alone).all()
    assert both[5, 5] == both[5, 7] == 1


@pytest.mark.parametrize(
    ("clip", "box"), [("published", [0, 2, 12, 4]), ("corners", [0, 2, 8, 4])], ids=["published", "corners"]
)
def test_box_clip(clip: targets.BoxClip, box: list[float]) -> None:
    # Sticks out by 4 cells on the left.
    np.testing.assert_allclose(targets.target_box(corners(-4, 2, 8, 6), 16, clip), box)


def test_the_smaller_of_two_people_in_one_cell_stays() -> None:
    keypoints = np.full((2, 3, 3), [6.4, 6.4, 2.0])
    boxes = np.stack([corners(0, 0, 12, 12), corners(4, 4, 9, 9)])
    draws = ScriptedDraws(integers=[0, 0, 0, 0])
    made = targets.build(keypoints, boxes, np.array([400.0, 100.0]), 16, draws, min_area=0)
    assert made.num_inst == 1
    np.testing.assert_allclose(made.boxes[0], [4, 4, 5, 5])
    assert not draws.integers  # the dropped person's draws are spent


@pytest.mark.parametrize(("jitter", "cell"), [((-1, 1), [0, 0]), ((1, 1), [1, 1])])
def test_jitter_never_leaves_the_map(jitter: tuple[int, int], cell: list[int]) -> None:
    keypoints = np.full((1, 3, 3), [0.2, 0.2, 2.0])
    made = targets.build(
        keypoints, corners(0, 0, 4, 4)[None], np.array([50.0]), 16, ScriptedDraws(integers=jitter), min_area=0
    )
    assert made.instance_coord.tolist() == [cell]


@pytest.mark.parametrize(("area", "people"), [(1023.9, 0), (1024.0, 1)])
def test_small_people_have_no_centre(area: float, people: int) -> None:
    keypoints = np.full((1, 3, 3), [6.0, 6.0, 2.0])
    integers = [0, 0] * people
    made = targets.build(
        keypoints, corners(2, 2, 9, 9)[None], np.array([area]), 16, ScriptedDraws(integers=integers), min_area=1024
    )
    assert made.num_inst == people
    assert made.multi_heatmap[:3].any()
    assert made.multi_heatmap[3].any() == bool(people)
    assert len(made.instance_coord) == 1  # a placeholder, or the person


def test_an_annotated_keypoint_outside_the_map_keeps_its_mask() -> None:
    keypoints = np.array([[[5.0, 5.0, 2.0], [30.0, 5.0, 1.0], [0.0, 0.0, 0.0]]])
    keypoints[0, 0, :2] = -12.0, 5.0  # the mean of the annotated ones is (9, 5)
    made = targets.build(
        keypoints, corners(2, 2, 9, 9)[None], np.array([2000.0]), 16, ScriptedDraws(integers=[0, 0]), min_area=1024
    )
    assert made.instance_mask[0, :, 0, 0].tolist() == [1, 1, 0]
    assert not made.instance_heatmap.any()
    assert made.instance_coord.tolist() == [[5, 9]]


@pytest.mark.parametrize(
    ("box", "cell"),
    [
        ((4, 2, 9, 13), (7, 6)),  # whole
        ((-8, 2, 4, 6), (4, 2)),  # sticks out on the left: the middle of what is visible
        ((10, 10, 24, 24), (13, 13)),
    ],
)
def test_the_box_rule_puts_the_centre_in_the_middle_of_the_visible_box(
    box: tuple[float, float, float, float], cell: tuple[int, int]
) -> None:
    # Keypoints in a corner: their mean is elsewhere.
    keypoints = np.full((1, 3, 3), [2.0, 14.0, 2.0])
    boxes = corners(*box)[None]
    draws = ScriptedDraws(integers=[0, 0])
    made = targets.build(keypoints, boxes, np.array([400.0]), 16, draws, min_area=0, centre="box")
    assert made.instance_coord.tolist() == [list(cell)]
    assert np.argwhere(made.multi_heatmap[-1] == 1).tolist() == [list(cell)]


def test_the_box_rule_leaves_out_who_is_outside_or_too_small() -> None:
    keypoints = np.full((3, 3, 3), [2.0, 2.0, 2.0])
    boxes = np.stack([corners(-9, 2, -1, 6), corners(17, 2, 20, 6), corners(2, 2, 6, 6)])
    areas = np.array([400.0, 400.0, 60.0])
    made = targets.build(keypoints, boxes, areas, 16, ScriptedDraws(integers=[]), min_area=64, centre="box")
    assert made.num_inst == 0
    assert not made.multi_heatmap[-1].any()
