"""Focal loss against the fixtures, T1.1 and T1.2."""

from __future__ import annotations

import pytest
import torch

from boir_train.losses.focal import focal_loss, probability
from tests.conftest import FIXTURES_TRAIN
from tests.parity.agreement import assert_close
from tests.parity.cases import Case, cases


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("case", cases("focal", FIXTURES_TRAIN))
def test_value_and_gradient(case: Case, dtype: torch.dtype) -> None:
    data = case.arrays()
    logits = torch.from_numpy(data["logits"]).to(dtype).requires_grad_()
    target = torch.from_numpy(data["gt"])
    mask = torch.from_numpy(data["mask"]) if "mask" in data else None

    loss = focal_loss(probability(logits), target, mask)
    loss.backward()

    double = dtype == torch.float64
    saturated = "clamped" in case.record.get("notes", "") or "saturated" in case.id
    value_limit = 1e-9 if double else 5e-5 if saturated else 1e-5
    assert loss.dtype == dtype
    assert_close(loss, data["loss_f64"], relative=value_limit, what="value")
    assert_close(logits.grad, data["grad_logits"], relative=1e-6 if double else 5e-6, what="gradient")
