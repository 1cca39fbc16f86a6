"""Learning rates of the published experiments, T3.4."""

from __future__ import annotations

import pytest

from boir_train.schedule import learning_rate
from tests.conftest import FIXTURES_TRAIN
from tests.parity.cases import Case, cases


@pytest.mark.parametrize("case", cases("schedule", FIXTURES_TRAIN))
def test_rates(case: Case) -> None:
    data, params = case.arrays(), case.record["params"]
    settings = {
        name: params[name]
        for name in ("base", "final", "epochs", "iterations_per_epoch", "warmup_epochs", "warmup_start")
        if name in params
    }
    assert len(data["iteration"]) > 0
    for iteration, expected in zip(data["iteration"], data["lr"], strict=True):
        assert learning_rate(int(iteration), **settings) == pytest.approx(float(expected), rel=1e-12, abs=0)
