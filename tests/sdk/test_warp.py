from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boir_sdk import warp
from boir_sdk.errors import ConfigError, InputError

SIDES = st.integers(1, 5000)
COMBINATIONS = [(rule, resample) for rule in ("short", "long") for resample in ("bilinear", "area")]


@pytest.mark.parametrize(
    ("h", "w", "size", "options", "expected"),
    [
        (480, 640, 512, {}, (704, 512)),
        (640, 480, 512, {}, (512, 704)),
        (512, 512, 512, {}, (512, 512)),
        (3, 1000, 512, {}, (170688, 512)),
        (480, 640, 500, {}, (704, 512)),  # the short side is rounded up to the multiple too
        (480, 640, 256, {"multiple": 32}, (352, 256)),
        (480, 640, 384, {"rule": "long", "multiple": 32, "resample": "area"}, (384, 288)),
        (640, 480, 384, {"rule": "long", "multiple": 32, "resample": "area"}, (288, 384)),
        (480, 640, 400, {"rule": "long", "multiple": 32, "resample": "area"}, (416, 320)),
        (1, 20000, 384, {"rule": "long", "multiple": 32, "resample": "area"}, (384, 32)),
        (480, 640, 384, {"rule": "short", "multiple": 32, "resample": "area"}, (512, 384)),
        (480, 640, 384, {"rule": "long", "multiple": 64}, (384, 320)),
        (640, 480, 384, {"rule": "long", "multiple": 64}, (320, 384)),
    ],
)
def test_network_size(h: int, w: int, size: int, options: dict, expected: tuple[int, int]) -> None:
    fit = warp.fit(h, w, size, **options)
    assert (fit.width, fit.height) == expected


@pytest.mark.parametrize(("rule", "resample"), COMBINATIONS)
@given(h=SIDES, w=SIDES, size=st.integers(1, 1024), data=st.data())
def test_forward_then_back_is_the_identity(
    rule: str, resample: str, h: int, w: int, size: int, data: st.DataObject
) -> None:
    fit = warp.fit(h, w, size, rule=rule, resample=resample, multiple=data.draw(st.sampled_from([32, 64])))
    x, y = data.draw(st.floats(0, w)), data.draw(st.floats(0, h))
    net = fit.affine @ np.array([x, y, 1.0])
    assert np.abs(warp.back(net, fit) - np.array([x, y])).max() <= 1e-3


@pytest.mark.parametrize(("rule", "resample"), COMBINATIONS)
@given(h=SIDES, w=SIDES, size=st.integers(32, 1024))
def test_the_whole_picture_lies_inside(rule: str, resample: str, h: int, w: int, size: int) -> None:
    fit = warp.fit(h, w, size, rule=rule, resample=resample)
    assert fit.width % 64 == fit.height % 64 == 0
    corners = np.array([[0, 0, 1], [w, h, 1]], dtype=np.float64) @ fit.affine.T
    # The paper's fit: an odd side lies half a pixel off the middle, and M4.2 drops a fraction of a network pixel.
    slack = 0.5 * fit.affine[0, 0] + 0.5 + 1e-5 * max(fit.width, fit.height) if resample == "bilinear" else 1e-6
    assert corners.min() >= -slack
    assert corners[1, 0] <= fit.width + slack and corners[1, 1] <= fit.height + slack


def test_area_maps_edges_to_edges_and_puts_the_border_right_and_bottom() -> None:
    image = np.full((100, 333, 3), 200, dtype=np.uint8)
    fit = warp.fit(100, 333, 150, rule="long", multiple=64, resample="area")
    net = warp.apply(image, fit)
    assert net.shape == (64, 192, 3) and net.dtype == np.uint8
    assert (net[:45, :150] == 200).all()  # round(100 * 150 / 333) = 45
    assert not net[45:].any() and not net[:, 150:].any()
    assert np.allclose(fit.affine @ [333, 100, 1], [150, 45])
    assert np.allclose(warp.back(np.array([[150, 45], [0, 0]]), fit), [[333, 100], [0, 0]])


def test_area_averages_when_shrinking_and_interpolates_when_enlarging() -> None:
    stripes = np.zeros((128, 128, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    shrunk = warp.apply(stripes, warp.fit(128, 128, 32, rule="long", multiple=32, resample="area"))
    assert np.abs(shrunk.astype(int) - 128).max() <= 1
    enlarged = warp.apply(stripes[:2, :2], warp.fit(2, 2, 32, rule="long", multiple=32, resample="area"))
    assert len(np.unique(enlarged)) > 2


@pytest.mark.parametrize("resample", ["bilinear", "area"])
@pytest.mark.parametrize("rule", ["short", "long"])
def test_a_picture_of_the_network_size_passes_unchanged(rule: str, resample: str) -> None:
    image = np.random.default_rng(5).integers(0, 256, (128, 192, 3), dtype=np.uint8)
    image.flags.writeable = False
    size = 128 if rule == "short" else 192
    net = warp.apply(image, warp.fit(128, 192, size, rule=rule, resample=resample))
    assert (net == image).all()
    assert net.flags.writeable  # a copy, not the caller's picture


def test_bilinear_splits_the_border_left_and_right() -> None:
    fit = warp.fit(100, 130, 64)
    net = warp.apply(np.full((100, 130, 3), 90, dtype=np.uint8), fit)
    assert net.shape == (64, 128, 3)
    filled = np.flatnonzero(net[32, :, 0] == 90)
    assert filled[0] > 15 and filled[-1] < 128 - 15 and (np.diff(filled) == 1).all()


def test_back_keeps_the_leading_shape_and_is_float32() -> None:
    fit = warp.fit(480, 640, 512)
    for shape in [(2,), (5, 2), (3, 17, 2), (0, 17, 2)]:
        got = warp.back(np.zeros(shape, dtype=np.float32), fit)
        assert got.shape == shape and got.dtype == np.float32


def test_matrices_cannot_be_changed() -> None:
    with pytest.raises(ValueError):
        warp.fit(480, 640, 512).affine[0, 0] = 2


@pytest.mark.parametrize("options", [{"max_side": 2048}, {"max_side": 2048, "resample": "area"}])
def test_a_too_elongated_picture_is_refused_with_the_limit(options: dict) -> None:
    with pytest.raises(InputError, match=r"170\d\d\d.*2048"):
        warp.fit(3, 1000, 512, **options)
    fit = warp.fit(3, 1000, 512, rule="long", **options)
    assert (fit.width, fit.height) == (512, 64)


@pytest.mark.parametrize(("h", "w"), [(0, 5), (5, 0), (-1, 5)])
def test_an_empty_picture_is_refused(h: int, w: int) -> None:
    with pytest.raises(InputError, match="at least 1 x 1"):
        warp.fit(h, w, 512)


@pytest.mark.parametrize("options", [{"size": 0}, {"multiple": 0}, {"rule": "wide"}, {"resample": "cubic"}])
def test_unknown_options_are_refused(options: dict) -> None:
    with pytest.raises(ConfigError, match=str(next(iter(options)))):
        warp.fit(10, 10, **{"size": 64, **options})


def test_the_fit_of_another_size_is_noticed() -> None:
    fit = warp.fit(100, 200, 64, rule="long", resample="area")
    with pytest.raises(InputError, match="another size"):
        warp.apply(np.zeros((500, 500, 3), dtype=np.uint8), fit)


@pytest.mark.parametrize(("h", "w", "size"), [(720, 1280, 512), (480, 640, 384), (613, 401, 320), (2160, 3840, 640)])
def test_a_second_network_picture_from_the_first_is_the_one_from_the_picture(h: int, w: int, size: int) -> None:
    image = cv2.GaussianBlur(np.random.default_rng(3).integers(0, 256, (h, w, 3), dtype=np.uint8), (0, 0), 9)

    def refit(rows: int, columns: int) -> warp.Fit:
        return warp.fit(rows, columns, size // 2, rule="long", multiple=32, resample="area")

    first = warp.fit(h, w, size, rule="long", multiple=32, resample="area")
    made, fits = warp.again(image, warp.apply(image, first), first, refit)
    direct = refit(h, w)
    expected = warp.apply(image, direct)
    assert made.shape == expected.shape
    inside = np.s_[: round(direct.affine[1, 1] * h) - 1, : round(direct.affine[0, 0] * w) - 1]
    assert np.abs(made[inside].astype(int) - expected[inside]).max() <= 3
    points = np.array([[3.0, 5.0], [direct.width - 9.0, 40.0]])
    back = points
    for fit in fits:
        back = warp.back(back, fit)
    np.testing.assert_allclose(back, warp.back(points, direct), rtol=0.01, atol=1)
    assert len(fits) == 2


@pytest.mark.parametrize(("resample", "h", "w"), [("area", 100, 150), ("bilinear", 480, 640)])
def test_a_second_network_picture_is_the_pictures_own_where_nothing_was_averaged(resample: str, h: int, w: int) -> None:
    image = np.random.default_rng(4).integers(0, 256, (h, w, 3), dtype=np.uint8)

    def refit(rows: int, columns: int) -> warp.Fit:
        return warp.fit(rows, columns, 128, rule="long", multiple=32, resample=resample)

    first = warp.fit(h, w, 256, rule="long", multiple=32, resample=resample)
    made, fits = warp.again(image, warp.apply(image, first), first, refit)
    np.testing.assert_array_equal(made, warp.apply(image, refit(h, w)))
    assert len(fits) == 1
