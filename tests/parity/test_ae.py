"""Pull/push building block against the fixtures, T1.4."""

from __future__ import annotations

import pytest
import torch

from boir_train.losses.embedding import ae_loss
from tests.conftest import FIXTURES_TRAIN
from tests.parity.agreement import assert_close
from tests.parity.cases import Case, cases


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("case", cases("ae", FIXTURES_TRAIN))
def test_value_and_gradient(case: Case, dtype: torch.dtype) -> None:
    data, params = case.arrays(), case.record["params"]
    features = torch.from_numpy(data["feats"]).to(dtype).requires_grad_()
    sizes = torch.from_numpy(data["group_sizes"]) if "group_sizes" in data else None

    loss = ae_loss(
        features,
        group_sizes=sizes,
        beta=params["beta"],
        pull_factor=params["pull_factor"],
        push_factor=params["push_factor"],
    )
    loss.backward()

    assert_close(loss, data["loss_f64"], relative=1e-9 if dtype == torch.float64 else 1e-6, what="value")
    # Equal vectors have no gradient at all: what is left is rounding.
    assert_close(features.grad, data["grad"], relative=1e-6, absolute=1e-7, what="gradient")
