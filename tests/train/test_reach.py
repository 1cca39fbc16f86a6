"""Who teaches at a network size: scale normalisation for a model that looks twice."""

from __future__ import annotations

import numpy as np
import pytest

from boir_sdk.errors import ConfigError
from boir_train import config
from boir_train.data.draws import SeededDraws
from boir_train.data.reach import judged, within
from boir_train.data.targets import build


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """Corners TL, TR, BL, BR in cells."""
    return np.array([[left, top], [right, top], [left, bottom], [right, bottom]], float)


SMALL, LARGE, TINY = box(2, 2, 6, 12), box(4, 0, 24, 30), box(28, 28, 29, 29)
EVERYBODY = np.stack([SMALL, LARGE, TINY])  # longer sides 40, 120 and 4 network pixels


def test_sizes_are_network_pixels_and_ends_count():
    assert within(EVERYBODY, ()).tolist() == [True, True, True]
    assert within(EVERYBODY, (5, 100)).tolist() == [True, False, False]
    assert within(EVERYBODY, (4, 120)).tolist() == [True, True, True]
    assert within(EVERYBODY, (4.1, 119.9)).tolist() == [True, False, False]
    assert within(np.zeros((0, 4, 2)), (4, 120)).shape == (0,)


def test_only_the_others_boxes_are_not_judged():
    valid = np.ones((32, 32), bool)
    valid[0] = False
    cells = judged(valid, EVERYBODY, within(EVERYBODY, (5, 100)))
    expected = valid.copy()
    expected[0:31, 4:25] = False  # the large one
    expected[28:30, 28:30] = False  # the tiny one
    expected[2:13, 2:7] = True  # the taught one stands before the large one
    np.testing.assert_array_equal(cells, expected)
    np.testing.assert_array_equal(judged(valid, EVERYBODY, within(EVERYBODY, ())), valid)
    outside = box(-40, -40, -20, -10)[None]
    np.testing.assert_array_equal(judged(valid, outside, np.array([False])), valid)


def test_those_out_of_reach_are_no_instances_but_stay_in_the_maps():
    keypoints = np.zeros((3, 17, 3))
    keypoints[:, :, :2] = EVERYBODY.mean(axis=1)[:, None]
    keypoints[:, :, 2] = 2
    area = np.array([16 * 40.0, 16 * 600.0, 16.0])
    taught = within(EVERYBODY, (5, 100))
    options = {"min_area": 0.0, "centre": "box"}
    every = build(keypoints, EVERYBODY, area, 32, SeededDraws(1), **options)
    some = build(keypoints, EVERYBODY, area, 32, SeededDraws(1), **options, taught=taught)
    assert (every.num_inst, some.num_inst) == (3, 1)
    np.testing.assert_array_equal(some.keypoints[0], keypoints[0].astype(np.float32))
    np.testing.assert_array_equal(some.multi_heatmap, every.multi_heatmap)


@pytest.mark.parametrize("reach", ["[12]", "[300, 12]", "[-1, 5]", "[1, 2, 3]"])
def test_a_reach_is_two_sizes(reach):
    with pytest.raises(ConfigError, match=r"data\.reach"):
        config.load("nano", ["data.root=x", f"data.reach={reach}"])
