"""Network sizes and matrices for many picture sizes (SPEC-model M4.2, M4.3, M4.8; tolerances M6.2)."""

from __future__ import annotations

import numpy as np
import pytest

from boir_sdk import warp
from tests.parity.cases import Case, cases


def _sizes(arrays: dict[str, np.ndarray]) -> list[int]:
    return [int(name.removeprefix("resized_wh_")) for name in arrays if name.startswith("resized_wh_")]


@pytest.mark.parametrize("case", cases("resize_table"))
def test_sizes_and_matrices_equal_the_table(case: Case) -> None:
    table = case.arrays()
    sizes = _sizes(table)
    assert sizes and len(table["image_hw"])
    for size in sizes:
        for row, (h, w) in enumerate(table["image_hw"].tolist()):
            fit = warp.fit(h, w, size)
            assert [fit.width, fit.height] == table[f"resized_wh_{size}"][row].tolist(), (h, w, size)
            for got, name in ((fit.affine, "affine"), (fit.inverse, "affine_inv")):
                want = table[f"{name}_{size}"][row]
                assert np.abs(got - want).max() <= 1e-9 * np.abs(want).max(), (h, w, size, name)


@pytest.mark.parametrize("case", cases("resize_table"))
def test_the_integer_centre_lands_in_the_middle(case: Case) -> None:
    table = case.arrays()
    for size in _sizes(table):
        for row, (h, w) in enumerate(table["image_hw"].tolist()):
            fit = warp.fit(h, w, size)
            centre = np.append(table[f"center_xy_{size}"][row].astype(np.float64), 1.0)
            middle = np.array([fit.width / 2, fit.height / 2])
            assert np.abs(fit.affine @ centre - middle).max() <= 1e-6 * middle.max(), (h, w, size)
            # The float64 scale is what the matrix is built from: factor = network width / (200 scale_x).
            factor = fit.width / (200 * table[f"scale_wh_{size}"][row, 0])
            assert fit.affine[0, 0] == pytest.approx(factor, rel=1e-6)


@pytest.mark.parametrize("case", cases("resize_table"))
def test_points_come_back_as_in_the_table(case: Case) -> None:
    table = case.arrays()
    for size in _sizes(table):
        for row, (h, w) in enumerate(table["image_hw"].tolist()):
            got = warp.back(table["points_net"], warp.fit(h, w, size))
            want = table[f"points_img_{size}"][row]
            assert got.dtype == np.float32
            assert (np.abs(got - want) <= 1e-3 + 1e-6 * np.abs(want)).all(), (h, w, size)
