"""Sampling at instance cells with both auxiliary losses together, T3.1 with T1.6 and T1.7."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from boir_train.losses.box import box_loss
from boir_train.losses.cells import image_index, read
from boir_train.losses.embedding import bbox_mask_loss
from tests.conftest import FIXTURES_TRAIN
from tests.parity.agreement import assert_close
from tests.parity.cases import Case, cases


@pytest.mark.parametrize("case", cases("param_sampler", FIXTURES_TRAIN))
def test_samples(case: Case) -> None:
    data = case.arrays()
    picture = image_index(torch.from_numpy(data["counts"]))
    yx = torch.from_numpy(data["coords_yx"])
    np.testing.assert_array_equal(picture.numpy(), data["out_instance_imgid"])
    np.testing.assert_array_equal(yx.numpy(), data["out_instance_coord"])
    features = read(torch.from_numpy(data["features"]), picture, yx)
    np.testing.assert_array_equal(features.numpy(), data["out_instance_param"])
    scores = read(torch.from_numpy(data["center_map"]), picture, yx)
    np.testing.assert_array_equal(scores.numpy(), data["out_instance_score"])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("case", cases("param_sampler", FIXTURES_TRAIN))
def test_losses_and_gradients(case: Case, dtype: torch.dtype) -> None:
    data, params = case.arrays(), case.record["params"]
    emb = torch.from_numpy(data["emb"]).to(dtype).requires_grad_()
    bbox_map = torch.from_numpy(data["bbox_map"]).to(dtype).requires_grad_()
    boxes, counts = torch.from_numpy(data["boxes"]), torch.from_numpy(data["counts"])

    box = box_loss(bbox_map, torch.from_numpy(data["coords_yx"]), boxes, counts, anchor="yx")
    mask = bbox_mask_loss(emb, boxes, counts, form=f"published-{params['level']}", beta=params["beta"])
    (box + mask).backward()

    limit = 1e-6 if dtype == torch.float64 else 1e-5
    assert_close(box, data["bbox_loss"], relative=limit, what="box loss")
    assert_close(mask, data["bbox_mask_loss"], relative=limit, what="bbox mask loss")
    assert_close(emb.grad, data["grad_emb"], relative=1e-5, what="gradient of the embedding map")
    assert_close(bbox_map.grad, data["grad_bbox_map"], relative=1e-5, what="gradient of the box map")
