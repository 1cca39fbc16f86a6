from __future__ import annotations

import numpy as np
import pytest

from boir_sdk.draw import draw, person_colour
from boir_sdk.errors import InputError
from boir_sdk.poses import Poses
from boir_sdk.skeleton import COCO17, CROWDPOSE14, Skeleton
from tests.sdk.test_poses import random_poses

LEFT, RIGHT = COCO17.keypoints.index("left_elbow"), COCO17.keypoints.index("right_elbow")


def standing(h: int, w: int, *, ids: list[int] | None = None, score: float = 0.9) -> Poses:
    """One person of a made-up shape over most of the picture: joints in a grid, left ones left."""
    k = np.arange(17)
    xy = np.stack([np.where(k % 2, 0.3, 0.7) * w, (0.1 + 0.8 * k / 17) * h], axis=1)[None]
    xy[0, LEFT, 0] = 0.1 * w  # off the line between its neighbours
    return Poses(xy, np.full((1, 17), score), [score], COCO17, ids)


@pytest.mark.parametrize(("h", "w"), [(270, 480), (2160, 3840)])
@pytest.mark.parametrize("options", [{}, {"boxes": True}, {"labels": True}, {"boxes": True, "labels": True}])
def test_draws_on_a_copy(h: int, w: int, options: dict) -> None:
    image = np.full((h, w, 3), 60, dtype=np.uint8)
    out = draw(image, standing(h, w), **options)
    assert out.shape == image.shape and out.dtype == np.uint8
    assert (image == 60).all()
    assert (out != 60).any(axis=2).sum() > 100


def test_each_option_adds_to_the_drawing() -> None:
    image, poses = np.zeros((270, 480, 3), dtype=np.uint8), standing(270, 480)
    inked = [
        np.count_nonzero(draw(image, poses, **options).any(axis=2))
        for options in ({}, {"boxes": True}, {"boxes": True, "labels": True})
    ]
    assert inked[0] < inked[1] < inked[2]


def test_nobody_leaves_the_picture_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    out = draw(image, Poses.empty(COCO17), boxes=True, labels=True)
    assert (out == image).all() and not np.shares_memory(out, image)


def test_a_keypoint_without_a_limb_is_not_drawn() -> None:
    """An ankle is drawn with its knee and not without."""
    image = np.zeros((200, 200, 3), np.uint8)
    xy = np.zeros((1, 17, 2), np.float32)
    xy[0, 13], xy[0, 15] = (60, 60), (140, 140)
    scores = np.zeros((1, 17), np.float32)
    scores[0, [13, 15]] = 0.5
    both = draw(image, Poses(xy, scores, [0.5], COCO17), keypoint_threshold=0.3)
    assert both[140, 140].any()
    scores[0, 13] = 0.0
    assert not draw(image, Poses(xy, scores, [0.5], COCO17), keypoint_threshold=0.3).any()


def test_keypoints_under_the_threshold_and_their_limbs_are_not_drawn() -> None:
    image, poses = np.zeros((270, 480, 3), dtype=np.uint8), standing(270, 480, score=0.3)
    assert not draw(image, poses, keypoint_threshold=0.31).any()
    assert draw(image, poses, keypoint_threshold=0.3).any()

    scores = np.full((1, 17), 0.9)
    scores[0, LEFT] = 0.05
    partly = draw(image, Poses(poses.keypoints, scores, [0.9], COCO17))
    x, y = np.round(poses.keypoints[0, LEFT]).astype(int)
    whole = draw(image, Poses(poses.keypoints, np.full((1, 17), 0.9), [0.9], COCO17))
    assert whole[y, x].any() and not partly[y - 1 : y + 2, x - 1 : x + 2].any()


def test_lines_are_wider_on_a_larger_picture() -> None:
    def width(h: int, w: int) -> int:
        hips = [COCO17.keypoints.index(f"{side}_hip") for side in ("left", "right")]
        scores = np.zeros((1, 17))
        scores[0, hips] = 1
        base = np.full((h, w, 3), 255, dtype=np.uint8)
        xy = np.full((1, 17, 2), h / 2)
        xy[0, hips] = [[0.2 * w, 0.5 * h], [0.8 * w, 0.5 * h]]
        out = draw(base, Poses(xy, scores, [1.0], COCO17))
        return int((out[:, w // 2] != 255).any(axis=1).sum())

    small, large = width(270, 480), width(2160, 3840)
    assert 2 <= small <= 8 and 2 * small < large <= 40


def test_left_and_right_differ_and_so_do_people() -> None:
    image = np.full((1080, 1920, 3), 60, dtype=np.uint8)
    first, second = (draw(image, standing(1080, 1920, ids=[number])) for number in (1, 2))
    spots = [tuple(np.round(standing(1080, 1920).keypoints[0, k]).astype(int)) for k in (LEFT, RIGHT)]
    (left, right), other_left = (
        (first[y, x].astype(int) for x, y in spots),
        second[spots[0][1], spots[0][0]].astype(int),
    )
    assert left.sum() > right.sum() + 60
    assert np.abs(left - other_left).max() > 40


def test_colours_follow_the_id_not_the_place_in_the_list() -> None:
    image = np.zeros((270, 480, 3), dtype=np.uint8)
    one = draw(image, standing(270, 480, ids=[5]))
    pair = Poses(
        np.concatenate([np.full((1, 17, 2), 5.0), standing(270, 480).keypoints]),
        np.concatenate([np.zeros((1, 17)), np.full((1, 17), 0.9)]),
        [0.1, 0.9],
        COCO17,
        [2, 5],
    )
    assert (draw(image, pair) == one).all()


def test_the_first_thirty_people_have_distinct_colours() -> None:
    colours = np.array([person_colour(i) for i in range(30)])
    distances = np.abs(colours[:, None] - colours[None]).max(axis=2) + 999 * np.eye(30)
    assert distances.min() > 12
    assert (colours.max(axis=1) >= 200).all()


@pytest.mark.parametrize("skeleton", [COCO17, CROWDPOSE14])
@pytest.mark.parametrize("scale", [1.0, 1e4, 1e30])
@pytest.mark.parametrize(("h", "w"), [(1, 1), (5, 300)])
def test_points_far_outside_and_tiny_pictures(h: int, w: int, scale: float, skeleton: Skeleton) -> None:
    poses = random_poses(3, skeleton, ids=True)
    far = Poses(poses.keypoints * np.float32(scale), poses.keypoint_scores, poses.scores, skeleton, poses.ids)
    out = draw(np.zeros((h, w, 3), dtype=np.uint8), far, boxes=True, labels=True)
    assert out.shape == (h, w, 3)


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(InputError, match="float64"):
        draw(np.zeros((4, 4, 3)), Poses.empty(COCO17))
