"""Box loss in both anchor orders and CIoU pairs against the fixtures, T1.7."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from boir_train.losses.box import box_loss, ciou_loss
from boir_train.losses.cells import neighbourhood
from tests.conftest import FIXTURES_TRAIN
from tests.parity.agreement import assert_close
from tests.parity.cases import Case, cases

ALL = [param for param in cases("box", FIXTURES_TRAIN) if param.values[0] is not None]
ABSENT = [param for param in cases("box", FIXTURES_TRAIN) if param.values[0] is None]
PAIRS = ABSENT or [param for param in ALL if "pred" in param.values[0].record["arrays"]]
MAPS = ABSENT or [param for param in ALL if "bbox_map" in param.values[0].record["arrays"]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("case", PAIRS)
def test_pairs(case: Case, dtype: torch.dtype) -> None:
    data = case.arrays()
    predicted = torch.from_numpy(data["pred"]).to(dtype).requires_grad_()
    target = torch.from_numpy(data["target"]).to(dtype)

    loss = ciou_loss(predicted, target)
    loss.sum().backward()

    double = dtype == torch.float64
    assert_close(loss, data["loss"], relative=1e-9 if double else 1e-5, what="value")
    gradient = predicted.grad.numpy()
    known = np.isfinite(data["grad_pred"]).all(-1)
    # A box equal to its target sits on the kinks of min and max: rounding decides the side the gradient takes.
    known &= ~(data["pred"] == data["target"]).all(-1)
    assert known.any()
    assert np.isfinite(gradient).all()
    assert_close(gradient[known], data["grad_pred"][known], relative=1e-6 if double else 1e-5, what="gradient")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("anchor", "prefix"), [("yx", "published"), ("xy", "fixed")])
@pytest.mark.parametrize("case", MAPS)
def test_maps(case: Case, anchor: str, prefix: str, dtype: torch.dtype) -> None:
    data = case.arrays()
    bbox_map = torch.from_numpy(data["bbox_map"]).to(dtype).requires_grad_()

    loss = box_loss(
        bbox_map,
        torch.from_numpy(data["coords_yx"]),
        torch.from_numpy(data["boxes"]),
        torch.from_numpy(data["counts"]),
        anchor=anchor,
    )
    loss.backward()

    limit = 1e-6 if dtype == torch.float64 else 1e-5
    assert_close(loss, data[f"{prefix}_loss"], relative=limit, what="value")
    assert_close(bbox_map.grad, data[f"{prefix}_grad"], relative=limit, what="gradient")


@pytest.mark.parametrize("case", MAPS)
def test_number_of_cells(case: Case) -> None:
    data = case.arrays()
    _, inside = neighbourhood(torch.from_numpy(data["coords_yx"]), 1, *data["bbox_map"].shape[-2:])
    assert int(inside.sum()) == int(data["cells"])
