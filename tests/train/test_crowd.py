"""Crowds made of annotated pictures: where people land, who is left alone, and what is judged."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from boir_sdk.errors import ConfigError
from boir_sdk.skeleton import COCO17
from boir_train import config
from boir_train.data.augment import AugmentSettings
from boir_train.data.crowd import Scene, mosaic, paste
from boir_train.data.datasets import Picture
from boir_train.data.loader import Request, Samples, SampleSettings

COLOURS = {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200), "grey": (90, 90, 90)}


class Script:
    """Draws in the order they are asked for."""

    def __init__(self, *numbers: float) -> None:
        self.numbers = list(numbers)

    def uniform(self) -> float:
        return self.numbers.pop(0)

    def integer(self, low: int, high: int) -> int:
        number = self.numbers.pop(0)
        assert low <= number <= high
        return int(number)


def scene(colour: str, box: tuple[int, int, int, int], size: tuple[int, int] = (120, 160)) -> Scene:
    """A person who is a filled rectangle, keypoints evenly on his diagonal; the picture's first row isn't judged."""
    image = np.zeros((*size, 3), np.uint8)
    x, y, w, h = box
    image[y : y + h, x : x + w] = COLOURS[colour]
    valid = np.ones(size, bool)
    valid[0] = False
    steps = np.linspace(0.05, 0.95, 17)
    keypoints = np.stack([x + steps * w, y + steps * h, np.full(17, 2.0)], axis=1)[None]
    outline = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    return Scene(image, valid, keypoints, np.array([box], float), (outline,))


def test_four_pictures_and_their_people_in_one():
    names = list(COLOURS)
    parts = [scene(name, (40, 20, 20, 80)) for name in names[:3]] + [scene("grey", (10, 30, 12, 40), (200, 100))]
    made = mosaic(parts)
    assert made.image_rgb.shape == (160, 160, 3)
    assert made.keypoints.shape == (4, 17, 3)
    corners = [(0, 0), (80, 0), (0, 80), (80, 80)]  # x, y
    for name, box, points, (x, y) in zip(names, made.boxes, made.keypoints, corners, strict=True):
        middle = box[:2] + box[2:] / 2
        assert x <= middle[0] < x + 80
        assert y <= middle[1] < y + 80
        assert tuple(made.image_rgb[int(middle[1]), int(middle[0])]) == COLOURS[name]
        assert np.abs(points[:, :2].mean(axis=0) - middle).max() < 1
    np.testing.assert_allclose(made.boxes[0], [20, 10, 10, 40])
    np.testing.assert_allclose(made.boxes[3], [80 + 4, 80 + 12, 4.8, 16])
    assert not made.valid[0].any()  # the first row of the upper two
    assert made.valid[1:60, :80].all()
    assert not made.valid[60:80].any()  # nothing is there
    assert not made.valid[80:, 120:].any()


@pytest.mark.parametrize("edges", [True, False])
def test_positions_are_counted_from_where_the_run_counts_them(edges):
    """A person whose middle is a keypoint: the middle of the pixels that show him, before and after."""
    part = scene("red", (40, 20, 20, 80))
    part.keypoints[0, 0, :2] = [50, 60] if edges else [49.5, 59.5]
    made = mosaic([part, *(scene("grey", (10, 30, 12, 40)) for _ in range(3))], edges=edges)
    donor = scene("green", (60, 10, 30, 40), (90, 160))
    donor.keypoints[0, 0, :2] = [75, 30] if edges else [74.5, 29.5]
    both = paste(part, donor, Script(0, 0, 0.5, 1.0, 0.5), edges=edges)  # at twice his size
    for image, colour, point in (
        (made.image_rgb[:80, :80], "red", made.keypoints[0, 0]),
        (both.image_rgb, "green", both.keypoints[1, 0]),
    ):
        y, x = np.nonzero((np.abs(image.astype(int) - COLOURS[colour]) < 90).all(axis=2))
        middle = np.array([x.mean(), y.mean()]) + (0.5 if edges else 0)
        np.testing.assert_allclose(point[:2], middle, atol=0.3 if image is both.image_rgb else 0.01)


def test_somebody_is_set_beside_somebody_at_his_size():
    one, other = scene("red", (20, 20, 20, 80)), scene("green", (60, 10, 30, 40), (90, 160))
    both = paste(one, other, Script(0, 0, 0.5, 1.0, 0.5))  # as tall, and just to the right
    assert len(both.boxes) == len(both.keypoints) == len(both.outlines) == 2
    np.testing.assert_allclose(both.boxes[1], [40, 20, 60, 80])
    assert tuple(both.image_rgb[60, 60]) == COLOURS["green"]
    assert tuple(both.image_rgb[60, 30]) == COLOURS["red"]
    np.testing.assert_allclose(both.keypoints[1, :, :2], [40, 20] + 2 * (other.keypoints[0, :, :2] - [60, 10]))
    np.testing.assert_array_equal(one.image_rgb, scene("red", (20, 20, 20, 80)).image_rgb)  # the original stays


def test_what_is_pasted_is_judged_and_what_leaves_the_picture_has_no_keypoint():
    one, other = scene("red", (116, 40, 20, 40)), scene("green", (60, 10, 24, 40), (90, 160))
    one.valid[:] = False
    both = paste(one, other, Script(0, 0, 0.5, 1.0, 0.5))
    outside = both.keypoints[1, :, 2] == 0
    assert both.boxes[1].tolist() == [136, 40, 24, 40]
    assert not outside.any()
    assert both.valid.sum() == pytest.approx(24 * 40, rel=0.1)
    farther = paste(one, other, Script(0, 0, 0.5, 1.15, 0.5))  # further than drawn numbers go
    outside = farther.keypoints[1, :, 2] == 0
    assert 0 < outside.sum() < 9
    assert (farther.keypoints[1, ~outside, 0] < 160).all()
    assert farther.boxes[1][0] + farther.boxes[1][2] == 160
    assert paste(one, other, Script(0, 0, 0.5, 1.5, 0.5)) is one  # mostly outside


def test_who_would_hide_another_or_is_not_worth_it_stays_out():
    one, other = scene("red", (60, 20, 20, 80)), scene("green", (60, 10, 30, 60), (90, 160))
    assert paste(one, other, Script(0, 0, 0.5, 0.5, 0.5)) is one  # right before him
    beside = Script(0, 0, 0.5, 1.0, 0.5)
    few = other.keypoints.copy()
    few[0, 4:, 2] = 0
    for poor in (
        dataclasses.replace(other, outlines=(None,)),
        dataclasses.replace(other, keypoints=few),
        dataclasses.replace(other, boxes=np.array([[60, 10, 20, 60.0]])),
    ):
        assert paste(one, poor, Script(*beside.numbers)) is one
    nobody = dataclasses.replace(one, keypoints=one.keypoints[:0], boxes=one.boxes[:0], outlines=())
    assert paste(nobody, other, Script()) is nobody
    assert paste(one, nobody, Script()) is one


@pytest.fixture
def pictures(tmp_path):
    made = []
    for number, colour in enumerate(COLOURS):
        each = scene(colour, (40, 20, 30, 80))
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), each.image_rgb[:, :, ::-1])
        made.append(Picture(number, path, 120, 160, each.keypoints, each.boxes, (), True, each.outlines))
    return made


def samples(pictures, **chances):
    settings = SampleSettings(
        skeleton=COCO17,
        mean=(0, 0, 0),
        std=(1, 1, 1),
        augment=AugmentSettings(
            min_scale=1, max_scale=1, scale_side="long", max_rotation=0, max_translate=0, **chances
        ),
        min_area=0,
        box_clip="corners",
        ignore_unlabelled=False,
    )
    made = Samples(pictures, settings)
    return [made[Request(index, 128, (0, 0, index, 1))] for index in range(4)]


def test_the_loader_makes_crowds_by_chance_and_always_the_same_ones(pictures):
    alone = [sample.targets.num_inst for sample in samples(pictures)]
    crowd = samples(pictures, mosaic=1.0)
    assert alone == [1, 1, 1, 1]
    assert [sample.targets.num_inst for sample in crowd] == [4, 4, 4, 4]
    pasted = samples(pictures, paste=1.0)
    assert max(sample.targets.num_inst for sample in pasted) == 2
    for first, second in zip(crowd + pasted, samples(pictures, mosaic=1.0) + samples(pictures, paste=1.0), strict=True):
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.targets.keypoints, second.targets.keypoints)


@pytest.mark.parametrize("setting", ["augment.mosaic=1.5", "augment.paste=-0.1"])
def test_chances_are_probabilities(setting):
    with pytest.raises(ConfigError, match="is a probability"):
        config.load("nano", ["data.root=x", setting])
