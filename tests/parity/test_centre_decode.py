"""Made-up centre maps to people (SPEC-model M4.5; tolerances M6.2)."""

from __future__ import annotations

import numpy as np
import pytest

from boir_sdk import decode
from tests.parity.cases import Case, cases, recipe


def _centre_map(record: dict[str, object]) -> np.ndarray:
    """The map of the record's `map_formula`, in float32 throughout."""
    image = recipe().recipe_image(record["map_height"], record["map_width"], record["map_salt"]).astype(np.int64)
    value = 65536 * image[..., 0] + 256 * image[..., 1] + image[..., 2]
    p = (value / 2**24).astype(np.float32)
    p = p * p * p * p * np.float32(record["scale_last"])
    return np.clip(p, np.float32(1e-4), np.float32(1 - 1e-4))


@pytest.mark.parametrize("case", cases("centre_decode"))
def test_people_equal_the_reference(case: Case) -> None:
    prob, want = _centre_map(case.record), case.arrays()
    kernel = case.record["center_pool_kernel"]
    assert prob.sum(dtype=np.float64) == pytest.approx(float(want["prob_sum"].item()), rel=1e-9)
    assert decode.window_for(*prob.shape) == case.record["window"]

    smoothed = decode.smooth(prob, kernel)
    assert smoothed.dtype == np.float32
    assert np.abs(smoothed[::4, ::4] - want["smoothed_sample"]).max() <= 1e-6
    total = float(want["smoothed_sum"].item())
    assert abs(smoothed.sum(dtype=np.float64) - total) <= 1e-6 * prob.size + 1e-6 * abs(total)

    yx, score = decode.find_centres(prob, kernel=kernel)
    assert len(yx) == case.record["people"]
    assert np.abs(np.sort(score) - np.sort(want["instance_score"])).max() <= 1e-6
    by_cell = {tuple(cell): value for cell, value in zip(yx.tolist(), score, strict=True)}
    expected = {
        tuple(cell): value
        for cell, value in zip(want["instance_coord_yx"].tolist(), want["instance_score"], strict=True)
    }
    assert by_cell.keys() == expected.keys()
    assert max(abs(by_cell[cell] - expected[cell]) for cell in expected) <= 1e-6
