"""The regression loss: zero at the truth, relative to the person's size, blind to what isn't annotated."""

from __future__ import annotations

import pytest
import torch

from boir_train.losses.regress import regress_loss

YX = torch.tensor([[3, 4], [6, 2]])
IMAGE = torch.tensor([0, 1])


def people(seed=0):
    generator = torch.Generator().manual_seed(seed)
    keypoints = torch.rand(2, 5, 3, generator=generator) * 8
    keypoints[..., 2] = torch.tensor([2, 1, 0, 2, 2])
    return keypoints, torch.tensor([[0.0, 0.0, 8.0, 8.0], [1.0, 1.0, 16.0, 16.0]], dtype=torch.float64)


def perfect(keypoints):
    maps = torch.zeros(2, 10, 8, 9)
    for person in range(2):
        y, x = YX[person].tolist()
        maps[IMAGE[person], :, y, x] = (keypoints[person, :, [1, 0]] - YX[person]).flatten()
    return maps


def test_zero_at_the_truth():
    keypoints, boxes = people()
    assert regress_loss(perfect(keypoints), keypoints, boxes, IMAGE, YX).item() == pytest.approx(0, abs=1e-12)


def test_an_error_counts_relative_to_the_size():
    keypoints, boxes = people()
    small, big = perfect(keypoints), perfect(keypoints)
    small[0, 0, 3, 4] += 3.0
    big[1, 0, 6, 2] += 6.0  # twice the error on a person twice as large
    of_small, of_big = (regress_loss(maps, keypoints, boxes, IMAGE, YX) for maps in (small, big))
    assert of_small.item() == pytest.approx(of_big.item())
    assert of_small.item() == pytest.approx((3 / 8 - 0.05) / (2 * 8))  # linear part of smooth L1, 8 annotated keypoints


def test_unannotated_keypoints_and_other_cells_get_no_gradient():
    keypoints, boxes = people()
    keypoints[:, 2, :2] = float("inf")
    maps = torch.zeros(2, 10, 8, 9, requires_grad=True)
    loss = regress_loss(maps, keypoints, boxes, IMAGE, YX)
    loss.backward()
    assert torch.isfinite(maps.grad).all()
    assert (maps.grad[:, 4:6] == 0).all()
    touched = maps.grad.abs().sum(dim=1).nonzero().tolist()
    assert touched == [[0, 3, 4], [1, 6, 2]]


def test_nobody():
    loss = regress_loss(
        torch.zeros(1, 10, 4, 4),
        torch.zeros(0, 5, 3),
        torch.zeros(0, 4),
        torch.zeros(0, dtype=torch.long),
        torch.zeros(0, 2, dtype=torch.long),
    )
    assert loss.item() == 0
