"""The augmentation's affine matrices against the published code's (SPEC-training T2.5)."""

from __future__ import annotations

import numpy as np
import pytest

from boir_train.data.augment import AugmentSettings, draw_window, matrix
from tests.conftest import FIXTURES_TRAIN
from tests.parity.cases import Case, cases
from tests.support.scripted_draws import ScriptedDraws


@pytest.mark.parametrize("case", cases("augment_matrices", FIXTURES_TRAIN))
def test_matrices(case: Case) -> None:
    want, params = case.arrays(), case.record["params"]
    settings = AugmentSettings(
        min_scale=params["min_scale"],
        max_scale=params["max_scale"],
        scale_side=params["scale_type"],
        max_rotation=params["max_rotation"],
        max_translate=10_000,  # the table's translations are free: only the matrix is looked at
    )
    for row, values in enumerate(want["rows"]):
        record = dict(zip(params["columns"], values.tolist(), strict=True))
        draws = ScriptedDraws([record["u_scale"], record["u_rot"]], [int(record["dx"]), int(record["dy"])])
        window = draw_window(int(record["width"]), int(record["height"]), settings, draws)
        size = int(record["input_size"])
        np.testing.assert_allclose(matrix(window, int(record["output_size"])), want["mat_output"][row], atol=1e-9)
        np.testing.assert_allclose(matrix(window, size), want["mat_input"][row], atol=1e-9)
        np.testing.assert_allclose((size / window.side) ** 2, want["area_scale"][row], rtol=1e-9)
