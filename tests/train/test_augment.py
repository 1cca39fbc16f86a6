"""Augmentation: geometry as properties, and the options that the published runs don't use."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boir_sdk.skeleton import COCO17
from boir_sdk.warp import apply, fit
from boir_train.data.augment import (
    AugmentSettings,
    Window,
    augment,
    change_colours,
    draw_window,
    matrix,
    transform,
    warp_picture,
)
from tests.support.scripted_draws import ScriptedDraws

PLAIN = AugmentSettings(min_scale=1, max_scale=1, max_rotation=0, max_translate=0, flip=0.5)


@given(
    side=st.floats(20, 2000),
    angle=st.floats(-180, 180),
    x=st.floats(-500, 500),
    y=st.floats(-500, 500),
    target=st.integers(1, 40).map(lambda n: 4 * n),
)
def test_the_window_fills_the_target(side: float, angle: float, x: float, y: float, target: int) -> None:
    window = Window(side, angle, (x, y))
    affine = matrix(window, target)
    np.testing.assert_allclose(transform(np.array([x, y]), affine), [target / 2] * 2, atol=1e-6)
    assert np.hypot(affine[0, 0], affine[1, 0]) == pytest.approx(target / side)
    # Cells are input pixels divided by the stride, without a half-pixel shift.
    np.testing.assert_allclose(matrix(window, 4 * target), 4 * affine, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("side", "base"), [("short", 60), ("long", 100)])
def test_the_scale_is_of_the_side_that_was_asked_for(side: str, base: float) -> None:
    settings = AugmentSettings(scale_side=side, max_translate=0)  # type: ignore[arg-type]
    window = draw_window(100, 60, settings, ScriptedDraws([0.0, 0.5]))
    assert window.side == pytest.approx(0.75 * base)
    assert window.angle == 0


def test_a_tiny_picture_is_not_translated() -> None:
    draws = ScriptedDraws([0.5, 0.5])
    assert draw_window(3, 3, AugmentSettings(), draws).centre == (1.5, 1.5)


@pytest.mark.parametrize("flipped", [False, True])
def test_picture_mask_and_keypoints_move_together(flipped: bool) -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[20:28, 40:48] = 255
    keypoints = np.zeros((1, 17, 3))
    keypoints[0, 5] = [44, 24, 2]  # the left shoulder
    valid = np.ones((64, 64), bool)
    valid[:, :16] = False
    got = augment(
        image,
        valid,
        keypoints,
        np.array([[40.0, 20, 8, 8]]),
        64,
        COCO17,
        PLAIN,
        ScriptedDraws([0, 0.5, 0.4 if flipped else 0.6]),
    )
    joint = 6 if flipped else 5
    x, y, v = got.keypoints[0, joint]
    assert v == 2
    assert got.image_rgb[round(y * 4), round(x * 4)].tolist() == [255] * 3
    assert got.valid.mean() == pytest.approx(0.75)
    assert got.valid[0, 0] == flipped
    assert got.area.tolist() == [64]
    top_left, top_right, bottom_left, _ = got.corners[0]
    assert top_left[0] < top_right[0]
    assert top_left[1] < bottom_left[1]


@pytest.mark.parametrize(("mirror", "off_by"), [("exact", 0.0), ("published", 0.75)])
def test_how_far_mirrored_targets_lie_from_the_picture(mirror: str, off_by: float) -> None:
    """T2.5 mirrors cells as R - 1 - x, three quarters of a cell beside the mirrored picture; "exact" doesn't."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[20:25, 40:45] = 255  # its middle is pixel (42, 22)
    keypoints = np.zeros((1, 17, 3))
    keypoints[0, 5] = [42, 22, 2]
    got = augment(
        image,
        np.ones((64, 64), bool),
        keypoints,
        np.array([[40.0, 20, 5, 5]]),
        64,
        COCO17,
        dataclasses.replace(PLAIN, mirror=mirror),  # type: ignore[arg-type]
        ScriptedDraws([0, 0.5, 0.4]),
    )
    _, columns = np.nonzero(got.image_rgb[..., 0])
    assert columns.mean() / 4 - got.keypoints[0, 6, 0] == pytest.approx(off_by)


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("size", [256, 448])
def test_edges_agree_with_what_inference_shows_a_network_that_resizes(size: int, flipped: bool) -> None:
    """The same pixels in the same places as `boir_sdk.warp` makes, of the mirrored picture as of the picture."""
    image = np.pad(np.full((64, 64, 3), 255, np.uint8), ((100, 476), (300, 276), (0, 0)))
    image = cv2.GaussianBlur(image, (0, 0), 12)
    keypoints = np.zeros((1, 17, 3))
    keypoints[0, 5] = [331, 131, 2]
    seen = fit(640, 640, size, rule="long", multiple=32, resample="area")
    shown = apply(np.ascontiguousarray(image[:, ::-1]) if flipped else image, seen)
    expected = seen.affine @ [639 - 331 if flipped else 331, 131, 1]

    difference = {}
    for align in ("edges", "published"):
        settings = dataclasses.replace(PLAIN, mirror="exact", align=align, area_resample=True)
        got = augment(
            image,
            np.ones((640, 640), bool),
            keypoints,
            np.array([[300.0, 100, 64, 64]]),
            size,
            COCO17,
            settings,
            ScriptedDraws([0, 0.5, 0.4 if flipped else 0.6]),
        )
        difference[align] = np.abs(got.image_rgb.astype(int) - shown).max()
        if align == "edges":
            np.testing.assert_allclose(4 * got.keypoints[0, 6 if flipped else 5, :2], expected, atol=1e-6)
    assert difference["edges"] <= 2 < difference["published"]


def test_cells_from_outside_the_picture_are_invalid() -> None:
    settings = AugmentSettings(min_scale=2, max_scale=2, max_rotation=0, max_translate=0)
    nobody = np.zeros((0, 17, 3)), np.zeros((0, 4))
    image = np.full((64, 64, 3), 200, np.uint8)
    got = augment(image, np.ones((64, 64), bool), *nobody, 128, COCO17, settings, ScriptedDraws([0, 0.5, 0.9]))
    assert got.valid.mean() == pytest.approx(0.25, abs=0.05)
    assert not got.valid[:7].any()
    assert got.valid[9:23, 9:23].all()


def test_area_resampling_averages_where_bilinear_skips_and_keeps_positions() -> None:
    fine = np.zeros((512, 512, 3), np.uint8)
    fine[:, ::2] = 200  # stripes that a reduction by 4 can't show
    affine = matrix(Window(512, 0, (256, 256)), 128)
    rough = warp_picture(fine, affine, 128, area_resample=False)[4:-4, 4:-4]
    smooth = warp_picture(fine, affine, 128, area_resample=True)[4:-4, 4:-4]
    assert np.abs(smooth.astype(int) - 100).max() <= 2
    assert np.abs(rough.astype(int) - 100).max() > 50

    blob = cv2.GaussianBlur(np.pad(np.full((64, 64, 3), 255, np.uint8), ((100, 348), (300, 148), (0, 0))), (0, 0), 12)
    turned = matrix(Window(512, 20, (250, 240)), 128)
    for area in (False, True):
        grey = warp_picture(blob, turned, 128, area_resample=area)[..., 0].astype(float)
        rows, columns = np.mgrid[:128, :128]
        found = np.array([(grey * columns).sum(), (grey * rows).sum()]) / grey.sum()
        np.testing.assert_allclose(found, transform(np.array([331.5, 131.5]), turned), atol=0.1)


def test_colours_change_within_their_strength() -> None:
    image = np.random.default_rng(0).integers(40, 200, (16, 16, 3)).astype(np.uint8)
    np.testing.assert_array_equal(change_colours(image, 0.5, ScriptedDraws([0.5] * 3)), image)
    brighter = change_colours(image, 0.2, ScriptedDraws([0.999999, 0.5, 0.5]))
    np.testing.assert_allclose(brighter, np.minimum(image * 1.2, 255), atol=1)
    grey = change_colours(image, 1.0, ScriptedDraws([0.5, 0.5, 0.0]))
    assert np.ptp(grey, axis=2).max() <= 1
