from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from boir_sdk import decode
from boir_sdk.errors import ConfigError

KERNELS = st.sampled_from([1, 3, 5, 11])
# Few levels make ties and plateaus common.
LEVELS = st.sampled_from([np.float32(value) for value in (0.0001, 0.005, 0.01, 0.02, 0.3, 0.3000001, 0.9, 0.9999)])


def maps(*, leading: tuple[int, ...] = ()) -> st.SearchStrategy[np.ndarray]:
    sides = st.tuples(st.integers(1, 12), st.integers(1, 12))
    return sides.flatmap(lambda hw: hnp.arrays(np.float32, (*leading, *hw), elements=LEVELS, fill=LEVELS))


def smooth_by_the_book(image: np.ndarray, kernel: int) -> np.ndarray:
    """Windows one by one; sums first along x, then along y, as the module promises a fixed order."""
    h, w = image.shape
    r = kernel // 2
    padded = np.zeros((h + 2 * r, w + 2 * r), dtype=np.float32)
    padded[r : r + h, r : r + w] = image
    out = np.empty_like(image)
    for y in range(h):
        for x in range(w):
            total = np.float32(0)
            for row in padded[y : y + kernel, x : x + kernel]:
                line = np.float32(0)
                for value in row:
                    line = np.float32(line + value)
                total = np.float32(total + line)
            out[y, x] = (image[y, x] + total / np.float32(kernel * kernel)) * np.float32(0.5)
    return out


def centres_by_the_book(prob: np.ndarray, kernel: int, people: int, threshold: float) -> list[tuple[int, int, float]]:
    c = smooth_by_the_book(prob, kernel)
    h, w = c.shape
    q = (7 if (h + w) / 2 > 300 else 5 if (h + w) / 2 > 200 else 3) // 2
    found = []
    for y in range(h):
        for x in range(w):
            window = c[max(0, y - q) : y + q + 1, max(0, x - q) : x + q + 1]
            if c[y, x] == window.max() and c[y, x] > np.float32(threshold):
                found.append((-float(c[y, x]), y * w + x))
    return [(index // w, index % w, -score) for score, index in sorted(found)[:people]]


@given(image=maps(), kernel=KERNELS)
def test_smooth_equals_windows_one_by_one(image: np.ndarray, kernel: int) -> None:
    got = decode.smooth(image, kernel)
    assert got.dtype == np.float32
    assert (got == smooth_by_the_book(image, kernel)).all()


@pytest.mark.parametrize("kernel", [3, 5, 11])
def test_plateaus_stay_flat_and_borders_are_damped(kernel: int) -> None:
    value = np.float32(0.1) + np.float32(1e-3)
    image = np.full((40, 50), value, dtype=np.float32)
    image[0, :9] = np.float32(0.777)  # a running sum would carry its rounding along the row
    got = decode.smooth(image, kernel)
    r = kernel // 2
    inside = got[r + 1 : 40 - r, r : 50 - r]
    assert len(np.unique(inside)) == 1
    assert got[39, 49] < inside[0, 0]


@pytest.mark.parametrize("shape", [(4, 5), (2, 4, 5), (3, 2, 4, 5), (0, 2, 4, 5)])
def test_smooth_works_on_any_leading_axes_and_leaves_its_input(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(1).random(shape, dtype=np.float32)
    before = image.copy()
    got = decode.smooth(image, 3)
    assert got.shape == shape and (image == before).all()
    for index in np.ndindex(shape[:-2]):
        assert (got[index] == decode.smooth(image[index], 3)).all()


@pytest.mark.parametrize("kernel", [0, 2, -3])
def test_kernels_must_be_odd(kernel: int) -> None:
    with pytest.raises(ConfigError, match="odd"):
        decode.smooth(np.zeros((4, 4)), kernel)


@pytest.mark.parametrize(
    ("h", "w", "window"), [(1, 1, 3), (128, 272, 3), (128, 273, 5), (128, 472, 5), (128, 473, 7), (473, 128, 7)]
)
def test_window_for(h: int, w: int, window: int) -> None:
    assert decode.window_for(h, w) == window


@settings(max_examples=200)
@given(prob=maps(), kernel=KERNELS, people=st.integers(1, 40), threshold=st.sampled_from([0.0, 0.01, 0.3]))
def test_centres_equal_the_definition(prob: np.ndarray, kernel: int, people: int, threshold: float) -> None:
    yx, score = decode.find_centres(prob, kernel=kernel, max_people=people, threshold=threshold)
    assert yx.dtype == np.int64 and score.dtype == np.float32 and yx.shape == (len(score), 2)
    want = centres_by_the_book(prob, kernel, people, threshold)
    assert [(y, x, float(s)) for (y, x), s in zip(yx.tolist(), score, strict=True)] == want


@pytest.mark.parametrize(("h", "w", "reach"), [(60, 80, 1), (200, 210, 2), (300, 310, 3)])
def test_a_lower_peak_within_the_window_is_not_a_person(h: int, w: int, reach: int) -> None:
    def cells(distance: int) -> list[list[int]]:
        prob = np.full((h, w), 1e-4, dtype=np.float32)
        prob[30, 30], prob[30, 30 + distance] = 0.9, 0.8
        return decode.find_centres(prob, kernel=1)[0].tolist()

    assert cells(reach) == [[30, 30]]
    assert cells(reach + 1) == [[30, 30], [30, 31 + reach]]


def test_flat_maps_give_every_cell_in_order_up_to_the_limit() -> None:
    yx, score = decode.find_centres(np.full((4, 3), 0.5), kernel=1)
    assert yx.tolist() == [[y, x] for y in range(4) for x in range(3)]
    assert (score == np.float32(0.5)).all()
    assert len(decode.find_centres(np.full((10, 10), 0.5), kernel=1)[0]) == 30


def test_the_threshold_is_strict_and_float32() -> None:
    at = np.full((1, 1), np.float32(0.01))
    above = np.nextafter(at, np.float32(1))
    assert len(decode.find_centres(at, kernel=1)[0]) == 0
    assert len(decode.find_centres(above, kernel=1)[0]) == 1


def keypoint_by_the_book(heat: np.ndarray, kernel: int) -> tuple[float, float, float]:
    m = smooth_by_the_book(heat, kernel)
    h, w = m.shape
    best = (0, 0)
    for y in range(h):
        for x in range(w):
            if m[y, x] > m[best]:
                best = (y, x)
    y, x = best
    dx = 0.0 if x in (0, w - 1) else 0.25 * float(np.sign(m[y, x + 1] - m[y, x - 1]))
    dy = 0.0 if y in (0, h - 1) else 0.25 * float(np.sign(m[y + 1, x] - m[y - 1, x]))
    return (x + dx) * 4 + 2, (y + dy) * 4 + 2, float(m[best])


@settings(max_examples=200)
@given(heat=maps(leading=(2, 3)), kernel=KERNELS)
def test_keypoints_equal_the_definition(heat: np.ndarray, kernel: int) -> None:
    got = decode.keypoints(heat, kernel=kernel)
    assert got.dtype == np.float32 and got.shape == (2, 3, 3)
    for index in np.ndindex(2, 3):
        assert tuple(got[index].tolist()) == keypoint_by_the_book(heat[index], kernel)


@pytest.mark.parametrize(
    ("peak", "left_right", "up_down", "expected"),
    [
        ((5, 5), (0.3, 0.6), (0.6, 0.3), (23.0, 21.0)),
        ((5, 5), (0.4, 0.4), (0.4, 0.4), (22.0, 22.0)),
        ((5, 0), (None, 0.6), (0.3, 0.6), (2.0, 23.0)),  # a border of x still lets y shift
        ((0, 9), (0.6, None), (None, 0.6), (38.0, 2.0)),
    ],
)
def test_the_quarter_shift(peak: tuple, left_right: tuple, up_down: tuple, expected: tuple) -> None:
    heat = np.full((10, 10), 0.1, dtype=np.float32)
    y, x = peak
    heat[y, x] = 0.9
    around = {(0, -1): left_right[0], (0, 1): left_right[1], (-1, 0): up_down[0], (1, 0): up_down[1]}
    for (dy, dx), value in around.items():
        if value is not None:
            heat[y + dy, x + dx] = value
    got = decode.keypoints(heat[None, None], kernel=1)[0, 0]
    assert got.tolist() == [*expected, pytest.approx(0.9)]


def test_offsets_replace_the_quarter_shift() -> None:
    rng = np.random.default_rng(3)
    heat = rng.random((4, 5, 9, 7), dtype=np.float32)
    offset = rng.normal(size=(10, 9, 7)).astype(np.float32)
    got = decode.keypoints(heat, kernel=3, offset=offset)
    for n, k in np.ndindex(4, 5):
        smoothed = decode.smooth(heat[n, k], 3)
        y, x = divmod(int(smoothed.argmax()), 7)
        want = [(x + offset[2 * k + 1, y, x]) * 4, (y + offset[2 * k, y, x]) * 4, smoothed[y, x]]
        assert got[n, k].tolist() == pytest.approx(want, abs=1e-6)


def test_nobody_gives_empty_keypoints() -> None:
    assert decode.keypoints(np.zeros((0, 17, 8, 8), dtype=np.float32), kernel=3).shape == (0, 17, 3)
